package loop

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func newPoller(t testing.TB) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// pair is a connected, non-blocking pair of stream sockets.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect fails unless one look finds exactly these events, whatever their order.
func expect(t *testing.T, p *Poller, want map[int]Events) {
	t.Helper()
	events, err := p.Wait(0)
	must(t, err)
	got := map[int]Events{}
	for _, e := range events {
		got[int(e.FD)] = e.Flags
	}
	if len(got) != len(events) {
		t.Errorf("%v names a descriptor twice", events)
	}
	for fd, ev := range want {
		if got[fd] != ev {
			t.Errorf("descriptor %d: got events %03b, want %03b", fd, got[fd], ev)
		}
		delete(got, fd)
	}
	if len(got) != 0 {
		t.Errorf("unexpected events: %v", got)
	}
}

func TestReadableUntilRead(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	expect(t, p, nil)

	Write(b, []byte("xy"))
	expect(t, p, map[int]Events{a: Readable})
	buf := make([]byte, 1)
	Read(a, buf)
	expect(t, p, map[int]Events{a: Readable}) // level-triggered: a byte is left
	Read(a, buf)
	expect(t, p, nil)
}

func TestWritableOnlyWhenAsked(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	must(t, p.Add(b, Readable))
	expect(t, p, nil)

	must(t, p.Mod(a, Readable|Writable))
	expect(t, p, map[int]Events{a: Writable})
	fill(t, a)
	expect(t, p, map[int]Events{b: Readable})
	drain(t, b)
	expect(t, p, map[int]Events{a: Writable})
	must(t, p.Mod(a, Readable))
	expect(t, p, nil)
}

func fill(t *testing.T, fd int) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		if _, err := Write(fd, buf); err == ErrAgain {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func drain(t *testing.T, fd int) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		if _, err := Read(fd, buf); err == ErrAgain {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHangup(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))

	must(t, unix.Shutdown(b, unix.SHUT_WR)) // the peer may still read
	expect(t, p, map[int]Events{a: Readable})
	must(t, unix.Shutdown(b, unix.SHUT_RD))
	expect(t, p, map[int]Events{a: Readable | Hangup})
	must(t, p.Mod(a, 0))
	expect(t, p, map[int]Events{a: Hangup})
}

// TestOnce: what is reported once is not reported again before a Mod.
func TestOnce(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	must(t, p.Mod(a, Once))
	expect(t, p, nil)
	must(t, Close(b))
	expect(t, p, map[int]Events{a: Hangup})
	expect(t, p, nil)
	must(t, p.Mod(a, Once))
	expect(t, p, map[int]Events{a: Hangup})
	must(t, p.Mod(a, Readable|Once))
	expect(t, p, map[int]Events{a: Readable | Hangup})
	expect(t, p, nil)
	must(t, p.Mod(a, Readable))
	expect(t, p, map[int]Events{a: Readable | Hangup})
	expect(t, p, map[int]Events{a: Readable | Hangup})
}

// TestEnded: the end is told to those who do not read.
func TestEnded(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Ended))
	if _, err := Write(b, []byte("x")); err != nil {
		t.Fatal(err)
	}
	expect(t, p, nil)
	must(t, unix.Shutdown(b, unix.SHUT_WR))
	expect(t, p, map[int]Events{a: Ended})
	if !Unread(a) || Unread(b) {
		t.Error("unread bytes are not counted well")
	}
	byte1 := make([]byte, 8)
	if n, err := Read(a, byte1); n != 1 || err != nil || Unread(a) {
		t.Errorf("%d %v", n, err)
	}
	must(t, p.Mod(a, 0))
	expect(t, p, nil)
	unix.Close(b)
	expect(t, p, map[int]Events{a: Hangup})
}

func TestErrorIsHangup(t *testing.T) {
	p := newPoller(t)
	r, w := pipe(t)
	must(t, p.Add(w, 0))
	expect(t, p, nil)
	must(t, unix.Close(r)) // a pipe without a reader is EPOLLERR, not EPOLLHUP
	expect(t, p, map[int]Events{w: Hangup})
}

