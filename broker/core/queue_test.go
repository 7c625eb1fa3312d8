package core

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"midge/packet"
)

// TestQueueMessages: max_queued_messages counts what is beyond the window of a
// connected client, and all that an offline session holds.
func TestQueueMessages(t *testing.T) {
	for _, c := range []struct{ window, limit, open, online, offline int }{
		// open: under way when the client goes; offline: what its session holds in the end
		{window: 20, limit: 1000, online: 1020, open: 0, offline: 1000},
		{window: 20, limit: 1000, online: 1020, open: 20, offline: 1000},
		{window: 3, limit: 5, online: 8, open: 2, offline: 5},
		{window: 1, limit: 1, online: 2, open: 1, offline: 1},
		{window: 10, limit: 4, online: 14, open: 10, offline: 10}, // what is under way stays, above the limit too
		{window: 20, limit: 0, online: 1200, open: 0, offline: 1200},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			cfg := plain()
			cfg.MaxInflightMessages, cfg.MaxQueuedMessages = c.window, c.limit
			queueOnline(t, cfg, c.online)
			queueOffline(t, cfg, c.open, c.offline)
		})
	}
}

func queueOnline(t *testing.T, cfg Config, want int) {
	r := newRig(t, cfg)
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 1)
	r.settle()
	s.got = nil
	for i := range 1200 {
		p.say("t", itoa(i), 1)
	}
	if got := r.stats.Queued; got != want {
		t.Errorf("%d are held while connected, not %d", got, want)
	}
	dropsOf(t, r, 1200-want)
	s.auto = true
	for _, m := range s.got {
		s.ack(packet.Puback, m.id)
	}
	if got := s.payloads(); !slices.Equal(got, numbers(0, want)) {
		t.Errorf("not the first %d came in order, but %d", want, len(got))
	}
	r.bare()
}

func queueOffline(t *testing.T, cfg Config, open, want int) {
	r := newRig(t, cfg)
	s, p := r.connect(packet.V311, "s", durably), r.connect(packet.V311, "p")
	s.subscribe("t", 1)
	for i := range open {
		p.say("t", itoa(i), 1)
	}
	r.settle()
	s.drop()
	for i := open; i < 1200; i++ {
		p.say("t", itoa(i), 1)
	}
	if got := r.stats.Queued; got != want {
		t.Errorf("%d are held offline, not %d", got, want)
	}
	dropsOf(t, r, 1200-want)
	s = r.dial(packet.V311, "s", durably)
	s.auto = true
	if got := s.payloads(); !slices.Equal(got, numbers(0, want)) {
		t.Errorf("not the first %d came in order, but %d", want, len(got))
	}
	r.bare()
}

// dropsOf checks the counter, and that the log has one line if there were any.
func dropsOf(t *testing.T, r *rig, n int) {
	t.Helper()
	if got := r.stats.PublishDropped; got != uint64(n) {
		t.Errorf("%d messages are counted as dropped, not %d", got, n)
	}
	if got := r.logged("Outgoing messages are being dropped for client s."); got != min(n, 1) {
		t.Errorf("%d lines tell of %d dropped messages", got, n)
	}
}

// TestQueueDropsSaid: that messages are dropped is said once for each connection.
func TestQueueDropsSaid(t *testing.T) {
	cfg := plain()
	cfg.MaxInflightMessages, cfg.MaxQueuedMessages = 1, 1
	r := newRig(t, cfg)
	p := r.connect(packet.V311, "p")
	for round := 1; round <= 3; round++ {
		s := r.connect(packet.V311, "s", durably)
		s.subscribe("t", 1)
		for range 5 {
			p.say("t", "x", 1)
		}
		r.settle()
		s.drop()
		p.say("t", "x", 1) // offline it is the same episode
		if got := r.logged("being dropped for client s"); got != round {
			t.Errorf("%d lines in %d connections", got, round)
		}
	}
	r.bare()
}

