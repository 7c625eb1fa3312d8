package core

import (
	"fmt"
	"testing"

	"midge/packet"
	"midge/persist"
)

// line is a broker with clients of few needs: what they send was made before, and
// what they receive is thrown away, or acknowledged by its identifier.
type line struct {
	*Broker
	now      Time
	pub      *Client
	listener *Listener // of the clients from now on
	subs     []*Client
	ack      []byte // of the subscribers, room for one turn
	idAt     int    // where a PUBLISH to a subscriber has its identifier
	whole    int    // length of such a PUBLISH
}

// loadTopic is the topic of all of a line's messages.
const loadTopic = "fleet/42/sensors/temperature/value"

func newLine(tb testing.TB, cfg Config, rec ...persist.Recorder) *line {
	tb.Helper()
	var opt Options
	if len(rec) > 0 {
		opt.Recorder = rec[0]
	}
	return &line{Broker: New(cfg, opt, rigStart), now: rigStart, listener: loadListener}
}

var loadListener = &Listener{
	Port: 1883, Anonymous: true, EmptyClientID: true, MaxQoS: 2, MaxAlias: 10, MaxAliasOut: 10, Versions: AllVersions,
}

// dial makes a client that was accepted.
func (l *line) dial(v packet.Version, id string, clean bool, props []byte) *Client {
	c := &Client{Listener: l.listener}
	l.Open(c, l.now)
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{
		Version: v, CleanStart: clean, ClientID: []byte(id)}, Props: packet.Properties{Raw: props}}
	l.give(c, p.Append(nil, v))
	if !c.Connected() {
		panic(id + " was refused")
	}
	l.flush()
	return c
}

func (l *line) give(c *Client, data []byte) {
	if n, _ := receiveAll(l.Broker, c, data, len(data), l.now); n != len(data) {
		panic("not all was taken")
	}
}

// subscribe makes n subscribers of version v.
func (l *line) subscribe(v packet.Version, n int, qos byte) { l.subscribeWith(v, n, qos, nil, nil) }

// subscribeWith is subscribe with properties in CONNECT and SUBSCRIBE.
func (l *line) subscribeWith(v packet.Version, n int, qos byte, connect, props []byte) {
	for range n {
		c := l.dial(v, fmt.Sprintf("sub%d", len(l.subs)), true, connect)
		s := packet.Packet{Type: packet.Subscribe, ID: 1, Props: packet.Properties{Raw: props},
			Filters: packet.Filters{Raw: packet.AppendSubscription(nil, loadTopic, qos), Options: true}}
		l.give(c, s.Append(nil, v))
		l.subs = append(l.subs, c)
	}
	l.flush()
}

// first is the first run of c's output: all of it, where nothing large is in it.
func (l *line) first(c *Client) []byte {
	if c.Pending() == 0 {
		return nil
	}
	return l.Output(c)[0]
}

// flush writes all output, as often as there is some.
func (l *line) flush() {
	for {
		dirty := l.Dirty()
		if len(dirty) == 0 {
			return
		}
		for _, c := range dirty {
			for out := l.first(c); len(out) > 0; out = l.first(c) {
				l.Flushed(c, len(out), l.now)
			}
		}
	}
}

// answer writes all output, and has the subscribers acknowledge each PUBLISH in it,
// with PUBACK or the QoS 2 exchange.
func (l *line) answer(qos byte) {
	for {
		dirty := l.Dirty()
		if len(dirty) == 0 {
			return
		}
		for _, c := range dirty {
			out := l.first(c)
			l.ack = l.ack[:0]
			if c != l.pub {
				l.ack = appendAcks(l.ack, out, l.idAt, l.whole, qos)
			}
			l.Flushed(c, len(out), l.now)
			l.give(c, l.ack)
		}
	}
}

// appendAcks appends what a subscriber answers to out, a run of PUBLISH packets that
// are whole bytes long and of PUBRELs.
func appendAcks(ack, out []byte, idAt, whole int, qos byte) []byte {
	for len(out) > 0 {
		switch packet.Type(out[0] >> 4) {
		case packet.Publish:
			t := packet.Puback
			if qos == 2 {
				t = packet.Pubrec
			}
			ack = append(ack, byte(t)<<4, 2, out[idAt], out[idAt+1])
			out = out[whole:]
		case packet.Pubrel:
			ack = append(ack, byte(packet.Pubcomp)<<4, 2, out[2], out[3])
			out = out[4:]
		default:
			panic("unforeseen packet")
		}
	}
	return ack
}

// load makes the packets of one turn: n PUBLISH, each with its PUBREL at QoS 2.
func (l *line) load(v packet.Version, n, size int, qos byte, props []byte) []byte {
	var data []byte
	payload := make([]byte, size)
	for i := range n {
		data = packet.AppendPublish(data, v, qos<<1, loadTopic, uint16(i+1), props, payload)
		if qos == 2 {
			data = packet.AppendAck(data, v, packet.Pubrel, uint16(i+1), 0)
		}
	}
	return data
}

