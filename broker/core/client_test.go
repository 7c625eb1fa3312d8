package core

import (
	"fmt"
	"strings"

	"midge/packet"
)

// peer is a client in memory.
type peer struct {
	*rig
	c       Client
	v       packet.Version
	in      []byte // from the broker, not yet decoded
	got     []seen // what came and was not looked at
	stalled bool   // does not read
	auto    bool   // acknowledges at once
	closed  bool   // the broker ended the connection
	nextID  uint16
	hook    func(*packet.Packet) // gets each PUBLISH in place of got
	reply   []byte               // what auto answers
}

// seen is one packet from the broker.
type seen struct {
	packet.Type
	topic, payload, props string
	id                    uint16
	qos                   byte
	dup, retain, present  bool
	reason                packet.Reason
	codes                 string
}

// String is terse: "PUBLISH t x q1 id1 dup retain", "SUBACK id1 [01]".
func (s seen) String() string {
	out := s.Type.String()
	if s.Type == packet.Publish {
		out += fmt.Sprintf(" %s %s q%d", s.topic, s.payload, s.qos)
	}
	if s.id != 0 {
		out += fmt.Sprintf(" id%d", s.id)
	}
	if s.dup {
		out += " dup"
	}
	if s.retain {
		out += " retain"
	}
	if s.present {
		out += " present"
	}
	if s.reason != 0 {
		out += fmt.Sprintf(" %02X", byte(s.reason))
	}
	if s.codes != "" {
		out += fmt.Sprintf(" [%x]", s.codes)
	}
	return out
}

// option changes a CONNECT before it is sent.
type option func(*packet.Packet)

// durably asks for a session that never ends.
func durably(p *packet.Packet) { lasting(noExpiry)(p) }

// lasting asks for a session that lasts that many seconds; before v5, forever.
func lasting(seconds uint32) option {
	return func(p *packet.Packet) {
		p.Connect.CleanStart = false
		if p.Connect.Version == packet.V5 {
			p.Props.Raw = packet.AppendUint32Property(p.Props.Raw, packet.SessionExpiry, seconds)
		}
	}
}

func receiveMaximum(n uint16) option {
	return func(p *packet.Packet) {
		p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.ReceiveMaximum, n)
	}
}

func maxPacketSize(n uint32) option {
	return func(p *packet.Packet) {
		p.Props.Raw = packet.AppendUint32Property(p.Props.Raw, packet.MaximumPacketSize, n)
	}
}

func topicAliases(n uint16) option {
	return func(p *packet.Packet) {
		p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.TopicAliasMaximum, n)
	}
}

func withWill(topic, payload string, qos byte, delay uint32) option {
	return func(p *packet.Packet) {
		cn := &p.Connect
		cn.Will, cn.WillTopic, cn.WillPayload, cn.WillQoS = true, []byte(topic), []byte(payload), qos
		if cn.Version == packet.V5 && delay > 0 {
			cn.WillProps.Raw = packet.AppendUint32Property(nil, packet.WillDelay, delay)
		}
	}
}

// open makes a connection that has sent nothing.
func (r *rig) open(v packet.Version) *peer {
	p := &peer{rig: r, v: v}
	p.c.Listener = r.listener
	p.c.Handle = int32(len(r.peers))
	r.peers[&p.c] = p
	r.Open(&p.c, r.now)
	return p
}

// dial makes a connection and sends CONNECT; the CONNACK is not read.
func (r *rig) dial(v packet.Version, id string, opts ...option) *peer {
	p := r.open(v)
	cn := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{
		Version: v, CleanStart: true, ClientID: []byte(id),
	}}
	for _, o := range opts {
		o(&cn)
	}
	p.send(&cn)
	return p
}

// connect makes a client that was accepted.
func (r *rig) connect(v packet.Version, id string, opts ...option) *peer {
	r.Helper()
	p := r.dial(v, id, opts...)
	r.settle()
	if len(p.got) == 0 || p.got[0].Type != packet.Connack || p.got[0].reason != 0 {
		r.Fatalf("%s was not accepted: %v", id, p.got)
	}
	p.got = p.got[1:]
	return p
}

// send gives the broker a packet; nothing is read yet.
func (p *peer) send(pkt *packet.Packet) {
	p.rig.in.count(pkt)
	p.raw(pkt.Append(nil, p.v))
}

func (p *peer) raw(data []byte) {
	p.Helper()
	p.rig.in.bytes += uint64(len(data))
	if used, _ := receiveAll(p.Broker, &p.c, data, len(data), p.now); used != len(data) {
		p.Fatalf("%d of %d bytes were taken", used, len(data))
	}
}

// id is an unused packet identifier.
func (p *peer) id() uint16 {
	if p.nextID++; p.nextID == 0 {
		p.nextID = 1
	}
	return p.nextID
}

// subscribe sends SUBSCRIBE; options are those of the wire, the QoS as a rule.
func (p *peer) subscribe(filter string, options byte) {
	p.send(&packet.Packet{Type: packet.Subscribe, ID: p.id(),
		Filters: packet.Filters{Raw: packet.AppendSubscription(nil, filter, options), Options: true}})
}

func (p *peer) unsubscribe(filter string) {
	p.send(&packet.Packet{Type: packet.Unsubscribe, ID: p.id(),
		Filters: packet.Filters{Raw: packet.AppendFilter(nil, filter)}})
}

// publishing is a PUBLISH ready to be changed and sent.
func (p *peer) publishing(topic, payload string, qos byte) *packet.Packet {
	pkt := &packet.Packet{Type: packet.Publish, QoS: qos, Topic: []byte(topic), Payload: []byte(payload)}
	if qos > 0 {
		pkt.ID = p.id()
	}
	return pkt
}

