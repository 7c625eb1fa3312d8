package loop

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// lowerFileLimit sets the soft limit for the time of a test.
func lowerFileLimit(t *testing.T, n uint64) (hard uint64) {
	t.Helper()
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	was := lim
	lim.Cur = n
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	return was.Max
}

func TestRaiseFileLimit(t *testing.T) {
	hard := lowerFileLimit(t, 200)
	for range 2 {
		n, err := RaiseFileLimit()
		if n != hard || err != nil {
			t.Errorf("raised to %d, %v; the hard limit is %d", n, err, hard)
		}
		var lim unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
		if lim.Cur != hard {
			t.Errorf("the limit is %d, want %d", lim.Cur, hard)
		}
	}
}

func TestReserveSheds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd := listenTest(t, "unix", path)
	r, err := NewReserve()
	must(t, err)
	defer r.Close()
	var clients []net.Conn
	for range 2 {
		conn, err := net.Dial("unix", path)
		must(t, err)
		defer conn.Close()
		clients = append(clients, conn)
	}
	exhaust(t)

	for _, conn := range clients {
		if _, _, err := Accept(fd); !errors.Is(err, unix.EMFILE) {
			t.Fatalf("accept without a descriptor: %v", err)
		}
		if _, err := r.Shed(fd); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the shed client reads %d, %v", n, err)
		}
	}
	if _, err := r.Shed(fd); err != ErrAgain {
		t.Errorf("nobody left to shed: %v", err)
	}
}

func TestReserveLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd := listenTest(t, "unix", path)
	conn, err := net.Dial("unix", path)
	must(t, err)
	defer conn.Close()
	open := exhaust(t)

	r, err := NewReserve()
	if !errors.Is(err, unix.EMFILE) {
		t.Fatalf("NewReserve without a descriptor: %v", err)
	}
	if _, err := r.Shed(fd); !errors.Is(err, unix.EMFILE) {
		t.Errorf("shed without a reserve: %v", err)
	}
	open[0].Close()
	if _, err := r.Shed(fd); err != nil {
		t.Errorf("shed once there is room again: %v", err)
	}
	if r.fd < 0 {
		t.Error("the reserve was not taken back")
	}
	must(t, r.Close())
	must(t, r.Close())
}

// exhaust opens files until there are no descriptors left.
func exhaust(t *testing.T) []*os.File {
	t.Helper()
	lowerFileLimit(t, 200)
	var open []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, unix.EMFILE) {
			return open
		}
		must(t, err)
		t.Cleanup(func() { f.Close() })
		open = append(open, f)
	}
}
