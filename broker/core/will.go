package core

import (
	"slices"

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

// lateWill is a will that has to wait, of a session that has ended.
type lateWill struct {
	session *Session
	will    *persist.Will
}

// busyWills says that the wills of this turn have come to so much work that others
// are to wait: thousands of clients may be lost at once, and each will may be for
// thousands.
func (b *Broker) busyWills() bool { return b.willWork > WorkTurn }

// postpone has the will of a session that ends wait for another turn.
func (b *Broker) postpone(s *Session) {
	b.lateWills = append(b.lateWills, lateWill{s, s.will})
	s.will = nil
}

// publishLate publishes what was postponed, as far as there is time for.
func (b *Broker) publishLate(now Time) {
	n := 0
	for ; n < len(b.lateWills) && !b.busyWills(); n++ {
		late := &b.lateWills[n]
		late.session.will = late.will
		b.publishWill(late.session, now)
		b.dropRights(late.session) // which were asked for once more
		b.commit()
	}
	b.lateWills = slices.Delete(b.lateWills, 0, n)
}

// publishWill sends the will. Its expiry counts from now.
func (b *Broker) publishWill(s *Session, now Time) {
	before := b.work
	b.sendWill(s, now)
	b.willWork += b.work - before
}

func (b *Broker) sendWill(s *Session, now Time) {
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
