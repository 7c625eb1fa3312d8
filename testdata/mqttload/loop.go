package main

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop is the single-threaded event loop; there is exactly one.
type loop struct {
	ep     int
	family int
	sa     unix.Sockaddr
	spread bool // rotate source addresses 127.0.0.2-250
	srcs   int
	conns  []*conn
	evs    [1024]unix.EpollEvent
	rbuf   []byte
	acks   []byte
	wbuf   []byte
	dirty  []*group
	spare  []*group

	up, pending, subacks, pongs int
	lag                         int // deliveries due but not received
	left                        int // messages not yet published
	inflight                    int // publishes whose handshake is open
	now                         time.Time
	progress                    time.Time
	nap, napMax                 int64     // ns slept per turn to collect more input
	busy                        int64     // broker's run and run queue time at the last sample
	busyAt                      time.Time // of that sample
	busyNext                    time.Time
	full                        int // events handled in turns that had more of them
	bytes, reads, pkts          int // this turn
	totReads, totWrites         int
	pingCur                     int
	pingStart                   time.Time

	v         verifier
	h         *hist
	epoch     time.Time
	warm      int64 // ns after epoch from which latencies count
	subQos    byte
	retained  bool // deliveries must carry the retain flag
	size      int
	topics    topicSet
	fill      []byte
	stopPub   bool
	allGroups []*group
}

var l *loop

type failure string

func failf(f string, a ...any) { panic(failure(fmt.Sprintf(f, a...))) }

func must(err error, what string) {
	if err != nil {
		failf("%s: %v", what, err)
	}
}

func newLoop() *loop {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(err, "epoll_create")
	now := time.Now()
	nl := &loop{ep: ep, now: now, progress: now, epoch: now, pingStart: now,
		rbuf: make([]byte, readSize+(128<<10)), subQos: o.qos, size: o.size,
		fill: make([]byte, max(o.size, 64))}
	for i := range nl.fill {
		nl.fill[i] = byte('a' + i%26)
	}
	nl.spread = o.ip.Is4()
	if o.ip.Is4() {
		nl.family, nl.sa = unix.AF_INET, &unix.SockaddrInet4{Port: o.port, Addr: o.ip.As4()}
	} else {
		nl.family, nl.sa = unix.AF_INET6, &unix.SockaddrInet6{Port: o.port, Addr: o.ip.As16()}
	}
	return nl
}

