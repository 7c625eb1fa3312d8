package core

import (
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// retrying is a broker with retry_interval 20, a publisher, and a subscriber to t
// at QoS 2 of version v.
func retrying(t *testing.T, v packet.Version, opts ...option) (r *rig, s, p *peer) {
	cfg := plain()
	cfg.RetryInterval = 20_000
	r = newRig(t, cfg)
	p = r.connect(packet.V311, "p")
	p.auto = true
	s = r.connect(v, "s", opts...)
	s.subscribe("t", 2)
	s.expect("SUBACK id1 [02]")
	return r, s, p
}

// TestResendWithoutRight: what the client may not read any more is not sent again, but has
// its place in the window until it is acknowledged.
func TestResendWithoutRight(t *testing.T) {
	r, _, p := retrying(t, packet.V311)
	cfg := r.cfg
	cfg.MaxInflightMessages = 1
	r.Configure(cfg, r.now)
	s := r.connect(packet.V311, "s2")
	s.subscribe("#", 1)
	s.expect("SUBACK id1 [01]")
	p.say("u", "1", 1)
	s.expect("PUBLISH u 1 q1 id1")
	r.rules("topic write #", "topic read v")
	p.say("v", "2", 1)
	r.wait(60_000)
	s.expect()
	s.ack(packet.Puback, 1)
	s.expect("PUBLISH v 2 q1 id2")
	s.ack(packet.Puback, 2)
	r.bare()
}

// TestResend: what is not acknowledged is sent again after the interval, and again:
// PUBLISH with DUP, PUBREL as it was.
func TestResend(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311} {
		r, s, p := retrying(t, v)
		p.say("t", "1", 1)
		s.expect("PUBLISH t 1 q1 id1")
		r.wait(5000)
		p.say("t", "2", 2)
		s.expect("PUBLISH t 2 q2 id2")
		r.wait(14_999)
		s.expect()
		r.wait(1)
		s.expect("PUBLISH t 1 q1 id1 dup")
		r.wait(5000)
		s.expect("PUBLISH t 2 q2 id2 dup")
		r.wait(10_000)
		s.ack(packet.Pubrec, 2) // 10 s after it came again
		s.expect("PUBREL id2")
		r.wait(5000)
		s.expect("PUBLISH t 1 q1 id1 dup")
		s.ack(packet.Puback, 1)
		r.wait(14_999)
		s.expect()
		r.wait(1)
		s.expect("PUBREL id2")
		r.wait(20_000)
		s.expect("PUBREL id2")
		s.ack(packet.Pubcomp, 2)
		r.wait(100_000)
		s.expect()
		if r.timers.Len() != 0 {
			t.Errorf("%d timers are left", r.timers.Len())
		}
		r.bare()
	}
}

// TestResendNever: not to v5 [MQTT-4.4.0-1], and not without the option.
func TestResendNever(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		r, s, p := retrying(t, v)
		if v == packet.V311 {
			r.Configure(plain(), r.now)
		}
		p.say("t", "1", 1)
		p.say("t", "2", 2)
		r.settle()
		s.ack(packet.Pubrec, 2)
		s.expect("PUBLISH t 1 q1 id1", "PUBLISH t 2 q2 id2", "PUBREL id2")
		r.wait(200_000)
		s.expect()
		if s.c.resend() != nil {
			t.Errorf("version %d is watched", v)
		}
		r.bare()
	}
}

// TestResendOff: the option taken away ends it.
func TestResendOff(t *testing.T) {
	r, s, p := retrying(t, packet.V311)
	p.say("t", "1", 1)
	s.expect("PUBLISH t 1 q1 id1")
	r.wait(10_000)
	r.Configure(plain(), r.now)
	r.wait(100_000)
	s.expect()
	r.bare()
}

// TestResendFlushed: the time counts from when the bytes left; what is in the output
// is not sent again, however long it is there.
func TestResendFlushed(t *testing.T) {
	r, s, p := retrying(t, packet.V311)
	s.stalled = true
	p.say("t", "1", 1)
	p.say("t", "2", 1)
	r.wait(100_000)
	all := len(r.output(&s.c))
	if want := 2 * len("\x32\x06\x00\x01t\x00\x011"); all != want {
		t.Fatalf("%d bytes are in the output, not %d", all, want)
	}
	s.read(all/2 + 1) // the first, and a byte of the second
	s.expect("PUBLISH t 1 q1 id1")
	r.wait(10_000)
	s.read(all)
	s.expect("PUBLISH t 2 q1 id2")
	s.stalled = false
	r.wait(10_000)
	s.expect("PUBLISH t 1 q1 id1 dup")
	r.wait(10_000)
	s.expect("PUBLISH t 2 q1 id2 dup")
	r.bare()
}

