package core

import (
	"fmt"
	"testing"

	"midge/packet"
	"midge/persist"
)

// durableRig is a broker whose journal is safe when the test says so.
type durableRig struct {
	*rig
	*journal
}

func newDurableRig(t testing.TB) *durableRig {
	j := newJournal(t)
	return &durableRig{newRig(t, plain(), j), j}
}

// sync makes all that is recorded safe.
func (r *durableRig) sync() {
	r.Synced(r.newest, nil, r.now)
	r.settle()
}

// join makes a client whose CONNACK is out and whose journal is safe.
func (r *durableRig) join(v packet.Version, id string, opts ...option) *peer {
	r.Helper()
	p := r.dial(v, id, opts...)
	r.settle()
	r.sync()
	if len(p.got) != 1 || p.got[0].Type != packet.Connack || p.got[0].reason != 0 {
		r.Fatalf("%s was not accepted: %v", id, p.got)
	}
	p.got = nil
	return p
}

// reader is a durable session that is subscribed to t/#.
func (r *durableRig) reader(v packet.Version, id string, qos byte) *peer {
	p := r.join(v, id, durably)
	p.subscribe("t/#", qos)
	r.settle()
	r.sync()
	p.expect("SUBACK id1 [0" + itoa(int(qos)) + "]")
	return p
}

// TestHoldPromises: what promises something durable comes after the journal has it.
func TestHoldPromises(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		for _, c := range holdPromises {
			t.Run(fmt.Sprintf("%s/v%d", c.name, v), func(t *testing.T) {
				r := newDurableRig(t)
				p := c.do(r, v)
				p.expect()
				if r.Broker.safe == r.newest {
					t.Fatal("nothing was recorded")
				}
				r.Synced(r.newest-1, nil, r.now)
				p.expect()
				r.Synced(r.newest, nil, r.now)
				if v == packet.V5 && c.v5 != "" {
					c.want = c.v5
				}
				p.expect(c.want)
			})
		}
	}
}

var holdPromises = []struct {
	name string
	do   func(r *durableRig, v packet.Version) *peer // gives the client that is owed something
	want string
	v5   string // what is wanted there if not the same
}{
	{"CONNACK of a new session", func(r *durableRig, v packet.Version) *peer {
		return r.dial(v, "d", durably)
	}, "CONNACK", ""},
	{"CONNACK that discards a session", func(r *durableRig, v packet.Version) *peer {
		r.join(v, "d", durably).leave()
		r.sync()
		return r.dial(v, "d")
	}, "CONNACK", ""},
	{"CONNACK that takes over and discards", func(r *durableRig, v packet.Version) *peer {
		r.join(v, "d", durably)
		return r.dial(v, "d")
	}, "CONNACK", ""},
	{"PUBACK of what waits for a session", func(r *durableRig, v packet.Version) *peer {
		r.reader(v, "d", 1).leave()
		r.sync()
		p := r.join(v, "p")
		p.say("t/1", "x", 1)
		return p
	}, "PUBACK id1", ""},
	{"PUBACK of what is under way", func(r *durableRig, v packet.Version) *peer {
		r.reader(v, "d", 1)
		p := r.join(v, "p")
		p.say("t/1", "x", 1)
		return p
	}, "PUBACK id1", ""},
	{"PUBACK of what is retained", func(r *durableRig, v packet.Version) *peer {
		r.join(v, "s").subscribe("t/#", 0)
		p := r.join(v, "p")
		p.retain("t/1", "x", 1)
		return p
	}, "PUBACK id1", ""},
	{"PUBACK of what is no longer retained", func(r *durableRig, v packet.Version) *peer {
		r.join(v, "s").subscribe("t/#", 0)
		p := r.join(v, "p")
		p.retain("t/1", "x", 0)
		r.settle()
		r.sync()
		p.retain("t/1", "", 1)
		return p
	}, "PUBACK id1", ""},
	{"PUBREC", func(r *durableRig, v packet.Version) *peer {
		p := r.join(v, "p", durably)
		p.say("t/1", "x", 2)
		return p
	}, "PUBREC id1", ""},
	{"PUBREL", func(r *durableRig, v packet.Version) *peer {
		d := r.reader(v, "d", 2)
		r.join(v, "p").publish2("t/1", "x")
		r.settle()
		r.sync()
		d.expect("PUBLISH t/1 x q2 id1")
		d.ack(packet.Pubrec, 1)
		return d
	}, "PUBREL id1", ""},
	{"PUBCOMP of a session's own message", func(r *durableRig, v packet.Version) *peer {
		p := r.join(v, "p", durably)
		p.say("t/1", "x", 2)
		r.settle()
		r.sync()
		p.expect("PUBREC id1")
		p.ack(packet.Pubrel, 1)
		return p
	}, "PUBCOMP id1", ""},
	{"PUBCOMP of what waits for another", func(r *durableRig, v packet.Version) *peer {
		r.reader(v, "d", 1).leave()
		r.sync()
		p := r.join(v, "p")
		p.say("t/1", "x", 2)
		p.expect("PUBREC id1")
		p.ack(packet.Pubrel, 1)
		return p
	}, "PUBCOMP id1", ""},
	{"SUBACK", func(r *durableRig, v packet.Version) *peer {
		d := r.join(v, "d", durably)
		d.subscribe("t/1", 1)
		return d
	}, "SUBACK id1 [01]", ""},
	{"UNSUBACK", func(r *durableRig, v packet.Version) *peer {
		d := r.reader(v, "d", 1)
		d.unsubscribe("t/#")
		return d
	}, "UNSUBACK id2", "UNSUBACK id2 [00]"},
	{"PUBLISH of QoS 2", func(r *durableRig, v packet.Version) *peer {
		d := r.reader(v, "d", 2)
		r.join(v, "p").publish2("t/1", "x")
		return d
	}, "PUBLISH t/1 x q2 id1", ""},
}

