package core

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"midge/packet"
	"midge/persist"
)

var errDown = errors.New("input/output error")

// downRefused are packets that would have to be recorded, and what becomes of them
// while nothing can be: an answer, or the end of the connection ("").
var downRefused = []struct {
	name       string
	do         func(p *peer)
	v31, v, v5 string // answers
}{
	{"QoS 1 for a session", func(p *peer) { p.say("t/1", "x", 1) }, "", "", "PUBACK id1 97"},
	{"QoS 2 for a session", func(p *peer) { p.say("t/1", "x", 2) }, "", "", "PUBREC id1 97"},
	{"QoS 1 for a group", func(p *peer) { p.say("g/1", "x", 1) }, "", "", "PUBACK id1 97"},
	{"QoS 2 of a session", func(p *peer) { p.say("nobody", "x", 2) }, "", "", "PUBREC id1 97"},
	{"QoS 1 to be retained", func(p *peer) { p.retain("r", "x", 1) }, "", "", "PUBACK id1 97"},
	{"QoS 1 that removes", func(p *peer) { p.retain("kept", "", 1) }, "", "", "PUBACK id1 97"},
	{"SUBSCRIBE", func(p *peer) { p.subscribe("x", 1) }, "", "SUBACK id1 [80]", "SUBACK id1 [97]"},
	{"UNSUBSCRIBE", func(p *peer) { p.unsubscribe("x") }, "", "", "UNSUBACK id1 [80]"},
}

// TestDownRefuses: what cannot be recorded has no effect, and is answered as the
// version can.
func TestDownRefuses(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		for _, c := range downRefused {
			t.Run(fmt.Sprintf("%s/v%d", c.name, v), func(t *testing.T) {
				r := newDownRig(t)
				p := r.join(v, "p", durably)
				before := r.durableState().lines()
				r.Synced(r.newest, syscall.ENOSPC, r.now)
				c.do(p)
				r.settle()
				want := map[packet.Version]string{packet.V31: c.v31, packet.V311: c.v, packet.V5: c.v5}[v]
				if want == "" {
					if !p.closed {
						t.Error("the connection is still there")
					}
					return
				}
				p.expect(want)
				if have := r.durableState().lines(); fmt.Sprint(have) != fmt.Sprint(before) {
					t.Errorf("it had an effect:\n%q\n%q", before, have)
				}
				r.Synced(r.newest, nil, r.now)
				p.nextID = 0
				c.do(p)
				r.settle()
				r.sync()
				if len(p.got) == 0 || p.got[0].reason.Failed() || p.got[0].codes >= "\x80" {
					t.Errorf("when it can be recorded again: %v", p.got)
				}
			})
		}
	}
}

// newDownRig has a session for t/#, one in a group for g/#, and a retained message.
func newDownRig(t *testing.T) *durableRig {
	r := newDurableRig(t)
	r.reader(packet.V311, "d", 2).leave()
	s := r.join(packet.V5, "s", durably)
	s.subscribe("$share/g/g/#", 1)
	r.settle()
	r.sync()
	q := r.join(packet.V5, "q")
	q.retain("kept", "x", 0)
	r.settle()
	r.sync()
	return r
}

// TestDownBetweenParts: of a packet with a great many filters those are refused that were
// not done before the disk was full, and the others are answered as they were.
func TestDownBetweenParts(t *testing.T) {
	const n = 1000
	for _, kind := range []packet.Type{packet.Subscribe, packet.Unsubscribe} {
		r := newDurableRig(t)
		c := r.join(packet.V5, "c", durably)
		was, refused, done := 0, "\x97", func(i int) string { return string(rune(i % 3)) }
		if kind == packet.Unsubscribe {
			c.send(filtersOf(packet.Subscribe, n))
			r.settle()
			r.sync()
			was, refused, done = n, "\x80", func(int) string { return "\x00" }
		}
		c.got = nil
		data := filtersOf(kind, n).Append(nil, packet.V5)
		if used, _ := r.Broker.Receive(&c.c, data, len(data), r.now); used != 0 {
			t.Fatal("it was done in one part")
		}
		made := max(r.stats.Subscriptions, was) - min(r.stats.Subscriptions, was)
		r.Synced(r.newest-1, syscall.ENOSPC, r.now)
		c.raw(data)
		if c.expect(); made == 0 {
			t.Fatal("the first part did nothing")
		}
		r.Synced(r.newest, syscall.ENOSPC, r.now)
		r.settle()
		var want string
		for i := range n {
			if i < made {
				want += done(i)
			} else {
				want += refused
			}
		}
		if len(c.got) != 1 || c.got[0].codes != want {
			t.Errorf("%v: %d answers, or wrong codes, after %d filters", kind, len(c.got), made)
		}
		if wrong := r.differs(r.Broker); wrong != "" {
			t.Error(wrong)
		}
	}
}

