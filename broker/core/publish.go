package core

import (
	"maps"
	"strings"

	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// incoming is a QoS 2 message between PUBLISH and PUBREL. It is routed at
// PUBREL, as mosquitto does.
type incoming struct {
	msg     *message
	repeats uint8 // PUBLISH packets with this identifier since, without DUP
}

// publish takes a client's message in.
func (b *Broker) publish(c *Client, p *packet.Packet, now Time) error {
	b.stats.PublishReceived++
	b.stats.PublishBytesReceived += uint64(len(p.Payload))
	if err := b.allowed(c, p); err != nil {
		return err
	}
	name, err := b.topicOf(c, p)
	if err == nil && c.flags&flagMounted != 0 {
		name, err = b.mount(c, name)
	}
	if err != nil {
		return err
	}
	if refusal := b.refusal(c, p, name); refusal != packet.Success {
		b.acknowledge(c, p, refusal)
		return nil
	}
	if name[0] == '$' && isControl(name) {
		b.askControl(c, p, name)
		return nil
	}
	if b.cfg.MemoryLimit > 0 || p.Retain {
		if f := b.excess(c.session, p, name); f != nil {
			return b.rejectPublish(c, p, f)
		}
	}
	if b.debug {
		b.logReceived("Received PUBLISH from", c, p, name)
	}
	m := &b.pub
	*m = publication{} // then field by field: a copy of a whole one just built stalls the processor
	m.topic, m.props, m.payload = name, b.travelling(p), view(p.Payload)
	m.origin, m.from = c.session.from(), c.session
	m.expires, m.qos, m.retain, m.lends = expiresAt(p, now), p.QoS, p.Retain, true
	if b.down != packet.Success && b.publishRecords(c, p.ID, m) {
		return b.refusePublish(c, p)
	}
	if p.QoS == 2 {
		return b.publish2(c, p, m)
	}
	found := b.route(m, now)
	if p.QoS == 1 {
		reason := packet.Success
		if !found && c.version == packet.V5 { // the log shows the others none either
			reason = packet.NoMatchingSubscribers
		}
		b.acknowledge(c, p, reason)
	}
	return nil
}

// allowed checks what the listener and the configuration forbid outright.
func (b *Broker) allowed(c *Client, p *packet.Packet) error {
	if p.QoS > c.Listener.MaxQoS {
		return faultLine(causeQoS, "Too high QoS in PUBLISH from %s, disconnecting.", c.session.id)
	}
	if p.Retain && !b.cfg.RetainAvailable {
		return faultRetain
	}
	return nil
}

// topicOf is the topic a PUBLISH goes to, its alias resolved. It is a view of
// the packet, or the alias's string.
func (b *Broker) topicOf(c *Client, p *packet.Packet) (string, error) {
	if p.Props.Has(packet.TopicAlias) {
		return b.resolve(c, p)
	}
	if topic.CheckName(p.Topic) != nil {
		return "", faultTopic
	}
	return view(p.Topic), nil
}

// refusal is why a legal PUBLISH is not passed on, or Success.
func (b *Broker) refusal(c *Client, p *packet.Packet, name string) packet.Reason {
	if n := b.cfg.MessageSizeLimit; n > 0 && len(p.Payload) > n {
		b.logReceived("Dropped too large PUBLISH from", c, p, name)
		b.stats.PublishDropped++
		return packet.QuotaExceeded // 0x95 is none of PUBACK and PUBREC (v5 [MQTT-3.4.2-1], [MQTT-3.5.2-1])
	}
	if b.tooDeep(name) {
		b.logReceived("Dropped too deep PUBLISH from", c, p, name)
		b.stats.PublishDropped++
		return packet.QuotaExceeded
	}
	if name[0] == '$' && !b.mayPublish(c, name) || !b.mayWrite(c.session, name) {
		b.logReceived("Denied PUBLISH from", c, p, name)
		return packet.NotAuthorized
	}
	return packet.Success
}

// mayPublish says whether c may publish to a topic that begins with $.
func (b *Broker) mayPublish(c *Client, name string) bool {
	return publishable(name) || isControl(name) && b.mayControl(c)
}

// publishable says whether a topic that begins with $ can be routed: not what the
// broker itself speaks through. A bridge may tell its state.
func publishable(name string) bool {
	if topic.Match("$SYS/broker/connection/+/state", name) {
		return true
	}
	for _, p := range [...]string{"$SYS", "$share", "$CONTROL"} {
		if rest, ok := strings.CutPrefix(name, p); ok && (rest == "" || rest[0] == '/') {
			return false
		}
	}
	return true
}

// travelling is the property list that goes on to the receivers, unaltered and
// in its order (v5 [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18],
// [MQTT-3.3.2-20]): all but the alias and the expiry, which are made anew.
func (b *Broker) travelling(p *packet.Packet) string {
	if !p.Props.Has(packet.TopicAlias) && !p.Props.Has(packet.MessageExpiry) {
		return view(p.Props.Raw)
	}
	return view(b.without(&p.Props, packet.TopicAlias, packet.MessageExpiry))
}

// without is a property list less two kinds of property, in scratch space.
func (b *Broker) without(props *packet.Properties, x, y packet.Property) []byte {
	b.propsIn = b.propsIn[:0]
	for f := props.Fields(); ; {
		v, ok := f.Next()
		if !ok {
			return b.propsIn
		}
		if v.ID != x && v.ID != y {
			b.propsIn = append(b.propsIn, v.Raw...)
		}
	}
}

// expiresAt is when a message that arrived now expires.
func expiresAt(p *packet.Packet, now Time) Time {
	if !p.Props.Has(packet.MessageExpiry) {
		return persist.Never
	}
	return now + Time(p.Props.MessageExpiry)*1000
}

// publish2 keeps a QoS 2 message until its PUBREL; a repeat is acknowledged and
// not kept twice ([MQTT-4.3.3-2], v5 [MQTT-4.3.3-10]).
func (b *Broker) publish2(c *Client, p *packet.Packet, m *publication) error {
	s := c.session
	if in, ok := s.incoming[p.ID]; ok {
		same := in.msg.Topic == m.topic && in.msg.Payload == m.payload
		if same {
			if !p.Dup {
				in.repeats++
				if in.repeats >= 3 && c.version == packet.V5 {
					return faultRepeats
				}
				s.incoming[p.ID] = in
			}
			b.acknowledge(c, p, packet.Success)
			return nil
		}
		if c.flags&flagReusing == 0 { // once: each message would be a way to fill a log
			c.flags |= flagReusing
			b.log.Logf(LogWarning, "Reused message ID %d from %s detected. Clearing from storage.", p.ID, s.id)
		}
		b.unuse(in.msg)
		b.account(-costIncoming)
	}
	b.warnFlood(c, p)
	if s.incoming == nil {
		s.incoming = make(map[uint16]incoming)
	}
	msg := b.message(m).use()
	s.incoming[p.ID] = incoming{msg: msg}
	if len(s.incoming) > incomingFew {
		c.more().open = max(c.extra.open, len(s.incoming))
	}
	b.account(costIncoming)
	if b.recording(s) {
		b.rec.Receive(s.id, p.ID, msg.keep())
	}
	b.done(m)
	b.acknowledge(c, p, packet.Success)
	return nil
}

// incomingFew is how many QoS 2 messages a client may have open before it is noted.
const incomingFew = 64

// tightenIncoming moves what is open to a map of its size, where there were many more:
// a map keeps the room of all it ever had.
func (s *Session) tightenIncoming(c *Client) {
	old := s.incoming
	c.extra.open, s.incoming = 0, make(map[uint16]incoming, len(old))
	if len(old) > incomingFew {
		c.extra.open = len(old)
	}
	maps.Copy(s.incoming, old)
}

// warnFlood says once that a v5 client has more QoS 2 messages open than our
// receive maximum. It is tolerated.
func (b *Broker) warnFlood(c *Client, p *packet.Packet) {
	n := b.cfg.MaxInflightMessages
	if c.version != packet.V5 || n == 0 || len(c.session.incoming) < n || c.flags&flagFlooding != 0 {
		return
	}
	c.flags |= flagFlooding
	b.log.Logf(LogWarning, "Client %s has exceeded its receive-maximum quota. This behaviour must be fixed on the client.", c.session.id)
}

// acknowledge answers a PUBLISH by its QoS [MQTT-3.3.4-1]. Older clients cannot
// be told a refusal.
func (b *Broker) acknowledge(c *Client, p *packet.Packet, r packet.Reason) {
	if p.QoS == 0 {
		return
	}
	t, name := packet.Puback, "PUBACK"
	if p.QoS == 2 {
		t, name = packet.Pubrec, "PUBREC"
	}
	if b.debug {
		b.log.Logf(LogDebug, "Sending %s to %s (m%d, rc%d)", name, c.session.id, p.ID, r)
	}
	needs := b.own()
	if p.QoS == 2 {
		needs = c.session.relies
	}
	b.answer(c, ordered, needs, packet.AppendAck(b.scratch[:0], c.version, t, p.ID, r))
}

// pubrel routes the QoS 2 message it releases, and always answers
// ([MQTT-4.3.3-2]; v5 [MQTT-4.3.3-11], [MQTT-4.3.3-13]).
func (b *Broker) pubrel(c *Client, p *packet.Packet, now Time) error {
	s := c.session
	if b.debug {
		b.log.Logf(LogDebug, "Received PUBREL from %s (Mid: %d)", s.id, p.ID)
	}
	if in, ok := s.incoming[p.ID]; ok {
		delete(s.incoming, p.ID)
		if c.extra != nil && c.extra.open > 4*max(incomingFew, len(s.incoming)) {
			s.tightenIncoming(c)
		}
		b.account(-costIncoming)
		if b.recording(s) {
			b.rec.Received(s.id, p.ID)
		}
		if in.msg.Expires > now && b.mayWrite(s, in.msg.Topic) {
			b.pub = publicationOf(in.msg)
			b.pub.from = s
			if b.pub.retain {
				b.pub.msg = nil // it is stored now, not when it came: a cursor can tell
			}
			b.route(&b.pub, now)
		}
		b.unuse(in.msg)
	}
	if b.debug {
		b.log.Logf(LogDebug, "Sending PUBCOMP to %s (m%d)", s.id, p.ID)
	}
	b.answer(c, ordered, max(b.own(), s.relies), packet.AppendAck(b.scratch[:0], c.version, packet.Pubcomp, p.ID, packet.Success))
	return nil
}

func (b *Broker) logReceived(what string, c *Client, p *packet.Packet, name string) {
	flags := p.QoS << 1
	if p.Dup {
		flags |= publishDup
	}
	if p.Retain {
		flags |= publishRetain
	}
	b.logPublish(what, c.session.id, flags, p.ID, name, len(p.Payload))
}

// logPublish is mosquitto's debug line for a PUBLISH.
func (b *Broker) logPublish(what, id string, flags byte, mid uint16, name string, size int) {
	b.log.Logf(LogDebug, "%s %s (d%d, q%d, r%d, m%d, '%s', ... (%d bytes))",
		what, id, flags>>3&1, qosOf(flags), flags&publishRetain, mid, name, size)
}
