package core

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"midge/packet"
)

// sequence makes bytes into what some clients of all protocol levels do: legal packets
// in any order, illegal ones, parts of packets, and what happens around them. Any
// bytes are a sequence, and each step takes a few of them, so that a fuzzer can find
// its way from one to the next.
type sequence struct {
	*target
	in   []byte
	link [6]sequenceLink
}

// sequenceLink is one connection, as its client sees it.
type sequenceLink struct {
	open    bool
	version packet.Version  // what it sends, and what it understands
	buf     []byte          // received, and no whole packet yet
	welcome bool            // CONNACK has come
	owed    []packet.Packet // the acknowledgements that it owes
}

// What packets are made of. Much of it is legal.
var (
	sequenceVersions  = []packet.Version{packet.V5, packet.V311, packet.V31}
	sequenceIDs       = []string{"a", "b", "c", ""}
	sequenceTopics    = []string{"a", "a/b", "a/b/c", "/", "$x"}
	oddTopics         = []string{"", "a/+", "$SYS/a", "$share/g/a", "$CONTROL/a"}
	sequenceFilters   = []string{"a", "a/#", "+/b", "#", "$share/g/a/#", "$share/h/+", "$SYS/#", "+/+/#"}
	oddFilters        = []string{"", "a#", "$share//a", "$share/g", "+a", "#/a"}
	sequenceIntervals = []uint32{0, 1, 60, noExpiry}
	sequenceTicks     = []string{"1ms", "1s", "31s", "90s", "1h"}
	sequenceSettings  = []string{
		"max_inflight_messages 1", "max_inflight_messages 20", "max_inflight_messages 0", "max_queued_messages 2", "max_queued_messages 1000",
		"max_queued_bytes 10", "max_queued_bytes 0", "queue_qos0_messages true", "queue_qos0_messages false", "allow_duplicate_messages false",
		"allow_duplicate_messages true", "upgrade_outgoing_qos true", "retain_available false", "retain_available true", "retry_interval 10",
		"max_keepalive 30", "message_size_limit 3", "persistent_client_expiration 30s", "max_packet_size 60", "global_max_clients 2",
		"max_subscriptions 2", "max_topic_levels 2", "max_retained_messages 1", "max_clientid_length 1",
	}
)

// n is a number below most, of the next byte; 0 where there is none.
func (s *sequence) n(most int) int {
	if len(s.in) == 0 {
		return 0
	}
	n := int(s.in[0]) % most
	s.in = s.in[1:]
	return n
}

func (s *sequence) yes() bool { return s.n(2) == 1 }

func pick[T any](s *sequence, from []T) T { return from[s.n(len(from))] }

// odd says that something is to be what it should not be.
func (s *sequence) odd() bool { return s.n(16) == 15 }

// pickOdd is one of usual, or now and then of odd.
func pickOdd[T any](s *sequence, usual, odd []T) T {
	if s.odd() {
		return pick(s, odd)
	}
	return pick(s, usual)
}

// id is a packet identifier.
func (s *sequence) id() uint16 {
	if s.odd() {
		return 0
	}
	return uint16(1 + s.n(8))
}

// upTo is a number from 1 on, or 0 where that is odd.
func (s *sequence) upTo(most int) uint32 {
	if s.odd() {
		return uint32(s.n(256)) * 255
	}
	return uint32(1 + s.n(most))
}

func slot(i int) string { return fmt.Sprint("link", i) }

// run does all steps, and tells what is wrong.
func (s *sequence) run() error {
	for len(s.in) > 0 {
		if err := s.step(); err != nil {
			return err
		}
		if err := s.Settle(""); err != nil {
			return err
		}
		if err := s.hear(); err != nil {
			return err
		}
	}
	return s.finish()
}

// step is one thing that happens.
func (s *sequence) step() error {
	kind, i := s.n(24), s.n(len(s.link))
	l := &s.link[i]
	if !l.open && kind != 22 && kind != 23 {
		return s.enter(i)
	}
	switch kind {
	case 19:
		l.open = false
		return s.Drop(slot(i), s.yes())
	case 20:
		return s.Command("stall", slot(i))
	case 21:
		if s.yes() {
			return s.Command("flow", slot(i))
		}
		return s.Command("flow", fmt.Sprint(slot(i), " ", s.n(200)))
	case 22:
		return s.Command("tick", pick(s, sequenceTicks))
	case 23:
		return s.Command("config", pick(s, sequenceSettings))
	}
	if kind >= 10 && kind < 14 && len(l.owed) > 0 && !s.odd() {
		ack := l.owed[0]
		l.owed = l.owed[1:]
		return s.Send(slot(i), ack.Append(nil, l.version))
	}
	return s.Send(slot(i), s.bytes(kind, l.version))
}

