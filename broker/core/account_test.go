package core

import (
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"testing"

	"midge/packet"
	"midge/persist"
)

// TestAccountMeasured: what the account says of many things of a kind is near to
// what they take.
func TestAccountMeasured(t *testing.T) {
	if bits.UintSize == 32 {
		t.Skip("what things take is known for 64 bits; for 32 it is said to be more")
	}
	const n = 10_000
	payload := strings.Repeat("x", 100)
	for _, shape := range []struct {
		name string
		make func(r *rig, p *peer, i int)
	}{
		{"clients", func(r *rig, _ *peer, i int) {
			c := &Client{Listener: r.listener}
			r.Open(c, r.now)
			data := idler(i)
			receiveAll(r.Broker, c, data, len(data), r.now)
			for out := r.output(c); len(out) > 0; out = r.output(c) {
				r.Flushed(c, len(out), r.now)
			}
			r.Dirty()
		}},
		{"absent sessions", func(r *rig, _ *peer, i int) {
			c := r.dial(packet.V5, "absent"+itoa(i), lasting(100))
			r.settle()
			c.drop()
			delete(r.peers, &c.c)
		}},
		{"subscriptions", func(r *rig, p *peer, i int) { p.subscribe(fmt.Sprintf("building/%d/floor/%d/+", i/10, i%10), 1) }},
		{"groups", func(r *rig, p *peer, i int) { p.subscribe(fmt.Sprintf("$share/g/building/%d", i), 1) }},
		{"retained messages", func(r *rig, p *peer, i int) { p.retain(fmt.Sprintf("building/%d/floor/%d", i/10, i%10), payload, 1) }},
		{"queued messages", func(r *rig, p *peer, i int) { p.say("gone", payload, 1) }},
		{"one queued message each", func(r *rig, p *peer, i int) {
			c := r.dial(packet.V311, "absent"+itoa(i), durably)
			c.subscribe("t/"+itoa(i), 1)
			r.settle()
			c.drop()
			delete(r.peers, &c.c)
			p.say("t/"+itoa(i), payload, 1)
		}},
		{"messages under way", func(r *rig, p *peer, i int) {
			c := r.dial(packet.V311, "slow"+itoa(i))
			c.subscribe("t/"+itoa(i), 1)
			p.say("t/"+itoa(i), payload, 1)
			r.settle()
			c.got, c.in = nil, nil
		}},
		{"sessions that were asked about", func(r *rig, _ *peer, i int) {
			if i == 0 {
				r.listener.Access = everything{}
				r.Guard(everything{})
			}
			c := r.dial(packet.V311, "s"+itoa(i))
			for topic := range 8 << (i % 6) {
				c.say("t/"+itoa(topic), "", 0)
			}
			r.settle()
			c.got, c.in = nil, nil
		}},
		{"QoS 2 messages on their way in", func(r *rig, p *peer, i int) { p.say("t", payload, 2) }},
		{"wills", func(r *rig, p *peer, i int) {
			c := r.dial(packet.V5, "w"+itoa(i), durably, withWill("will/"+itoa(i), payload, 1, 10))
			r.settle()
			c.drop()
			delete(r.peers, &c.c)
		}},
		{"aliases", func(r *rig, p *peer, i int) {
			c := r.dial(packet.V5, "a"+itoa(i))
			for alias := range uint16(10) {
				m := c.publishing(fmt.Sprintf("a/topic/%d/%d", i, alias), "", 0)
				m.Props.Raw = packet.AppendUint16Property(nil, packet.TopicAlias, alias+1)
				c.send(m)
			}
			r.settle()
			c.got, c.in = nil, nil
		}},
	} {
		t.Run(shape.name, func(t *testing.T) {
			cfg := plain()
			cfg.MaxQueuedMessages = 0
			r := newRig(t, cfg)
			gone := r.connect(packet.V311, "gone", durably)
			gone.subscribe("gone", 1)
			r.settle()
			gone.drop()
			p := r.connect(packet.V311, "p")
			r.free = pool{}
			before, heldBefore := r.acct.bytes, heap()
			for i := range n {
				shape.make(r, p, i)
				p.got = p.got[:0]
				if i%100 == 0 {
					r.settle()
				}
			}
			r.settle()
			p.got, r.lines, r.free = nil, nil, pool{}
			held, said := heap()-heldBefore, r.acct.bytes-before
			t.Logf("each takes %d bytes, and is accounted for with %d", held/n, said/n)
			if ratio := float64(said) / float64(held); ratio < 0.75 || ratio > 1.4 {
				t.Errorf("each takes %d bytes, and is accounted for with %d", held/n, said/n)
			}
			runtime.KeepAlive(r)
		})
	}
}

// everything lets everybody do everything, but it has to be asked.
type everything struct{}

func (everything) May(*persist.Origin, Action, string) (bool, string) { return true, "" }

// limited is a rig whose limit leaves n bytes of room.
func limited(t *testing.T, n int64) *rig {
	cfg := plain()
	cfg.MaxQueuedMessages = 0
	r := newRig(t, cfg)
	gone := r.connect(packet.V5, "gone", durably)
	gone.subscribe("gone", 2)
	r.settle()
	gone.drop()
	r.limit(r.acct.bytes + n)
	return r
}