// TestResendSlowReader: the repetitions to a client that stopped reading wait for
// room too, and the broker rests meanwhile.
func TestResendSlowReader(t *testing.T) {
	r, s, p := retrying(t, packet.V311)
	const size = 20_000
	for i := range 20 {
		p.say("t", itoa(i)+strings.Repeat(" ", size), 1)
		r.settle()
	}
	s.got = nil
	s.stalled = true
	r.wait(100_000) // fails if it never rests
	if n := len(r.output(&s.c)); n < outHigh || n > outHigh+size+100 {
		t.Errorf("%d bytes are in the output", n)
	}
	s.flow()
	if got := len(s.payloads()); got != 20 {
		t.Errorf("%d came again, not 20", got)
	}
	r.bare()
}

// TestResendReuse: an identifier given out again is not sent again before its time.
func TestResendReuse(t *testing.T) {
	r, s, p := retrying(t, packet.V311)
	p.say("t", "1", 1)
	s.expect("PUBLISH t 1 q1 id1")
	r.wait(15_000)
	s.ack(packet.Puback, 1)
	s.c.session.nextID = 0 // as after 65,535 more
	p.say("t", "2", 1)
	s.expect("PUBLISH t 2 q1 id1")
	r.wait(19_999)
	s.expect()
	r.wait(1)
	s.expect("PUBLISH t 2 q1 id1 dup")
	r.bare()
}

// TestResendReconnect: on a new connection the time begins anew.
func TestResendReconnect(t *testing.T) {
	r, s, p := retrying(t, packet.V311, durably)
	p.say("t", "1", 1)
	s.expect("PUBLISH t 1 q1 id1")
	r.wait(15_000)
	s.drop()
	r.wait(50_000)
	s = r.connect(packet.V311, "s", durably)
	s.expect("PUBLISH t 1 q1 id1 dup")
	r.wait(19_999)
	s.expect()
	r.wait(1)
	s.expect("PUBLISH t 1 q1 id1 dup")
	r.bare()
}

// TestResendHeld: what waits for the journal has not been sent, though other
// packets leave before it and behind it.
func TestResendHeld(t *testing.T) {
	r := newDurableRig(t)
	cfg := plain()
	cfg.RetryInterval = 20_000
	r.Configure(cfg, r.now)
	s := r.reader(packet.V311, "s", 2)
	p := r.join(packet.V311, "p")
	p.publish2("t/1", "a")
	first := r.newest
	p.publish2("t/1", "b")
	p.say("t/1", "c", 1)
	s.expect("PUBLISH t/1 c q1 id3")
	r.wait(10_000)
	r.Synced(first, nil, r.now)
	s.expect("PUBLISH t/1 a q2 id1")
	r.wait(60_000)
	count := map[string]int{}
	for _, m := range s.got {
		count[m.payload]++
	}
	if count["a"] != 0 || count["b"] != 0 || count["c"] != 3 { // a again has its place behind b
		t.Errorf("came again: %v", count)
	}
	s.got = nil
	s.ack(packet.Puback, 3)
	s.ack(packet.Pubrec, 1)
	r.wait(60_000) // its PUBREL is held
	s.expect()
	r.sync()
	s.expect("PUBLISH t/1 b q2 id2", "PUBLISH t/1 a q2 id1 dup", "PUBREL id1")
	r.wait(19_999)
	s.expect()
	r.wait(1)
	r.sync()
	s.expect("PUBLISH t/1 b q2 id2 dup", "PUBREL id1")
}

// TestResendSteady: with the journal always behind, what left is watched all the same,
// and no more is kept than is open.
func TestResendSteady(t *testing.T) {
	r := newDurableRig(t)
	cfg := plain()
	cfg.RetryInterval = 20_000
	r.Configure(cfg, r.now)
	s := r.reader(packet.V311, "s", 2)
	p := r.join(packet.V311, "p")
	before := r.newest
	for i := range 2000 {
		p.publish2("t/1", itoa(i))
		r.Synced(before, nil, r.now) // one behind
		before = r.newest
		r.settle()
		for _, m := range s.got {
			switch {
			case m.Type == packet.Pubrel:
				s.ack(packet.Pubcomp, m.id)
			case m.payload != "7":
				s.ack(packet.Pubrec, m.id)
			}
		}
		s.got = nil
		r.wait(10)
		if w := s.c.resend(); w != nil && len(w.leaving)+len(w.gone) > 200 {
			t.Fatalf("after %d messages %d are watched", i, len(w.leaving)+len(w.gone))
		}
	}
	if s.c.held == nil {
		t.Fatal("nothing is held: the test shows nothing")
	}
	r.wait(20_000)
	s.got = nil
	r.sync()
	if !slices.ContainsFunc(s.got, func(m seen) bool { return m.payload == "7" && m.dup }) {
		t.Errorf("message 7 did not come again: %v", s.got)
	}
}