// enter opens a connection and mostly begins it as it should be.
func (s *sequence) enter(i int) error {
	s.link[i] = sequenceLink{open: true, version: pick(s, sequenceVersions)}
	if err := s.Open(slot(i)); err != nil {
		return err
	}
	if s.n(8) == 7 {
		return nil
	}
	return s.Send(slot(i), s.connect(s.link[i].version).Append(nil, s.link[i].version))
}

// bytes is a packet, or something else.
func (s *sequence) bytes(kind int, v packet.Version) []byte {
	var b []byte
	switch kind {
	case 16: // anything
		if s.n(4) > 0 {
			return s.publish(v).Append(nil, v)
		}
		n := min(s.n(20), len(s.in))
		b, s.in = append(b, s.in[:n]...), s.in[n:]
	case 17: // a packet with a byte of it changed
		b = s.packet(s.n(16), v).Append(nil, v)
		b[s.n(len(b))] ^= byte(s.n(256))
	case 18: // the beginning of one
		b = s.packet(s.n(16), v).Append(nil, v)
		b = b[:s.n(len(b)+1)]
	default:
		b = s.packet(kind, v).Append(nil, v)
	}
	return b
}

// packet is one whose bytes are well-formed, but for its topics and numbers.
func (s *sequence) packet(kind int, v packet.Version) *packet.Packet {
	switch kind {
	case 0:
		if s.odd() {
			return s.connect(v)
		}
		return s.publish(v)
	case 1, 2, 3:
		return s.request(packet.Subscribe, v)
	case 4:
		return s.request(packet.Unsubscribe, v)
	case 5, 6, 7, 8, 9:
		return s.publish(v)
	case 14:
		return s.disconnect(v)
	case 15:
		return &packet.Packet{Type: pickOdd(s, []packet.Type{packet.Pingreq}, []packet.Type{packet.Pingresp, packet.Connack, packet.Auth})}
	}
	t := []packet.Type{packet.Puback, packet.Pubrec, packet.Pubrel, packet.Pubcomp}[kind-10]
	return &packet.Packet{Type: t, ID: s.id(), Reason: pick(s, []packet.Reason{0, 0, 0, packet.UnspecifiedError})}
}

func (s *sequence) connect(v packet.Version) *packet.Packet {
	p := &packet.Packet{Type: packet.Connect}
	c := &p.Connect
	c.Version, c.ClientID = v, []byte(pick(s, sequenceIDs))
	flags := s.n(32)
	c.CleanStart, c.KeepAlive = flags&1 != 0, uint16(flags&2)*30
	if flags&4 != 0 {
		c.Will, c.WillTopic, c.WillPayload = true, []byte(pickOdd(s, sequenceTopics, oddTopics)), []byte("will")
		c.WillQoS, c.WillRetain = byte(s.n(3)), s.yes()
		if v == packet.V5 && s.yes() {
			c.WillProps.Raw = packet.AppendUint32Property(nil, packet.WillDelay, pick(s, sequenceIntervals))
		}
	}
	if v == packet.V5 && flags&8 != 0 {
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, pick(s, sequenceIntervals))
		p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.TopicAliasMaximum, uint16(s.n(3)))
	}
	if v == packet.V5 && flags&16 != 0 {
		p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.ReceiveMaximum, uint16(s.upTo(4)))
		p.Props.Raw = packet.AppendUint32Property(p.Props.Raw, packet.MaximumPacketSize, s.upTo(64))
	}
	return p
}

func (s *sequence) request(t packet.Type, v packet.Version) *packet.Packet {
	p := &packet.Packet{Type: t, ID: s.id()}
	p.Filters.Options = t == packet.Subscribe
	for range 1 + s.n(3) {
		if f := pickOdd(s, sequenceFilters, oddFilters); t == packet.Unsubscribe {
			p.Filters.Raw = packet.AppendFilter(p.Filters.Raw, f)
		} else {
			p.Filters.Raw = packet.AppendSubscription(p.Filters.Raw, f, s.options(v))
		}
	}
	if v == packet.V5 && t == packet.Subscribe && s.yes() {
		p.Props.Raw = packet.AppendVarintProperty(nil, packet.SubscriptionID, s.upTo(3))
	}
	return p
}