func (r *rig) limit(n int64) {
	cfg := r.cfg
	cfg.MemoryLimit = n
	r.Configure(cfg, r.now)
	r.settle()
}

// TestMemoryLimit: above the limit what would need memory is refused, in the way
// of its packet, and what gives memory back is done. Nothing accepted is lost.
func TestMemoryLimit(t *testing.T) {
	r := limited(t, 50_000)
	old := r.connect(packet.V5, "old", durably)
	p, v3 := r.connect(packet.V5, "p"), r.connect(packet.V311, "v3", durably)
	p.subscribe("own", 1)
	p.retain("kept", "x", 1)
	p.say("t", "x", 2) // not released
	p.expect("SUBACK id1 [01]", "PUBACK id2 10", "PUBREC id3")
	held := p.nextID
	old.drop()

	accepted := 0
	for range 1000 {
		p.say("gone", strings.Repeat("x", 1000), 1)
		p.settle()
		last := p.got[len(p.got)-1]
		p.got = nil
		if last.reason == packet.QuotaExceeded {
			break
		}
		accepted++
	}
	if accepted < 30 || accepted > 50 || r.acct.bytes > r.cfg.MemoryLimit {
		t.Errorf("%d messages of 1000 bytes were accepted in 50,000 bytes; %d bytes are in use, the limit is %d",
			accepted, r.acct.bytes, r.cfg.MemoryLimit)
	}
	r.limit(r.acct.bytes) // to the byte
	if n := r.logged("The memory_limit of " + fmt.Sprint(r.cfg.MemoryLimit) + " bytes is reached."); n != 1 {
		t.Errorf("said %d times that the limit is reached", n)
	}

	// refused
	p.say("gone", "x", 1)
	p.say("gone", "x", 2)
	p.retain("new", "x", 1)
	p.retain("kept", "y", 0) // cannot be answered
	p.subscribe("more", 0)
	p.expect(fmt.Sprintf("PUBACK id%d 97", p.nextID-3), fmt.Sprintf("PUBREC id%d 97", p.nextID-2),
		fmt.Sprintf("PUBACK id%d 97", p.nextID-1), fmt.Sprintf("SUBACK id%d [97]", p.nextID))
	v3.subscribe("more", 0)
	v3.expect(fmt.Sprintf("SUBACK id%d [80]", v3.nextID))
	v3.retain("new", "x", 0)
	v3.expect()
	v3.say("gone", "x", 1)
	v3.expect()
	if !v3.c.Closed() || r.logged("Client v3 [:0] disconnected: out of memory.") != 1 {
		t.Errorf("a client of 3.1.1 whose message is refused goes on: %q", r.lines)
	}
	for v, want := range map[packet.Version]string{packet.V311: "CONNACK 03", packet.V5: "CONNACK 97"} {
		c := r.dial(v, "new")
		c.expect(want)
	}

	// done
	p.say("own", "x", 0)
	dup := p.publishing("t", "x", 2)
	dup.ID, dup.Dup = held, true
	p.send(dup)
	p.ack(packet.Pubrel, held)
	p.retain("kept", "", 1)
	p.subscribe("own", 0)
	p.unsubscribe("own")
	p.expect("PUBLISH own x q0", fmt.Sprintf("PUBREC id%d", held), fmt.Sprintf("PUBCOMP id%d", held),
		fmt.Sprintf("PUBACK id%d 10", p.nextID-2), fmt.Sprintf("SUBACK id%d [00]", p.nextID-1), fmt.Sprintf("UNSUBACK id%d [00]", p.nextID))
	if got := r.connect(packet.V311, "v3", durably); got.c.Closed() {
		t.Error("a session that is there is refused")
	}

	// there is room again
	gone := r.dial(packet.V5, "gone", durably)
	gone.auto = true
	if got := len(gone.payloads()); got != accepted {
		t.Errorf("%d of %d messages arrived", got, accepted)
	}
	if n := r.logged("There is room below memory_limit again"); n != 1 {
		t.Errorf("said %d times that there is room: %q", n, r.lines)
	}
	p.say("gone", "x", 1)
	p.subscribe("more", 0)
	p.expect(fmt.Sprintf("PUBACK id%d", p.nextID-1), fmt.Sprintf("SUBACK id%d [00]", p.nextID))
	r.connect(packet.V311, "new")
	r.bare()
}

// TestMemoryLimitLarge: a message that is larger than the room there is is refused
// alone.
func TestMemoryLimitLarge(t *testing.T) {
	r := limited(t, 20_000)
	p := r.connect(packet.V5, "p")
	p.say("gone", strings.Repeat("x", 30_000), 1)
	p.say("gone", "x", 1)
	p.expect("PUBACK id1 97", "PUBACK id2")
	if n := r.logged("memory_limit"); n != 0 {
		t.Errorf("%q", r.lines)
	}
	r.bare()
}

