package core

import "midge/persist"

// Subscriptions take about a microsecond each to be taken away, and a session may have
// a great many. When one that has more than remainsMin ends, they are taken away in
// later turns, some at a time: they match nothing any more, for their session is there
// no longer. Until they are gone nobody gets a session of the same client id.

// remains are the subscriptions of a session that has ended.
type remains struct {
	session *Session
	subs    []*persist.Subscription
}

const (
	remainsMin  = 1000 // subscriptions that are taken away at once
	remainsTurn = 1000 // that one Tick takes away
)

// subscriptionsOf lists s's.
func (b *Broker) subscriptionsOf(s *Session) []*persist.Subscription {
	all := make([]*persist.Subscription, 0, s.subs)
	b.subs.Ascend(&persist.Subscription{ClientID: s.id}, func(sub *persist.Subscription) bool {
		if sub.ClientID != s.id {
			return false
		}
		all = append(all, sub)
		return true
	})
	return all
}

// removeSubscriptions takes all of s's, which ends, now or later.
func (b *Broker) removeSubscriptions(s *Session) {
	if s.subs == 0 {
		return
	}
	all := b.subscriptionsOf(s)
	if len(all) > remainsMin {
		s.expiry = 0 // nothing waits for it
		b.remains = append(b.remains, remains{s, all})
		b.remaining[s.id] = true
		return
	}
	for _, sub := range all {
		b.removeSubscription(s, sub)
	}
}

// clearRemains takes away what is left of sessions that ended, some of it.
func (b *Broker) clearRemains() {
	for n := remainsTurn; n > 0 && len(b.remains) > 0; {
		r := &b.remains[0]
		now := min(n, len(r.subs))
		for _, sub := range r.subs[:now] {
			b.removeSubscription(r.session, sub)
		}
		n -= now
		if r.subs = r.subs[now:]; len(r.subs) == 0 {
			delete(b.remaining, r.session.id)
			*r = remains{}
			b.remains = b.remains[1:]
		}
	}
}

// waits has a CONNECT wait for what is left of the client's session, or of the one that
// it does not go on with.
func (b *Broker) waits(c *Client, id string, clean bool, now Time) bool {
	c.flags &^= flagPart
	if s := b.sessions[id]; s != nil && s.subs > remainsMin && (clean || !s.durable()) {
		b.resumeOrEnd(s, clean, now)
	}
	if !b.remaining[id] {
		return false
	}
	b.stats.Connections--
	c.flags |= flagPart
	return true
}
