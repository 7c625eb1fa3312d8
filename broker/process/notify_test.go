package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
		n := NewNotifier()
		if told := n != nil; told != tt.told || told && n.watchdog != tt.watchdog {
			t.Errorf("%+v: %+v", tt, n)
		}
		n.Close()
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
	n := NewNotifier()
	for range 10 * notifyQueue {
		n.Tell(Alive)
	}
	n.Close()
}
