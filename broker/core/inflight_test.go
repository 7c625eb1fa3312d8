package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
)

// TestWindowIdentifiers sends more messages than there are identifiers while some
// are never acknowledged: none is given out twice [MQTT-2.2.1-4].
func TestWindowIdentifiers(t *testing.T) {
	const n = 70_000 + 70_000
	r := newRig(t, plain())
	s, p := r.connect(packet.V5, "s", receiveMaximum(100)), r.connect(packet.V5, "p")
	s.subscribe("t", 1)
	r.settle()
	stuck, last, seen, wraps := map[uint16]bool{}, uint16(0), 0, 0
	var acks []byte
	s.hook = func(pkt *packet.Packet) {
		if pkt.ID == 0 || stuck[pkt.ID] || pkt.ID == last {
			t.Fatalf("message %d has identifier %d, which is in use", seen, pkt.ID)
		}
		if pkt.ID < last {
			wraps++
		}
		last = pkt.ID
		if seen++; seen%7000 == 0 {
			stuck[pkt.ID] = true
			return
		}
		acks = packet.AppendAck(acks, s.v, packet.Puback, pkt.ID, 0)
	}
	for range n {
		p.say("t", "x", 1)
		s.drain()
		s.raw(acks)
		acks = acks[:0]
	}
	if seen != n || wraps < 2 || s.c.session.window.n != n/7000 {
		t.Errorf("%d of %d messages came, identifiers began anew %d times, %d are open", seen, n, wraps, s.c.session.window.n)
	}
	p.drain()
	p.got = nil
	r.bare()
}

// TestWindowAll opens all 65,535 identifiers and gives them back at random.
func TestWindowAll(t *testing.T) {
	const n = 70_000
	cfg := plain()
	cfg.MaxInflightMessages, cfg.MaxQueuedMessages = 0, 0
	r := newRig(t, cfg)
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 1)
	r.settle()
	open := map[uint16]bool{}
	count := 0
	s.hook = func(pkt *packet.Packet) {
		if pkt.ID == 0 || open[pkt.ID] {
			t.Fatalf("identifier %d is in use", pkt.ID)
		}
		open[pkt.ID] = true
		count++
	}
	for range n {
		p.say("t", "x", 1)
	}
	r.settle()
	if len(open) != 65535 || r.stats.Queued != n {
		t.Fatalf("%d identifiers are open, %d messages held", len(open), r.stats.Queued)
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	for len(open) > 0 {
		ids := make([]uint16, 0, len(open))
		for id := range open {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		rnd.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids[:min(len(ids), 20_000)] {
			delete(open, id)
			s.ack(packet.Puback, id)
		}
		r.settle()
	}
	if count != n {
		t.Errorf("%d of %d messages came", count, n)
	}
	r.bare()
	pooled(t, r)
}

// flowing is a v5 client that acknowledges at random and comes back with another
// Receive Maximum again and again. It keeps count of what is open.
type flowing struct {
	*peer
	rnd    *rand.Rand
	max    int
	open   map[uint16]packet.Type // what the client owes for an identifier
	known  map[uint16]bool        // QoS 2 it has had, until PUBREL
	came   map[string]int         // payload: how often
	twice  bool                   // a QoS 2 message came twice
	order  [3][]int               // first arrivals, by QoS
	t      *testing.T
	mostly int // the most that was open on a connection
}

func (f *flowing) publish(pkt *packet.Packet) {
	payload := string(pkt.Payload)
	if pkt.QoS == 0 {
		f.came[payload]++
		return
	}
	if _, in := f.open[pkt.ID]; in {
		f.t.Fatalf("identifier %d is open already", pkt.ID)
	}
	f.open[pkt.ID] = packet.Puback
	if pkt.QoS == 2 {
		f.open[pkt.ID] = packet.Pubrec
	}
	f.check()
	if pkt.QoS == 2 && f.known[pkt.ID] {
		if !pkt.Dup {
			f.t.Fatalf("identifier %d is used again", pkt.ID)
		}
		return
	}
	f.known[pkt.ID] = pkt.QoS == 2
	if f.came[payload]++; f.came[payload] == 1 {
		i, _ := strconv.Atoi(payload)
		f.order[pkt.QoS] = append(f.order[pkt.QoS], i)
	} else if pkt.QoS == 2 {
		f.twice = true
	}
}

func (f *flowing) check() {
	f.mostly = max(f.mostly, len(f.open))
	if len(f.open) > f.max {
		f.t.Fatalf("%d are open, Receive Maximum is %d", len(f.open), f.max)
	}
}

// released takes the PUBREL packets out of got.
func (f *flowing) released() {
	for _, s := range f.got {
		if s.Type == packet.Pubrel {
			f.open[s.id] = packet.Pubcomp
			delete(f.known, s.id)
			f.check()
		}
	}
	f.got = nil
}

// answer acknowledges one at random.
func (f *flowing) answer() {
	f.released()
	ids := make([]uint16, 0, len(f.open))
	for id := range f.open {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	id := ids[f.rnd.IntN(len(ids))]
	f.peerAck(id)
}

func (f *flowing) peerAck(id uint16) {
	t := f.open[id]
	switch t {
	case packet.Pubrec: // the identifier stays open until PUBCOMP
		f.open[id] = 0
	case 0: // PUBREL is awaited
		return
	default:
		delete(f.open, id)
	}
	f.ack(t, id)
	f.settle()
}

// reconnect drops the connection and comes back with a Receive Maximum of n.
func (f *flowing) reconnect(r *rig, n int) {
	if f.peer != nil {
		f.drop()
		f.released()
	}
	f.max, f.open = n, map[uint16]packet.Type{}
	f.peer = r.dial(packet.V5, "s", durably, receiveMaximum(uint16(n)))
	f.hook = f.publish
	r.settle()
}

// TestWindowReceiveMaximum: never more open than the client takes, whatever it does
// and whatever it took before; nothing is lost, QoS 2 comes once
// ([MQTT-3.3.4-9], [MQTT-4.9.0-2]).
func TestWindowReceiveMaximum(t *testing.T) {
	for seed := range uint64(trim(t, 60, 10)) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			cfg := plain()
			cfg.MaxQueuedMessages = 0
			r := newRig(t, cfg)
			f := &flowing{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), known: map[uint16]bool{}, came: map[string]int{}}
			top := 1 + f.rnd.IntN(30)
			if seed == 0 {
				top = 20
			}
			f.reconnect(r, top)
			f.subscribe("t", 2)
			p := r.connect(packet.V5, "p")
			p.auto = true
			const n = 1000
			sent := 0
			for ; sent < 2*top; sent++ { // more than there is room for
				p.say("t", itoa(sent), byte(1+f.rnd.IntN(2)))
				r.settle()
			}
			for sent < n || r.stats.Queued > 0 {
				switch k := f.rnd.IntN(200); {
				case k < 80 && sent < n:
					p.say("t", itoa(sent), byte(1+f.rnd.IntN(2)))
					sent++
				case k < 85 && sent < n:
					p.say("t", "plain", 0)
				case k == 199:
					f.reconnect(r, 1+f.rnd.IntN(top))
					if err := r.check(); err != nil {
						t.Fatal(err)
					}
				case k >= 100:
					f.answer()
				default:
					r.settle()
				}
			}
			if got := len(f.order[1]) + len(f.order[2]); got != n || f.twice {
				t.Errorf("%d of %d messages came, one of QoS 2 twice: %t", got, n, f.twice)
			}
			if !slices.IsSorted(f.order[1]) || !slices.IsSorted(f.order[2]) {
				t.Error("they came not in their order")
			}
			if f.mostly != top {
				t.Errorf("at most %d were open, the window was %d", f.mostly, top)
			}
			r.bare()
		})
	}
}

