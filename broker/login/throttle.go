package login

import (
	"container/list"
	"math"
	"net/netip"

	"midge/broker/core"
	"midge/persist"
)

// throttle slows down guessing. An address has so many places for logins at once. One
// that went well gives its place back; one that failed keeps it until time has
// forgiven it. Who finds no place waits, in order, and the wait is what a
// guesser meets: the answer comes late, to a right password too, for else its early
// answer would tell. Nobody is refused but where too many wait.
type throttle struct {
	burst     int // places of an address
	perMinute int // failures forgiven; 0, of either, is no limit
	places    map[netip.Addr]*place
	queues    map[*place]struct{} // those that somebody waits for
	waiting   int
	bytes     int       // of those who wait
	changed   bool      // since next found nobody
	swept     core.Time // when it was last looked for places to forget
	wake      core.Time // when next may find somebody, if nothing changes
}

// place is what is known of an address.
type place struct {
	addr   netip.Addr
	inside int       // logins under way
	failed float64   // not yet forgiven
	at     core.Time // when that was so
	queue  list.List // of *attempt, who wait
}

// Limits of the table: addresses that are remembered, and who waits, in all and
// for one address that has failed.
const (
	placesMax  = 16384
	waitingMax = 1000
	queueMax   = 500

	// A flood of addresses has the table looked through no more often than that, in
	// milliseconds.
	sweepEvery = 1000
)

// admission is what comes of asking for a place.
type admission uint8

const (
	enters admission = iota
	waits
	full
)

func newThrottle() *throttle {
	return &throttle{
		places: make(map[netip.Addr]*place), queues: make(map[*place]struct{}), wake: persist.Never,
	}
}

// configure sets the limits.
func (t *throttle) configure(burst, perMinute int) {
	t.burst, t.perMinute, t.changed = burst, perMinute, true
}

// origin is the address as it is counted: of IPv6 the network, for a host has as many
// addresses there as it likes.
func origin(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// enter asks for a place.
func (t *throttle) enter(a *attempt, from netip.Addr, now core.Time) admission {
	if !t.limits() {
		return enters
	}
	p := t.at(origin(from), now)
	if p == nil {
		return enters
	}
	a.place = p
	switch {
	case p.queue.Len() == 0 && t.free(p, now):
		p.inside++
		return enters
	case t.waiting >= waitingMax, p.queue.Len() >= queueMax && p.failed > 0, t.bytes+a.size() > passwordsMax:
		a.place = nil
		return full
	}
	p.queue.PushBack(a)
	t.queues[p] = struct{}{}
	t.wake = min(t.wake, t.ready(p))
	t.waiting++
	t.bytes += a.size()
	return waits
}

func (t *throttle) limits() bool { return t.burst > 0 && t.perMinute > 0 }

// at finds what is known of an address. It is nil when there are so many that
// another one is not remembered.
func (t *throttle) at(addr netip.Addr, now core.Time) *place {
	if p := t.places[addr]; p != nil {
		return p
	}
	if len(t.places) >= placesMax && now-t.swept >= sweepEvery {
		t.sweep(now)
	}
	if len(t.places) >= placesMax {
		return nil
	}
	p := &place{addr: addr, at: now}
	t.places[addr] = p
	return p
}

// sweep forgets addresses of which there is nothing to remember.
func (t *throttle) sweep(now core.Time) {
	t.swept = now
	for _, p := range t.places {
		t.forget(p, now)
	}
}

func (t *throttle) forget(p *place, now core.Time) {
	if t.forgive(p, now); p.inside == 0 && p.failed == 0 && p.queue.Len() == 0 {
		delete(t.places, p.addr)
	}
}

// forgive lets time work.
func (t *throttle) forgive(p *place, now core.Time) {
	p.failed = max(0, p.failed-float64(now-p.at)*float64(t.perMinute)/60_000)
	p.at = now
}

// free says whether the address has a place left.
func (t *throttle) free(p *place, now core.Time) bool {
	t.forgive(p, now)
	return !t.limits() || float64(p.inside)+p.failed <= float64(t.burst-1)
}

// done gives a place back.
func (t *throttle) done(a *attempt, right bool, now core.Time) {
	p := a.place
	if p == nil {
		return
	}
	a.place = nil
	p.inside--
	t.changed = true
	t.forgive(p, now)
	if !right {
		p.failed++
	}
	t.forget(p, now)
}

// leave takes one out who waits, and says whether it did.
func (t *throttle) leave(a *attempt) bool {
	if a.place == nil {
		return false
	}
	for e := a.place.queue.Front(); e != nil; e = e.Next() {
		if e.Value == a {
			t.take(a.place, e)
			return true
		}
	}
	return false
}

func (t *throttle) take(p *place, e *list.Element) *attempt {
	a := p.queue.Remove(e).(*attempt)
	t.waiting--
	t.bytes -= a.size()
	if p.queue.Len() == 0 {
		delete(t.queues, p)
	}
	return a
}

// next is one who waited and has a place now, nil if there is none.
func (t *throttle) next(now core.Time) *attempt {
	if !t.changed && now < t.wake {
		return nil
	}
	t.changed, t.wake = true, persist.Never
	for p := range t.queues {
		if t.free(p, now) {
			p.inside++
			return t.take(p, p.queue.Front())
		}
		t.wake = min(t.wake, t.ready(p))
	}
	t.changed = false
	return nil
}

// due is when time alone makes the next place free.
func (t *throttle) due() core.Time { return t.wake }

// ready is when time alone makes a place free at an address, as of its last forgiving.
func (t *throttle) ready(p *place) core.Time {
	most := float64(t.burst - 1)
	if float64(p.inside) > most {
		return persist.Never // somebody has to leave first
	}
	over := max(0, float64(p.inside)+p.failed-most)
	return p.at + core.Time(math.Ceil(over*60_000/float64(t.perMinute)))
}
