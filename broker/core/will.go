package core

import (
	"midge/packet"
	"midge/persist"
)

// willOf is the will a CONNECT leaves, or nil.
func (b *Broker) willOf(s *Session, cn *packet.ConnectBody) *persist.Will {
	if !cn.Will {
		return nil
	}
	props := &cn.WillProps
	name, _ := b.mount(s.client, view(cn.WillTopic)) // admitWill has seen that it can be
	m := publication{
		topic: name, payload: view(cn.WillPayload),
		props:  view(b.without(props, packet.WillDelay, packet.MessageExpiry)),
		origin: s.from(), expires: persist.Never, qos: cn.WillQoS, retain: cn.WillRetain,
	}
	w := &persist.Will{Message: b.message(&m).keep(), Due: persist.Never}
	b.done(&m) // a will is no user
	b.account(costOfWill(w))
	if props.Has(packet.WillDelay) {
		w.Delay = props.WillDelay
	}
	if props.Has(packet.MessageExpiry) {
		w.Expires, w.Expiry = true, props.MessageExpiry
	}
	if b.recording(s) {
		b.rec.Will(s.id, w)
	}
	return w
}

// dropWill forgets the will: it was published, or is not to be [MQTT-3.1.2-10].
func (b *Broker) dropWill(s *Session) {
	if s.will == nil {
		return
	}
	b.account(-costOfWill(s.will))
	s.will = nil
	if b.recording(s) {
		b.rec.Will(s.id, nil)
	}
}

// delayWill sets when an offline session's will is due.
func (b *Broker) delayWill(s *Session, now Time) {
	w := *s.will
	w.Due = now + Time(w.Delay)*1000
	s.will = &w
	if b.recording(s) {
		b.rec.Will(s.id, s.will)
	}
}

// publishWill sends the will. Its expiry counts from now.
func (b *Broker) publishWill(s *Session, now Time) {
	w := s.will
	b.dropWill(s)
	if w.Message.Topic[0] == '$' && !publishable(w.Message.Topic) || !b.mayWrite(s, w.Message.Topic) {
		return
	}
	m := publicationLike(w.Message) // it is stored now, not at CONNECT
	m.from = s
	if w.Expires {
		m.expires = now + Time(w.Expiry)*1000
	}
	b.pub = m
	b.route(&b.pub, now)
}