// aim tells where the identifier of a PUBLISH to subscribers is.
func (l *line) aim(v packet.Version, size int, qos byte, props []byte) {
	pkt := packet.AppendPublish(nil, v, qos<<1, loadTopic, 1, props, make([]byte, size))
	h, _ := packet.ReadHeader(pkt, v)
	l.idAt, l.whole = h.Size+2+len(loadTopic), len(pkt)
}

// perMessage replaces the time per turn by the time per message.
func perMessage(b *testing.B, messages int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(messages), "ns/msg")
}

// turns are how many messages one read brings: a lone one, and a run of them.
var turns = []int{1, 64}

func wide() Config {
	cfg := plain()
	cfg.MaxInflightMessages, cfg.MaxQueuedMessages = 0, 0
	return cfg
}

// BenchmarkPair: one publisher, one subscriber.
func BenchmarkPair(b *testing.B) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for _, qos := range []byte{0, 1, 2} {
			for _, size := range []int{16, 256} {
				for _, n := range turns {
					b.Run(fmt.Sprintf("v%d/qos%d/%dB/%d-a-turn", v, qos, size, n), func(b *testing.B) {
						benchLine(b, v, 1, n, size, qos)
					})
				}
			}
		}
	}
}

// BenchmarkFanOut: one publisher, many subscribers of one filter. ns/msg counts
// each delivery.
func BenchmarkFanOut(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		for _, subs := range []int{1, 100, 1000, 10_000} {
			for _, n := range []int{1, 16} {
				b.Run(fmt.Sprintf("qos%d/%d/%d-a-turn", qos, subs, n), func(b *testing.B) {
					benchLine(b, packet.V311, subs, n, 16, qos)
				})
			}
		}
	}
}

func benchLine(b *testing.B, v packet.Version, subs, n, size int, qos byte) {
	l := newLine(b, wide())
	l.pub = l.dial(v, "pub", true, nil)
	l.subscribe(v, subs, qos)
	l.aim(v, size, qos, nil)
	data := l.load(v, n, size, qos, nil)
	b.ReportAllocs()
	for b.Loop() {
		l.give(l.pub, data)
		if qos == 0 {
			l.flush()
		} else {
			l.answer(qos)
		}
	}
	perMessage(b, n*subs)
}

// BenchmarkFanIn: many publishers, one subscriber.
func BenchmarkFanIn(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		for _, pubs := range []int{100, 1000} {
			b.Run(fmt.Sprintf("qos%d/%d", qos, pubs), func(b *testing.B) {
				l := newLine(b, wide())
				l.subscribe(packet.V311, 1, qos)
				l.aim(packet.V311, 16, qos, nil)
				all := make([]*Client, pubs)
				for i := range all {
					all[i] = l.dial(packet.V311, fmt.Sprintf("pub%d", i), true, nil)
				}
				data := l.load(packet.V311, 1, 16, qos, nil)
				b.ReportAllocs()
				for b.Loop() {
					for _, c := range all {
						l.give(c, data)
					}
					for _, c := range l.Dirty() {
						out := l.first(c)
						l.ack = l.ack[:0]
						if c == l.subs[0] && qos > 0 {
							l.ack = appendAcks(l.ack, out, l.idAt, l.whole, qos)
						}
						l.Flushed(c, len(out), l.now)
						l.give(c, l.ack)
					}
				}
				perMessage(b, pubs)
			})
		}
	}
}

// retainedLine is a line with n retained messages.
func retainedLine(tb testing.TB, n int) *line {
	l := newLine(tb, wide())
	l.pub = l.dial(packet.V311, "pub", true, nil)
	for i := range n {
		name := fmt.Sprintf("building/%d/floor/%d/sensor/%d", i%100, i/100%50, i)
		l.give(l.pub, packet.AppendPublish(nil, packet.V311, 1, name, 0, "", "0123456789abcdef"))
	}
	l.flush()
	return l
}

// BenchmarkRetained: the feed of a subscriber to # over 100,000 retained messages.
func BenchmarkRetained(b *testing.B) {
	const n = 100_000
	l := retainedLine(b, n)
	c := l.dial(packet.V311, "sub", true, nil)
	s := packet.Packet{Type: packet.Subscribe, ID: 1,
		Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "#", 0), Options: true}}
	data := s.Append(nil, packet.V311)
	b.ReportAllocs()
	for b.Loop() {
		l.give(c, data)
		for c.session.cursors != nil {
			l.flush()
			l.Tick(l.now)
		}
		l.flush()
	}
	perMessage(b, n)
}

