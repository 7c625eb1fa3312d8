package core

import (
	"fmt"
	"strings"
	"testing"

	"midge/packet"
)

// pin fails unless f makes want allocations a run, after a few runs to warm up.
func pin(t *testing.T, want float64, f func()) {
	t.Helper()
	for range 100 {
		f()
	}
	if got := testing.AllocsPerRun(200, f); got != want {
		t.Errorf("%v allocations, not %v", got, want)
	}
}

// travellers are properties of all kinds that go through unaltered.
func travellers() []byte {
	p := packet.AppendByteProperty(nil, packet.PayloadFormat, 1)
	p = packet.AppendBytesProperty(p, packet.ContentType, []byte("text/plain"))
	p = packet.AppendBytesProperty(p, packet.ResponseTopic, []byte("reply/to"))
	p = packet.AppendBytesProperty(p, packet.CorrelationData, []byte("12345678"))
	return packet.AppendUserProperty(p, []byte("key"), []byte("value"))
}

// TestAllocsPlain: a QoS 0 PUBLISH allocates nothing from its bytes to its
// receivers' bytes.
func TestAllocsPlain(t *testing.T) {
	expiring := packet.AppendUint32Property(travellers(), packet.MessageExpiry, 60)
	aliased := packet.AppendUint16Property(travellers(), packet.TopicAlias, 3)
	for _, c := range []struct {
		name    string
		v       packet.Version
		props   []byte // of the PUBLISH
		connect []byte // of the subscribers' CONNECT
		sub     []byte // of their SUBSCRIBE
	}{
		{name: "v3", v: packet.V31},
		{name: "v4", v: packet.V311},
		{name: "v5", v: packet.V5},
		{name: "v5 with properties", v: packet.V5, props: travellers()},
		{name: "v5 with expiry", v: packet.V5, props: expiring},
		{name: "v5 with an alias from the client", v: packet.V5, props: aliased},
		{name: "v5 with aliases to clients", v: packet.V5, props: travellers(),
			connect: packet.AppendUint16Property(nil, packet.TopicAliasMaximum, 5)},
		{name: "v5 with subscription identifiers", v: packet.V5, props: expiring,
			sub: packet.AppendVarintProperty(nil, packet.SubscriptionID, 300)},
		{name: "v5 with a maximum packet size", v: packet.V5, props: expiring,
			connect: packet.AppendUint32Property(nil, packet.MaximumPacketSize, 500)},
	} {
		for _, receivers := range []int{0, 1, 100} {
			for _, duplicates := range []bool{true, false} {
				if !duplicates && c.sub != nil && receivers > 1 {
					continue // each client's copy has the identifiers of all its subscriptions: it is its own
				}
				t.Run(fmt.Sprintf("%s/%d receivers/duplicates=%t", c.name, receivers, duplicates), func(t *testing.T) {
					cfg := plain()
					cfg.AllowDuplicates = duplicates
					l := newLine(t, cfg)
					l.pub = l.dial(c.v, "pub", true, nil)
					l.subscribeWith(c.v, receivers, 0, c.connect, c.sub)
					data := l.load(c.v, 3, 16, 0, c.props)
					before := l.stats.PublishSent
					pin(t, 0, func() { l.give(l.pub, data); l.flush() })
					if l.stats.PublishSent == before && receivers > 0 {
						t.Error("nothing was sent")
					}
				})
			}
		}
	}
}

// TestAllocsMixed: nor does one to receivers of all versions, some in a group.
func TestAllocsMixed(t *testing.T) {
	l := newLine(t, plain())
	l.pub = l.dial(packet.V5, "pub", true, nil)
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		l.subscribeWith(v, 10, 0, nil, nil)
	}
	for i := range 5 {
		c := l.dial(packet.V311, fmt.Sprint("member", i), true, nil)
		s := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{
			Raw: packet.AppendSubscription(nil, "$share/g/fleet/#", 0), Options: true}}
		l.give(c, s.Append(nil, packet.V311))
	}
	l.flush()
	data := l.load(packet.V5, 1, 16, 0, travellers())
	before := l.stats.PublishSent
	pin(t, 0, func() { l.give(l.pub, data); l.flush() })
	if n := l.stats.PublishSent - before; n%31 != 0 || n == 0 {
		t.Errorf("%d were sent", n)
	}
}

// TestAllocsMounted: nor one from behind a mount point to others behind it and to
// some that are not.
func TestAllocsMounted(t *testing.T) {
	l := newLine(t, plain())
	l.subscribe(packet.V5, 10, 0)
	mounted := *loadListener
	mounted.Mount = "fleet/"
	l.listener = &mounted
	l.pub = l.dial(packet.V5, "pub", true, nil)
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		c := l.dial(v, fmt.Sprint("behind", v), true, nil)
		s := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{
			Raw: packet.AppendSubscription(nil, "#", 0), Options: true}}
		l.give(c, s.Append(nil, v))
	}
	l.flush()
	p := packet.Packet{Type: packet.Publish, Topic: []byte(strings.TrimPrefix(loadTopic, mounted.Mount)), Payload: []byte("0123456789")}
	data := p.Append(nil, packet.V5)
	before := l.stats.PublishSent
	pin(t, 0, func() { l.give(l.pub, data); l.flush() })
	if n := l.stats.PublishSent - before; n%13 != 0 || n == 0 {
		t.Errorf("%d were sent", n)
	}
}