// TestWindowTwenty: with a Receive Maximum of 20 nothing is lost, however many
// messages come at once.
func TestWindowTwenty(t *testing.T) {
	r := newRig(t, plain())
	s, p := r.connect(packet.V5, "s", receiveMaximum(20)), r.connect(packet.V5, "p")
	s.subscribe("t", 2)
	r.settle()
	s.got, s.auto, p.auto = nil, true, true
	for i := range 1000 {
		p.say("t", itoa(i), byte(1+i%2))
		if i%100 == 99 {
			r.settle()
		}
	}
	var odd, even []string
	for _, m := range s.payloads() {
		if strings.ContainsAny(m[len(m)-1:], "13579") {
			odd = append(odd, m)
		} else {
			even = append(even, m)
		}
	}
	for i := range 500 {
		if len(odd) != 500 || len(even) != 500 || even[i] != itoa(2*i) || odd[i] != itoa(2*i+1) {
			t.Fatalf("%d of QoS 1 and %d of QoS 2 came, or not in order", len(even), len(odd))
		}
	}
	r.bare()
}

// TestWindowPlain: QoS 0 goes on while the window is closed, also on a connection
// whose window is still full of what an earlier one left open [MQTT-4.9.0-3].
func TestWindowPlain(t *testing.T) {
	cfg := plain()
	cfg.QueueQoS0 = true
	r := newRig(t, cfg)
	s, p := r.connect(packet.V5, "s", durably, receiveMaximum(3)), r.connect(packet.V5, "p")
	s.subscribe("t", 1)
	r.settle()
	s.got = nil
	for i := range 5 {
		p.say("t", itoa(i), 1)
	}
	p.say("t", "a", 0)
	s.expect("PUBLISH t 0 q1 id1", "PUBLISH t 1 q1 id2", "PUBLISH t 2 q1 id3", "PUBLISH t a q0")
	s.drop()
	p.say("t", "b", 0)
	p.say("t", "5", 1)
	s = r.connect(packet.V5, "s", durably, receiveMaximum(1))
	p.say("t", "c", 0)
	s.expect("PUBLISH t 0 q1 id1 dup", "PUBLISH t b q0", "PUBLISH t c q0")
	s.ack(packet.Puback, 1)
	s.expect("PUBLISH t 1 q1 id2 dup")
	s.ack(packet.Puback, 3) // before it comes again
	s.expect()
	s.ack(packet.Puback, 2)
	for i := 3; i < 6; i++ {
		s.expect(fmt.Sprintf("PUBLISH t %d q1 id%d", i, i+1))
		s.ack(packet.Puback, uint16(i+1))
	}
	s.expect()
	r.bare()
}

