package core

import (
	"runtime"
	"strings"
	"testing"

	"midge/packet"
)

// TestIncomingGivesBack: a client that has had a great many QoS 2 messages open, and has
// few or none any more, takes no more memory for them, and nor does its session.
func TestIncomingGivesBack(t *testing.T) {
	const most = 20_000
	for _, left := range []uint16{0, 1} {
		r := newRig(t, plain())
		p := r.connect(packet.V311, "p", durably)
		before := heap()
		p.send(&packet.Packet{Type: packet.Publish, QoS: 2, ID: most, Topic: []byte("t")})
		for id := uint16(1); id < most; id++ {
			p.send(&packet.Packet{Type: packet.Publish, QoS: 2, ID: id, Topic: []byte("t")})
			p.drain()
		}
		for id := left + 1; id < most; id++ {
			p.ack(packet.Pubrel, id)
			p.drain()
		}
		p.got, r.free = nil, pool{}
		if grown := heap() - before; grown > 128<<10 {
			t.Errorf("%d KiB are kept with %d messages open", grown>>10, left+1)
		}
		if n := len(p.c.session.incoming); n != int(left)+1 {
			t.Errorf("%d messages are open, not %d", n, left+1)
		}
		p.drop()
		if err := r.check(); err != nil {
			t.Error(err)
		}
		r.bare()
		runtime.KeepAlive(r)
	}
}

// TestIncomingOfTakenOver: what an earlier connection had open is no more than it is for
// the next one.
func TestIncomingOfTakenOver(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p", durably)
	for id := range uint16(20_000) {
		p.send(&packet.Packet{Type: packet.Publish, QoS: 2, ID: id + 1, Topic: []byte("t")})
		p.drain()
	}
	for id := uint16(20_000); id > 6000; id-- {
		p.ack(packet.Pubrel, id)
		p.drain()
	}
	again := r.connect(packet.V311, "p", durably)
	for id := uint16(1); id <= 6000; id++ {
		again.ack(packet.Pubrel, id)
		again.drain()
	}
	if n := len(again.c.session.incoming); n != 0 {
		t.Errorf("%d messages are open", n)
	}
	r.bare()
}

// TestTooLargeSaidOnce: messages that are larger than a client takes are a line of the
// log for each connection and not for each message.
func TestTooLargeSaidOnce(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	for i := range 3 {
		c := r.connect(packet.V5, "c", maxPacketSize(10))
		c.subscribe("t", 0)
		for range 5 {
			p.say("t", strings.Repeat("x", 20), 0)
		}
		if n := r.logged("Dropping too large outgoing PUBLISH for c "); n != i+1 {
			t.Errorf("%d lines, not %d", n, i+1)
		}
	}
	if n := r.stats.PublishDropped; n != 15 {
		t.Errorf("%d are counted, not 15", n)
	}
	r.bare()
}
