package core

import (
	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// publication is a message being routed. Its strings are views of the read
// buffer, or of msg once that was made: they are valid during the call only.
type publication struct {
	topic, props, payload string
	msg                   *message        // made when somebody must keep it
	origin                *persist.Origin // nil: the broker itself
	from                  *Session        // whose No Local subscriptions are passed over; may be nil
	expires               Time
	qos                   byte
	retain                bool
	made                  bool   // msg was made for it: it is a user of it until done
	lends                 bool   // payload is a view of what Receive was given
	forms                 bool   // worth encoding once for many
	number                uint64 // the topic's, see names; 0: not looked up
	since                 uint64 // Broker.epoch
	open                  bool   // all its receivers may read it
	refused               bool   // one may not
	mark                  uint64 // this message's, see Broker.forms and Session.mark
}

// publicationOf is the publication of a message that has a user meanwhile.
func publicationOf(m *message) publication {
	p := publicationLike((*persist.Message)(m))
	p.msg = m
	return p
}

// publicationLike is one that says the same as m, and is stored anew.
func publicationLike(m *persist.Message) publication {
	return publication{
		topic: m.Topic, props: m.Properties, payload: m.Payload,
		origin: m.Origin, expires: m.Expires, qos: m.QoS, retain: m.Retain,
	}
}

// done ends p: the message that was made for it, if any, is for those who took it.
func (b *Broker) done(p *publication) {
	if p.made {
		b.unuse(p.msg)
		p.msg, p.made = nil, false
	}
}

// route stores p where it is retained and hands it to every subscriber. It
// tells whether there was any. p is done then.
func (b *Broker) route(p *publication, now Time) bool {
	if p.retain {
		b.retain(p)
	}
	b.marks++
	p.mark = b.marks
	lists := b.index.Match(raw(p.topic))
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	groups := b.sharesFor(p)
	if b.guarded {
		b.beginGuarded(p, len(groups) > 0)
	}
	p.forms = n > 1 && len(p.props)+len(p.payload) <= formMax
	if b.cfg.AllowDuplicates || n < 2 {
		for _, l := range lists {
			for i := range l {
				b.deliver(l[i].Key, l[i].Value, nil, p, now)
			}
		}
	} else {
		b.deliverOnce(lists, p, now)
	}
	for _, l := range groups {
		for i := range l {
			b.deliverShared(l[i].Key, p, now)
		}
	}
	if b.guarded {
		b.endGuarded(p)
	}
	b.done(p)
	return n > 0 || len(groups) > 0
}

// retain stores p as its topic's retained message; an empty payload removes the
// one there is ([MQTT-3.3.1-5], [MQTT-3.3.1-10]; v5 [MQTT-3.3.1-6], [MQTT-3.3.1-7]).
func (b *Broker) retain(p *publication) {
	b.work += workRetain
	if p.payload == "" {
		b.unretain(p.topic)
		return
	}
	m := b.message(p)
	m.keep()
	old, had := b.retained.Set(m.Topic, m.use())
	b.stats.RetainedBytes += int64(len(m.Payload))
	if had {
		b.stats.RetainedBytes -= int64(len(old.Payload))
		b.unuse(old)
	} else {
		b.countRetained(p.topic, 1)
	}
	if b.rec != nil && !isSys(p.topic) {
		b.record(nil)
		b.rec.Retain((*persist.Message)(m))
	}
}

// unretain removes a topic's retained message.
func (b *Broker) unretain(name string) {
	old, had := b.retained.Delete(name)
	if !had {
		b.leans = b.cleared // it may have been this one's, and is not to come back either
		return
	}
	b.stats.RetainedBytes -= int64(len(old.Payload))
	b.countRetained(name, -1)
	if b.rec != nil && !isSys(name) {
		b.record(nil)
		b.cleared = b.pos + 1
		b.rec.Unretain(old.Topic)
	}
	b.unuse(old)
}

// copyFor is a receiver of a message that is sent to each client once.
type copyFor struct {
	session *Session
	sub     *persist.Subscription
	ids     []byte // the identifiers of all its subscriptions, encoded
	qos     byte
	retain  bool
}

// deliverOnce is route's way where overlapping subscriptions get one copy: the
// highest QoS that matched, with every Subscription Identifier
// ([MQTT-3.3.5-1]; v5 [MQTT-3.3.4-2] to [MQTT-3.3.4-4]).
func (b *Broker) deliverOnce(lists [][]topic.Entry[*Session, *persist.Subscription], p *publication, now Time) {
	b.copies = b.copies[:0]
	for _, l := range lists {
		for i := range l {
			b.collect(l[i].Key, l[i].Value, p, now)
		}
	}
	props := p.props
	for i := range b.copies {
		to := &b.copies[i]
		one := *p
		sub := *to.sub
		sub.ID = 0
		sub.Options = sub.Options&^(persist.OptionQoS|persist.OptionRetainAsPublished) | to.qos
		if to.retain {
			sub.Options |= persist.OptionRetainAsPublished
		}
		if len(to.ids) > 0 {
			one.msg, one.made, one.forms = nil, false, false
			one.props = props + string(to.ids)
		}
		b.deliver(to.session, &sub, nil, &one, now)
		if len(to.ids) > 0 {
			b.done(&one)
		} else {
			p.msg, p.made = one.msg, one.made
		}
	}
	clear(b.copies)
}

func (b *Broker) collect(s *Session, sub *persist.Subscription, p *publication, now Time) {
	if !b.mayRead(s, p) || sub.NoLocal() && s == p.from {
		return
	}
	if s.cursors != nil && !p.retain {
		b.retainedFirst(s, sub, p.topic, now)
	}
	var to *copyFor
	if s.mark == p.mark {
		to = &b.copies[s.markAt]
	}
	if to == nil {
		s.mark, s.markAt = p.mark, int32(len(b.copies))
		b.copies = append(b.copies, copyFor{session: s, sub: sub})
		to = &b.copies[len(b.copies)-1]
	}
	to.qos = max(to.qos, sub.QoS())
	to.retain = to.retain || sub.RetainAsPublished()
	if sub.ID != 0 {
		to.ids = packet.AppendVarintProperty(to.ids, packet.SubscriptionID, sub.ID)
	}
}

// A form is a message encoded for all receivers of one version and one set of
// flags; only the packet identifier differs.
type form struct {
	mark uint64 // of the message
	buf  []byte
	id   int // where the identifier stands
}

// formMax is the size of properties and payload, in bytes, up to which a message
// is encoded once and copied; the encoding of a larger one is a copy of them
// either way, and forms keep their buffers.
const formMax = 8 << 10

// formOf encodes p for clients of version v.
func (b *Broker) formOf(p *publication, v packet.Version, flags byte, now Time) *form {
	i := int(flags & 7)
	if v == packet.V5 {
		i += 8
	}
	f := &b.forms[i]
	if f.mark == p.mark {
		return f
	}
	f.mark = p.mark
	f.buf = packet.AppendPublish(f.buf[:0], v, flags, p.topic, 0, b.propsFor(p, v, 0, 0, now), p.payload)
	h, _ := packet.ReadHeader(f.buf, v)
	f.id = h.Size + 2 + len(p.topic)
	return f
}

// propsFor is the property list p goes out with: what travels with it, what is
// left of its Message Expiry Interval, the alias and the Subscription
// Identifier, where there are such [MQTT-3.3.2-6]. It is a view of scratch space.
func (b *Broker) propsFor(p *publication, v packet.Version, alias uint16, subID uint32, now Time) string {
	if v != packet.V5 || p.expires == persist.Never && alias == 0 && subID == 0 {
		return p.props
	}
	out := append(b.propsOut[:0], p.props...)
	if p.expires != persist.Never {
		out = packet.AppendUint32Property(out, packet.MessageExpiry, secondsLeft(p.expires, now))
	}
	if alias != 0 {
		out = packet.AppendUint16Property(out, packet.TopicAlias, alias)
	}
	if subID != 0 {
		out = packet.AppendVarintProperty(out, packet.SubscriptionID, subID)
	}
	b.propsOut = out
	return view(out)
}

// secondsLeft rounds up, so that what is not expired never goes out as 0.
func secondsLeft(at, now Time) uint32 { return uint32(max(0, at-now+999) / 1000) }
