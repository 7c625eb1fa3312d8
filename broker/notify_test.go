package broker

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"midge/broker/logging"
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
	hears(t, heard, notifyAlive)
	for range 3 {
		for !s.poll.Mail() {
			runtime.Gosched()
		}
		s.notify.tell("that was all")
		hears(t, heard, "that was all")
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
		hears(t, heard, notifyAlive)
	}
}

// TestNotifierEnvironment: what is no socket or no time is passed over, and children
// do not find any of it.
func TestNotifierEnvironment(t *testing.T) {
	for _, tt := range []struct {
		socket, period string
		told           bool
		watchdog       time.Duration
	}{
		{"", "2000000", false, 0},
		{"vsock:2:1", "2000000", false, 0},
		{"relative", "", false, 0},
		{"/run/notify", "", true, 0},
		{"@abstract", "2000000", true, time.Second},
		{"/run/notify", "1", true, 500 * time.Nanosecond},
		{"/run/notify", "0", true, 0},
		{"/run/notify", "-5", true, 0},
		{"/run/notify", "5s", true, 0},
		{"/run/notify", "9223372036854775807", true, 0},
	} {
		t.Setenv("NOTIFY_SOCKET", tt.socket)
		t.Setenv("WATCHDOG_USEC", tt.period)
		t.Setenv("WATCHDOG_PID", "1")
		n := newNotifier()
		if told := n != nil; told != tt.told || told && n.watchdog != tt.watchdog {
			t.Errorf("%+v: %+v", tt, n)
		}
		n.close()
		for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
			if _, there := os.LookupEnv(name); there {
				t.Errorf("%s is left", name)
			}
		}
	}
}

// TestNotifierNobodyListens: it does not hold up the loop, nor the end.
func TestNotifierNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	n := newNotifier()
	for range 10 * notifyQueue {
		n.tell(notifyAlive)
	}
	n.close()
}