// TestDownConnect: a session that outlives its connection is not begun, gone on with
// or ended; one that does not is.
func TestDownConnect(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		r := newDownRig(t)
		r.Synced(r.newest, errDown, r.now)
		refused := "CONNACK 03"
		if v == packet.V5 {
			refused = "CONNACK 88"
		}
		for _, c := range []struct {
			id   string
			opts []option
			want string
		}{
			{"new", []option{durably}, refused},
			{"new", nil, "CONNACK"},
			{"d", []option{durably}, refused},
			{"d", nil, refused},
		} {
			p := r.dial(v, c.id, c.opts...)
			r.settle()
			p.expect(c.want)
		}
		if r.sessions["d"] == nil || r.sessions["d"].client != nil {
			t.Errorf("v%d: the session of a refused client is not what it was", v)
		}
	}
}

// TestDownGoesOn: what needs no record goes on, what cannot be refused too, and what
// waited is answered when the journal is up.
func TestDownGoesOn(t *testing.T) {
	r := newDownRig(t)
	p, s := r.join(packet.V5, "p", durably), r.join(packet.V311, "live")
	s.subscribe("free/#", 1)
	r.settle()
	p.say("t/0", "x", 2)
	r.settle()
	r.sync()
	s.expect("SUBACK id1 [01]")
	p.expect("PUBREC id1")
	r.Synced(r.newest, errDown, r.now)
	p.say("free/1", "a", 1)
	p.say("t/1", "b", 0)
	r.settle()
	s.expect("PUBLISH free/1 a q1 id1")
	p.expect("PUBACK id2")
	p.ack(packet.Pubrel, 1)
	p.send(&packet.Packet{Type: packet.Pingreq})
	r.settle()
	p.expect("PINGRESP")
	if n := r.sessions["d"].waiting.len(); n != 1 {
		t.Errorf("%d messages wait", n)
	}
	p.say("t/0", "again", 2)
	r.settle()
	r.Synced(r.newest-1, nil, r.now)
	p.expect() // a refusal waits for its place
	r.sync()
	p.expect("PUBCOMP id1", "PUBREC id3 80")
	dropped := r.stats.PublishDropped
	r.Synced(r.newest, errDown, r.now)
	p.retain("r", "x", 0)
	r.settle()
	if _, had := r.retained.Load("r"); had || r.stats.PublishDropped != dropped+1 {
		t.Errorf("QoS 0 that cannot be recorded: retained %t, dropped %d", had, r.stats.PublishDropped-dropped)
	}
}

// TestOwing: while the recorder has too much to do, who makes records is not read, and
// is not held to be dead; others are.
func TestOwing(t *testing.T) {
	r := newDownRig(t)
	p, q := r.join(packet.V311, "p"), r.join(packet.V311, "q")
	r.Owing(true, r.now)
	q.say("nobody", "x", 1)
	if q.c.Paused() {
		t.Error("a client that makes no records is not read")
	}
	data := p.publishing("t/1", "x", 1).Append(nil, p.v)
	data = p.publishing("t/1", "y", 1).Append(data, p.v)
	used, _ := r.Broker.Receive(&p.c, data, len(data), r.now)
	if !p.c.Paused() || !p.c.More() || used != len(data)/2 {
		t.Fatalf("paused %t, more %t, %d of %d bytes used", p.c.Paused(), p.c.More(), used, len(data))
	}
	r.wait(10 * Time(p.c.keepAlive) * 1500)
	if p.closed {
		t.Fatal("it was held to be dead")
	}
	r.Owing(false, r.now)
	if dirty := r.Dirty(); len(dirty) != 1 || dirty[0] != &p.c || p.c.Paused() {
		t.Errorf("%d clients are dirty, paused %t", len(dirty), p.c.Paused())
	}
	r.Broker.Receive(&p.c, data[used:], 0, r.now)
	r.sync()
	p.expect("PUBACK id1", "PUBACK id2")
}

// TestRestoreCutOff: who was connected when the broker was killed is disconnected from
// then on: its will fires, after its delay, and its session ends in its time.
func TestRestoreCutOff(t *testing.T) {
	r := newDurableRig(t)
	now := r.now
	r.reader(packet.V311, "d", 1)
	r.join(packet.V5, "w", lasting(60), withWill("t/w", "gone", 1, 5))
	r.join(packet.V5, "v", lasting(60), withWill("t/v", "gone", 1, 0))
	r.join(packet.V5, "c", withWill("t/c", "gone", 1, 0))
	r.sync()
	later := newDurableRig(t)
	later.journal.newest = r.newest
	later.now = now + 3600_000
	later.Restore(r.safe.image(r.newest), later.now)
	if wrong := later.differs(later.Broker); wrong == "" {
		t.Error("nothing was recorded of the end")
	}
	d := later.dial(packet.V311, "d", durably)
	later.settle()
	later.Synced(later.newest, nil, later.now)
	d.expect("CONNACK present", "PUBLISH t/v gone q1 id1")
	d.ack(packet.Puback, 1)
	later.wait(4999)
	d.expect()
	later.wait(1)
	d.expect("PUBLISH t/w gone q1 id2")
	later.wait(54_999)
	if len(later.sessions) != 3 {
		t.Errorf("%d sessions are left before their end", len(later.sessions))
	}
	later.wait(1)
	if len(later.sessions) != 1 {
		t.Errorf("%d sessions are left", len(later.sessions))
	}
}

var _ persist.Recorder = (*persist.Store)(nil)