// publish2 does a whole QoS 2 exchange, for a client that is not durable.
func (p *peer) publish2(topic, payload string) {
	p.Helper()
	p.say(topic, payload, 2)
	p.ack(packet.Pubrel, p.nextID)
}

// TestHoldCleared: who removes what a topic retains, and finds it removed by a record that
// is not safe yet, waits for that.
func TestHoldCleared(t *testing.T) {
	r := newDurableRig(t)
	p, q := r.join(packet.V311, "p"), r.join(packet.V311, "q")
	p.retain("t", "x", 0)
	r.settle()
	r.sync()
	q.retain("t", "", 1)
	r.sync()
	q.expect("PUBACK id1")
	p.retain("t", "x", 0)
	r.settle()
	r.sync()
	p.retain("t", "", 0)
	q.retain("t", "", 1)
	r.settle()
	q.expect()
	r.sync()
	q.expect("PUBACK id2")
	q.retain("t", "", 1)
	r.settle()
	q.expect("PUBACK id3")
}

// TestHoldEnded: who is told that it has a new session waits until the end of the one it
// had is safe, even if an earlier connection ended that.
func TestHoldEnded(t *testing.T) {
	r := newDurableRig(t)
	r.join(packet.V311, "d", durably).leave()
	r.sync()
	r.dial(packet.V311, "d").drop()
	r.settle()
	p, other := r.dial(packet.V311, "d"), r.dial(packet.V311, "other")
	r.settle()
	p.expect()
	other.expect("CONNACK") // it had none
	r.sync()
	p.expect("CONNACK")
	if r.ended != nil {
		t.Errorf("%d ends are remembered", len(r.ended))
	}
}

// TestHoldNothing: what promises nothing durable does not wait.
func TestHoldNothing(t *testing.T) {
	r := newDurableRig(t)
	d := r.reader(packet.V311, "d", 1)
	clean := r.dial(packet.V311, "clean")
	clean.expect("CONNACK")
	clean.subscribe("u", 2)
	clean.expect("SUBACK id1 [02]")
	clean.say("v", "x", 1)
	clean.expect("PUBACK id2")
	clean.say("v", "x", 2)
	clean.expect("PUBREC id3")
	clean.ack(packet.Pubrel, 3)
	clean.expect("PUBCOMP id3")
	clean.unsubscribe("u")
	clean.expect("UNSUBACK id4")
	if r.Broker.safe != r.newest {
		t.Error("something was recorded")
	}
	clean.say("t/0", "x", 0)
	clean.say("t/1", "y", 1)
	d.expect("PUBLISH t/0 x q0", "PUBLISH t/1 y q1 id1")
	if r.Broker.safe == r.newest {
		t.Error("the QoS 1 delivery was not recorded")
	}
}

