package loop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unixMode lets owner and group connect to a Unix socket.
const unixMode = 0o770

// Listen opens a listening socket, non-blocking and not inherited by children.
//
// network is tcp4, tcp6 or unix. For the first two, address is an IP address
// and a port, "192.0.2.1:1883" or "[fe80::1%eth0]:1883"; without the IP address,
// ":1883", it is all addresses of that family, and of that family only. Port 0
// lets the kernel choose, see LocalAddr. For unix it is a path, created with
// mode 0770. A socket that stands there already is removed, since a process
// that was killed leaves one behind; any other file is an error.
//
// how says what else may be, of TCP sockets.
//
// Errors that come from the kernel name the call and wrap a syscall.Errno,
// EADDRINUSE for instance.
func Listen(network, address string, backlog int, how Bind) (fd int, err error) {
	if network == "unix" {
		return listenUnix(address, backlog)
	}
	return listenTCP(network, address, backlog, how)
}

// Bind is a set of ways to bind a TCP socket that are not the usual one.
type Bind uint8

const (
	// Absent: the machine need not have the address yet. Connections come when it
	// has.
	Absent Bind = 1 << iota

	// Beside: the port may be taken already, by sockets of the same user that have
	// made room, see MakeRoom.
	Beside
)

// MakeRoom lets other sockets be bound beside the listening TCP socket fd, or ends
// that. With two at the same address, each gets a share of the connections.
func MakeRoom(fd int, room bool) error {
	v := 0
	if room {
		v = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, v))
}

func listenTCP(network, address string, backlog int, how Bind) (int, error) {
	family, to, err := sockaddr(network, address)
	if err != nil {
		return -1, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	fd, err := socket(family)
	if err != nil {
		return -1, err
	}
	// After a restart the old connections in TIME_WAIT must not matter.
	err = setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err == nil && family == unix.AF_INET6 {
		err = setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	}
	if err == nil && how&Absent != 0 {
		err = setAbsent(fd, family)
	}
	if err == nil && how&Beside != 0 {
		err = MakeRoom(fd, true)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, to))
	}
	if fd, err = listen(fd, backlog, err); err == nil && how&Beside != 0 {
		MakeRoom(fd, false) // it is there; nobody else shall be
	}
	return fd, err
}

// setAbsent lets the socket be bound to an address that is not there.
func setAbsent(fd, family int) error {
	if family == unix.AF_INET6 {
		return setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND)
	}
	return setOption(fd, unix.IPPROTO_IP, unix.IP_FREEBIND)
}

func listenUnix(path string, backlog int) (int, error) {
	if strings.HasPrefix(path, "@") {
		path = "./" + path // a file of that name, not an abstract socket
	}
	if err := unlinkSocket(path); err != nil {
		return -1, err
	}
	fd, err := socket(unix.AF_UNIX)
	if err != nil {
		return -1, err
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	if err == nil {
		// Before listen, so nobody can have connected with the mode of bind.
		// Unlike a umask it does not touch files made meanwhile by helpers.
		err = os.NewSyscallError("chmod", unix.Chmod(path, unixMode))
	}
	return listen(fd, backlog, err)
}

// unlinkSocket removes path if it is a socket; anything else is left, and
// makes bind fail.
func unlinkSocket(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	return os.NewSyscallError("unlink", unix.Unlink(path))
}

func socket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

func setOption(fd, level, option int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, 1))
}

// listen is the last step of both kinds; err is that of the steps before it.
func listen(fd, backlog int, err error) (int, error) {
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sockaddr reads the address of a TCP listener.
func sockaddr(network, address string) (family int, sa unix.Sockaddr, err error) {
	var everywhere string
	switch network {
	case "tcp4":
		everywhere = "0.0.0.0"
	case "tcp6":
		everywhere = "[::]"
	default:
		return 0, nil, errors.New("unknown network")
	}
	if strings.HasPrefix(address, ":") {
		address = everywhere + address
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, nil, err
	}
	ip, port := ap.Addr(), int(ap.Port())
	if ip.Is4() != (network == "tcp4") {
		return 0, nil, errors.New("address of another family")
	}
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: ip.As4()}, nil
	}
	zone, err := zoneIndex(ip.Zone())
	return unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: ip.As16(), ZoneId: zone}, err
}

// zoneIndex is the number of the interface that a link-local address names,
// by its number or by its name.
func zoneIndex(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifr, err := unix.NewIfreq(zone)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", zone, err)
	}
	fd, err := socket(unix.AF_UNIX) // any socket can be asked
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("interface %s: %w", zone, err)
	}
	return ifr.Uint32(), nil
}

// Accept takes one connection from the listening socket fd. The new descriptor
// is non-blocking and not inherited by children. addr is the peer's, without a
// zone; it is the zero AddrPort for a Unix socket. When nobody is waiting, err
// is ErrAgain itself. A connection that broke before it was accepted is passed
// over. With EMFILE or ENFILE the connection still waits: see Reserve.
//
// It is the plain call and not unix.Accept4, which allocates what it returns and
// makes another call to ask the new socket for its protocol.
func Accept(fd int) (nfd int, addr netip.AddrPort, err error) {
	for {
		var from unix.RawSockaddrInet6 // has room for IPv4; a Unix socket's name may be cut off
		size := uint32(unsafe.Sizeof(from))
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch {
		case errno == 0:
			return int(n), peerAddr(&from), nil
		case errno == ErrAgain:
			return -1, netip.AddrPort{}, ErrAgain
		case !ofConnection(errno):
			return -1, netip.AddrPort{}, os.NewSyscallError("accept4", errno)
		}
	}
}

// peerAddr reads the address that the kernel has filled in.
func peerAddr(from *unix.RawSockaddrInet6) netip.AddrPort {
	var ip netip.Addr
	switch from.Family {
	case unix.AF_INET:
		ip = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr)
	case unix.AF_INET6:
		ip = netip.AddrFrom16(from.Addr)
	default:
		return netip.AddrPort{}
	}
	port := (*[2]byte)(unsafe.Pointer(&from.Port)) // in network order, and at the same place in both
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port[:]))
}

// ofConnection reports whether err, from accept, speaks of the connection that
// was taken from the queue and not of the listener; accept(2) lists them.
func ofConnection(err error) bool {
	switch err {
	case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENOPROTOOPT, unix.ENETDOWN,
		unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.ENETUNREACH:
		return true
	}
	return false
}

// LocalAddr is the address that a TCP socket is bound to.
func LocalAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	return addrPort(sa), os.NewSyscallError("getsockname", err)
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// SetNoDelay sends what is written to the TCP socket fd at once, without
// waiting for the acknowledgement of what went before.
func SetNoDelay(fd int) error {
	return setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
}