// TestMemoryLimitPlain: QoS 0 goes on above the limit, but not into queues.
func TestMemoryLimitPlain(t *testing.T) {
	r := limited(t, 20_000)
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 0)
	s.expect("SUBACK id1 [00]")
	r.limit(1)
	p.say("t", "x", 0)
	s.expect("PUBLISH t x q0")
	s.stalled = true
	dropped := r.stats.PublishDropped
	for range 200 {
		p.say("t", strings.Repeat("x", 1000), 0)
		r.settle()
	}
	if s.c.session.waiting != nil || r.stats.PublishDropped == dropped {
		t.Errorf("%d messages wait, %d were dropped", s.c.session.waiting.len(), r.stats.PublishDropped-dropped)
	}
	r.bare()
}

// TestAccountStalled: what a client does not read is accounted for, and given back.
func TestAccountStalled(t *testing.T) {
	r := newRig(t, plain())
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 0)
	s.expect("SUBACK id1 [00]")
	before := r.acct.bytes
	s.stalled = true
	for range 50 {
		p.say("t", strings.Repeat("x", 1000), 0)
	}
	s.read(10)
	if grown := r.acct.bytes - before; grown < 50_000 || grown > 150_000 {
		t.Errorf("50,000 bytes of output are accounted for with %d", grown)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	s.flow()
	if r.acct.bytes != before {
		t.Errorf("%d bytes were not given back", r.acct.bytes-before)
	}
	r.bare()
}

// TestAccountKept: what the transport keeps of a client's output is accounted for, with
// what waits behind it, and given back.
func TestAccountKept(t *testing.T) {
	const kept = 50_000 // sealed, and not taken by the socket
	r := newRig(t, plain())
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 0)
	r.settle()
	before := r.acct.bytes
	expect := func(want int) {
		t.Helper()
		if got := r.acct.bytes - before; got != int64(want) {
			t.Errorf("%d bytes more are accounted for, not %d", got, want)
		}
		if err := r.check(); err != nil {
			t.Error(err)
		}
	}
	s.stalled = true
	r.Keeps(&s.c, kept)
	expect(kept)
	p.say("t", strings.Repeat("x", 10_000), 0)
	r.Keeps(&s.c, kept)
	expect(kept + cap(s.c.out.buf))
	s.read(10)
	r.Keeps(&s.c, 0)
	expect(cap(s.c.out.buf))
	s.flow()
	r.Keeps(&s.c, 0)
	expect(0)
	r.Keeps(&s.c, kept)
	s.drop()
	r.bare()
}

// TestMemoryLimitWill: a session that is there comes back above the limit, but not with
// a large will.
func TestMemoryLimitWill(t *testing.T) {
	r := limited(t, 20_000)
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		r.connect(v, "a"+itoa(int(v)), durably).drop()
	}
	r.limit(1)
	r.settle()
	before := r.acct.bytes
	for _, tt := range []struct {
		v    packet.Version
		size int
		want string
	}{
		{packet.V5, 100, "CONNACK present"}, {packet.V5, 5000, "CONNACK 97"},
		{packet.V311, 100, "CONNACK present"}, {packet.V311, 5000, "CONNACK 03"},
	} {
		p := r.dial(tt.v, "a"+itoa(int(tt.v)), durably, withWill("w", strings.Repeat("x", tt.size), 1, 0))
		p.expect(tt.want)
		p.drop()
	}
	if r.acct.bytes != before {
		t.Errorf("%d bytes became %d", before, r.acct.bytes)
	}
	r.limit(0)
	r.bare()
}

// TestMemoryLimitAlias: above the limit topic aliases may take a little, and no more.
func TestMemoryLimitAlias(t *testing.T) {
	r := limited(t, 20_000)
	p, s := r.connect(packet.V5, "p"), r.connect(packet.V5, "s", func(p *packet.Packet) {
		p.Props.Raw = packet.AppendUint16Property(nil, packet.TopicAliasMaximum, 10)
	})
	s.subscribe("#", 0)
	s.expect("SUBACK id1 [00]")
	r.limit(1)
	before := r.acct.bytes
	set := func(alias uint16, name string) {
		m := p.publishing(name, "", 0)
		m.Props.Raw = packet.AppendUint16Property(nil, packet.TopicAlias, alias)
		p.send(m)
		r.settle()
	}
	long := strings.Repeat("x", 2000)
	set(1, "short")
	set(1, "short") // is set
	p.say(long, "", 0)
	r.settle()
	if grown := r.acct.bytes - before; p.closed || grown > 2*smallSize || s.c.extra.aliases.out[long] != 0 || s.c.extra.aliases.out["short"] == 0 {
		t.Errorf("closed %v, grown by %d, aliases %v", p.closed, grown, s.c.extra.aliases.out)
	}
	set(2, long)
	p.expect("DISCONNECT 97")
	if !p.closed || r.logged("Client p [:0] disconnected: out of memory.") != 1 {
		t.Errorf("closed %v, %q", p.closed, r.lines)
	}
	r.limit(0)
	r.bare()
}