// TestWindowBytes: max_inflight_bytes closes the window; a message larger than it
// goes alone.
func TestWindowBytes(t *testing.T) {
	cfg := plain()
	cfg.MaxInflightBytes = 1000
	r := newRig(t, cfg)
	s, p := r.connect(packet.V311, "s", durably), r.connect(packet.V311, "p")
	s.subscribe("t", 1)
	r.settle()
	s.got = nil
	for i, size := range []int{400, 600, 1, 5000, 5000, 400, 400, 400} {
		p.say("t", itoa(i)+strings.Repeat("x", size-1), 1)
	}
	for _, round := range []struct {
		open string
		ack  uint16
	}{
		{"01", 1}, {"2", 2}, {"", 3}, {"3", 4}, {"4", 5}, {"56", 7}, {"7", 6}, {"", 8},
	} {
		var open string
		r.settle()
		for _, m := range s.got {
			open += m.payload[:1]
		}
		s.got = nil
		if open != round.open {
			t.Fatalf("before the acknowledgement of %d came %q, not %q", round.ack, open, round.open)
		}
		s.ack(packet.Puback, round.ack)
	}
	s.expect()
	r.bare()
}

// TestWindowAgain: what an earlier connection left open comes again first, in its
// first order, with its identifiers; PUBLISH with DUP, or PUBREL
// ([MQTT-4.4.0-1], [MQTT-4.6.0-1], [MQTT-3.3.1-1]).
func TestWindowAgain(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		r := newRig(t, plain())
		p := r.connect(v, "p")
		p.auto = true
		s := r.connect(v, "s", durably)
		s.subscribe("t", 2)
		r.settle()
		s.got = nil
		for i, qos := range []byte{1, 2, 2, 1, 2, 1} {
			p.say("t", itoa(i), qos)
			r.settle()
		}
		s.got = nil
		s.ack(packet.Pubrec, 3)
		s.ack(packet.Pubrec, 5)
		s.ack(packet.Pubcomp, 5)
		s.ack(packet.Puback, 4)
		s.expect("PUBREL id3", "PUBREL id5")
		for range 3 {
			s.drop()
			s = r.connect(v, "s", durably)
			s.expect("PUBLISH t 0 q1 id1 dup", "PUBLISH t 1 q2 id2 dup", "PUBREL id3", "PUBLISH t 5 q1 id6 dup")
		}
		r.wait(100_000)
		s.expect() // at no other time
		s.ack(packet.Pubcomp, 3)
		s.ack(packet.Pubrec, 2)
		s.expect("PUBREL id2")
		s.drop()
		p.say("t", "6", 1)
		s = r.connect(v, "s", durably)
		s.expect("PUBLISH t 0 q1 id1 dup", "PUBREL id2", "PUBLISH t 5 q1 id6 dup", "PUBLISH t 6 q1 id7")
		r.bare()
	}
}

// TestWindowAgainWrapped: the first order is that of sending, not of identifiers.
func TestWindowAgainWrapped(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s", durably)
	s.subscribe("t", 1)
	r.settle()
	s.c.session.nextID = 65533
	s.got = nil
	for i := range 5 {
		p.say("t", itoa(i), 1)
	}
	s.expect("PUBLISH t 0 q1 id65534", "PUBLISH t 1 q1 id65535", "PUBLISH t 2 q1 id1", "PUBLISH t 3 q1 id2", "PUBLISH t 4 q1 id3")
	s.drop()
	s = r.connect(packet.V311, "s", durably)
	s.expect("PUBLISH t 0 q1 id65534 dup", "PUBLISH t 1 q1 id65535 dup", "PUBLISH t 2 q1 id1 dup", "PUBLISH t 3 q1 id2 dup", "PUBLISH t 4 q1 id3 dup")
	r.bare()
}

// TestWindowIncoming: a client's QoS 2 message is kept over its connections and
// routed once.
func TestWindowIncoming(t *testing.T) {
	r := newRig(t, plain())
	s := r.connect(packet.V311, "s")
	s.subscribe("t", 0)
	p := r.connect(packet.V311, "p", durably)
	p.say("t", "x", 2)
	p.expect("PUBREC id1")
	p.drop()
	p = r.connect(packet.V311, "p", durably)
	again := p.publishing("t", "x", 2)
	again.Dup = true
	p.send(again)
	p.expect("PUBREC id1")
	for range 2 {
		p.ack(packet.Pubrel, 1)
		p.expect("PUBCOMP id1")
		p.drop()
		p = r.connect(packet.V311, "p", durably)
	}
	s.expect("SUBACK id1 [00]", "PUBLISH t x q0")
	if in := p.c.session.incoming; len(in) != 0 {
		t.Errorf("%d messages are still kept", len(in))
	}
	r.bare()
}