// turn waits for input for at most wait and handles it.
func (l *loop) turn(wait time.Duration) {
	if l.nap > 0 && l.full == 0 && wait > 0 {
		ts := unix.NsecToTimespec(l.nap)
		unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	ts := unix.NsecToTimespec(int64(wait))
	r, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.ep), uintptr(unsafe.Pointer(&l.evs)),
		uintptr(len(l.evs)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	n := int(r)
	if e == unix.EINTR {
		n = 0
	} else if e != 0 {
		failf("epoll_pwait2: %v", e)
	}
	l.now = time.Now()
	l.bytes, l.reads, l.pkts = 0, 0, 0
	for i := range n {
		ev := &l.evs[i]
		c := l.conns[ev.Fd]
		if ev.Events&unix.EPOLLOUT != 0 && c.fd >= 0 && len(c.out) > 0 {
			l.flush(c)
		}
		if ev.Events&^unix.EPOLLOUT != 0 && c.fd >= 0 {
			l.readable(c)
		}
	}
	if l.full += n; n < len(l.evs) || l.full >= len(l.conns) {
		l.full = 0
	}
	if l.napMax > 0 && l.reads > 0 {
		l.adapt()
	}
	if o.limit > time.Duration(o.keepalive)*time.Second {
		l.keepAlive()
	}
}

// adapt makes the sleep longer while reads bring little, and shorter when the
// broker has nothing left to do. That shows in the lag at QoS 0; with handshakes
// it takes a look at the broker's run time.
func (l *loop) adapt() {
	want := 100 // packets per read
	if l.subQos > 0 || l.inflight > 0 {
		want = 20 // clients that acknowledge much later than real ones cost brokers more
	}
	switch {
	case l.lag <= 0 && l.inflight == 0:
		l.nap /= 2
	case l.pkts < l.reads*want && l.bytes < l.reads*8192:
		l.nap += l.nap/4 + 5000
	case l.bytes > l.reads*65536:
		l.nap -= l.nap / 8
	}
	if o.pid != 0 && l.now.After(l.busyNext) {
		began := time.Now()
		busy := busyTime(o.pid)
		now := time.Now()
		if d := now.Sub(l.busyAt); d < time.Second {
			switch share := float64(busy-l.busy) / float64(d); {
			case share < 0.93:
				l.napMax = max(5000, l.napMax*7/10)
			case share > 0.97:
				l.napMax = min(napLimit(), l.napMax*5/4)
			}
		}
		l.busy, l.busyAt = busy, now
		l.busyNext = now.Add(max(40*time.Millisecond, 200*now.Sub(began)))
	}
	l.nap = min(l.nap, l.napMax)
}

// napLimit is the longest sleep in ns; many clients take longer to collect input.
func napLimit() int64 {
	if o.coalesce >= 0 {
		return int64(o.coalesce) * 1000
	}
	return min(100e6, max(10e6, 50e3*int64(len(l.conns))))
}

// keepAlive spreads one PINGREQ per client over half the keepalive time.
func (l *loop) keepAlive() {
	half := time.Duration(o.keepalive) * time.Second / 2
	due := int(int64(len(l.conns)) * int64(l.now.Sub(l.pingStart)) / max(1, int64(half)))
	for ; l.pingCur < min(due, len(l.conns)); l.pingCur++ {
		if c := l.conns[l.pingCur]; c.st == stUp {
			l.write(c, pktPing)
		}
	}
	if due >= len(l.conns) {
		l.pingStart, l.pingCur = l.now, 0
	}
}

// run turns the loop until done or the deadline; it reports whether done.
func (l *loop) run(until time.Time, done func() bool) bool {
	for {
		l.feedDirty()
		if done() {
			return true
		}
		if l.now.After(until) {
			return false
		}
		l.turn(20 * time.Millisecond)
	}
}

func (l *loop) rest(d time.Duration) {
	if l.now = time.Now(); l.now.Before(o.hard) {
		l.run(l.now.Add(min(d, o.hard.Sub(l.now))), func() bool { return false })
	}
}

// open connects clients, a bounded number at a time.
func (l *loop) open(cs []*conn) {
	next, want := 0, l.up+len(cs)
	if !l.run(o.hard, func() bool {
		for next < len(cs) && l.pending < o.pending {
			l.dial(cs[next])
			next++
		}
		return l.up == want
	}) {
		failf("only %d of %d clients connected in time", l.up, want)
	}
}

// close disconnects clients and waits for the broker to close too.
func (l *loop) close(cs []*conn) {
	next, sent, up := 0, 0, l.up
	if !l.run(o.hard, func() bool {
		for ; next < len(cs) && sent-(up-l.up) < 1000; next++ {
			if cs[next].st == stUp {
				l.bye(cs[next])
				sent++
			}
		}
		return next == len(cs) && up-l.up >= sent
	}) {
		failf("the broker did not close %d connections after DISCONNECT", sent-(up-l.up))
	}
}

// subscribe sends one filter list per client and waits for every SUBACK.
func (l *loop) subscribe(cs []*conn, filters func(i int) []string) {
	want := l.subacks
	for i, c := range cs {
		f := filters(i)
		want += len(f)
		for k := 0; k < len(f); k += 100 {
			l.write(c, appSubscribe(l.wbuf[:0], 1+k/100, l.subQos, f[k:min(len(f), k+100)]...))
		}
	}
	l.waitFor(func() bool { return l.subacks >= want }, "SUBACKs")
}

// ping waits until every client's earlier packets have been handled.
func (l *loop) ping(cs []*conn) {
	want := l.pongs + len(cs)
	for _, c := range cs {
		l.write(c, pktPing)
	}
	l.waitFor(func() bool { return l.pongs >= want }, "PINGRESPs")
}

func (l *loop) waitFor(done func() bool, what string) {
	if !l.run(o.hard, done) {
		failf("no %s within the time limit", what)
	}
}