// TestQueueBytes: max_queued_bytes takes messages in until it is reached; the
// stricter of the two limits decides.
func TestQueueBytes(t *testing.T) {
	const size = 300
	for _, c := range []struct{ bytes, messages, want int }{
		{1000, 0, 4}, // 0, 300, 600 and 900 held before: room; 1200: none
		{1000, 2, 2},
		{1200, 9, 4},
		{1, 9, 1},
		{0, 9, 9},
	} {
		for _, online := range []bool{true, false} {
			cfg := plain()
			cfg.MaxInflightMessages, cfg.MaxQueuedBytes, cfg.MaxQueuedMessages = 1, c.bytes, c.messages
			r := newRig(t, cfg)
			s, p := r.connect(packet.V311, "s", durably), r.connect(packet.V311, "p")
			s.subscribe("t", 1)
			want := c.want
			if online {
				want++ // in the window
			} else {
				s.drop()
			}
			for range 20 {
				p.say("t", strings.Repeat("x", size), 1)
			}
			if got := r.stats.Queued; got != want || r.stats.QueuedBytes != int64(want*size) {
				t.Errorf("%+v, online=%t: %d are held, of %d bytes", c, online, got, r.stats.QueuedBytes)
			}
			r.bare()
		}
	}
}

// TestQueuePlain: QoS 0 waits for an offline session with queue_qos0_messages only,
// and then within the same limits.
func TestQueuePlain(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		cfg := plain()
		cfg.QueueQoS0, cfg.MaxQueuedMessages = wanted, 6
		r := newRig(t, cfg)
		s, p := r.connect(packet.V311, "s", durably), r.connect(packet.V311, "p")
		s.subscribe("t", 1)
		r.settle()
		s.drop()
		for i := range 10 {
			p.say("t", itoa(i), byte(i%2))
		}
		s = r.dial(packet.V311, "s", durably)
		want := []string{"1", "3", "5", "7", "9"}
		if wanted {
			want = numbers(0, 6)
		}
		if got := s.payloads(); !slices.Equal(got, want) {
			t.Errorf("queue_qos0_messages %t: %v came", wanted, got)
		}
		if got := r.stats.PublishDropped; wanted && got != 4 || !wanted && got != 0 {
			t.Errorf("queue_qos0_messages %t: %d are counted as dropped", wanted, got)
		}
		r.bare()
	}
}

// TestQueueSlowReader: a client that does not read gets all in the order of
// arrival, QoS 0 and 1 alike, once it does.
func TestQueueSlowReader(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		cfg := plain()
		cfg.MaxQueuedMessages, cfg.MaxInflightMessages = 0, 0
		r := newRig(t, cfg)
		s, p := r.connect(packet.V5, "s"), r.connect(packet.V5, "p")
		s.subscribe("t", 1)
		r.settle()
		s.got, s.auto, s.stalled = nil, true, true
		const n = 600
		for i := range n {
			p.say("t", itoa(i)+strings.Repeat(" ", rnd.IntN(2000)), byte(rnd.IntN(2)))
			if rnd.IntN(10) == 0 {
				s.read(rnd.IntN(5000))
			}
			if size := r.output(&s.c); len(size) > outHigh+2100 {
				t.Fatalf("%d bytes of output", len(size))
			}
		}
		if r.stats.Queued < 100 {
			t.Fatalf("only %d wait: the test shows nothing", r.stats.Queued)
		}
		s.flow()
		got := s.payloads()
		for i := range got {
			got[i] = strings.TrimRight(got[i], " ")
		}
		if !slices.Equal(got, numbers(0, n)) {
			t.Errorf("seed %d: not in the order of arrival: %v", seed, got)
		}
		r.bare()
	}
}

// TestQueueSlowReaderDrops: QoS 0 to a connected client is dropped when
// max_queued_messages wait.
func TestQueueSlowReaderDrops(t *testing.T) {
	cfg := plain()
	cfg.MaxQueuedMessages = 10
	r := newRig(t, cfg)
	s, p := r.connect(packet.V311, "s"), r.connect(packet.V311, "p")
	s.subscribe("t", 0)
	r.settle()
	s.got, s.stalled = nil, true
	payload := strings.Repeat("x", outHigh) // each fills the output
	for i := range 20 {
		p.say("t", itoa(i)+payload, 0)
	}
	dropsOf(t, r, 20-11)
	s.stalled = false
	s.drain()
	for i, m := range s.payloads() {
		if !strings.HasPrefix(m, itoa(i)+"x") || i > 10 {
			t.Errorf("message %d is %.10s", i, m)
		}
	}
	r.bare()
}