func (p *peer) say(topic, payload string, qos byte) { p.send(p.publishing(topic, payload, qos)) }

func (p *peer) retain(topic, payload string, qos byte) {
	pkt := p.publishing(topic, payload, qos)
	pkt.Retain = true
	p.send(pkt)
}

func (p *peer) ack(t packet.Type, id uint16) { p.send(&packet.Packet{Type: t, ID: id}) }

// leave ends the connection with DISCONNECT, drop without.
func (p *peer) leave() {
	p.send(&packet.Packet{Type: packet.Disconnect})
	p.settle()
}

func (p *peer) drop() {
	p.Lost(&p.c, nil, p.now)
	p.settle()
}

// flow goes on reading after stalled.
func (p *peer) flow() {
	p.stalled = false
	p.drain()
	p.settle()
}

// drain reads all there is.
func (p *peer) drain() {
	for !p.stalled {
		out := p.output(&p.c)
		if len(out) == 0 {
			break
		}
		p.take(out)
		p.Flushed(&p.c, len(out), p.now)
		p.respond()
	}
	if p.c.Closed() && !p.closed {
		p.closed = true
		p.Discard(&p.c)
		delete(p.peers, &p.c)
	}
}

// read takes n bytes of the output at most.
func (p *peer) read(n int) {
	out := p.output(&p.c)
	out = out[:min(n, len(out))]
	p.take(out)
	p.Flushed(&p.c, len(out), p.now)
	p.respond()
}

// take decodes what was read.
func (p *peer) take(data []byte) {
	p.rig.out.bytes += uint64(len(data))
	p.in = append(p.in, data...)
	var pkt packet.Packet
	used := 0
	for {
		h, err := packet.ReadHeader(p.in[used:], p.v)
		if err != nil {
			p.Fatalf("broken header from the broker: %v", err)
		}
		if h.Size == 0 || len(p.in)-used < h.Len() {
			break
		}
		if err := pkt.Decode(p.v, packet.FromServer, h.First, p.in[used+h.Size:used+h.Len()]); err != nil {
			p.Fatalf("broken %v from the broker: %v", h.Type(), err)
		}
		used += h.Len()
		p.rig.out.count(&pkt)
		p.note(&pkt)
	}
	p.in = p.in[:copy(p.in, p.in[used:])]
}

// note keeps a packet, and makes the answer to it where that is wanted.
func (p *peer) note(pkt *packet.Packet) {
	if p.auto {
		switch {
		case pkt.Type == packet.Publish && pkt.QoS == 1:
			p.reply = packet.AppendAck(p.reply, p.v, packet.Puback, pkt.ID, 0)
		case pkt.Type == packet.Publish && pkt.QoS == 2:
			p.reply = packet.AppendAck(p.reply, p.v, packet.Pubrec, pkt.ID, 0)
		case pkt.Type == packet.Pubrec:
			p.reply = packet.AppendAck(p.reply, p.v, packet.Pubrel, pkt.ID, 0)
		case pkt.Type == packet.Pubrel:
			p.reply = packet.AppendAck(p.reply, p.v, packet.Pubcomp, pkt.ID, 0)
		}
	}
	if p.hook != nil && pkt.Type == packet.Publish {
		p.hook(pkt)
		return
	}
	s := seen{Type: pkt.Type}
	switch pkt.Type {
	case packet.Publish:
		s.topic, s.payload, s.props = string(pkt.Topic), string(pkt.Payload), string(pkt.Props.Raw)
		s.id, s.qos, s.dup, s.retain = pkt.ID, pkt.QoS, pkt.Dup, pkt.Retain
	case packet.Suback, packet.Unsuback:
		s.id, s.codes = pkt.ID, string(pkt.Codes)
	case packet.Connack:
		s.present, s.reason, s.props = pkt.SessionPresent, pkt.Reason, string(pkt.Props.Raw)
	case packet.Disconnect:
		s.reason = pkt.Reason
	case packet.Pingresp:
	default:
		s.id, s.reason = pkt.ID, pkt.Reason
	}
	p.got = append(p.got, s)
}

func (p *peer) respond() {
	if data := p.reply; len(data) > 0 && !p.c.Closed() {
		p.reply = nil
		p.raw(data)
		p.reply = data[:0]
	}
}

// expect compares what came with want, and forgets it.
func (p *peer) expect(want ...string) {
	p.Helper()
	p.settle()
	var got []string
	for _, s := range p.got {
		got = append(got, s.String())
	}
	p.got = nil
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		p.Fatalf("%s got\n\t%s\nwant\n\t%s", p.c.name(), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// payloads gives the payloads of the PUBLISH packets that came, and forgets all
// that came.
func (p *peer) payloads() (out []string) {
	p.Helper()
	p.settle()
	for _, s := range p.got {
		if s.Type == packet.Publish {
			out = append(out, s.payload)
		}
	}
	p.got = nil
	return out
}

// numbers are the decimal texts from..to-1.
func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, itoa(i))
	}
	return out
}

// retainMany publishes n retained messages: r/0 and so on, each with its number.
func (p *peer) retainMany(n int, qos byte) {
	p.Helper()
	for i := range n {
		pkt := p.publishing("r/"+itoa(i), itoa(i), qos)
		pkt.Retain = true
		p.send(pkt)
		if i%1000 == 0 {
			p.settle()
		}
	}
	p.settle()
	p.got = nil
}