// TestHoldOrder: of what waits, nothing overtakes; PINGRESP, and PUBLISH of QoS 0
// and 1, pass it.
func TestHoldOrder(t *testing.T) {
	r := newDurableRig(t)
	p := r.join(packet.V311, "p", durably)
	p.subscribe("t/1", 1)
	r.settle()
	r.sync()
	p.got = nil
	before := r.newest
	p.say("u", "x", 2) // record 1
	p.say("v", "x", 1) // nothing durable
	p.say("u", "y", 2) // record 2
	p.ack(packet.Pingreq, 0)
	r.join2(packet.V311, "q").say("t/1", "z", 1) // record 3
	p.expect("PINGRESP", "PUBLISH t/1 z q1 id1")
	r.Synced(before+1, nil, r.now)
	p.expect("PUBREC id2", "PUBACK id3")
	r.Synced(before+1, nil, r.now)
	p.expect()
	r.Synced(before+2, nil, r.now)
	p.expect("PUBREC id4")
}

// join2 makes a client without waiting for the journal.
func (r *durableRig) join2(v packet.Version, id string) *peer {
	p := r.dial(v, id)
	p.expect("CONNACK")
	return p
}

// TestHoldBarrier: nothing passes a CONNACK or SUBACK, and what waited behind one
// does not wait for what it would have passed without, nor is it overtaken.
func TestHoldBarrier(t *testing.T) {
	r := newDurableRig(t)
	q := r.join(packet.V311, "q")
	d := r.dial(packet.V311, "d", durably)
	d.ack(packet.Pingreq, 0)
	d.expect()
	r.sync()
	d.expect("CONNACK", "PINGRESP")

	d.subscribe("t", 1)
	atSuback := r.newest
	d.say("u", "x", 2)
	q.say("t", "1", 0)
	q.say("t", "2", 1)
	d.ack(packet.Pingreq, 0)
	d.expect()
	r.Synced(atSuback, nil, r.now)
	d.expect("SUBACK id1 [01]", "PUBLISH t 1 q0", "PUBLISH t 2 q1 id1", "PINGRESP")
	q.say("t", "3", 1)
	d.expect("PUBLISH t 3 q1 id2")
	r.sync()
	d.expect("PUBREC id2")
}

// TestHoldTwoBarriers: what follows the second waits for it.
func TestHoldTwoBarriers(t *testing.T) {
	r := newDurableRig(t)
	q := r.join(packet.V311, "q")
	d := r.join(packet.V311, "d", durably)
	d.subscribe("t", 0)
	first := r.newest
	q.say("t", "1", 0)
	d.say("u", "x", 2)
	d.subscribe("v", 0)
	q.say("t", "2", 0)
	d.expect()
	r.Synced(first, nil, r.now)
	d.expect("SUBACK id1 [00]", "PUBLISH t 1 q0")
	q.say("t", "3", 0)
	d.expect()
	r.sync()
	d.expect("PUBREC id2", "SUBACK id3 [00]", "PUBLISH t 2 q0", "PUBLISH t 3 q0")
}

// TestHoldDies: held packets die with their connection, and the session's next one
// gets what there is then.
func TestHoldDies(t *testing.T) {
	r := newDurableRig(t)
	d := r.reader(packet.V311, "d", 2)
	q := r.join(packet.V311, "q")
	q.publish2("t/1", "x")
	d.say("u", "y", 2)
	d.expect()
	d.drop()
	r.sync()
	d.expect()
	d = r.dial(packet.V311, "d", durably)
	r.settle()
	r.sync()
	d.expect("CONNACK present", "PUBLISH t/1 x q2 id1 dup")
	if n := len(r.holding); n != 0 {
		t.Errorf("%d clients hold something", n)
	}
}

// TestHoldPauses: a client that sends while the journal is far behind is not read any
// more, until the journal catches up; nothing is lost.
func TestHoldPauses(t *testing.T) {
	r := newDurableRig(t)
	p := r.join(packet.V311, "p", durably)
	n := 0
	for ; !p.c.Paused(); n++ {
		p.say("t", "x", 2)
		if n > 60_000 {
			t.Fatal("it is never paused")
		}
	}
	r.settle()
	if !p.c.Paused() || len(p.c.held.buf) > outHigh+overHigh+10 {
		t.Errorf("paused %t, with %d bytes held", p.c.Paused(), len(p.c.held.buf))
	}
	r.sync()
	if p.c.Paused() {
		t.Error("it is paused still")
	}
	if len(p.got) != n {
		t.Errorf("%d of %d PUBRECs came", len(p.got), n)
	}
}

// TestHoldRefusal: a client whose CONNACK is held and that errs is closed without
// a word: DISCONNECT would come first on the wire [MQTT-3.14.0-1].
func TestHoldRefusal(t *testing.T) {
	r := newDurableRig(t)
	d := r.dial(packet.V5, "d", durably)
	d.raw([]byte{0x00, 0x00})
	d.expect()
	if !d.closed {
		t.Error("it was not closed")
	}
	r.sync()
	d.expect()
}