// TestQueueExpiry: what expires while it waits is not sent, and the rest says what
// is left of its time.
func TestQueueExpiry(t *testing.T) {
	r := newRig(t, plain())
	s, p := r.connect(packet.V5, "s", durably), r.connect(packet.V5, "p")
	s.subscribe("t", 1)
	r.settle()
	s.drop()
	for i, seconds := range []uint32{1, 10, 2, 0, 20} {
		pkt := p.publishing("t", itoa(i), 1)
		pkt.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, seconds)
		p.send(pkt)
	}
	p.say("t", "5", 1)
	r.wait(4500)
	s = r.connect(packet.V5, "s", durably)
	s.auto = true
	r.settle()
	left := map[string]uint32{"1": 6, "4": 16, "5": 0}
	for _, m := range s.got {
		want := packet.AppendUint32Property(nil, packet.MessageExpiry, left[m.payload])
		if left[m.payload] == 0 {
			want = nil
		}
		if m.props != string(want) {
			t.Errorf("%v has the properties %x, not %x", m, m.props, want)
		}
	}
	if got := s.payloads(); !slices.Equal(got, []string{"1", "4", "5"}) {
		t.Errorf("%v came", got)
	}
	r.bare()
}

// TestQueueOneCopy: a message waits once, however many sessions it waits for.
func TestQueueOneCopy(t *testing.T) {
	n := trim(t, 1000, 100)
	cfg := plain()
	cfg.MaxQueuedMessages = 0
	r := newRig(t, cfg)
	for i := range n {
		s := r.connect([]packet.Version{packet.V311, packet.V5}[i%2], "s"+itoa(i))
		s.subscribe("t", byte(i%3))
		r.settle()
		s.stalled = true
	}
	p := r.connect(packet.V311, "p")
	p.auto = true
	const messages, size = 100, 20_000
	before := heap()
	for i := range messages {
		p.say("t", itoa(i)+strings.Repeat("x", size), 2)
		p.settle()
	}
	grown := heap() - before
	const session = 2*(outHigh+size) + 2*messages*int(unsafe.Sizeof(delivery{})) // an output, as slices grow, and a queue
	if most := int64(n*session + 2*messages*size); grown > most {
		t.Errorf("%d sessions and %d messages of %d bytes take %d KiB, more than %d", n, messages, size, grown>>10, most>>10)
	}
	byNumber := map[uint64]*message{}
	for _, s := range r.sessions {
		each(s, func(d *delivery) {
			if have := byNumber[d.msg.Stored]; have != nil && have != d.msg {
				t.Fatalf("there are two copies of message %d", d.msg.Stored)
			}
			byNumber[d.msg.Stored] = d.msg
		})
		if s.client.out.len() > outHigh+size+100 {
			t.Errorf("%d bytes of output", s.client.out.len())
		}
	}
	if len(byNumber) != messages {
		t.Errorf("%d messages wait, not %d", len(byNumber), messages)
	}
	r.bare()
	pooled(t, r)
}

// TestStalledThousand: a thousand subscribers that stop reading hold one copy of each
// message and little else, and one that reads gets all.
func TestStalledThousand(t *testing.T) {
	n, messages, size := 1000, 10_000, 200
	if testing.Short() {
		n, messages = 100, 3000
	}
	cfg := plain()
	cfg.MaxQueuedMessages = 1000
	r := newRig(t, cfg)
	r.free.messages.spoil = nil
	for i := range n {
		s := r.connect(packet.V311, "s"+itoa(i))
		s.subscribe("t", byte(i%2))
		r.settle()
		s.stalled = true
	}
	reader, p := r.connect(packet.V311, "reader"), r.connect(packet.V311, "p")
	reader.subscribe("t", 0)
	r.settle()
	got := 0
	reader.hook = func(*packet.Packet) { got++ }
	before := heap()
	for range messages {
		p.say("t", strings.Repeat("x", size), 1)
		for _, c := range r.Dirty() {
			if s := r.peers[c]; !s.stalled {
				s.drain()
			} else if c.Pending() > 0 && c.flags&flagStalled == 0 {
				r.Flushed(c, 10, r.now) // the socket takes a little, and then nothing any more
			}
		}
	}
	grown := heap() - before
	if got != messages {
		t.Errorf("the reader has %d of %d messages", got, messages)
	}
	distinct := map[*message]bool{}
	for _, s := range r.sessions {
		each(s, func(d *delivery) { distinct[d.msg] = true })
		if out := s.client.out; out.len() > size+100 || cap(out.buf) > 2*firstBuffer {
			t.Fatalf("%d bytes of output in %d", out.len(), cap(out.buf))
		}
	}
	if len(distinct) > cfg.MaxQueuedMessages+cfg.MaxInflightMessages+1 {
		t.Errorf("%d messages are held", len(distinct))
	}
	const delivery = 42 // bytes, with its share of a chunk
	if most := int64(n*(cfg.MaxQueuedMessages*delivery+2*firstBuffer) + messages*2*size); grown > most {
		t.Errorf("they take %d KiB, more than %d", grown>>10, most>>10)
	}
}

