package loop

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func listenTest(t *testing.T, network, address string) int {
	t.Helper()
	fd, err := Listen(network, address, 10, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, name)
	must(t, err)
	return v
}

func TestAcceptTCP(t *testing.T) {
	fd := listenTest(t, "tcp4", "127.0.0.1:0")
	if nfd, _, err := Accept(fd); nfd != -1 || err != ErrAgain {
		t.Fatalf("accept with nobody there: %d, %v", nfd, err)
	}
	at, err := LocalAddr(fd)
	must(t, err)
	conn, err := net.Dial("tcp", at.String())
	must(t, err)
	defer conn.Close()

	nfd, from, err := Accept(fd)
	must(t, err)
	defer unix.Close(nfd)
	if want := conn.LocalAddr().String(); from.String() != want {
		t.Errorf("peer %v, want %v", from, want)
	}
	for _, fd := range []int{fd, nfd} {
		if !hasFlags(t, fd, unix.F_GETFL, unix.O_NONBLOCK) {
			t.Errorf("descriptor %d can block", fd)
		}
		if !hasFlags(t, fd, unix.F_GETFD, unix.FD_CLOEXEC) {
			t.Errorf("descriptor %d is inherited by children", fd)
		}
	}
	if option(t, nfd, unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0 {
		t.Error("no delay before it was asked for")
	}
	must(t, SetNoDelay(nfd))
	if option(t, nfd, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
		t.Error("SetNoDelay did nothing")
	}
}

func TestListenTCPAgain(t *testing.T) {
	fd := listenTest(t, "tcp4", "127.0.0.1:0")
	if option(t, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR) == 0 {
		t.Error("SO_REUSEADDR is not set")
	}
	at, err := LocalAddr(fd)
	must(t, err)
	if _, err := Listen("tcp4", at.String(), 10, 0); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("second listener: %v", err)
	}
}

func TestListenTCP6(t *testing.T) {
	fd, err := Listen("tcp6", ":0", 10, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Log("the kernel has no IPv6; that error is the right one")
		return
	}
	must(t, err)
	defer func() { unix.Close(fd) }()
	if option(t, fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) != 1 {
		t.Error("an IPv6 listener takes IPv4 connections")
	}
	at, err := LocalAddr(fd)
	must(t, err)
	if at.Addr() != netip.IPv6Unspecified() {
		t.Errorf("bound to %v", at)
	}
	// The same port is free for the other family, but somebody else may have it.
	other, err := Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()).String(), 10, 0)
	for tries := 0; errors.Is(err, unix.EADDRINUSE) && tries < 20; tries++ {
		unix.Close(fd)
		fd, err = Listen("tcp6", ":0", 10, 0)
		must(t, err)
		at, err = LocalAddr(fd)
		must(t, err)
		other, err = Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()).String(), 10, 0)
	}
	must(t, err)
	unix.Close(other)
}

func TestSockaddr(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	for _, c := range []struct {
		network, address string
		want             unix.Sockaddr
	}{
		{"tcp4", "192.0.2.1:1883", &unix.SockaddrInet4{Port: 1883, Addr: [4]byte{192, 0, 2, 1}}},
		{"tcp4", ":1883", &unix.SockaddrInet4{Port: 1883}},
		{"tcp6", ":65535", &unix.SockaddrInet6{Port: 65535}},
		{"tcp6", "[::1]:1", &unix.SockaddrInet6{Port: 1, Addr: [16]byte{15: 1}}},
		{"tcp6", "[fe80::1%7]:1", &unix.SockaddrInet6{Port: 1, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}, ZoneId: 7}},
		{"tcp6", "[fe80::1%lo]:1", &unix.SockaddrInet6{Port: 1, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}, ZoneId: uint32(lo.Index)}},
	} {
		_, got, err := sockaddr(c.network, c.address)
		if err != nil {
			t.Errorf("%s %s: %v", c.network, c.address, err)
			continue
		}
		switch want := c.want.(type) {
		case *unix.SockaddrInet4:
			if g, ok := got.(*unix.SockaddrInet4); !ok || g.Port != want.Port || g.Addr != want.Addr {
				t.Errorf("%s %s: got %+v", c.network, c.address, got)
			}
		case *unix.SockaddrInet6:
			if g, ok := got.(*unix.SockaddrInet6); !ok || g.Port != want.Port || g.Addr != want.Addr || g.ZoneId != want.ZoneId {
				t.Errorf("%s %s: got %+v", c.network, c.address, got)
			}
		}
	}
}