// BenchmarkOffline: messages of QoS 1 wait for a session that is away, and are sent
// and acknowledged when it comes back.
func BenchmarkOffline(b *testing.B) {
	const n = 1000
	l := newLine(b, wide())
	l.pub = l.dial(packet.V311, "pub", true, nil)
	c := l.dial(packet.V311, "sub", false, nil)
	s := packet.Packet{Type: packet.Subscribe, ID: 1,
		Filters: packet.Filters{Raw: packet.AppendSubscription(nil, loadTopic, 1), Options: true}}
	l.give(c, s.Append(nil, packet.V311))
	l.flush()
	l.aim(packet.V311, 16, 1, nil)
	data := l.load(packet.V311, n, 16, 1, nil)
	connect := (&packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{
		Version: packet.V311, ClientID: []byte("sub")}}).Append(nil, packet.V311)
	b.ReportAllocs()
	for b.Loop() {
		l.Lost(c, nil, l.now)
		l.give(l.pub, data)
		c = &Client{Listener: loadListener}
		l.Open(c, l.now)
		l.give(c, connect)
		l.Flushed(c, 4, l.now) // CONNACK
		l.answer(1)
		if l.stats.Queued > 0 {
			b.Fatalf("%d messages are held", l.stats.Queued)
		}
	}
	perMessage(b, n)
}

// BenchmarkSubscribe: 100 clients make 1000 subscriptions each, every one in a packet
// of its own, 500 in a read. One operation is all of them.
func BenchmarkSubscribe(b *testing.B) {
	const clients, each, read = 100, 1000, 500
	var data [clients][each / read][]byte
	for i := range clients * each {
		client, k := i/each, i%each
		s := packet.Packet{Type: packet.Subscribe, ID: uint16(k + 1), Filters: packet.Filters{Options: true,
			Raw: packet.AppendSubscription(nil, fmt.Sprintf("site/%d/dev%d/state", client, k), 0)}}
		data[client][k/read] = s.Append(data[client][k/read], packet.V311)
	}
	b.ReportAllocs()
	for b.Loop() {
		cfg := wide()
		cfg.SysInterval = 10_000
		l := newLine(b, cfg)
		for i := range clients {
			l.subs = append(l.subs, l.dial(packet.V311, fmt.Sprintf("sub%d", i), true, nil))
		}
		for part := range each / read {
			for i, c := range l.subs {
				l.give(c, data[i][part])
				l.flush()
			}
		}
	}
	perMessage(b, clients*each)
}

// BenchmarkRetain: 100,000 messages are retained, each of a topic of its own. One
// operation is all of them.
func BenchmarkRetain(b *testing.B) {
	const n = 100_000
	b.ReportAllocs()
	for b.Loop() {
		retainedLine(b, n)
	}
	perMessage(b, n)
}

// instant is a recorder whose records are safe when the test says so; it keeps none.
type instant struct{ newest persist.Position }

func (*instant) Retain(*persist.Message)                  {}
func (*instant) Unretain(string)                          {}
func (*instant) Session(persist.Session)                  {}
func (*instant) Forget(string)                            {}
func (*instant) Subscribe(*persist.Subscription)          {}
func (*instant) Unsubscribe(string, string)               {}
func (*instant) Deliver(string, persist.Delivery)         {}
func (*instant) Delivered(string, uint64)                 {}
func (*instant) Receive(string, uint16, *persist.Message) {}
func (*instant) Received(string, uint16)                  {}
func (*instant) Will(string, *persist.Will)               {}
func (*instant) Cursor(string, uint64, persist.Cursor)    {}
func (*instant) CursorDone(string, uint64)                {}
func (i *instant) Commit(p persist.Position)              { i.newest = p }

// BenchmarkHeld: one durable subscriber, and a journal that is safe once a turn.
func BenchmarkHeld(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		for _, n := range turns {
			b.Run(fmt.Sprintf("qos%d/%d-a-turn", qos, n), func(b *testing.B) {
				rec := new(instant)
				l := newLine(b, wide(), rec)
				l.pub = l.dial(packet.V311, "pub", true, nil)
				c := l.dial(packet.V311, "sub", false, nil)
				sync := func() {
					for l.safe < rec.newest {
						l.Synced(rec.newest, nil, l.now)
						l.answer(qos)
					}
				}
				s := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{
					Raw: packet.AppendSubscription(nil, loadTopic, qos), Options: true}}
				l.Synced(rec.newest, nil, l.now)
				l.flush()
				l.give(c, s.Append(nil, packet.V311))
				l.Synced(rec.newest, nil, l.now)
				l.flush()
				l.aim(packet.V311, 16, qos, nil)
				data := l.load(packet.V311, n, 16, qos, nil)
				b.ReportAllocs()
				for b.Loop() {
					l.give(l.pub, data)
					l.answer(qos)
					sync()
				}
				if l.stats.Queued != 0 || l.stats.PublishDropped != 0 {
					b.Fatalf("%d are held, %d were dropped", l.stats.Queued, l.stats.PublishDropped)
				}
				perMessage(b, n)
			})
		}
	}
}
