package core

import (
	"midge/packet"
	"midge/persist"
)

// While the recorder is down, what would have to be recorded is refused before it
// has any effect, so that nobody is promised what may be lost, and nobody waits for
// an answer that may not come:
//
//	                   v5                      3.1.1          3.1
//	CONNECT            CONNACK 88              CONNACK 3      CONNACK 3
//	PUBLISH, QoS 1, 2  PUBACK, PUBREC 97, 80   closed         closed
//	PUBLISH, QoS 0     dropped                 dropped        dropped
//	SUBSCRIBE          SUBACK 97, 80           SUBACK 80      closed
//	UNSUBSCRIBE        UNSUBACK 80             closed         closed
//
// 97 says that the disk is full, 80 anything else. What cannot be refused (the
// later packets of an exchange, the end of a connection, wills) has its effect, and its
// answer waits. What needs no record goes on.

// reasonDown is what clients are told of a recorder's error.
func reasonDown(err error) packet.Reason {
	switch {
	case err == nil:
		return packet.Success
	case persist.NoSpace(err):
		return packet.QuotaExceeded
	}
	return packet.UnspecifiedError
}

var (
	refuseDown = &refusal{reason: packet.ServerUnavailable, text: "server unavailable"}
	faultDown  = &fault{cause: cause{reason: packet.ServerUnavailable, text: "server unavailable"}}
)

// connectRecords says that a CONNECT would have to be recorded.
func (b *Broker) connectRecords(id string, p *packet.Packet) bool {
	s := b.sessions[id]
	return b.capExpiry(sessionExpiry(p)) != 0 || s != nil && s.durable()
}

// publishRecords says that a PUBLISH, or the PUBREL that releases it, would: not one
// that came before.
func (b *Broker) publishRecords(c *Client, id uint16, m *publication) bool {
	if _, known := c.session.incoming[id]; known && m.qos == 2 {
		return false
	}
	if m.qos == 2 && c.session.durable() || m.retain && b.retainRecords(m) {
		return true
	}
	for _, l := range b.index.Match(raw(m.topic)) {
		for i := range l {
			if b.deliveryRecords(l[i].Key, l[i].Value, m) {
				return true
			}
		}
	}
	for _, l := range b.sharesFor(m) {
		for i := range l {
			for _, one := range l[i].Key.members {
				if b.deliveryRecords(one.session, one.sub, m) {
					return true
				}
			}
		}
	}
	return false
}

func (b *Broker) retainRecords(m *publication) bool {
	if isSys(m.topic) {
		return false
	}
	_, had := b.retained.Load(m.topic)
	return had || m.payload != ""
}

func (b *Broker) deliveryRecords(s *Session, sub *persist.Subscription, m *publication) bool {
	return s.durable() && (b.cfg.QueueQoS0 || b.grantedQoS(m.qos, sub) > 0)
}

// refusePublish answers a PUBLISH that cannot be recorded.
func (b *Broker) refusePublish(c *Client, p *packet.Packet) error {
	b.stats.PublishDropped++
	if p.QoS > 0 && c.version != packet.V5 {
		return faultDown
	}
	b.acknowledge(c, p, b.down)
	return nil
}

// refuseSubscribe answers a SUBSCRIBE that cannot be recorded. Those that
// were before the recorder went down are answered as they were.
func (b *Broker) refuseSubscribe(c *Client, p *packet.Packet) error {
	code := byte(subackFailure)
	switch c.version {
	case packet.V31:
		return faultDown
	case packet.V5:
		code = byte(b.down)
	}
	b.begin(c)
	b.refuseRest(p, code)
	b.answer(c, barrier, c.session.relies, packet.AppendSuback(b.scratch[:0], c.version, p.ID, b.codes))
	return nil
}

// refuseUnsubscribe likewise.
func (b *Broker) refuseUnsubscribe(c *Client, p *packet.Packet) error {
	if c.version != packet.V5 {
		return faultDown
	}
	var needs persist.Position
	if b.begin(c); len(b.codes) > 0 {
		needs = c.session.relies
	}
	b.refuseRest(p, byte(packet.UnspecifiedError)) // UNSUBACK has no other that fits
	b.answer(c, ordered, needs, packet.AppendUnsuback(b.scratch[:0], c.version, p.ID, b.codes))
	return nil
}

// refuseRest gives code to all filters that are left of a packet.
func (b *Broker) refuseRest(p *packet.Packet, code byte) {
	for f := p.Filters; ; {
		if _, _, ok := f.Next(); !ok {
			return
		}
		b.codes = append(b.codes, code)
	}
}

// Owing tells whether the recorder has more to write than it should have. Then a
// client whose packet was recorded is not read until it has not, so that what comes in
// is no more than the disk can take. Who has nothing recorded goes on.
func (b *Broker) Owing(yes bool, now Time) {
	if b.owing = yes; yes {
		return
	}
	for i, c := range b.owed {
		b.owed[i] = nil
		c.flags &^= flagOwed
		if c.state != closed {
			c.heard = now // its silence was ours
			b.addDirty(c)
		}
	}
	b.owed = b.owed[:0]
}

// owe stops the reading of a client whose packet was recorded.
func (b *Broker) owe(c *Client) {
	c.flags |= flagOwed | flagMore
	b.owed = append(b.owed, c)
}
