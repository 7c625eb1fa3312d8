package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDaemon: with -d the process that was started ends at once, and the one in
// the background writes its pid, logs to its file and cleans up when stopped.
func TestDaemon(t *testing.T) {
	t.Parallel()
	for range 20 {
		if inBackground(t) {
			return
		}
	}
	t.Fatal("no free port")
}

// inBackground is one try; false means that the port was taken. The log file is
// a pipe: what it says is heard when it is said, and it ends with the process.
func inBackground(t *testing.T) bool {
	pipe := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	log := newLines()
	go func() {
		defer log.end()
		if f, err := os.Open(pipe); err == nil {
			io.Copy(log, f)
			f.Close()
		}
	}()
	s := launch(t, "log_timestamp false\nlistener {port} 127.0.0.1\nallow_anonymous true\n"+
		"pid_file pid\nlog_dest file "+pipe+"\n", "-c", "mosquitto.conf", "-d")
	if status := s.exit(); status != 0 || len(s.log.all()) != 0 || len(s.stdout.all()) != 0 {
		t.Fatalf("status %d, stderr %q, stdout %q", status, s.log.all(), s.stdout.all())
	}
	s.log = log // of the process in the background
	if !s.running() {
		if s.count("Address already in use") == 0 {
			t.Fatalf("it does not start: %q", log.all())
		}
		return false
	}
	pidFile := filepath.Join(s.dir, "pid") // the working directory stays what it was
	p := processOf(t, pidFile)
	c := s.connect("a", 4, "clean")
	c.lives()
	p.detached(t, s.dir)

	p.signal(t, unix.SIGTERM)
	c.expect("close")
	p.ends(t)
	s.await("mosquitto version " + version + " terminating")
	if line, ok := log.at(log.next); ok {
		t.Errorf("after the end: %s", line)
	}
	if _, err := os.Stat(pidFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file is left: %v", err)
	}
	return true
}

// process is one that is not our child.
type process struct{ pid, fd int }

// processOf finds the process that wrote a pid file.
func processOf(t *testing.T, file string) process {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatalf("the pid file: %q", text)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		unix.Close(fd)
	})
	return process{pid, fd}
}

func (p process) signal(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// ends waits for its end.
func (p process) ends(t *testing.T) {
	t.Helper()
	late := time.Now().Add(patience)
	for {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(time.Until(late).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatal("it does not end")
		default:
			return
		}
	}
}

// detached checks that it leads a session of its own, in its old working
// directory, without the standard streams.
func (p process) detached(t *testing.T, dir string) {
	t.Helper()
	if sid, err := unix.Getsid(p.pid); err != nil || sid != p.pid {
		t.Errorf("its session is %d, %v", sid, err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"cwd": dir, "fd/0": "/dev/null", "fd/1": "/dev/null", "fd/2": "/dev/null"}
	for name, want := range links {
		got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", p.pid, name))
		if err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
}

// TestDaemonMisuse: what is wrong with the configuration is said before the
// process goes into the background.
func TestDaemonMisuse(t *testing.T) {
	t.Parallel()
	s := launch(t, "max_qos 7\nlistener {port}\n", "-d", "-c", "{conf}")
	if status := s.exit(); status != 3 || s.count("Error: 'max_qos' must be between 0 and 2 inclusive.") != 1 {
		t.Errorf("status %d, %q", status, s.log.all())
	}
}

// TestServiceManager: systemd is told that midge is ready, reloads and stops, and that
// it is alive, by a socket with a path or an abstract one.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	name := "midge-test-" + strconv.Itoa(os.Getpid())
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), "@" + name} {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(patience))
		hear := func(want string) {
			t.Helper()
			for {
				var b [256]byte
				n, err := conn.Read(b[:])
				got := string(b[:n])
				if err == nil && got == "WATCHDOG=1" && got != want {
					continue
				}
				if stamp, ok := strings.CutPrefix(got, "RELOADING=1\nMONOTONIC_USEC="); ok {
					if _, bad := strconv.ParseUint(stamp, 10, 64); bad == nil {
						got = "RELOADING=1"
					}
				}
				if err != nil || got != want {
					t.Fatalf("heard %q, %v, not %s", got, err, want)
				}
				return
			}
		}
		by := []string{"env", "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=20000"}
		var s *server
		for s == nil || !s.running() {
			s = launchBy(t, by, "log_timestamp false\nlistener {port} 127.0.0.1\n", "-c", "{conf}")
		}
		hear("READY=1")
		hear("WATCHDOG=1")
		s.reload("listener {port} 127.0.0.1\n", loaded)
		hear("RELOADING=1")
		hear("READY=1")
		s.reload("nonsense\n", "Error: Unknown configuration variable 'nonsense'.", "Error found at {conf}:2.", stays)
		hear("RELOADING=1")
		hear("READY=1")
		hear("WATCHDOG=1")
		s.stop(unix.SIGTERM)
		hear("STOPPING=1")
	}
}