// pipe leaves closing the reading end to the test.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestClosedDescriptor(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	Write(b, []byte("x"))
	must(t, Close(a))
	expect(t, p, nil)

	for name, err := range map[string]error{
		"epoll_ctl add": p.Add(a, Readable),
		"epoll_ctl mod": p.Mod(a, Readable),
		"close":         Close(a),
	} {
		if !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestAddTwice(t *testing.T) {
	p := newPoller(t)
	a, _ := pair(t)
	must(t, p.Add(a, Readable))
	if err := p.Add(a, Readable); !errors.Is(err, unix.EEXIST) {
		t.Errorf("got %v, want EEXIST", err)
	}
}

// More descriptors are ready than one turn reports; all get their turn.
func TestMoreThanOneBatch(t *testing.T) {
	p := newPoller(t)
	limit, err := RaiseFileLimit()
	must(t, err)
	const n = eventsMax + 10
	if limit < n+64 {
		t.Fatalf("the limit of %d open files is too low for this test", limit)
	}
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		must(t, p.Add(fd, Writable))
	}
	seen := map[int32]bool{}
	for range 2 {
		events, err := p.Wait(0)
		must(t, err)
		if len(events) != eventsMax {
			t.Fatalf("got %d events, want %d", len(events), eventsMax)
		}
		for _, e := range events {
			seen[e.FD] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d descriptors were reported", len(seen), n)
	}
}

func TestWaitTimesOut(t *testing.T) {
	p := newPoller(t)
	a, _ := pair(t)
	must(t, p.Add(a, Readable))
	events, err := p.Wait(1)
	must(t, err)
	if len(events) != 0 {
		t.Errorf("got %v", events)
	}
}

func TestWaitBlocksUntilReadable(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	go Write(b, []byte("x"))
	for {
		events, err := p.Wait(-1)
		must(t, err)
		if len(events) == 0 {
			continue // a signal
		}
		if events[0] != (Event{FD: int32(a), Flags: Readable}) {
			t.Errorf("got %v", events)
		}
		return
	}
}

// TestSignals: they end a Wait early at most, and nothing gets lost by it.
func TestSignals(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR1)
	defer signal.Stop(caught)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(os.Getpid(), thread, unix.SIGUSR1)
				runtime.Gosched()
			}
		}
	}()
	early := 0
	for i := 0; i < 20 || early == 0 && i < 10_000; i++ {
		go Write(b, []byte("x"))
		events, err := p.Wait(-1)
		for ; len(events) == 0 && err == nil; events, err = p.Wait(-1) {
			early++
		}
		must(t, err)
		if events[0] != (Event{FD: int32(a), Flags: Readable}) {
			t.Fatalf("got %v", events)
		}
		_, err = Read(a, make([]byte, 8))
		must(t, err)
	}
	close(stop)
	<-stopped
	if early == 0 {
		t.Error("no signal has met Wait in the kernel")
	}
}

func TestWaitAfterClose(t *testing.T) {
	p := newPoller(t)
	must(t, p.Close())
	must(t, p.Close())
	events, err := p.Wait(-1)
	var call *os.SyscallError
	if !errors.As(err, &call) || call.Syscall != "epoll_wait" || len(events) != 0 {
		t.Errorf("got %v, %v", events, err)
	}
}

func TestDescriptorsAreNotInherited(t *testing.T) {
	p := newPoller(t)
	for name, fd := range map[string]int{"epoll": p.epoll, "eventfd": p.mail.wake, "outer epoll": p.sleeper.outer} {
		if !hasFlags(t, fd, unix.F_GETFD, unix.FD_CLOEXEC) {
			t.Errorf("%s is inherited by children", name)
		}
	}
}

func hasFlags(t *testing.T, fd, get, flags int) bool {
	t.Helper()
	got, err := unix.FcntlInt(uintptr(fd), get, 0)
	must(t, err)
	return got&flags == flags
}
