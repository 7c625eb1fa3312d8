package broker

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"midge/broker/core"
)

// logFixture is a log on a clock that stands still, with both streams in
// memory. What they hold may be read after a Sync.
type logFixture struct {
	*Log
	t      *testing.T
	out    bytes.Buffer
	err    bytes.Buffer
	moment time.Time
}

func newLogFixture(t *testing.T, o LogOptions) *logFixture {
	f := &logFixture{t: t, moment: time.Date(2023, 11, 14, 23, 13, 20, 5e8, time.FixedZone("CET", 3600))}
	f.Log = newLog(o, func() time.Time { return f.moment }, &f.out, &f.err, logBacklogMax)
	t.Cleanup(f.Close)
	return f
}

// expect syncs and compares both streams with what they should hold in all.
func (f *logFixture) expect(out, err string) {
	f.t.Helper()
	if !f.Sync() {
		f.t.Fatal("not synced")
	}
	if f.out.String() != out {
		f.t.Errorf("stdout holds %q, want %q", &f.out, out)
	}
	if f.err.String() != err {
		f.t.Errorf("stderr holds %q, want %q", &f.err, err)
	}
}

func expectFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
}

func TestLogPrefix(t *testing.T) {
	for _, c := range []struct {
		name   string
		stamp  bool
		format string
		want   string
	}{
		{"seconds", true, "", "1700000000: "},
		{"none", false, "", ""},
		{"none in spite of a format", false, "%Y", ""},
		{"local time", true, "%Y-%m-%dT%H:%M:%S", "2023-11-14T23:13:20: "},
		{"zone", true, "%d/%b/%Y %T %z %Z", "14/Nov/2023 23:13:20 +0100 CET: "},
		{"no conversion", true, "midge", "midge: "},
		{"as long as may be", true, "%900d%.98d", fmt.Sprintf("%0900d%%.98d: ", 14)},
		{"too long", true, strings.Repeat("x", 1000), "Time error: "},
		{"much too long", true, "%99999999d", "Time error: "},
	} {
		f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault, Timestamp: c.stamp, TimestampFormat: c.format})
		f.Logf(core.LogInfo, "mosquitto version %s starting", "2.0.11")
		t.Log(c.name)
		f.expect("", c.want+"mosquitto version 2.0.11 starting\n")
	}
}

func TestLogPrefixEmpty(t *testing.T) {
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault, Timestamp: true, TimestampFormat: "%Z"})
	f.moment = f.moment.Add(time.Second).In(time.FixedZone("", 3600))
	f.Logf(core.LogInfo, "line")
	f.expect("", "Time error: line\n")
}

func TestLogPrefixFollowsClock(t *testing.T) {
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault, Timestamp: true, TimestampFormat: "%H:%M:%S"})
	for _, d := range []time.Duration{0, 400 * time.Millisecond, 100 * time.Millisecond, -time.Hour} {
		f.moment = f.moment.Add(d)
		f.Logf(core.LogNotice, "%v", d)
	}
	f.expect("", "23:13:20: 0s\n23:13:20: 400ms\n23:13:21: 100ms\n22:13:21: -1h0m0s\n")
}

func TestLogLineIsCut(t *testing.T) {
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault, Timestamp: true})
	exact := strings.Repeat("a", 999-len("1700000000: "))
	f.Logf(core.LogNotice, "%s", exact)
	f.Logf(core.LogNotice, "%sb", exact)
	f.Logf(core.LogNotice, "%s", strings.Repeat("c", 1<<20))
	f.Logf(core.LogNotice, "next")
	f.expect("", "1700000000: "+exact+"\n1700000000: "+exact+"\n1700000000: "+strings.Repeat("c", len(exact))+"\n1700000000: next\n")
}

func TestLogLineStaysOne(t *testing.T) {
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault})
	f.Logf(core.LogNotice, "\t%s", "a\nb\r\nc\x01")
	f.expect("", "\ta b  c\x01\n")
}

func TestLogClasses(t *testing.T) {
	words := []string{"error", "warning", "notice", "information", "debug", "subscribe", "unsubscribe", "websockets", "internal"}
	all := strings.Join(words, " ")
	for _, c := range []struct {
		name string
		o    LogOptions
		want string
	}{
		{"default", LogOptions{Stdout: true, Classes: LogDefault}, "error warning notice information"},
		{"chosen", LogOptions{Stdout: true, Classes: core.LogDebug | core.LogUnsubscribe}, "debug unsubscribe"},
		{"no class", LogOptions{Stdout: true}, ""},
		{"verbose", LogOptions{Stdout: true, Classes: core.LogError, Verbose: true}, all},
		{"quiet", LogOptions{Stdout: true, Classes: LogDefault, Quiet: true}, ""},
		{"quiet beats verbose", LogOptions{Stdout: true, Classes: LogDefault, Verbose: true, Quiet: true}, ""},
		{"no destination", LogOptions{Classes: LogDefault, Verbose: true}, ""},
	} {
		f := newLogFixture(t, c.o)
		var enabled []string
		for i, word := range words {
			class := core.Class(1) << i
			if f.Enabled(class) {
				enabled = append(enabled, word)
			}
			f.Logf(class, "%s", word)
		}
		if got := strings.Join(enabled, " "); got != c.want {
			t.Errorf("%s: enabled are %q, want %q", c.name, got, c.want)
		}
		f.Sync()
		if got := strings.Join(strings.Fields(f.out.String()), " "); got != c.want {
			t.Errorf("%s: logged are %q, want %q", c.name, got, c.want)
		}
	}
}

