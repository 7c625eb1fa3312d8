package logging

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

// usual are the classes that are logged where nothing else is configured.
const usual = core.LogError | core.LogWarning | core.LogNotice | core.LogInfo

// fixture is a log on a clock that stands still, with both streams in
// memory. What they hold may be read after a Sync.
type fixture struct {
	*Log
	t      *testing.T
	out    bytes.Buffer
	err    bytes.Buffer
	moment time.Time
}

func newFixture(t *testing.T, o Options) *fixture {
	f := &fixture{t: t, moment: time.Date(2023, 11, 14, 23, 13, 20, 5e8, time.FixedZone("CET", 3600))}
	f.Log = newLog(o, func() time.Time { return f.moment }, &f.out, &f.err, backlogMax)
	t.Cleanup(f.Close)
	return f
}

// expect syncs and compares both streams with what they should hold in all.
func (f *fixture) expect(out, err string) {
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

func TestPrefix(t *testing.T) {
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
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, Options{Stderr: true, Classes: usual, Timestamp: c.stamp, TimestampFormat: c.format})
			f.Logf(core.LogInfo, "mosquitto version %s starting", "2.0.11")
			f.expect("", c.want+"mosquitto version 2.0.11 starting\n")
		})
	}
}

func TestPrefixEmpty(t *testing.T) {
	f := newFixture(t, Options{Stderr: true, Classes: usual, Timestamp: true, TimestampFormat: "%Z"})
	f.moment = f.moment.Add(time.Second).In(time.FixedZone("", 3600))
	f.Logf(core.LogInfo, "line")
	f.expect("", "Time error: line\n")
}

func TestPrefixFollowsClock(t *testing.T) {
	f := newFixture(t, Options{Stderr: true, Classes: usual, Timestamp: true, TimestampFormat: "%H:%M:%S"})
	for _, d := range []time.Duration{0, 400 * time.Millisecond, 100 * time.Millisecond, -time.Hour} {
		f.moment = f.moment.Add(d)
		f.Logf(core.LogNotice, "%v", d)
	}
	f.expect("", "23:13:20: 0s\n23:13:20: 400ms\n23:13:21: 100ms\n22:13:21: -1h0m0s\n")
}

func TestLineIsCut(t *testing.T) {
	f := newFixture(t, Options{Stderr: true, Classes: usual, Timestamp: true})
	exact := strings.Repeat("a", 999-len("1700000000: "))
	f.Logf(core.LogNotice, "%s", exact)
	f.Logf(core.LogNotice, "%sb", exact)
	f.Logf(core.LogNotice, "%s", strings.Repeat("c", 1<<20))
	f.Logf(core.LogNotice, "next")
	f.expect("", "1700000000: "+exact+"\n1700000000: "+exact+"\n1700000000: "+strings.Repeat("c", len(exact))+"\n1700000000: next\n")
}

func TestLineStaysOne(t *testing.T) {
	f := newFixture(t, Options{Stderr: true, Classes: usual})
	f.Logf(core.LogNotice, "\t%s", "a\nb\r\nc\x01")
	f.expect("", "\ta b  c\x01\n")
}

func TestClasses(t *testing.T) {
	words := []string{"error", "warning", "notice", "information", "debug", "subscribe", "unsubscribe", "websockets", "internal"}
	all := strings.Join(words, " ")
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"default", Options{Stdout: true, Classes: usual}, "error warning notice information"},
		{"chosen", Options{Stdout: true, Classes: core.LogDebug | core.LogUnsubscribe}, "debug unsubscribe"},
		{"no class", Options{Stdout: true}, ""},
		{"verbose", Options{Stdout: true, Classes: core.LogError, Verbose: true}, all},
		{"quiet", Options{Stdout: true, Classes: usual, Quiet: true}, ""},
		{"quiet beats verbose", Options{Stdout: true, Classes: usual, Verbose: true, Quiet: true}, ""},
		{"no destination", Options{Classes: usual, Verbose: true}, ""},
	} {
		f := newFixture(t, c.o)
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

func TestIsLazy(t *testing.T) {
	f := newFixture(t, Options{Stderr: true, Classes: usual})
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

func TestDestinations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newFixture(t, Options{Stdout: true, Stderr: true, File: path, Classes: usual})
	f.Logf(core.LogNotice, "one")
	f.Flush()
	f.Logf(core.LogNotice, "two")
	f.expect("one\ntwo\n", "one\ntwo\n")
	expectFile(t, path, "one\ntwo\n")
}

func TestWritesOnFlush(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := newLog(Options{Stdout: true, Classes: usual}, time.Now, w, io.Discard, backlogMax)
	defer l.Close()
	l.Logf(core.LogNotice, "line")
	l.Flush()
	buf := make([]byte, 16) // without a Sync
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "line\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

func TestFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	for _, line := range []string{"first", "second"} {
		f := newFixture(t, Options{File: path, Classes: usual})
		f.Logf(core.LogNotice, "%s", line)
		f.expect("", "")
	}
	expectFile(t, path, "first\nsecond\n")
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newFixture(t, Options{File: path, Classes: usual})
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

func TestFileCannotBeOpened(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(folder, "midge.log")
	f := newFixture(t, Options{Stdout: true, File: path, Classes: core.LogNotice | core.LogDebug, Timestamp: true})
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
func TestFileFailureLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "midge.log")
	f := newFixture(t, Options{File: path, Classes: usual})
	f.Logf(core.LogNotice, "early")
	f.Flush()
	f.Sync()
	f.Logf(core.LogNotice, "late")
	f.expect("", "Error: Unable to open log file "+path+" for writing.\nearly\n")
}

// A failure that is heard of late must not silence the options that came after.
func TestFailureOfOldOptions(t *testing.T) {
	f := newFixture(t, Options{File: filepath.Join(t.TempDir(), "missing", "x"), Classes: usual})
	f.Configure(Options{Stdout: true, Classes: usual})
	f.Logf(core.LogNotice, "seen")
	f.Sync()
	f.Logf(core.LogNotice, "seen too")
	f.Sync()
	if f.out.String() != "seen\nseen too\n" {
		t.Errorf("stdout holds %q", &f.out)
	}
}

func TestFileLink(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, Options{File: link, Classes: usual})
	f.expect("", "Error: Unable to open log file "+link+" for writing.\nError: "+link+" is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set.\n")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the link was followed: %v", err)
	}
	f = newFixture(t, Options{File: link, FollowLinks: true, Classes: usual})
	f.Logf(core.LogNotice, "line")
	f.expect("", "")
	expectFile(t, path, "line\n")
}

func TestConfigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.log")
	f := newFixture(t, Options{Stderr: true, Classes: usual, Timestamp: true})
	f.Logf(core.LogNotice, "start")
	f.Configure(Options{Stdout: true, File: path, Classes: core.LogDebug, Timestamp: true, TimestampFormat: "%F"})
	f.Logf(core.LogNotice, "nobody wants this")
	f.Logf(core.LogDebug, "packet")
	f.Configure(Options{})
	f.Logf(core.LogError, "nor this")
	f.expect("2023-11-14: packet\n", "1700000000: start\n")
	expectFile(t, path, "2023-11-14: packet\n")
}
