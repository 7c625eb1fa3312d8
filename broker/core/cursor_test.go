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

// visits counts the messages that the retained feed looks at, and the most of
// them in one go. It is called before the first of them.
func (r *rig) visits() (all, most func() int) {
	total, highest, last, calls := 0, 0, uint64(0), 0
	visit := r.feed.visit
	r.feed.visit = func(m *message) bool {
		total++
		if r.goes != last {
			last, calls = r.goes, 0
		}
		calls++
		highest = max(highest, calls)
		return visit(m)
	}
	return func() int { return total }, func() int { return highest }
}

// TestCursorAll: a subscriber to all of a large store gets each message once,
// whatever the queue limits, and no call takes long.
func TestCursorAll(t *testing.T) {
	n := trim(t, 1_000_000, 50_000)
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.auto = true
	p.retainMany(n, 1)
	for _, qos := range []byte{0, 1} {
		_, most := r.visits()
		seen := make([]bool, n)
		count := 0
		s := r.connect(packet.V5, "s"+itoa(int(qos)))
		s.auto = true
		s.hook = func(pkt *packet.Packet) {
			i, err := strconv.Atoi(string(pkt.Payload))
			if err != nil || seen[i] || !pkt.Retain || pkt.QoS != qos {
				t.Fatalf("%s came twice, or not as it should: q%d retain=%t", pkt.Payload, pkt.QoS, pkt.Retain)
			}
			seen[i] = true
			count++
		}
		r.most = 0
		s.subscribe("#", qos)
		r.settle()
		if count != n {
			t.Errorf("QoS %d: %d of %d messages came", qos, count, n)
		}
		if most() > cursorBudget+1 || r.most > cursorBudget {
			t.Errorf("QoS %d: %d messages were looked at in one go, %d sent by one call", qos, most(), r.most)
		}
		if r.stats.Queued != 0 || s.c.session.cursors != nil {
			t.Errorf("QoS %d: %d messages are held, %d cursors left", qos, r.stats.Queued, len(s.c.session.cursors.all()))
		}
	}
	if r.stats.PublishDropped != 0 {
		t.Errorf("%d messages were dropped", r.stats.PublishDropped)
	}
	r.bare()
}

// TestCursorManyClients: one turn feeds a bounded number of clients, and each its turn.
func TestCursorManyClients(t *testing.T) {
	const goes = WorkTurn/(workSeek+workFeed*cursorBudget) + 1 // of one turn
	const n, clients = 300, 4 * goes
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(n, 0)
	counts, all := make([]int, clients), make([]*peer, clients)
	for i := range clients {
		all[i] = r.connect(packet.V311, "s"+itoa(i))
		all[i].hook = func(*packet.Packet) { counts[i]++ }
		all[i].stalled = true
	}
	visited, _ := r.visits()
	before := visited()
	turned := func() {
		if looks := visited() - before; looks > goes*cursorBudget {
			t.Errorf("%d messages were looked at in one turn", looks)
		}
		before = visited()
	}
	for _, s := range all {
		s.subscribe("r/#", 0)
	}
	for range clients / goes {
		turned()
		r.turn()
	}
	for i, s := range all {
		s.take(r.output(&s.c))
		if counts[i] < cursorBudget || counts[i] > 2*cursorBudget {
			t.Errorf("they do not take turns: client %d has %d", i, counts[i])
		}
		counts[i], s.stalled = 0, false
	}
	for _, s := range all {
		s.drain()
	}
	for turned(); r.turn(); turned() {
	}
	r.settle()
	for i, c := range counts {
		if c != n {
			t.Errorf("client %d got %d of %d messages", i, c, n)
		}
	}
	r.bare()
}

// TestCursorManyFilters: filters without a match are worked off many at a time.
func TestCursorManyFilters(t *testing.T) {
	const n = 20_000
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(100, 0)
	s := r.connect(packet.V311, "s")
	for round := range 2 { // in the second the subscriptions exist
		var filters []byte
		for i := range n {
			filters = packet.AppendSubscription(filters, "x/"+itoa(i), 0)
			if i%5000 == 4999 { // no SUBSCRIBE may have more than 100,000 bytes
				s.send(&packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: filters, Options: true}})
				filters = filters[:0]
			}
		}
		filters = packet.AppendSubscription(filters, "r/#", 0)
		s.send(&packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: filters, Options: true}})
		turns := 0
		for ; s.c.session.cursors != nil; turns++ {
			r.turn()
		}
		if got := len(s.payloads()); got != 100 {
			t.Errorf("round %d: %d of 100 messages came", round, got)
		}
		if turns > 2*n/cursorBudget {
			t.Errorf("round %d: it took %d turns", round, turns)
		}
	}
	r.bare()
}

