package loop

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit raises the number of descriptors that the process may have
// open to the hard limit, and returns it. Go's runtime does the same at start,
// and puts the old limit back for the children it starts; that is kept up when
// there is nothing left to raise. More needs a higher hard limit, from ulimit
// or systemd's LimitNOFILE.
func RaiseFileLimit() (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if lim.Cur == lim.Max {
		return lim.Cur, nil
	}
	was := lim.Cur
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return was, os.NewSyscallError("setrlimit", err)
	}
	return lim.Cur, nil
}

// Reserve keeps one descriptor aside. When Accept fails with EMFILE or ENFILE,
// giving it up makes room to take the waiting connection and close it: the
// client learns that it is not wanted, and the listener, which would be
// reported readable for as long as somebody waits, falls silent.
type Reserve struct {
	fd int // -1 while none could be had
}

// NewReserve sets a descriptor aside.
func NewReserve() (*Reserve, error) {
	r := &Reserve{fd: -1}
	return r, r.take()
}

// take opens an eventfd, because it needs no file to exist.
func (r *Reserve) take() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	r.fd = fd
	return nil
}

// Shed takes one connection from the listening socket fd, closes it, and
// returns whom it came from. The errors are those of Accept. After EMFILE or
// ENFILE, which means that another goroutine was quicker to take the spared
// descriptor, the connection still waits; the listener had best rest a while.
func (r *Reserve) Shed(fd int) (netip.AddrPort, error) {
	r.Close()
	defer r.take() // what fails now is tried again by the next Shed
	nfd, addr, err := Accept(fd)
	if err != nil {
		return addr, err
	}
	return addr, Close(nfd)
}

// Close gives the descriptor back.
func (r *Reserve) Close() error {
	if r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return Close(fd)
}
