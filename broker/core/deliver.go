package core

import (
	"midge/packet"
	"midge/persist"
)

// Flags of a PUBLISH, as in its first byte: DUP, QoS in two bits, RETAIN.
const (
	publishDup    = 8
	publishRetain = 1
)

func qosOf(flags byte) byte { return flags >> 1 & 3 }

// deliver hands p to one subscriber: into its output where there is room and
// nothing waits, else into its queue, within the limits. It tells whether the
// subscriber took it, which a group asks.
func (b *Broker) deliver(s *Session, sub *persist.Subscription, sh *share, p *publication, now Time) bool {
	b.work++
	if !b.mayRead(s, p) || s == p.from && sub.NoLocal() { // v5 [MQTT-3.8.3-3]
		return false
	}
	if s.cursors != nil && !p.retain {
		b.retainedFirst(s, sub, p.topic, now)
	}
	qos := b.grantedQoS(p.qos, sub)
	flags := qos << 1
	if p.retain && sub.RetainAsPublished() {
		flags |= publishRetain
	}
	c := s.client
	if c == nil {
		return b.deliverOffline(s, sub, sh, p, flags)
	}
	if b.unfit(c, sub, p, qos, now) {
		return false
	}
	if qos == 0 {
		if s.waiting.plainLen() == 0 && !c.full() {
			b.sendPublish(c, p, flags, 0, sub.ID, now)
			return true
		}
		return b.enqueue(s, sub, sh, p, flags)
	}
	if s.waiting.len() == 0 && !c.full() && b.windowOpen(c, len(p.payload)) {
		b.sendDelivery(c, sub, sh, p, flags, now)
		return true
	}
	took := b.enqueue(s, sub, sh, p, flags)
	b.queued(s, p, now)
	return took
}

// grantedQoS is the QoS a message goes to a subscriber with: the lower of the
// two ([MQTT-3.8.4-6], v5 [MQTT-3.8.4-8]), or the subscription's.
func (b *Broker) grantedQoS(published byte, sub *persist.Subscription) byte {
	if b.cfg.UpgradeQoS {
		return sub.QoS()
	}
	return min(published, sub.QoS())
}

// sendDelivery sends a QoS 1 or 2 message that did not wait.
func (b *Broker) sendDelivery(c *Client, sub *persist.Subscription, sh *share, p *publication, flags byte, now Time) {
	b.number++
	d := b.put(c.session, delivery{
		msg: b.message(p), num: b.number, share: sh, subID: sub.ID,
		qos: qosOf(flags), flags: deliveryFlags(flags & publishRetain),
	})
	b.recordDelivery(c.session, d)
	b.sendPublish(c, p, flags, d.id, sub.ID, now)
}

func (b *Broker) deliverOffline(s *Session, sub *persist.Subscription, sh *share, p *publication, flags byte) bool {
	if qosOf(flags) == 0 && !b.cfg.QueueQoS0 || !s.durable() {
		return false
	}
	return b.enqueue(s, sub, sh, p, flags)
}

// enqueue lets p wait for s. When the limits are reached the newest message is
// the one that is dropped: counted, and said once.
func (b *Broker) enqueue(s *Session, sub *persist.Subscription, sh *share, p *publication, flags byte) bool {
	if !b.roomFor(s) || qosOf(flags) == 0 && b.acct.short {
		b.dropped(s)
		return false
	}
	b.number++
	d := delivery{
		msg: b.message(p), num: b.number, share: sh, subID: sub.ID,
		qos: qosOf(flags), flags: deliveryFlags(flags & publishRetain),
	}
	if s.waiting == nil {
		s.waiting = new(backlog)
	}
	b.recordDelivery(s, &d)
	if d.qos == 0 {
		b.push(&s.waiting.plain, d)
	} else {
		b.push(&s.waiting.acked, d)
	}
	return true
}

// roomFor applies max_queued_messages and max_queued_bytes: beyond the window
// for a connected client, in all for an offline one.
func (b *Broker) roomFor(s *Session) bool {
	n, bytes := s.waiting.len(), s.waiting.bytes()
	if s.client == nil {
		wn, wbytes := s.window.held()
		n, bytes = n+wn, bytes+wbytes
	}
	return (b.cfg.MaxQueuedMessages == 0 || n < b.cfg.MaxQueuedMessages) &&
		(b.cfg.MaxQueuedBytes == 0 || bytes < b.cfg.MaxQueuedBytes)
}

func (b *Broker) dropped(s *Session) {
	b.stats.PublishDropped++
	s.spilled = true
	if s.dropping {
		return
	}
	s.dropping = true
	b.log.Logf(LogNotice, "Outgoing messages are being dropped for client %s.", s.id)
}

