package core

import (
	"errors"

	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// answerSize is the length of a v5 SUBACK or UNSUBACK with n codes. One above the
// client's Maximum Packet Size cannot be given, so its request is refused.
func answerSize(n int) int {
	body := 2 + 1 + n
	size := 2 + body
	for rest := body >> 7; rest > 0; rest >>= 7 {
		size++
	}
	return size
}

// subscribe makes or replaces subscriptions. All filters are checked before the
// first is made, so a bad one leaves nothing behind. Retained messages follow
// the SUBACK.
func (b *Broker) subscribe(c *Client, p *packet.Packet, now Time) error {
	s := c.session
	var id uint32
	if c.flags&flagPart != 0 {
		id = c.extra.part.subID
	} else if err := b.checkFilters(c, p, "SUBSCRIBE", b.checkFilter); err != nil {
		return err
	} else if p.Props.Has(packet.SubscriptionID) {
		id = p.Props.SubscriptionID
	}
	if b.down != packet.Success && s.durable() {
		return b.refuseSubscribe(c, p)
	}
	if !b.eachFilter(c, p, func(filter []byte, options byte) byte { return b.subscribeOne(c, filter, options, id) }) {
		c.extra.part.subID = id
		return nil
	}
	if b.debug {
		b.log.Logf(LogDebug, "Sending SUBACK to %s", s.id)
	}
	b.answer(c, barrier, max(b.own(), s.relies), packet.AppendSuback(b.scratch[:0], c.version, p.ID, b.codes))
	if s.cursors != nil && c.flags&flagBusy == 0 { // who is busy has had its share of this turn
		b.pump(c, now)
	}
	return nil
}

// checkFilters checks all filters of a packet.
func (b *Broker) checkFilters(c *Client, p *packet.Packet, name string, check func(*Client, []byte, byte) error) error {
	if b.debug {
		b.log.Logf(LogDebug, "Received %s from %s", name, c.session.id)
	}
	n := 0
	for f := p.Filters; ; n++ {
		filter, options, ok := f.Next()
		if !ok {
			break
		}
		if err := check(c, filter, options); err != nil {
			return err
		}
	}
	b.work += n / workChecks
	if c.version == packet.V5 && answerSize(n) > int(c.maxPacket) {
		return faultOversize
	}
	return nil
}

// eachFilter does one filter of the packet after the other and gathers the codes in
// b.codes. It stops when that takes long, and says that it is not done: the client goes
// on with what is left of the packet in the next turn.
func (b *Broker) eachFilter(c *Client, p *packet.Packet, one func(filter []byte, options byte) byte) (done bool) {
	b.begin(c)
	for f := p.Filters; ; {
		left := len(f.Raw)
		filter, options, ok := f.Next()
		if !ok {
			return true
		}
		if b.work > workMax {
			c.flags |= flagPart
			c.more().part = part{codes: append([]byte(nil), b.codes...), left: left, id: p.ID}
			return false
		}
		b.codes = append(b.codes, one(filter, options))
	}
}

// begin puts into b.codes those of the filters of the packet that are done: none unless
// it comes once more.
func (b *Broker) begin(c *Client) {
	b.codes = b.codes[:0]
	if c.flags&flagPart != 0 {
		b.codes = append(b.codes, c.extra.part.codes...)
		c.flags &^= flagPart
		c.extra.part = part{}
	}
}

// checkFilter refuses a filter that cannot be subscribed to.
func (b *Broker) checkFilter(c *Client, filter []byte, options byte) error {
	_, _, shared, err := topic.Shared(filter)
	switch {
	case errors.Is(err, topic.ErrBadShare):
		return faultShare
	case shared && err == nil && options&persist.OptionNoLocal != 0: // v5 [MQTT-3.8.3-4]
		return faultNoLocal
	case !shared && err == nil:
		err = topic.CheckFilter(filter)
	}
	if err != nil {
		return faultLine(causeMalformed, "Invalid subscription string from %s, disconnecting.", c.Host())
	}
	return nil
}

// subackFailure is the code of a filter that is refused, before v5 [MQTT-3.9.3-2].
const subackFailure = 0x80

// subscribeOne makes one subscription and gives its code for the SUBACK.
func (b *Broker) subscribeOne(c *Client, asked []byte, options byte, id uint32) byte {
	b.work += workSubscribe
	s := c.session
	filter, ok := c.mountFilter(asked)
	if !ok {
		return b.denyFilter(c, asked, packet.TopicFilterInvalid)
	}
	if r := b.denies(s, filter); r != packet.Success {
		return b.denyFilter(c, asked, r)
	}
	options = options&^persist.OptionQoS | min(options&persist.OptionQoS, c.Listener.MaxQoS)
	if b.debug {
		b.log.Logf(LogDebug, "\t%s (QoS %d)", filter, options&persist.OptionQoS)
	}
	if c.flags&flagBridge != 0 && c.version != packet.V5 {
		options |= persist.OptionNoLocal | persist.OptionRetainAsPublished // which v3 cannot ask for
	}
	sub := &persist.Subscription{ClientID: s.id, Filter: filter, ID: id, Options: options}
	isNew, shared := b.addSubscription(s, sub)
	if b.recording(s) {
		b.rec.Subscribe(sub)
	}
	if b.log.Enabled(LogSubscribe) {
		b.log.Logf(LogSubscribe, "%s %d %s", s.id, options&persist.OptionQoS, filter)
	}
	if !shared && (sub.RetainHandling() == 0 || sub.RetainHandling() == 1 && isNew) {
		b.startCursor(s, sub)
	} else {
		b.keepCursor(s, sub)
	}
	return options & persist.OptionQoS
}

// denyFilter gives the code of a filter that is refused.
func (b *Broker) denyFilter(c *Client, filter []byte, r packet.Reason) byte {
	if b.debug {
		b.log.Logf(LogDebug, "\t%s (denied)", filter)
	}
	if c.version == packet.V5 {
		return byte(r)
	}
	return subackFailure
}

// addSubscription puts sub where it is found: it counts at once.
func (b *Broker) addSubscription(s *Session, sub *persist.Subscription) (isNew, shared bool) {
	rest, shared := matched(sub.Filter)
	if shared {
		isNew = b.join(s, sub, rest)
	} else {
		_, replaced := b.index.Set(sub.Filter, s, sub)
		isNew = !replaced
	}
	b.subs.SetHint(sub, &b.near)
	b.epoch++
	if isNew {
		s.subs++
		b.account(costOfSubscription(sub))
		b.countSubscription(rest, shared, 1)
	}
	return isNew, shared
}

// countSubscription counts one to rest, which is its filter less the group.
func (b *Broker) countSubscription(rest string, shared bool, n int) {
	if isSys(rest) && logFilter(rest) {
		b.ears += n
	}
	if shared {
		b.stats.SharedSubscriptions += n
	} else {
		b.stats.Subscriptions += n
	}
}

// unsubscribe takes subscriptions back; deliveries already begun are finished
// [MQTT-3.10.4-3].
func (b *Broker) unsubscribe(c *Client, p *packet.Packet, _ Time) error {
	s := c.session
	if c.flags&flagPart == 0 {
		if err := b.checkFilters(c, p, "UNSUBSCRIBE", checkUnsubscribe); err != nil {
			return err
		}
	}
	if b.down != packet.Success && s.durable() {
		return b.refuseUnsubscribe(c, p)
	}
	if !b.eachFilter(c, p, func(filter []byte, _ byte) byte { return byte(b.unsubscribeOne(c, filter)) }) {
		return nil
	}
	if b.debug {
		b.log.Logf(LogDebug, "Sending UNSUBACK to %s", s.id)
	}
	b.answer(c, ordered, max(b.own(), s.relies), packet.AppendUnsuback(b.scratch[:0], c.version, p.ID, b.codes))
	return nil
}

func checkUnsubscribe(c *Client, filter []byte, _ byte) error {
	_, _, shared, err := topic.Shared(filter)
	if errors.Is(err, topic.ErrBadShare) {
		return faultShare
	}
	if !shared && err == nil {
		err = topic.CheckFilter(filter)
	}
	if err != nil {
		return faultLine(causeMalformed, "Invalid unsubscription string from %s, disconnecting.", c.name())
	}
	return nil
}

func (b *Broker) unsubscribeOne(c *Client, asked []byte) packet.Reason {
	b.work += workSubscribe
	s := c.session
	filter := view(asked)
	if c.flags&flagMounted != 0 {
		filter, _ = c.mountFilter(asked)
	}
	if b.debug {
		b.log.Logf(LogDebug, "\t%s", filter)
	}
	if b.log.Enabled(LogUnsubscribe) {
		b.log.Logf(LogUnsubscribe, "%s %s", s.id, filter)
	}
	sub, ok := b.subs.Get(&persist.Subscription{ClientID: s.id, Filter: filter})
	if !ok {
		return packet.NoSubscriptionExisted
	}
	b.removeSubscription(s, sub)
	b.stopCursor(s, sub.Filter)
	if b.recording(s) {
		b.rec.Unsubscribe(s.id, sub.Filter)
	}
	return packet.Success
}

// removeSubscription is the opposite of addSubscription.
func (b *Broker) removeSubscription(s *Session, sub *persist.Subscription) {
	rest, shared := matched(sub.Filter)
	if shared {
		b.leave(s, sub.Filter)
	} else {
		b.index.Delete(sub.Filter, s)
	}
	b.subs.Delete(sub)
	s.subs--
	b.account(-costOfSubscription(sub))
	b.countSubscription(rest, shared, -1)
}
