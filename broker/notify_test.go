package broker

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"midge/broker/logging"
	"midge/broker/process"
	"midge/conf"
)

// listenFor is a service manager that hears what it is told.
func listenFor(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return c
}

// hears reads one message.
func hears(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	var b [256]byte
	n, err := c.Read(b[:])
	if err != nil || string(b[:n]) != want {
		t.Fatalf("heard %q, %v, not %q", b[:n], err, want)
	}
}

// TestWatchdog: the sign of life comes by the loop. While it does not turn there is none.
func TestWatchdog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	heard := listenFor(t, name)
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "2000")
	c, _, err := conf.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := logging.New(logging.Options{}, time.Now)
	defer log.Close()
	s, err := newServer(c, Options{}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.shut()
	s.giveSigns()
	hears(t, heard, process.Alive)
	for range 3 {
		for !s.poll.Mail() {
			runtime.Gosched()
		}
		s.notify.Tell("that was all")
		hears(t, heard, "that was all")
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
		hears(t, heard, process.Alive)
	}
}