// windowOpen says whether one more QoS 1 or 2 message of that size may be sent
// (v5 [MQTT-4.9.0-2], [MQTT-3.3.4-9]). One that is larger than
// max_inflight_bytes goes alone.
func (b *Broker) windowOpen(c *Client, size int) bool {
	w := c.session.window
	n := w.open()
	if n >= int(c.window) || w != nil && w.n >= 65535 {
		return false
	}
	return b.cfg.MaxInflightBytes == 0 || n == 0 || w.bytes+size <= b.cfg.MaxInflightBytes
}

// unfit drops what is above the client's Maximum Packet Size; it counts as
// delivered (v5 [MQTT-3.1.2-24], [MQTT-3.1.2-25]). So does what the client has no
// name for.
func (b *Broker) unfit(c *Client, sub *persist.Subscription, p *publication, qos byte, now Time) bool {
	if b.fits(c, sub.ID, p, qos, 0, now) {
		return false
	}
	if !c.sees(p.topic) {
		return true
	}
	n := b.sizeFor(c, sub.ID, p, qos, 0, now)
	b.stats.PublishDropped++
	if c.extra == nil || !c.extra.small { // once: each message would be a way to fill a log
		c.more().small = true
		b.log.Logf(LogNotice, "Dropping too large outgoing PUBLISH for %s (%d bytes)", c.session.id, n)
	}
	return true
}

// fits says that p, sent with an alias or without (0), is within the client's
// Maximum Packet Size, and has an encoding at all.
func (b *Broker) fits(c *Client, subID uint32, p *publication, qos byte, alias uint16, now Time) bool {
	if !c.sees(p.topic) {
		return false
	}
	const rest = 32 // the most that topic, properties and payload do not account for
	if len(p.topic)+len(p.props)+len(p.payload)+rest <= int(c.maxPacket) {
		return true
	}
	return b.sizeFor(c, subID, p, qos, alias, now) <= int(c.maxPacket)
}

func (b *Broker) sizeFor(c *Client, subID uint32, p *publication, qos byte, alias uint16, now Time) int {
	props := b.propsFor(p, c.version, alias, subID, now)
	return packet.PublishSize(c.version, qos, len(c.nameFor(p.topic)), len(props), len(p.payload))
}

// sendPublish appends a PUBLISH to c's output: the message's shared encoding
// where it has one.
func (b *Broker) sendPublish(c *Client, p *publication, flags byte, id uint16, subID uint32, now Time) {
	name := c.nameFor(p.topic)
	if b.debug {
		b.logPublish("Sending PUBLISH to", c.session.id, flags, id, name, len(p.payload))
	}
	b.stats.MessagesSent++
	b.stats.PublishSent++
	b.stats.PublishBytesSent += uint64(len(p.payload))
	pass, needs := follows, persist.Position(0)
	if qosOf(flags) == 2 && b.rec != nil && c.session.durable() {
		pass, needs = ordered, c.session.relies
	}
	buf, hold := b.target(c, needs, pass)
	switch {
	case c.aliasMax != 0 && !hold && b.fits(c, subID, p, qosOf(flags), 1, now): // one that is held may be passed by one that uses the alias it sets
		name, alias := b.aliasFor(c, name)
		b.appendPublish(c, buf, flags, name, id, b.propsFor(p, c.version, alias, subID, now), p)
	case p.forms && subID == 0 && flags&publishDup == 0 && c.flags&flagMounted == 0:
		f := b.formOf(p, c.version, flags, now)
		at := len(*buf) + f.id
		*buf = append(*buf, f.buf...)
		if id != 0 {
			(*buf)[at], (*buf)[at+1] = byte(id>>8), byte(id)
		}
	default:
		b.appendPublish(c, buf, flags, name, id, b.propsFor(p, c.version, 0, subID, now), p)
	}
	if hold {
		c.seal(needs, pass, id)
		return
	}
	b.watchResend(c, id, false)
	if b.receiving && c.full() { // else the turn's end writes it
		b.fill(c)
	}
}

// fill puts c on the list of those whose output is to be written at once.
func (b *Broker) fill(c *Client) {
	if c.flags&flagFilled == 0 {
		c.flags |= flagFilled
		b.filled = append(b.filled, c)
	}
}

// recordDelivery reports where a delivery stands. QoS 0 that waits for a slow
// reader only ends with the connection and is not worth a record.
func (b *Broker) recordDelivery(s *Session, d *delivery) {
	if b.rec == nil || !s.durable() || d.qos == 0 && !b.cfg.QueueQoS0 {
		return
	}
	d.flags |= deliverRecorded
	d.msg.keep()
	b.record(s)
	b.rec.Deliver(s.id, d.record())
}

