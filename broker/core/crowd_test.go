package core

import (
	"strconv"
	"testing"

	"midge/packet"
)

// pour has p publish n messages to t in one write, numbered, as the transport would
// hand them over: not while p is paused. turn is what happens between its reads.
func (p *peer) pour(n int, qos byte, turn func()) {
	var data []byte
	for i := range n {
		data = p.publishing("t", strconv.Itoa(i), qos).Append(data, p.v)
	}
	for len(data) > 0 {
		if !p.c.Paused() {
			used, _ := p.Receive(&p.c, data, 0, p.now)
			p.Filled()
			p.Settle()
			data = data[used:]
		}
		turn()
	}
}

// TestCrowd: a burst that is larger than the queue of a subscriber that acknowledges
// what it gets is not lost, and costs no time.
func TestCrowd(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		r := newRig(t, plain())
		p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
		s.subscribe("t", 2)
		r.settle()
		p.auto, s.auto = true, true
		r.now += 10 * crowdLive // it had nothing to say for long
		const n = 5000
		waited := 0
		p.pour(n, qos, func() {
			if p.c.Paused() {
				waited++
			}
			r.turn()
		})
		if got := s.payloads(); len(got) != n || r.stats.PublishDropped != 0 {
			t.Errorf("QoS %d: %d of %d messages came, %d were dropped", qos, len(got), n, r.stats.PublishDropped)
		}
		if waited == 0 || qos == 1 && r.now != rigStart+10*crowdLive {
			t.Errorf("QoS %d: the publisher waited %d times, for %d ms", qos, waited, r.now-rigStart-10*crowdLive)
		}
		r.bare()
	}
}

// tick is a turn in which time goes on if there is nothing else to do.
func (r *rig) tick() {
	if !r.turn() && r.Next() > r.now {
		r.now++
	}
}

// TestCrowdSlow: a subscriber may acknowledge late. Nothing is lost for half a second,
// the time that half of its queue lasts.
func TestCrowdSlow(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	s.stalled, s.auto = true, true
	const n, late = 3000, 400
	p.pour(n, 1, func() {
		if r.tick(); r.now == rigStart+late {
			s.stalled = false
			s.drain()
		}
	})
	if got := s.payloads(); len(got) != n || r.stats.PublishDropped != 0 {
		t.Errorf("%d of %d messages came, %d were dropped", len(got), n, r.stats.PublishDropped)
	}
	if r.now < rigStart+late || r.now > rigStart+late+50 {
		t.Errorf("it took %d ms", r.now-rigStart)
	}
	r.bare()
}

// TestCrowdSilent: nobody waits for one that does not acknowledge: not when its queue
// has overflowed, until it has caught up, and not when it was silent for long.
func TestCrowdSilent(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	s.stalled, s.auto = true, true
	p.pour(3000, 1, r.tick)
	if took, dropped := r.now-rigStart, r.stats.PublishDropped; took < 400 || took > 600 || dropped != 3000-1020 {
		t.Errorf("the publisher waited %d ms, %d messages were dropped", took, dropped)
	}
	before := r.now
	p.pour(3000, 1, r.tick)
	if r.now > before+1 {
		t.Errorf("the publisher waits %d ms for one whose queue has overflowed", r.now-before)
	}
	s.flow()
	s.got, s.stalled = nil, true
	r.stats.PublishDropped = 0
	p.pour(700, 1, r.tick)
	if r.stats.PublishDropped != 0 || r.now < before+100 {
		t.Errorf("for one that caught up the publisher waited %d ms, %d messages were dropped", r.now-before, r.stats.PublishDropped)
	}
	r.now += crowdLive + 1
	before = r.now
	p.pour(100, 1, r.tick)
	if r.now > before+1 {
		t.Errorf("the publisher waits %d ms for one that is silent", r.now-before)
	}
	r.bare()
}

// TestCrowdOthers: who does not fill its queue, does not wait, nor does QoS 0.
func TestCrowdOthers(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	s.stalled = true
	for !p.c.Crowding() {
		p.say("t", "x", 1)
	}
	q := r.connect(packet.V311, "q")
	q.say("other", "x", 1)
	q.say("t", "x", 0)
	if q.c.Paused() {
		t.Error("it waits")
	}
	q.say("t", "x", 1)
	if !q.c.Crowding() {
		t.Error("one more does not wait")
	}
	q.drop()
	if next := r.Next(); next != r.now+1 {
		t.Errorf("it goes on in %d ms", next-r.now)
	}
	r.now++
	if r.settle(); p.c.Paused() {
		t.Error("it does not go on")
	}
	r.bare()
}

// TestCrowdMoment: others who come to wait do not make the first wait longer.
func TestCrowdMoment(t *testing.T) {
	r := newRig(t, plain())
	s := r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	s.stalled = true
	first := r.connect(packet.V311, "p")
	for !first.c.Crowding() {
		first.say("t", "x", 1)
	}
	q := r.connect(packet.V311, "q")
	r.now++
	q.say("t", "x", 1)
	r.settle()
	if first.c.Crowding() {
		t.Error("the first waits on")
	}
	r.bare()
}

// TestCrowdAlone: who publishes to itself does not wait for what it can only say later.
func TestCrowdAlone(t *testing.T) {
	r := newRig(t, plain())
	s := r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	for range 900 {
		s.say("t", "x", 1)
	}
	if s.c.Paused() {
		t.Error("it waits")
	}
	r.bare()
}

// TestCrowdAgain: a queue that overflowed and was emptied is one to wait for again, also
// where it is not acknowledgements that empty it.
func TestCrowdAgain(t *testing.T) {
	cfg := plain()
	cfg.MaxInflightMessages = 0
	r := newRig(t, cfg)
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	s.stalled = true
	for !s.c.session.spilled {
		p.pour(100, 1, r.tick)
	}
	s.flow()
	if s.c.session.spilled {
		t.Error("nobody waits for it any more")
	}
	r.bare()
}

// TestCrowdKeepAlive: packets that wait for their turn are a sign of life.
func TestCrowdKeepAlive(t *testing.T) {
	for _, mark := range []clientFlags{flagMore, flagCrowding, flagMore | flagPaused} {
		r := newRig(t, plain())
		p := r.connect(packet.V311, "p", func(p *packet.Packet) { p.Connect.KeepAlive = 10 })
		r.settle()
		p.c.flags |= mark
		r.wait(16_000)
		if want := mark&flagPaused != 0; p.closed != want {
			t.Errorf("flags %b: closed %t", mark, p.closed)
		}
	}
}

// TestCrowdBytes: max_queued_bytes counts as max_queued_messages does.
func TestCrowdBytes(t *testing.T) {
	cfg := plain()
	cfg.MaxQueuedMessages, cfg.MaxQueuedBytes = 0, 1000
	r := newRig(t, cfg)
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 1)
	r.settle()
	p.auto, s.auto = true, true
	p.pour(2000, 1, func() { r.turn() })
	if got := s.payloads(); len(got) != 2000 {
		t.Errorf("%d of 2000 messages came", len(got))
	}
	r.bare()
}
