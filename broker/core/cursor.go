package core

import (
	"slices"

	"midge/broker/topic"
	"midge/persist"
)

// cursor is a retained delivery under way. It reads the live store as fast as
// the client's window and output allow, so a subscriber to # over a million
// retained messages costs one place in an ordered map and not a million queue
// entries, and gets them all. It belongs to the session and ends with UNSUBSCRIBE.
type cursor struct {
	pos   topic.Cursor
	sub   *persist.Subscription
	num   uint64
	until uint64 // what was stored later came by the subscription itself
	over  bool
	early []string            // topics whose message was sent before its turn, see retainedFirst
	sent  map[string]struct{} // the same, to look one up
}

// cursors are those of one session: at most one for a filter.
type cursors struct {
	order []*cursor          // the first is read first; may have some that are over
	by    map[string]*cursor // by filter, those that are not
}

// feed is the cursor being read, for feedOne.
type feed struct {
	client *Client
	cursor *cursor
	now    Time
	left   int                 // how many more may be looked at
	halted bool                // the client had no room
	visit  func(*message) bool // feedOne, made once
}

// startCursor begins the delivery of what is retained for a subscription. One
// that is still under way for the same filter begins anew [MQTT-3.8.4-3]. Most
// filters find nothing, which one look tells: then there is no cursor.
func (b *Broker) startCursor(s *Session, sub *persist.Subscription) {
	b.stopCursor(s, sub.Filter)
	pos := topic.NewCursor(sub.Filter)
	if b.retained.Read(&pos, 1, notYet) {
		return
	}
	b.number++
	cur := &cursor{pos: pos, sub: sub, num: b.number, until: b.number}
	if s.cursors == nil {
		s.cursors = &cursors{by: make(map[string]*cursor)}
	}
	s.cursors.add(cur)
	b.account(cur.cost())
	b.recordCursor(s, cur)
}

// notYet leaves the first message that matches unread.
func notYet(*message) bool { return false }

// keepCursor has the delivery that is still under way for an earlier subscription
// to the filter, if there is one, go on as sub says.
func (b *Broker) keepCursor(s *Session, sub *persist.Subscription) {
	if cur := s.cursors.find(sub.Filter); cur != nil {
		cur.sub = sub
		b.recordCursor(s, cur)
	}
}

// stopCursor ends the delivery for a filter, if there is one.
func (b *Broker) stopCursor(s *Session, filter string) {
	if cur := s.cursors.find(filter); cur != nil {
		b.endCursor(s, cur)
	}
}

// add puts cur last. Those that are over go once they are the greater part.
func (all *cursors) add(cur *cursor) {
	if len(all.order) > 2*len(all.by)+1 {
		all.order = slices.DeleteFunc(all.order, func(c *cursor) bool { return c.over })
	}
	all.order = append(all.order, cur)
	all.by[cur.sub.Filter] = cur
}

func (all *cursors) find(filter string) *cursor {
	if all == nil {
		return nil
	}
	return all.by[filter]
}

// endCursor takes a cursor away; its place in the order goes when it is met.
func (b *Broker) endCursor(s *Session, cur *cursor) {
	b.recordCursorDone(s, cur)
	b.account(-cur.cost())
	delete(s.cursors.by, cur.sub.Filter)
	cur.over = true
	if len(s.cursors.by) == 0 {
		s.cursors = nil
	}
}

// fedEnough says that there is no time for more retained messages in this turn. Each
// costs a look at the store, and there may be many who have many to come.
func (b *Broker) fedEnough() bool { return b.fed > WorkTurn }

// feedBusy begins a turn: those go on for whom the last ones had no time.
func (b *Broker) feedBusy(now Time) {
	b.fed = 0
	n := 0
	for waiting := len(b.busy); n < waiting && !b.fedEnough(); n++ {
		c := b.busy[n]
		c.flags &^= flagBusy
		if c.state == connected {
			b.pump(c, now)
			b.commit()
		}
	}
	b.busy = slices.Delete(b.busy, 0, n)
}

// feedLater has c go on in another turn.
func (b *Broker) feedLater(c *Client) {
	if c.flags&flagBusy == 0 {
		c.flags |= flagBusy
		b.busy = append(b.busy, c)
	}
}

// feedCursors reads on, one after the other, a bounded number of messages in a go.
func (b *Broker) feedCursors(c *Client, now Time) {
	if b.fedEnough() {
		b.feedLater(c)
		return
	}
	s, f := c.session, &b.feed
	f.client, f.now = c, now
	f.left, f.halted = cursorBudget, false
	for s.cursors != nil && f.left > 0 && !f.halted {
		cur := s.cursors.order[0]
		if !cur.over {
			b.readCursor(s, cur)
		}
		if cur.over && s.cursors != nil {
			s.cursors.order = s.cursors.order[1:]
		}
	}
	f.client, f.cursor = nil, nil
	if s.cursors != nil && !f.halted {
		b.feedLater(c)
	}
}

