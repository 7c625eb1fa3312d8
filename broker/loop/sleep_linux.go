package loop

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper lets the loop's goroutine sleep as one that waits for the network does:
// parked, with the runtime's own poller watching for it. A thread that comes back
// from a blocking system call instead rouses the runtime's monitor, which then looks
// around every 20 µs for a while; with 20 wake-ups a second that costs ten times what
// the broker does.
//
// The runtime watches outer, and outer watches inner, the Poller's epoll, but only
// while somebody sleeps: what happens on inner meanwhile wakes nobody.
type sleeper struct {
	inner, outer int             // epoll descriptors
	file         *os.File        // outer, as the runtime knows it
	conn         syscall.RawConn // file's
	bounded      bool            // file has a deadline
	look         func(uintptr) bool
}

// newSleeper makes a sleeper that is roused when look, which asks inner for events, has
// an answer.
func newSleeper(inner int, look func() (answer bool)) (*sleeper, error) {
	outer, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(outer, true); err != nil { // else os does not give it to the runtime
		unix.Close(outer)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &sleeper{inner: inner, outer: outer, file: os.NewFile(uintptr(outer), "epoll")}
	s.look = func(uintptr) bool { return look() }
	s.conn, err = s.file.SyscallConn()
	if err = errors.Join(err, s.control(unix.EPOLL_CTL_ADD, 0), s.file.SetReadDeadline(time.Time{})); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

// sleep parks the goroutine until look has an answer, for so many milliseconds at
// most; forever if that is negative.
func (s *sleeper) sleep(timeout int) error {
	if err := s.limit(timeout); err != nil {
		return err
	}
	if err := s.control(unix.EPOLL_CTL_MOD, unix.EPOLLIN); err != nil {
		return err
	}
	err := s.conn.Read(s.look) // looks first: outer need not tell of what came before
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, s.control(unix.EPOLL_CTL_MOD, 0))
}

// limit bounds the next sleep.
func (s *sleeper) limit(timeout int) error {
	if timeout < 0 && !s.bounded {
		return nil
	}
	var until time.Time
	if s.bounded = timeout >= 0; s.bounded {
		until = time.Now().Add(time.Duration(timeout) * time.Millisecond)
	}
	return s.file.SetReadDeadline(until)
}

// control says what of inner outer watches for.
func (s *sleeper) control(op int, events uint32) error {
	e := unix.EpollEvent{Events: events}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.outer, op, s.inner, &e))
}

func (s *sleeper) close() error { return s.file.Close() }