func TestListenBadAddress(t *testing.T) {
	for _, c := range [][2]string{
		{"udp", "127.0.0.1:1"},
		{"tcp4", ""},
		{"tcp4", "127.0.0.1"},
		{"tcp4", "127.0.0.1:65536"},
		{"tcp4", "localhost:1883"},
		{"tcp4", "[::1]:1883"},
		{"tcp6", "127.0.0.1:1883"},
		{"tcp6", "[fe80::1%nosuchinterface]:1883"},
		{"tcp6", "[fe80::1%nosuchif0]:1883"},
	} {
		fd, err := Listen(c[0], c[1], 10, 0)
		if err == nil || fd != -1 || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s %s: %d, %v", c[0], c[1], fd, err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	// Neither a narrow nor a wide umask shows.
	for _, mask := range []int{0o077, 0} {
		defer unix.Umask(unix.Umask(mask))
		path := filepath.Join(t.TempDir(), "midge.sock")
		fd := listenTest(t, "unix", path)
		st, err := os.Lstat(path)
		must(t, err)
		if st.Mode() != fs.ModeSocket|0o770 {
			t.Errorf("mode %v, want socket 0770", st.Mode())
		}
		conn, err := net.Dial("unix", path)
		must(t, err)
		defer conn.Close()
		nfd, from, err := Accept(fd)
		must(t, err)
		defer unix.Close(nfd)
		if from.IsValid() {
			t.Errorf("a Unix peer has the address %v", from)
		}
	}
}

func TestListenUnixReplacesSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "midge.sock")
	old := listenTest(t, "unix", path)
	must(t, Close(old)) // as after kill -9: the file stays
	listenTest(t, "unix", path)
	conn, err := net.Dial("unix", path)
	must(t, err)
	conn.Close()
}

func TestListenUnixKeepsOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(path, []byte("data"), 0o600))
	if _, err := Listen("unix", path, 10, 0); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "data" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

// TestListenAbsent: an address that no machine has can be listened at.
func TestListenAbsent(t *testing.T) {
	for network, address := range map[string]string{"tcp4": "203.0.113.77:0", "tcp6": "[2001:db8::77]:0"} {
		if _, err := Listen(network, address, 10, 0); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Logf("%s without being told: %v", address, err)
			continue // without IPv6
		}
		fd, err := Listen(network, address, 10, Absent)
		must(t, err)
		at, err := LocalAddr(fd)
		unix.Close(fd)
		if err != nil || !strings.HasPrefix(at.String(), strings.TrimSuffix(address, "0")) {
			t.Errorf("%v, %v", at, err)
		}
	}
}

// TestListenBeside: a port that another socket has can be had beside it if that one
// makes room, and only then.
func TestListenBeside(t *testing.T) {
	for old, now := range map[string]string{"127.0.0.1": "127.0.0.1", "127.0.0.2": "", "": "127.0.0.3"} {
		fd := listenTest(t, "tcp4", old+":0")
		at, err := LocalAddr(fd)
		must(t, err)
		address := now + ":" + strconv.Itoa(int(at.Port()))
		for _, how := range []Bind{0, Beside} {
			if _, err := Listen("tcp4", address, 10, how); !errors.Is(err, unix.EADDRINUSE) {
				t.Fatalf("%q beside %q without room: %v", now, old, err)
			}
		}
		must(t, MakeRoom(fd, true))
		if _, err := Listen("tcp4", address, 10, 0); !errors.Is(err, unix.EADDRINUSE) {
			t.Fatalf("%q over %q: %v", now, old, err)
		}
		other, err := Listen("tcp4", address, 10, Beside)
		must(t, err)
		must(t, MakeRoom(fd, false))
		if _, err := Listen("tcp4", address, 10, 0); !errors.Is(err, unix.EADDRINUSE) {
			t.Fatalf("a third at %q: %v", now, err)
		}
		unix.Close(other)
	}
}

func TestListenUnixAt(t *testing.T) {
	t.Chdir(t.TempDir())
	listenTest(t, "unix", "@midge")
	if _, err := os.Lstat("@midge"); err != nil {
		t.Errorf("an abstract socket instead of a file: %v", err)
	}
}

func TestListenUnixErrors(t *testing.T) {
	if _, err := Listen("unix", filepath.Join(t.TempDir(), "no", "such"), 10, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := Listen("unix", strings.Repeat("x", 200), 10, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("path too long: %v", err)
	}
}

func TestAcceptBadDescriptor(t *testing.T) {
	_, _, err := Accept(-1)
	if !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "accept4:") {
		t.Errorf("got %v", err)
	}
}