// TestCursorLive: what is published while the feed goes on comes once, by the
// subscription or by the feed, and the last that comes of a topic is what it is.
func TestCursorLive(t *testing.T) {
	for seed := range uint64(trim(t, 30, 5)) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		cfg := plain()
		cfg.MaxQueuedMessages = 0
		r := newRig(t, cfg)
		p := r.connect(packet.V5, "p")
		p.auto = true
		const n = 500
		p.retainMany(n, 1)
		s := r.connect(packet.V5, "s", receiveMaximum(3))
		last, came := map[string]string{}, map[string]bool{}
		s.hook = func(pkt *packet.Packet) {
			if len(pkt.Payload) == 0 {
				return
			}
			key := string(pkt.Topic) + " " + string(pkt.Payload)
			if came[key] {
				t.Fatalf("seed %d: %s came twice", seed, key)
			}
			came[key] = true
			last[string(pkt.Topic)] = string(pkt.Payload)
		}
		s.subscribe("r/#", 1)
		sent := n
		for s.c.session.cursors != nil {
			r.turn()
			what := rnd.IntN(4)
			if sent == 2*n {
				what = 1
			}
			switch what {
			case 0:
				p.retain("r/"+itoa(rnd.IntN(2*n)), itoa(sent), byte(1+rnd.IntN(2))) // QoS 0 would not wait its turn
				sent++
			case 1:
				ids := s.c.session.window.inOrder()
				if len(ids) > 0 {
					s.ack(packet.Puback, ids[rnd.IntN(len(ids))].id)
				}
			case 2:
				p.retain("r/"+itoa(rnd.IntN(2*n)), "", 1)
			}
		}
		s.auto = true
		for _, d := range s.c.session.window.inOrder() {
			s.ack(packet.Puback, d.id)
		}
		r.settle()
		if sent < n+50 {
			t.Fatalf("only %d messages were published meanwhile", sent-n)
		}
		r.retained.Walk(func(name string, m *message) bool {
			if last[name] != m.Payload {
				t.Errorf("seed %d: the last of %s was %q, it is %q", seed, name, last[name], m.Payload)
			}
			return true
		})
		r.bare()
	}
}

// TestCursorHalfway: a QoS 2 message that was begun before SUBSCRIBE and is released
// while the feed goes on comes once.
func TestCursorHalfway(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(2*cursorBudget, 0)
	p.retain("r/z", "x", 2) // behind the others
	s := r.connect(packet.V311, "s")
	s.subscribe("#", 1)
	p.ack(packet.Pubrel, p.nextID)
	s.auto = true
	count := 0
	for _, m := range s.payloads() {
		if m == "x" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("it came %d times", count)
	}
	r.bare()
}

// TestCursorEnds: the feed ends with UNSUBSCRIBE, and with the session; SUBSCRIBE
// to the same filter begins it anew.
func TestCursorEnds(t *testing.T) {
	const n = 200
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(n, 1)
	s := r.connect(packet.V311, "s")
	s.subscribe("r/#", 1)
	s.unsubscribe("r/#")
	r.settle()
	for range 3 {
		for _, m := range s.got {
			if m.Type == packet.Publish {
				s.ack(packet.Puback, m.id)
			}
		}
		s.got = nil
		r.settle()
	}
	s.expect()
	if s.c.session.cursors != nil {
		t.Error("a cursor is left")
	}
	s.subscribe("r/#", 1)
	r.settle()
	open := s.got
	s.got = nil
	s.subscribe("r/#", 0) // meanwhile
	for _, m := range open {
		if m.Type == packet.Publish {
			s.ack(packet.Puback, m.id)
		}
	}
	if got := s.payloads(); len(got) != n {
		t.Errorf("%d of %d messages came anew", len(got), n)
	}
	s.subscribe("r/#", 1)
	s.drop()
	s = r.connect(packet.V311, "s")
	s.expect()
	r.bare()
}

// TestCursorAgain: filters subscribed to again and again while the feed cannot go on
// leave nothing behind.
func TestCursorAgain(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(100, 1)
	s := r.connect(packet.V311, "s")
	for i := range 1000 {
		s.subscribe([]string{"r/+", "r/#", "+/+"}[i%3], 1)
	}
	if all := s.c.session.cursors; len(all.by) != 3 || len(all.order) > 8 {
		t.Errorf("there are %d cursors, %d in order", len(all.by), len(all.order))
	}
	r.bare()
}

// TestCursorKept: a SUBSCRIBE that asks for no retained messages leaves the feed of
// an earlier one alone, but the QoS it grants counts.
func TestCursorKept(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(3*cursorBudget, 1)
	s := r.connect(packet.V5, "s", receiveMaximum(1))
	s.subscribe("r/#", 1)
	s.subscribe("r/#", 0|2<<4)
	r.settle()
	counts := [3]int{}
	for _, m := range s.got {
		if m.Type == packet.Publish {
			counts[m.qos]++
		}
	}
	if counts[1] != 1 || counts[0] != 3*cursorBudget-1 {
		t.Errorf("%d messages came at QoS 1, %d at QoS 0", counts[1], counts[0])
	}
	r.bare()
}

