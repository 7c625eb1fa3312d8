package core

import (
	"bytes"
	"strings"
	"testing"

	"midge/packet"
)

// output is Output in one piece.
func (b *Broker) output(c *Client) []byte { return bytes.Join(b.Output(c), nil) }

// receiveAll is Receive of a transport that does not write before all is taken.
func receiveAll(b *Broker, c *Client, data []byte, fresh int, now Time) (used, need int) {
	for {
		var n int
		n, need = b.Receive(c, data[used:], fresh, now)
		used, fresh = used+n, 0
		b.Filled()
		b.Settle()
		if !c.More() {
			return used, need
		}
	}
}

// TestReceiveFilled: a burst larger than an output stops where the output is full,
// and nothing is lost for a client that reads.
func TestReceiveFilled(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 0)
	r.settle()
	const n = 12_000
	var burst []byte
	for range n {
		burst = p.publishing("t", "abcd", 0).Append(burst, packet.V311)
	}
	stops := 0
	for len(burst) > 0 {
		used, _ := r.Receive(&p.c, burst, len(burst), r.now)
		burst = burst[used:]
		if full := r.Filled(); len(full) > 0 {
			stops++
			if full[0] != &s.c || !p.c.More() {
				t.Fatalf("%d outputs are full, the publisher has more: %v", len(full), p.c.More())
			}
			s.drain()
		}
	}
	s.drain()
	if got := len(s.payloads()); got != n || r.stats.PublishDropped != 0 {
		t.Errorf("%d of %d messages came, %d were dropped", got, n, r.stats.PublishDropped)
	}
	if want := n * 9 / outHigh; stops < want {
		t.Errorf("%d stops, not %d", stops, want)
	}
	r.bare()
}

// TestReceiveShort: one read's worth of packets that cost much is not worked off in
// one go: all of it is done in the end, but not by few calls.
func TestReceiveShort(t *testing.T) {
	const bytes = 256 << 10 // what a transport may read at once
	r := newRig(t, plain())
	for name, c := range map[string]struct {
		pkt   func(p *peer, i int) *packet.Packet
		calls int
	}{
		"PINGREQ": {func(*peer, int) *packet.Packet { return &packet.Packet{Type: packet.Pingreq} }, 20},
		"PUBACK":  {func(*peer, int) *packet.Packet { return &packet.Packet{Type: packet.Puback, ID: 1} }, 10},
		"retained": {func(p *peer, i int) *packet.Packet {
			pkt := p.publishing("topic/"+itoa(i), strings.Repeat("x", 64), 0)
			pkt.Retain = true
			return pkt
		}, 8},
		"SUBSCRIBE": {func(p *peer, i int) *packet.Packet {
			return &packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{
				Raw: packet.AppendSubscription(nil, "filter/"+itoa(i), 0), Options: true}}
		}, 40},
	} {
		p := r.connect(packet.V311, name)
		r.settle()
		var data []byte
		n := 0
		for ; len(data) < bytes; n++ {
			data = c.pkt(p, n).Append(data, packet.V311)
		}
		before, calls := r.stats.MessagesReceived, 0
		for ; len(data) > 0; calls++ {
			used, _ := r.Receive(&p.c, data, len(data), r.now)
			data = data[used:]
			r.Filled()
			r.Settle()
			p.drain()
		}
		if got := int(r.stats.MessagesReceived - before); got != n {
			t.Errorf("%s: %d of %d packets were taken", name, got, n)
		}
		if calls < c.calls {
			t.Errorf("%s: only %d calls for %d packets", name, calls, n)
		}
	}
}

// TestReceiveBesideBacklog: a subscriber that reads a long backlog as fast as it is
// written does not keep another client's packets out, and is listed once at most.
func TestReceiveBesideBacklog(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	for i := range 1000 {
		pkt := p.publishing("r/"+itoa(i), strings.Repeat("x", 9000), 0)
		pkt.Retain = true
		p.send(pkt)
	}
	s, other := r.connect(packet.V311, "s"), r.connect(packet.V311, "other")
	s.subscribe("r/#", 0)
	write := func(clients []*Client) {
		for _, c := range clients {
			for range 4 {
				r.Flushed(c, c.Pending(), r.now)
			}
		}
	}
	ping := []byte{0xC0, 0}
	for turn := range 20 {
		r.Tick(r.now)
		write(r.Dirty())
		if used, _ := r.Receive(&other.c, ping, len(ping), r.now); used != len(ping) {
			t.Fatalf("turn %d: the PINGREQ has to wait", turn)
		}
		filled := r.Filled()
		r.Settle()
		if len(filled) > 1 {
			t.Fatalf("turn %d: %d clients are to be written at once", turn, len(filled))
		}
	}
	if s.c.session.cursors == nil {
		t.Error("the backlog was too short for this test")
	}
}

// TestReceiveWork: one read's worth of packets for many subscriptions is not
// worked off in one go.
func TestReceiveWork(t *testing.T) {
	const levels, n = 10, 300
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	for i := range 1 << levels {
		filter := make([]string, levels)
		for j := range filter {
			filter[j] = string("a+"[i>>j&1])
		}
		s.subscribe(strings.Join(filter, "/"), 0)
	}
	r.settle()
	name := strings.Repeat("a/", levels-1) + "a"
	var burst []byte
	for range n {
		burst = p.publishing(name, "", 0).Append(burst, packet.V311)
	}
	before, calls := r.stats.PublishReceived, 0
	for len(burst) > 0 {
		used, _ := r.Receive(&p.c, burst, len(burst), r.now)
		burst = burst[used:]
		r.Filled()
		s.drain()
		calls++
		if r.work > workMax+2<<levels {
			t.Fatalf("one call saw to %d subscriptions", r.work)
		}
	}
	if got := r.stats.PublishReceived - before; got != n {
		t.Errorf("%d of %d messages were taken", got, n)
	}
	if want := n << levels / (workMax + 2<<levels); calls < want {
		t.Errorf("%d calls, not %d", calls, want)
	}
	r.bare()
}