// readCursor reads one cursor on.
func (b *Broker) readCursor(s *Session, cur *cursor) {
	f, at := &b.feed, cur.pos.Next
	f.cursor = cur
	left := f.left
	done := b.retained.Read(&cur.pos, f.left, f.visit)
	b.fed += workSeek*(1+b.retained.Missed()) + workFeed*(left-f.left)
	f.left-- // one that matches nothing costs too
	switch {
	case done:
		b.endCursor(s, cur)
	case cur.pos.Next != at:
		b.recordCursor(s, cur)
	}
}

// feedOne sends one retained message. It says no when the client has no room
// for it: then it comes first the next time.
func (b *Broker) feedOne(m *message) bool {
	c, cur, now := b.feed.client, b.feed.cursor, b.feed.now
	s, sub := c.session, cur.sub
	b.feed.left--
	if m.Stored > cur.until || m.Expires <= now {
		return true
	}
	if _, early := cur.sent[m.Topic]; early || ownMessage(s, sub, m) || b.withheld(s, m) {
		return true
	}
	qos := b.grantedQoS(m.QoS, sub)
	if c.full() || qos > 0 && !b.windowOpen(c, len(m.Payload)) {
		b.feed.halted = true
		return false
	}
	p := publicationOf(m)
	if b.unfit(c, sub, &p, qos, now) {
		return true
	}
	flags := qos<<1 | publishRetain // [MQTT-3.3.1-8]
	if qos > 0 {
		b.sendDelivery(c, sub, nil, &p, flags, now)
	} else {
		b.sendPublish(c, &p, flags, 0, sub.ID, now)
	}
	return true
}

// ownMessage says that m is not for s because s published it (v5 [MQTT-3.8.3-3]).
func ownMessage(s *Session, sub *persist.Subscription, m *message) bool {
	return sub.NoLocal() && m.Origin != nil && m.Origin.ClientID == s.id
}

// retainedFirst sees to it that a live message that is about to be delivered for
// sub does not overtake the older retained one of its topic, where sub's cursor
// has that still before it: it is sent, or waits in the queue, before its turn
// ([MQTT-4.6.0-6], v5 [MQTT-4.6.0-5]).
func (b *Broker) retainedFirst(s *Session, sub *persist.Subscription, name string, now Time) {
	cur := s.cursors.find(sub.Filter)
	if cur == nil || cur.pos.Passed(name) || !b.roomFor(s) {
		return
	}
	m, ok := b.retained.Load(name)
	if !ok || m.Stored > cur.until || m.Expires <= now {
		return
	}
	if _, early := cur.sent[m.Topic]; early {
		return
	}
	if s.client == nil && b.grantedQoS(m.QoS, cur.sub) == 0 && !b.cfg.QueueQoS0 {
		return // nothing of that QoS waits for an offline session
	}
	if cur.sent == nil {
		cur.sent = make(map[string]struct{})
	}
	cur.sent[m.Topic] = struct{}{}
	cur.early = append(cur.early, m.Topic)
	b.account(costEarly)
	if !ownMessage(s, cur.sub, m) && !b.withheld(s, m) {
		b.sendRetained(s, cur.sub, m, now)
	}
	b.recordCursor(s, cur)
}

// sendRetained delivers a retained message as if it were a live one.
func (b *Broker) sendRetained(s *Session, sub *persist.Subscription, m *message, now Time) {
	p := publicationOf(m)
	p.retain = true
	kept := *sub
	kept.Options |= persist.OptionRetainAsPublished // RETAIN stays [MQTT-3.3.1-8]
	b.deliver(s, &kept, nil, &p, now)
}

func (b *Broker) recordCursor(s *Session, cur *cursor) {
	if b.recording(s) {
		b.rec.Cursor(s.id, cur.num, persist.Cursor{
			Filter: cur.sub.Filter, Next: cur.pos.Next, Until: cur.until, Early: cur.early,
			SubscriptionID: cur.sub.ID, Options: cur.sub.Options,
		})
	}
}

func (b *Broker) recordCursorDone(s *Session, cur *cursor) {
	if b.recording(s) {
		b.rec.CursorDone(s.id, cur.num)
	}
}

// sweeper removes expired retained messages, retain_expiry_interval apart. Until
// then they are passed over where they are met.
type sweeper struct {
	timer timer
	pos   topic.Cursor
	under bool // a sweep is under way
}

// sweepBudget is how many retained messages are looked at in one go.
const sweepBudget = 1000

func (b *Broker) startSweep(now Time) {
	b.sweep.under = false
	at := persist.Never
	if b.cfg.RetainSweep > 0 {
		at = now + b.cfg.RetainSweep
	}
	b.arm(&b.sweep.timer, at, &b.sweep)
}

func (w *sweeper) due(b *Broker, now Time) {
	w.timer = timer{}
	if !w.under {
		w.under, w.pos = true, topic.NewCursor("") // every name, $ included
	}
	var dead []*message
	done := b.retained.Read(&w.pos, sweepBudget, func(m *message) bool {
		if m.Expires <= now {
			dead = append(dead, m)
		}
		return true
	})
	for _, m := range dead {
		b.unretain(m.Topic)
	}
	if w.under = !done; w.under {
		b.arm(&w.timer, now+1, w) // in another turn
	} else {
		b.arm(&w.timer, now+b.cfg.RetainSweep, w)
	}
}