// heap is what is allocated and in use, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// pooled checks that what is kept for later use is bounded.
func pooled(t *testing.T, r *rig) {
	t.Helper()
	f, chunks := &r.free, 0
	for c := f.chunks; c != nil; c = c.next {
		chunks++
		for i := range c.d {
			if c.d[i] != (delivery{}) {
				t.Fatal("a free chunk holds a delivery")
			}
		}
	}
	if chunks != f.chunked || chunks > poolChunks {
		t.Errorf("%d chunks in the pool, counted as %d", chunks, f.chunked)
	}
	bytes, slots := 0, 0
	for _, buf := range f.buffers {
		bytes += cap(buf)
		if len(buf) != 0 || cap(buf) > poolBuffer {
			t.Errorf("a buffer of %d bytes in the pool", cap(buf))
		}
	}
	for _, w := range f.windows {
		slots += len(w.slots)
		if w.n != 0 || w.bytes != 0 || w.again != 0 || len(w.order) != 0 {
			t.Errorf("a window in the pool is in use: %+v", w)
		}
	}
	for _, h := range f.held {
		if len(h.buf) != 0 || len(h.marks) != 0 || h.barriers != 0 || h.connack || cap(h.buf) > poolHeldBuffer {
			t.Errorf("what held packets is in the pool, and in use: %+v", h)
		}
	}
	if len(f.held) > poolHeld {
		t.Errorf("%d that held packets in the pool", len(f.held))
	}
	if bytes != f.buffered || bytes > poolBuffers || slots != f.slots || slots > poolSlots {
		t.Errorf("buffers of %d bytes, counted as %d; windows of %d slots, counted as %d", bytes, f.buffered, slots, f.slots)
	}
}

// TestQueueChunks drives one queue beside a slice.
func TestQueueChunks(t *testing.T) {
	b := New(plain(), Options{}, 1)
	rnd := rand.New(rand.NewPCG(1, 1))
	var q queue
	var twin []uint64
	num := uint64(0)
	for step := range 200_000 {
		switch {
		case rnd.IntN(1000) == 0: // keep the even ones
			b.filter(&q, func(d *delivery) bool { return d.num%2 == 0 })
			twin = slices.DeleteFunc(twin, func(n uint64) bool { return n%2 != 0 })
		case len(twin) > 0 && rnd.IntN(100) < 30+40*(step/10_000%2):
			if got := q.front().num; got != twin[0] {
				t.Fatalf("step %d: the front is %d, not %d", step, got, twin[0])
			}
			b.pop(&q)
			twin = twin[1:]
		default:
			num++
			b.push(&q, delivery{num: num, msg: b.message(&publication{topic: "t", payload: "12"})})
			twin = append(twin, num)
		}
		if q.n != len(twin) || q.bytes != 2*len(twin) || b.stats.Queued != q.n || b.stats.QueuedBytes != int64(q.bytes) {
			t.Fatalf("step %d: %d entries of %d bytes, not %d", step, q.n, q.bytes, len(twin))
		}
	}
	b.filter(&q, func(*delivery) bool { return false })
	if q != (queue{}) || b.stats.Queued != 0 {
		t.Errorf("an empty queue is %+v", q)
	}
}