// options are those of a subscription.
func (s *sequence) options(v packet.Version) byte {
	switch {
	case s.odd():
		return byte(s.n(256))
	case v != packet.V5:
		return byte(s.n(3))
	}
	return byte(s.n(3) | s.n(4)<<2 | s.n(3)<<4)
}

func (s *sequence) publish(v packet.Version) *packet.Packet {
	flags := s.n(256)
	p := &packet.Packet{Type: packet.Publish, QoS: byte(flags&3) % 3, Retain: flags&4 != 0, Topic: []byte(pickOdd(s, sequenceTopics, oddTopics))}
	if p.QoS > 0 {
		p.ID, p.Dup = s.id(), flags&8 != 0
	}
	if flags&16 == 0 {
		p.Payload = []byte("payload"[:1+s.n(7)])
	}
	if v == packet.V5 && flags&32 != 0 {
		p.Props.Raw = packet.AppendUint16Property(nil, packet.TopicAlias, uint16(s.upTo(3)))
		if s.yes() {
			p.Topic = nil
		}
	}
	if v == packet.V5 && flags&64 != 0 {
		p.Props.Raw = packet.AppendUint32Property(p.Props.Raw, packet.MessageExpiry, pick(s, sequenceIntervals))
	}
	return p
}

func (s *sequence) disconnect(v packet.Version) *packet.Packet {
	p := &packet.Packet{Type: packet.Disconnect}
	if v == packet.V5 {
		p.Reason = pick(s, []packet.Reason{0, packet.DisconnectWithWill, packet.UnspecifiedError})
		if s.yes() {
			p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, pick(s, sequenceIntervals))
		}
	}
	return p
}

// hear takes what the clients were sent apart.
func (s *sequence) hear() error {
	for i := range s.link {
		l := &s.link[i]
		if !l.open {
			continue
		}
		b, closed := s.Received(slot(i))
		l.buf = append(l.buf, b...)
		if err := l.understand(s.conns[slot(i)]); err != nil {
			return fmt.Errorf("%s, version %d: %w", slot(i), l.version, err)
		}
		l.open = !closed
	}
	return nil
}

// understand decodes all whole packets: a client is sent nothing but what it may be,
// and nothing larger than it takes.
func (l *sequenceLink) understand(c *testConn) error {
	v := l.version
	if c.version != 0 { // a changed CONNECT may be one of another version
		v = c.version
	}
	for {
		h, err := packet.ReadHeader(l.buf, v)
		if err != nil {
			return fmt.Errorf("% x: %w", l.buf, err)
		}
		if h.Size == 0 || h.Len() > len(l.buf) {
			return nil
		}
		var p packet.Packet
		if err := p.Decode(v, packet.FromServer, h.First, l.buf[h.Size:h.Len()]); err != nil {
			return fmt.Errorf("is sent % x: %w", l.buf[:h.Len()], err)
		}
		switch {
		case l.welcome == (p.Type == packet.Connack):
			return fmt.Errorf("is sent %v, connected: %t", p.Type, l.welcome)
		case l.welcome && h.Len() > int(c.maxPacket):
			return fmt.Errorf("is sent %d bytes, and takes %d", h.Len(), c.maxPacket)
		}
		l.owe(&p)
		l.welcome, l.buf = true, l.buf[h.Len():]
	}
}

// owe notes what p is to be answered with.
func (l *sequenceLink) owe(p *packet.Packet) {
	answer := packet.Type(0)
	switch {
	case p.Type == packet.Publish && p.QoS == 1:
		answer = packet.Puback
	case p.Type == packet.Publish && p.QoS == 2:
		answer = packet.Pubrec
	case p.Type == packet.Pubrec && !p.Reason.Failed():
		answer = packet.Pubrel
	case p.Type == packet.Pubrel:
		answer = packet.Pubcomp
	default:
		return
	}
	l.owed = append(l.owed, packet.Packet{Type: answer, ID: p.ID})
}

// FuzzSequence: whatever clients do in whatever order, the broker's state is sound
// after each step, what it sends can be understood, and nothing is left in the end.
func FuzzSequence(f *testing.F) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range trim(f, 300, 60) {
		b := make([]byte, 50+10*(i%40))
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &sequence{target: newTarget(), in: b[:min(len(b), 2000)]}
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
	})
}
