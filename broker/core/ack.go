package core

import (
	"midge/packet"
)

// A delivery leaves the window so:
//
//	QoS 1   sent ──PUBACK──▶ over
//	QoS 2   sent ──PUBREC──▶ released ──PUBCOMP──▶ over
//	             └─PUBREC 80 and above──▶ over
//
// Each frees a place of the window ([MQTT-4.3.2-3], [MQTT-4.3.3-4], v5 4.9).

// puback ends a QoS 1 delivery.
func (b *Broker) puback(c *Client, p *packet.Packet, now Time) error {
	if b.debug {
		b.log.Logf(LogDebug, "Received PUBACK from %s (Mid: %d, RC:%d)", c.session.id, p.ID, p.Reason)
	}
	d := c.session.window.at(p.ID)
	if d == nil {
		return nil
	}
	if d.qos != 1 {
		return faultWrongAck
	}
	b.finish(c, d, now)
	return nil
}

// pubrec answers with PUBREL, also for an identifier we do not know, so that
// the client can end the exchange.
func (b *Broker) pubrec(c *Client, p *packet.Packet, now Time) error {
	if b.debug {
		b.log.Logf(LogDebug, "Received PUBREC from %s (Mid: %d)", c.session.id, p.ID)
	}
	d := c.session.window.at(p.ID)
	if d == nil {
		if !p.Reason.Failed() {
			b.log.Logf(LogWarning, "Warning: Received PUBREC from %s for an unknown packet identifier %d.", c.session.id, p.ID)
			b.sendPubrel(c, p.ID, packet.Success)
		}
		return nil
	}
	if d.qos != 2 {
		return faultWrongAck
	}
	if p.Reason.Failed() { // v5 [MQTT-4.4.0-2]
		b.finish(c, d, now)
		return nil
	}
	if d.flags&deliverAgain != 0 { // it answers the PUBLISH of an earlier connection
		d.flags &^= deliverAgain
		c.session.window.again--
	}
	d.flags |= deliverReleased
	b.recordDelivery(c.session, d)
	b.sendPubrel(c, d.id, packet.Success)
	return nil
}

// pubcomp ends a QoS 2 delivery.
func (b *Broker) pubcomp(c *Client, p *packet.Packet, now Time) error {
	if b.debug {
		b.log.Logf(LogDebug, "Received PUBCOMP from %s (Mid: %d, RC:%d)", c.session.id, p.ID, p.Reason)
	}
	d := c.session.window.at(p.ID)
	if d == nil {
		return nil
	}
	if d.qos != 2 || d.flags&deliverReleased == 0 {
		return faultWrongAck
	}
	b.finish(c, d, now)
	return nil
}

// finish ends a delivery and lets the next one in.
func (b *Broker) finish(c *Client, d *delivery, now Time) {
	s := c.session
	b.take(s, d)
	if s.hungry() {
		b.pump(c, now)
	}
}

func (b *Broker) sendPubrel(c *Client, id uint16, r packet.Reason) {
	if b.debug {
		b.log.Logf(LogDebug, "Sending PUBREL to %s (m%d)", c.session.id, id)
	}
	b.answerFor(c, ordered, c.session.relies, packet.AppendAck(b.scratch[:0], c.version, packet.Pubrel, id, r), id)
}