// loud is an argument that must not be formatted.
type loud struct{ t *testing.T }

func (l loud) String() string { l.t.Error("formatted for nobody"); return "" }

func TestLogIsLazy(t *testing.T) {
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault})
	f.Logf(core.LogDebug, "%v", loud{t})
	f.expect("", "")
	if n := testing.AllocsPerRun(100, func() {
		if f.Enabled(core.LogDebug) {
			f.Logf(core.LogDebug, "%v", loud{t})
		}
		f.Flush()
	}); n != 0 {
		t.Errorf("%v allocations for a line that nobody wants", n)
	}
}

func TestLogDestinations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newLogFixture(t, LogOptions{Stdout: true, Stderr: true, File: path, Classes: LogDefault})
	f.Logf(core.LogNotice, "one")
	f.Flush()
	f.Logf(core.LogNotice, "two")
	f.expect("one\ntwo\n", "one\ntwo\n")
	expectFile(t, path, "one\ntwo\n")
}

func TestLogWritesOnFlush(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := newLog(LogOptions{Stdout: true, Classes: LogDefault}, time.Now, w, io.Discard, logBacklogMax)
	defer l.Close()
	l.Logf(core.LogNotice, "line")
	l.Flush()
	buf := make([]byte, 16) // without a Sync
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "line\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

func TestLogFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	for _, line := range []string{"first", "second"} {
		f := newLogFixture(t, LogOptions{File: path, Classes: LogDefault})
		f.Logf(core.LogNotice, "%s", line)
		f.expect("", "")
	}
	expectFile(t, path, "first\nsecond\n")
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestLogFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newLogFixture(t, LogOptions{File: path, Classes: LogDefault})
	f.Logf(core.LogNotice, "before")
	f.Sync()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	f.Logf(core.LogNotice, "between") // not even flushed, yet it belongs to the old one
	f.Reopen()
	f.Logf(core.LogNotice, "after")
	f.expect("", "")
	expectFile(t, path+".1", "before\nbetween\n")
	expectFile(t, path, "after\n")
}

func TestLogFileCannotBeOpened(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(folder, "midge.log")
	f := newLogFixture(t, LogOptions{Stdout: true, File: path, Classes: core.LogNotice | core.LogDebug, Timestamp: true})
	f.Sync()
	f.Logf(core.LogNotice, "not seen")
	f.Logf(core.LogError, "seen")
	complaint := "1700000000: Error: Unable to open log file " + path + " for writing.\n"
	f.expect("", complaint+"1700000000: seen\n")

	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	f.Logf(core.LogError, "of no interest again")
	f.Logf(core.LogNotice, "all is well")
	f.expect("1700000000: all is well\n", complaint+"1700000000: seen\n")
	expectFile(t, path, "1700000000: all is well\n")
}

// What was logged before the failure was known is not lost.
func TestLogFileFailureLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "midge.log")
	f := newLogFixture(t, LogOptions{File: path, Classes: LogDefault})
	f.Logf(core.LogNotice, "early")
	f.Flush()
	f.Sync()
	f.Logf(core.LogNotice, "late")
	f.expect("", "Error: Unable to open log file "+path+" for writing.\nearly\n")
}

// A failure that is heard of late must not silence the options that came after.
func TestLogFailureOfOldOptions(t *testing.T) {
	f := newLogFixture(t, LogOptions{File: filepath.Join(t.TempDir(), "missing", "x"), Classes: LogDefault})
	f.Configure(LogOptions{Stdout: true, Classes: LogDefault})
	f.Logf(core.LogNotice, "seen")
	f.Sync()
	f.Logf(core.LogNotice, "seen too")
	f.Sync()
	if f.out.String() != "seen\nseen too\n" {
		t.Errorf("stdout holds %q", &f.out)
	}
}

func TestLogFileLink(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f := newLogFixture(t, LogOptions{File: link, Classes: LogDefault})
	f.expect("", "Error: Unable to open log file "+link+" for writing.\nError: "+link+" is a symbolic link.\n")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the link was followed: %v", err)
	}
	f = newLogFixture(t, LogOptions{File: link, FollowLinks: true, Classes: LogDefault})
	f.Logf(core.LogNotice, "line")
	f.expect("", "")
	expectFile(t, path, "line\n")
}

func TestLogConfigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newLogFixture(t, LogOptions{Stderr: true, Classes: LogDefault, Timestamp: true})
	f.Logf(core.LogNotice, "start")
	f.Configure(LogOptions{Stdout: true, File: path, Classes: core.LogDebug, Timestamp: true, TimestampFormat: "%F"})
	f.Logf(core.LogNotice, "nobody wants this")
	f.Logf(core.LogDebug, "packet")
	f.Configure(LogOptions{})
	f.Logf(core.LogError, "nor this")
	f.expect("2023-11-14: packet\n", "1700000000: start\n")
	expectFile(t, path, "2023-11-14: packet\n")
}