// TestCursorResumes: the feed goes on when the client comes back, and misses nothing.
func TestCursorResumes(t *testing.T) {
	const n = 1000
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	p.retainMany(n, 1)
	rnd := rand.New(rand.NewPCG(5, 5))
	came := map[string]int{}
	first := true
	for rounds := 0; len(came) < n; rounds++ {
		s := r.dial(packet.V5, "s", durably, receiveMaximum(uint16(1+rnd.IntN(30))))
		s.hook = func(pkt *packet.Packet) {
			if came[string(pkt.Payload)]++; came[string(pkt.Payload)] > 1 && !pkt.Dup {
				t.Fatalf("%s came twice", pkt.Payload)
			}
			if rnd.IntN(20) > 0 { // else it comes again
				s.reply = packet.AppendAck(s.reply, s.v, packet.Puback, pkt.ID, 0)
			}
		}
		if first {
			s.subscribe("r/#", 1)
			first = false
		}
		for range 1 + rnd.IntN(5) {
			r.turn()
		}
		s.drop()
		if rounds > n {
			t.Fatalf("%d of %d messages came", len(came), n)
		}
	}
	r.bare()
}

// TestCursorExpiry: what has expired is passed over, and swept away in small parts.
func TestCursorExpiry(t *testing.T) {
	const n = 5 * sweepBudget
	cfg := plain()
	cfg.RetainSweep = 60_000
	r := newRig(t, cfg)
	p := r.connect(packet.V5, "p")
	for i := range n {
		pkt := p.publishing("r/"+itoa(i), itoa(i), 0)
		pkt.Retain = true
		if i%100 != 0 {
			pkt.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, 10)
		}
		p.send(pkt)
	}
	r.wait(10_001)
	s := r.connect(packet.V5, "s")
	s.subscribe("#", 0)
	if got := len(s.payloads()); got != n/100 {
		t.Errorf("%d messages came, not %d", got, n/100)
	}
	r.now = r.Next()
	for r.retained.Len() > n/100 {
		before := r.retained.Len()
		r.Tick(r.now)
		if gone := before - r.retained.Len(); gone > sweepBudget {
			t.Fatalf("one Tick removed %d messages", gone)
		}
		if before == r.retained.Len() {
			if next := r.Next(); next > r.now {
				r.now = next
			} else {
				t.Fatalf("nothing goes on, %d are left", before)
			}
		}
	}
	r.bare()
}

// TestCursorLarge: a message larger than max_inflight_bytes goes alone, and the
// broker rests while the feed waits for an acknowledgement.
func TestCursorLarge(t *testing.T) {
	cfg := plain()
	cfg.MaxInflightBytes = 100
	r := newRig(t, cfg)
	p := r.connect(packet.V311, "p")
	for i, size := range []int{50, 50, 500, 99, 1, 1} {
		p.retain("r/"+itoa(i), strings.Repeat("x", size), 1)
	}
	s := r.connect(packet.V311, "s")
	s.subscribe("#", 1)
	for _, want := range []int{2, 0, 1, 2, 1, 0} {
		r.settle() // fails if it never rests
		open := 0
		for _, m := range s.got {
			if m.Type == packet.Publish {
				open++
			}
		}
		s.got = nil
		if open != want {
			t.Fatalf("%d came, not %d", open, want)
		}
		if r.Next() <= r.now {
			t.Fatal("there is something to do")
		}
		s.ack(packet.Puback, s.c.session.window.inOrder()[0].id)
	}
	s.expect()
	r.bare()
}

// TestCursorSlowReader: a feed of QoS 0 goes no further than the output's mark,
// rests there, and goes on when the client reads.
func TestCursorSlowReader(t *testing.T) {
	const n, size = 2000, 1000
	r := newRig(t, plain())
	p := r.connect(packet.V311, "p")
	for i := range n {
		p.retain(fmt.Sprintf("r/%04d", i), itoa(i)+strings.Repeat(" ", size), 0)
	}
	r.settle()
	s := r.connect(packet.V311, "s")
	s.stalled = true
	s.subscribe("#", 0)
	r.settle()
	var got []string
	s.hook = func(pkt *packet.Packet) { got = append(got, strings.TrimSpace(string(pkt.Payload))) }
	for len(got) < n {
		if size := len(r.output(&s.c)); size == 0 || size > outHigh+2*1024 {
			t.Fatalf("%d bytes of output after %d messages", size, len(got))
		}
		s.read(10_000)
		r.settle()
	}
	if !slices.Equal(got, numbers(0, n)) {
		t.Error("not in order")
	}
	r.bare()
}

// TestCursorRecord: a feed that cannot go on makes no record.
func TestCursorRecord(t *testing.T) {
	r := newDurableRig(t)
	p := r.join(packet.V311, "p")
	p.retainMany(100, 1)
	r.sync()
	s := r.join(packet.V5, "s", durably, receiveMaximum(2))
	s.subscribe("#", 1)
	r.settle()
	r.sync()
	before := r.newest
	for range 10 {
		s.ack(packet.Pingreq, 0)
		r.settle()
	}
	if r.newest != before {
		t.Errorf("%d records were made", r.newest-before)
	}
	s.ack(packet.Puback, 1)
	r.settle()
	if r.newest != before+1 {
		t.Errorf("an acknowledgement made %d records", r.newest-before)
	}
}
