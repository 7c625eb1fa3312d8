package core

import (
	"midge/broker/topic"
	"midge/persist"
)

// Restore begins with what an earlier broker has left, whose clock now goes on.
// It is to be called once, before the first client. Everybody was disconnected when
// that broker ended, if not before; what follows from that is recorded.
func (b *Broker) Restore(im *persist.Image, now Time) {
	b.number = max(b.number, im.Number())
	b.pos, b.safe = im.Position(), im.Position()
	for m := range im.Retained() {
		b.retained.Set(m.Topic, b.found(m).use())
		b.countRetained(m.Topic, 1)
		b.stats.RetainedBytes += int64(len(m.Payload))
	}
	for s := range im.Sessions() {
		b.restoreSession(im, s)
	}
	var left []*Session // in the middle of a connection
	for old := range im.Sessions() {
		if s := b.sessions[old.ClientID]; s != nil {
			b.restoreDeliveries(im, s)
			b.restoreCursors(im, s)
			if old.Gone == persist.Never {
				left = append(left, s)
			}
		}
	}
	b.stats.MaxClients = max(b.stats.MaxClients, len(b.sessions))
	for _, s := range left {
		b.cutOff(s, now)
		b.commit()
	}
	for old := range im.Sessions() { // in their order, so that equal deadlines come in the same each time
		if s := b.sessions[old.ClientID]; s != nil {
			b.armSession(s)
		}
	}
}

// found is a message of the image, which is accounted for with its first user.
func (b *Broker) found(m *persist.Message) *message {
	if m.Uses == 0 {
		b.account((*message)(m).cost())
	}
	return (*message)(m)
}

// restoreSession makes a session, with what does not need others.
func (b *Broker) restoreSession(im *persist.Image, old *persist.Session) {
	if old.Expiry == 0 {
		return // there should be none: it ended with its connection
	}
	s := &Session{
		id: old.ClientID, expiry: b.capExpiry(old.Expiry), nextID: old.LastID,
		relies: b.pos, absence: &absence{endsAt: persist.Never, listener: old.Listener},
	}
	if old.Username != "" {
		s.who = &identity{Origin: persist.Origin{ClientID: s.id, Username: old.Username, Listener: old.Listener}}
	}
	if s.expiry != noExpiry && old.Gone != persist.Never {
		s.absence.endsAt = old.Gone + Time(s.expiry)*1000
	}
	b.sessions[s.id] = s
	b.account(s.cost() + costAbsence)
	for sub := range im.SubscriptionsOf(s.id) {
		b.addSubscription(s, sub)
	}
	for id, m := range im.Incoming(s.id) {
		if s.incoming == nil {
			s.incoming = make(map[uint16]incoming)
		}
		s.incoming[id] = incoming{msg: b.found(m).use()}
		b.account(costIncoming)
	}
	if s.will = im.WillOf(s.id); s.will != nil {
		b.account(costOfWill(s.will))
		s.identity() // by which it is judged: when it is published the session may be in no place any more
	}
}

// restoreDeliveries fills the session's window and queue.
func (b *Broker) restoreDeliveries(im *persist.Image, s *Session) {
	for old := range im.Deliveries(s.id) {
		d := delivery{
			msg: (*message)(old.Message), num: old.Number, share: b.shareOf(old.Share), subID: old.SubscriptionID,
			qos: old.QoS, flags: deliverRecorded,
		}
		if old.Retain {
			d.flags |= deliverRetain
		}
		if old.State == persist.Released {
			d.flags |= deliverReleased
		}
		if old.State != persist.Queued {
			d.id = old.ID
			b.restoreInflight(s, d)
			continue
		}
		b.found(old.Message)
		if s.waiting == nil {
			s.waiting = new(backlog)
		}
		if d.qos == 0 {
			b.push(&s.waiting.plain, d)
		} else {
			b.push(&s.waiting.acked, d)
		}
	}
}

// shareOf is the group a delivery came by. One that has no members any more takes
// nothing back.
func (b *Broker) shareOf(filter string) *share {
	if filter == "" {
		return nil
	}
	if sh := b.groups[filter]; sh != nil {
		return sh
	}
	return &share{filter: filter}
}

// restoreInflight puts a delivery where its identifier is looked for.
func (b *Broker) restoreInflight(s *Session, d delivery) {
	w := s.window
	if w == nil {
		w = b.newWindow()
		s.window = w
		b.account(w.cost())
	}
	for 2*w.n >= len(w.slots) && len(w.slots) < 1<<16 || w.slots[int(d.id)&(len(w.slots)-1)].id != 0 {
		if len(w.slots) == 1<<16 {
			return // two with one identifier: the older is the one that was sent
		}
		w.grow()
		b.account(w.cost() / 2)
	}
	b.found((*persist.Message)(d.msg))
	w.slots[int(d.id)&(len(w.slots)-1)] = d
	d.msg.use()
	w.n++
	w.bytes += len(d.msg.Payload)
	b.stats.Queued++
	b.stats.QueuedBytes += int64(len(d.msg.Payload))
	s.nextID = d.id
}

func (b *Broker) restoreCursors(im *persist.Image, s *Session) {
	for num, old := range im.Cursors(s.id) {
		cur := &cursor{
			pos: topic.Cursor{Filter: old.Filter, Next: old.Next}, num: num, until: old.Until, early: old.Early,
			sub: &persist.Subscription{ClientID: s.id, Filter: old.Filter, ID: old.SubscriptionID, Options: old.Options},
		}
		for _, name := range old.Early {
			if cur.sent == nil {
				cur.sent = make(map[string]struct{})
			}
			cur.sent[name] = struct{}{}
		}
		if s.cursors == nil {
			s.cursors = &cursors{by: make(map[string]*cursor)}
		}
		s.cursors.add(cur)
		b.account(cur.cost())
	}
}

// cutOff is for a session whose connection ended with the broker: its time without
// one begins, as in detach.
func (b *Broker) cutOff(s *Session, now Time) {
	if s.expiry != noExpiry {
		s.absence.endsAt = now + Time(s.expiry)*1000
	}
	if s.will != nil {
		b.delayWill(s, now) // one without a delay too: it is due in the first turn, when all is in place
	}
	b.recordSession(s, now)
}
