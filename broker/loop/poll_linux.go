package loop

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eventsMax bounds the events of one turn. The kernel hands out ready
// descriptors in rotation, so those that did not fit come first next time.
const eventsMax = 1024

// restless is how long Wait blocks behind the scheduler's back before it goes to
// sleep properly, in milliseconds. It is less than the 10 ms after which the
// runtime begins to nudge a thread that seems to compute, and more than the gaps
// of any traffic worth the name.
const restless = 5

// Poller waits for descriptors and for mail. Make one with New.
type Poller struct {
	epoll  int               // epoll descriptor, -1 once closed
	raw    []unix.EpollEvent // what the kernel fills, eventsMax long
	events []Event           // what Wait returns, reused by each call
	mail   mailbox           // what other goroutines have posted

	sleeper *sleeper // for longer waits
	looked  error    // what came of the last look in one
	quiet   bool     // the last wait was longer
}

// New makes an empty Poller. Its descriptors are not inherited by children. On a
// machine with one processor it has Go take it for two: the system shares it out
// among the threads better than Go does, which would let a helper run for 10 ms
// while the loop has work, or keep helpers waiting while the loop has none.
func New() (*Poller, error) {
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
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
	if p.sleeper, err = newSleeper(epoll, p.lookNow); err == nil {
		err = p.Add(wake, Readable)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add begins to watch fd for ev, a set of Readable, Writable, Ended and Once.
func (p *Poller) Add(fd int, ev Events) error {
	return p.control("epoll_ctl add", unix.EPOLL_CTL_ADD, fd, ev)
}

// Mod replaces what fd is watched for. With an empty set fd still reports
// Hangup, over and over; with Once, once. Closing the last descriptor of a socket ends it.
func (p *Poller) Mod(fd int, ev Events) error {
	return p.control("epoll_ctl mod", unix.EPOLL_CTL_MOD, fd, ev)
}

func (p *Poller) control(call string, op, fd int, ev Events) error {
	e := unix.EpollEvent{Fd: int32(fd)}
	if ev&Readable != 0 {
		e.Events |= unix.EPOLLIN
	}
	if ev&Writable != 0 {
		e.Events |= unix.EPOLLOUT
	}
	if ev&Ended != 0 {
		e.Events |= unix.EPOLLRDHUP
	}
	if ev&Once != 0 {
		e.Events |= unix.EPOLLONESHOT
	}
	return os.NewSyscallError(call, unix.EpollCtl(p.epoll, op, fd, &e))
}

// Wait returns the descriptors that are ready. If there are none it blocks for up
// to timeout milliseconds: forever if timeout is negative, not at all if it is 0.
// It does not block while there is mail. It may return no events early, because
// of mail or a signal; the caller computes its timeout anew. The slice is valid
// until the next Wait.
//
// It blocks in two steps. A goroutine that is parked loses its processor, and waking
// it costs more than what a thousand messages a second do. So for the first few
// milliseconds the thread blocks behind the scheduler's back and keeps its processor;
// New sees to it that the process has another one for its helpers. The collector is not
// held up: it interrupts the call by a signal, again and again until it is heard. When
// it stays quiet the goroutine sleeps properly, and an idle process costs nothing.
// While all waits are long, the first step is left out.
func (p *Poller) Wait(timeout int) ([]Event, error) {
	if p.Mail() {
		timeout = 0
	}
	if !p.quiet || uint(timeout) <= restless {
		n, err := p.look(min(uint(timeout), restless))
		if p.collect(n); err != nil || len(p.events) > 0 || uint(timeout) <= restless || p.Mail() {
			return p.result(err)
		}
	}
	return p.result(p.sleep(timeout))
}

// sleep waits properly.
func (p *Poller) sleep(timeout int) error {
	begin := time.Now()
	p.collect(0) // a sleep without a look is possible
	p.looked = nil
	err := p.sleeper.sleep(timeout)
	p.quiet = time.Since(begin) >= restless*time.Millisecond
	return cmp.Or(p.looked, err)
}

// lookNow looks without waiting, and says whether there was something.
func (p *Poller) lookNow() bool {
	n, err := p.look(0)
	p.collect(n)
	p.looked = err
	return n > 0 || err != nil
}

// result is what Wait returns. To be interrupted is no error.
func (p *Poller) result(err error) ([]Event, error) {
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, os.NewSyscallError("epoll_wait", err)
	}
	return p.events, nil
}

// look waits for ready descriptors, for so many milliseconds, without telling the
// scheduler. epoll_pwait because arm64 has no epoll_wait.
func (p *Poller) look(wait uint) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(p.raw))), uintptr(len(p.raw)), uintptr(wait), 0, 0)
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
	if kernel&unix.EPOLLRDHUP != 0 {
		ev |= Ended
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
	if p.sleeper != nil {
		err = errors.Join(err, p.sleeper.close())
	}
	p.epoll, p.quiet = -1, false
	p.mail.close()
	return err
}