// record is the delivery as it is recorded.
func (d *delivery) record() persist.Delivery {
	v := persist.Delivery{
		Message: (*persist.Message)(d.msg), Number: d.num, SubscriptionID: d.subID, ID: d.id, QoS: d.qos, Retain: d.retain(),
	}
	switch {
	case d.flags&deliverReleased != 0:
		v.State = persist.Released
	case d.id != 0:
		v.State = persist.Sent
	}
	if d.share != nil {
		v.Share = d.share.filter
	}
	return v
}

// hungry says that something waits for room in the session's output.
func (s *Session) hungry() bool {
	return s.waiting != nil || s.cursors != nil || s.window != nil && s.window.again > 0
}

// pump feeds a client as far as its window and output allow: first what is to
// be sent again, then what waits, then retained messages.
func (b *Broker) pump(c *Client, now Time) {
	s := c.session
	if s.window != nil && s.window.again > 0 {
		b.sendAgain(c, now) // what it could not send keeps the window closed: only QoS 0 follows
	}
	if s.waiting != nil && !b.drain(c, now) {
		return
	}
	if s.cursors != nil {
		b.feedCursors(c, now)
	}
}

// drain sends from the queues, the older number first; QoS 0 goes on while the
// window is closed. It tells whether they are empty.
func (b *Broker) drain(c *Client, now Time) bool {
	w := c.session.waiting
	for !c.full() {
		q, p0 := w.acked.front(), w.plain.front()
		if q != nil && !b.windowOpen(c, len(q.msg.Payload)) {
			q = nil
		}
		switch {
		case q == nil && p0 == nil:
			return b.drained(c.session)
		case q == nil || p0 != nil && p0.num < q.num:
			b.sendWaiting(c, &w.plain, now)
		default:
			b.sendWaiting(c, &w.acked, now)
		}
	}
	return b.drained(c.session)
}

// drained is the end of what drain does: an empty backlog is given back.
func (b *Broker) drained(s *Session) bool {
	b.thin(s)
	if s.waiting.len() > 0 {
		return false
	}
	s.waiting = nil
	return true
}

// sendWaiting sends the front of q. What expired meanwhile is dropped
// (v5 [MQTT-3.3.2-5]), what became too large for the client, and what it may not read
// any more.
func (b *Broker) sendWaiting(c *Client, q *queue, now Time) {
	s := c.session
	d := *q.front()
	b.pop(q)
	defer b.unuse(d.msg)
	p := publicationOf(d.msg)
	sub := persist.Subscription{ID: d.subID}
	if d.msg.Expires <= now || !b.mayRead(s, &p) || b.unfit(c, &sub, &p, d.qos, now) {
		b.recordDropped(s, &d)
		return
	}
	flags := d.qos<<1 | byte(d.flags&deliverRetain)
	if d.qos == 0 {
		b.recordDropped(s, &d)
		b.sendPublish(c, &p, flags, 0, d.subID, now)
		return
	}
	kept := b.put(s, d)
	b.recordDelivery(s, kept)
	b.sendPublish(c, &p, flags, kept.id, d.subID, now)
}

// recordDropped reports that a waiting delivery is over.
func (b *Broker) recordDropped(s *Session, d *delivery) {
	if d.flags&deliverRecorded != 0 && s.durable() {
		b.record(s)
		b.rec.Delivered(s.id, d.num)
	}
}

// sendAgain sends what an earlier connection left open, with DUP, as far as the
// window allows ([MQTT-4.4.0-1], [MQTT-3.3.1-1]).
func (b *Broker) sendAgain(c *Client, now Time) {
	w := c.session.window
	for len(w.order) > 0 {
		if c.full() || w.open() >= int(c.window) {
			return
		}
		d := w.at(w.order[0])
		w.order = w.order[1:]
		if d == nil || d.flags&deliverAgain == 0 {
			continue
		}
		d.flags &^= deliverAgain
		w.again--
		b.repeat(c, d, now)
		if c.session.window == nil {
			return
		}
	}
	w.order = nil
}

// repeat sends one open delivery again: its PUBREL, or its PUBLISH with DUP. A
// message that is too large for what the client takes now, or that it may not read any
// more, is over.
func (b *Broker) repeat(c *Client, d *delivery, now Time) {
	if d.flags&deliverReleased != 0 {
		b.sendPubrel(c, d.id, packet.Success)
		return
	}
	p := publicationOf(d.msg)
	sub := persist.Subscription{ID: d.subID}
	if !b.mayRead(c.session, &p) || b.unfit(c, &sub, &p, d.qos, now) {
		b.take(c.session, d)
		return
	}
	b.sendPublish(c, &p, publishDup|d.qos<<1|byte(d.flags&deliverRetain), d.id, d.subID, now)
}