// TestAllocsAcked: nor do QoS 1 and 2, with their acknowledgements: the message, one
// for all its receivers, is made of one that is over.
func TestAllocsAcked(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for _, qos := range []byte{1, 2} {
			for _, receivers := range []int{1, 100} {
				for _, props := range [][]byte{nil, travellers()} {
					if v != packet.V5 && props != nil {
						continue
					}
					t.Run(fmt.Sprintf("v%d/qos%d/%d receivers/%d bytes of properties", v, qos, receivers, len(props)), func(t *testing.T) {
						l := newLine(t, plain())
						l.pub = l.dial(v, "pub", true, nil)
						l.subscribeWith(v, receivers, qos, nil, nil)
						l.aim(v, 16, qos, props)
						data := l.load(v, 1, 16, qos, props)
						pin(t, 0, func() { l.give(l.pub, data); l.answer(qos) })
						if l.stats.Queued != 0 || l.stats.PublishDropped != 0 {
							t.Errorf("%d are held, %d were dropped", l.stats.Queued, l.stats.PublishDropped)
						}
					})
				}
			}
		}
	}
}

// TestAllocsNobody: a QoS 1 message that nobody wants is never made.
func TestAllocsNobody(t *testing.T) {
	l := newLine(t, plain())
	l.pub = l.dial(packet.V5, "pub", true, nil)
	data := l.load(packet.V5, 1, 16, 1, travellers())
	pin(t, 0, func() { l.give(l.pub, data); l.flush() })
}

// TestAllocsRetained: a retained message is made, with its bytes, and its key in the
// store.
func TestAllocsRetained(t *testing.T) {
	l := newLine(t, plain())
	l.pub = l.dial(packet.V311, "pub", true, nil)
	data := packet.AppendPublish(nil, packet.V311, 1, loadTopic, 0, "", "0123456789abcdef")
	pin(t, 3, func() { l.give(l.pub, data); l.flush() })
}

// TestAllocsOthers: PINGREQ, and acknowledgements of what is not known, allocate
// nothing; but of PUBREC, which the log has a warning of.
func TestAllocsOthers(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		l := newLine(t, plain())
		c := l.dial(v, "c", true, nil)
		data := []byte{0xC0, 0}
		for _, k := range []packet.Type{packet.Puback, packet.Pubrel, packet.Pubcomp} {
			data = packet.AppendAck(data, v, k, 77, 0)
		}
		pin(t, 0, func() { l.give(c, data); l.flush() })
	}
}

// TestAllocsFeed: the feed of retained messages allocates nothing, whatever the QoS.
func TestAllocsFeed(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		l := newLine(t, plain())
		l.pub = l.dial(packet.V311, "pub", true, nil)
		for i := range 300_000 {
			l.give(l.pub, packet.AppendPublish(nil, packet.V311, 1|qos<<1, fmt.Sprintf("r/%06d", i), 1, "", "0123456789abcdef"))
		}
		l.flush()
		c := l.dial(packet.V311, "sub", true, nil)
		pkt := packet.AppendPublish(nil, packet.V311, 1|qos<<1, "r/123456", 1, "", "0123456789abcdef")
		l.idAt, l.whole = 2+2+8, len(pkt)
		s := packet.Packet{Type: packet.Subscribe, ID: 1,
			Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "#", qos), Options: true}}
		l.give(c, s.Append(nil, packet.V311))
		l.Flushed(c, 5, l.now) // SUBACK
		before := l.stats.PublishSent
		turn := func() {
			for _, c := range l.Dirty() {
				out := l.first(c)
				l.ack = l.ack[:0]
				if qos > 0 {
					l.ack = appendAcks(l.ack, out, l.idAt, l.whole, qos)
				}
				l.Flushed(c, len(out), l.now)
				l.give(c, l.ack)
			}
			l.Tick(l.now)
		}
		pin(t, 0, turn)
		if n := l.stats.PublishSent - before; n < 300*20 || c.session.cursors == nil {
			t.Errorf("QoS %d: %d were sent", qos, n)
		}
	}
}

// TestAllocsQueue: nor does what passes through a queue.
func TestAllocsQueue(t *testing.T) {
	cfg := plain()
	cfg.MaxInflightMessages = 1
	l := newLine(t, cfg)
	l.pub = l.dial(packet.V311, "pub", true, nil)
	l.subscribeWith(packet.V311, 1, 1, nil, nil)
	l.aim(packet.V311, 16, 1, nil)
	const n = 50
	data := l.load(packet.V311, n, 16, 1, nil)
	pin(t, 1, func() { l.give(l.pub, data); l.answer(1) }) // the backlog is one
	if l.stats.Queued != 0 {
		t.Errorf("%d are held", l.stats.Queued)
	}
}