// TestHoldFeed: a retained delivery of QoS 2 goes on when the journal does, over
// many rounds.
func TestHoldFeed(t *testing.T) {
	const n = 10 * cursorBudget
	r := newDurableRig(t)
	q := r.join(packet.V311, "q")
	q.auto = true
	q.retainMany(n, 2)
	r.sync()
	d := r.join(packet.V5, "d", durably, receiveMaximum(65535))
	d.subscribe("r/#", 2)
	for r.Broker.safe < r.newest || r.Next() <= r.now {
		r.Synced(r.newest, nil, r.now)
		r.turn()
	}
	if got := len(d.payloads()); got != n {
		t.Errorf("%d of %d messages came", got, n)
	}
	if d.c.held != nil {
		t.Error("something is held though all records are safe")
	}
}

// TestHoldAlias: a PUBLISH that uses a topic alias never comes before the one
// that sets it, though QoS 0 passes QoS 2 that is held.
func TestHoldAlias(t *testing.T) {
	r := newDurableRig(t)
	d := r.join(packet.V5, "d", durably, topicAliases(5))
	d.subscribe("t", 2)
	r.settle()
	r.sync()
	d.got = nil
	q := r.join(packet.V5, "q")
	q.publish2("t", "1")
	q.say("t", "2", 0)
	q.say("t", "3", 0)
	r.settle()
	if len(d.got) != 2 || d.got[0].topic != "t" || d.got[1].topic != "" {
		t.Errorf("got %v", d.got)
	}
	d.got = nil
	r.sync()
	if len(d.got) != 1 || d.got[0].payload != "1" || d.got[0].topic == "" {
		t.Errorf("got %v", d.got)
	}
}

// TestOneRecord: all effects of one packet, timer or will are one record.
func TestOneRecord(t *testing.T) {
	r := newDurableRig(t)
	subscribers := func() { // 5 sessions, offline
		for i := range 5 {
			r.reader(packet.V311, "d"+itoa(i), 2).leave()
		}
	}
	subscribers()
	p := r.join(packet.V5, "p", durably, withWill("t/will", "x", 1, 0))
	one := func(what string, changes int, do func()) {
		t.Helper()
		before := r.newest
		do()
		r.settle()
		if got := r.newest - before; got != 1 || r.counts[r.newest-1] != changes {
			t.Errorf("%s made %d records, the last of %d changes; want one of %d", what, got, r.counts[r.newest-1], changes)
		}
	}
	one("a retained PUBLISH to 5 sessions", 6, func() { p.retain("t/1", "x", 1) })
	one("QoS 2, first half", 1, func() { p.say("t/1", "x", 2) })
	one("QoS 2, second half", 6, func() { p.ack(packet.Pubrel, p.nextID) })
	one("SUBSCRIBE with a retained message", 4, func() { p.subscribe("t/1", 1) }) // itself, a cursor, a delivery, the cursor's end
	one("a connection's end, with its will for the 5", 7, func() { p.drop() })
	q := r.join(packet.V5, "q", lasting(10), withWill("t/will", "y", 1, 5))
	q.drop()
	one("a delayed will", 6, func() { r.wait(5000) })
	one("a session's end", 1, func() { r.wait(5000) })
	one("CONNECT", 1, func() { r.dial(packet.V311, "s", durably) })
	two := r.newest
	z := r.join(packet.V311, "z")
	z.raw(append(z.publishing("t/1", "x", 1).Append(nil, z.v), z.publishing("t/1", "y", 1).Append(nil, z.v)...))
	if got := r.newest - two; got != 2 {
		t.Errorf("two packets in one read made %d records", got)
	}
}

// TestGone: a session's record says when its connection ended.
func TestGone(t *testing.T) {
	r := newDurableRig(t)
	for _, expiry := range []uint32{noExpiry, 100} {
		d := r.join(packet.V5, "d", lasting(expiry))
		if got := r.journal.safe.sessions["d"].self.Gone; got != persist.Never {
			t.Errorf("expiry %d: connected, and gone at %d", expiry, got)
		}
		r.wait(7000)
		d.drop()
		if got := r.journal.safe.sessions["d"].self.Gone; got != r.now {
			t.Errorf("expiry %d: gone at %d, not %d", expiry, got, r.now)
		}
	}
}
