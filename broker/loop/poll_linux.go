package loop

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eventsMax bounds the events of one turn. The kernel hands out ready
// descriptors in rotation, so those that did not fit come first next time.
const eventsMax = 1024

// Poller waits for descriptors and for mail. Make one with New.
type Poller struct {
	epoll  int               // epoll descriptor, -1 once closed
	raw    []unix.EpollEvent // what the kernel fills, eventsMax long
	events []Event           // what Wait returns, reused by each call
	mail   mailbox           // what other goroutines have posted
}

// New makes an empty Poller. Its descriptors are not inherited by children.
func New() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &Poller{
		epoll:  epoll,
		raw:    make([]unix.EpollEvent, eventsMax),
		events: make([]Event, 0, eventsMax),
		mail:   mailbox{wake: wake},
	}
	if err := p.Add(wake, Readable); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add begins to watch fd for ev, a set of Readable and Writable.
func (p *Poller) Add(fd int, ev Events) error {
	return p.control("epoll_ctl add", unix.EPOLL_CTL_ADD, fd, ev)
}

// Mod replaces what fd is watched for. With an empty set fd still reports
// Hangup, over and over; Del silences it.
func (p *Poller) Mod(fd int, ev Events) error {
	return p.control("epoll_ctl mod", unix.EPOLL_CTL_MOD, fd, ev)
}

// Del stops watching fd. Closing the last descriptor of a socket does the same.
func (p *Poller) Del(fd int) error {
	return p.control("epoll_ctl del", unix.EPOLL_CTL_DEL, fd, 0)
}

func (p *Poller) control(call string, op, fd int, ev Events) error {
	e := unix.EpollEvent{Fd: int32(fd)}
	if ev&Readable != 0 {
		e.Events |= unix.EPOLLIN
	}
	if ev&Writable != 0 {
		e.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError(call, unix.EpollCtl(p.epoll, op, fd, &e))
}

// Wait returns the descriptors that are ready. It looks once without waiting
// and, if there was nothing, blocks for up to timeout milliseconds: forever if
// timeout is negative, not at all if it is 0. It does not block while there is
// mail. It may return no events early, because of mail or a signal; the caller
// computes its timeout anew. The slice is valid until the next Wait.
func (p *Poller) Wait(timeout int) ([]Event, error) {
	n, err := p.look()
	p.collect(n)
	if err == nil && len(p.events) == 0 && timeout != 0 && !p.Mail() {
		// Told to the scheduler, which gives the processor to somebody else.
		n, err = unix.EpollWait(p.epoll, p.raw, min(timeout, math.MaxInt32))
		p.collect(max(n, 0))
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, os.NewSyscallError("epoll_wait", err)
	}
	return p.events, nil
}

// look asks for ready descriptors without waiting, and so may go past the
// scheduler. epoll_pwait because arm64 has no epoll_wait.
func (p *Poller) look() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(p.raw))), uintptr(len(p.raw)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// collect turns the kernel's first n events into ours, and swallows the
// wake-up of the mailbox.
func (p *Poller) collect(n int) {
	p.events = p.events[:0]
	for i := range p.raw[:n] {
		e := &p.raw[i]
		if int(e.Fd) == p.mail.wake {
			p.mail.hush()
			continue
		}
		p.events = append(p.events, Event{FD: e.Fd, Flags: flags(e.Events)})
	}
}

func flags(kernel uint32) Events {
	var ev Events
	if kernel&unix.EPOLLIN != 0 {
		ev |= Readable
	}
	if kernel&unix.EPOLLOUT != 0 {
		ev |= Writable
	}
	if kernel&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ev |= Hangup
	}
	return ev
}

// Close gives back the Poller's own descriptors, not those it watches. Mail
// that was not run is dropped, and so is what is posted later.
func (p *Poller) Close() error {
	if p.epoll < 0 {
		return nil
	}
	err := os.NewSyscallError("close", unix.Close(p.epoll))
	p.epoll = -1
	p.mail.close()
	return err
}
