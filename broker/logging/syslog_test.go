package logging

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"midge/broker/core"
)

// daemon is a syslogd that keeps what it is sent.
type daemon struct {
	t    *testing.T
	conn *net.UnixConn
}

func newDaemon(t *testing.T, path string) *daemon {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t, conn}
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) stop() { d.conn.Close() }

// next is the next datagram.
func (d *daemon) next() string {
	d.t.Helper()
	buf := make([]byte, 4096)
	d.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := d.conn.Read(buf)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(buf[:n])
}

// expect compares the next datagrams, less the time that syslog has in front.
func (d *daemon) expect(want ...string) {
	d.t.Helper()
	stamp := regexp.MustCompile(`^(<\d+>)[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (mosquitto)\[` + fmt.Sprint(os.Getpid()) + `\]: `)
	for _, w := range want {
		got := d.next()
		if !stamp.MatchString(got) {
			d.t.Errorf("%q is not in syslog's shape", got)
		}
		if got = stamp.ReplaceAllString(got, "$1"); got != w {
			d.t.Errorf("got %q, want %q", got, w)
		}
	}
}

// syslogFixture is a log to syslog at sockets of its own.
func syslogFixture(t *testing.T, o Options, stderr io.Writer, sockets ...string) *Log {
	o.Syslog = true
	moment := time.Date(2023, 11, 14, 23, 13, 20, 5e8, time.FixedZone("CET", 3600))
	l := &Log{now: func() time.Time { return moment }, writer: newWriter(io.Discard, stderr), limit: backlogMax}
	l.writer.socket = sockets
	l.Configure(o)
	t.Cleanup(l.Close)
	return l
}

// TestSyslog: each class has its severity, and each line its own datagram.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := newDaemon(t, path)
	l := syslogFixture(t, Options{Facility: 3, Classes: allClasses, Timestamp: true}, io.Discard, path+".missing", path)
	want := []string{"<27>", "<28>", "<29>", "<30>", "<31>", "<29>", "<29>", "<31>", "<27>"}
	for i := range want {
		l.Logf(core.Class(1)<<i, "line %d", i)
		want[i] += fmt.Sprintf("1700000000: line %d", i)
		if i%4 == 0 {
			l.Flush()
		}
	}
	l.Flush()
	d.expect(want...)
	l.Configure(Options{Syslog: true, Facility: 23, Classes: usual})
	l.Logf(core.LogDebug, "not wanted")
	l.Logf(core.LogNotice, "%s", strings.Repeat("x", 2000))
	l.Logf(core.LogError, "a\nb")
	l.Flush()
	d.expect("<189>"+strings.Repeat("x", 999), "<187>a b")
}

// TestSyslogRestarts: lines go to the daemon that is there. Those that found
// none are counted, and said once.
func TestSyslogRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var stderr bytes.Buffer
	l := syslogFixture(t, Options{Facility: 3, Classes: usual}, &stderr, path)
	for round := range 2 {
		d := newDaemon(t, path)
		l.Logf(core.LogNotice, "%d", round)
		l.Flush()
		d.expect(fmt.Sprintf("<29>%d", round))
		if round == 1 {
			l.Sync()
			d.expect("<28>Warning: 3 log lines were lost because they could not be written.")
			break
		}
		d.stop()
		os.Remove(path)
		for range 3 {
			l.Logf(core.LogNotice, "for nobody")
			l.Sync()
		}
		l.Sync()
	}
	l.Sync()
	if n := strings.Count(stderr.String(), "Warning: Unable to write to syslog: "); n != 1 || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("stderr has %q", &stderr)
	}
}

// TestSyslogStuck: a daemon that does not read holds the other destinations up
// once, and loses lines by a known number.
func TestSyslogStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := newDaemon(t, path)
	l := syslogFixture(t, Options{Facility: 3, Stderr: true, Classes: usual}, io.Discard, path)
	l.Sync()
	l.writer.syslog.patience = 50 * time.Millisecond
	const lines = 400 // more than a socket holds
	for range lines {
		l.Logf(core.LogNotice, "line")
		l.Flush()
	}
	if !l.Sync() {
		t.Error("the lines are not written")
	}
	taken := 0
	for !strings.Contains(d.next(), "later") {
		taken++
		if taken == 1 { // there is room again
			l.Logf(core.LogNotice, "later")
			l.Flush()
		}
	}
	l.Sync()
	d.expect(fmt.Sprintf("<28>Warning: %d log lines were lost because they could not be written.", lines-taken))
}
