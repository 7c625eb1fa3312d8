package core

import "midge/persist"

// Subscriptions take about a microsecond each to be taken away, a session may have a
// great many, and a great many sessions may end in one turn. When that comes to more
// than remainsMin, they are taken away in later turns, some at a time: they match
// nothing any more, for their session is there no longer. Until they are gone nobody
// gets a session of the same client id.

const (
	remainsMin  = 1000 // subscriptions that are taken away at once, in one turn
	remainsTurn = 1000 // that one Tick takes away
)

// endsLater says that the subscriptions of s cannot be taken away in this turn any more.
func (b *Broker) endsLater(s *Session) bool {
	return s.subs > 0 && b.removed+int(s.subs) > remainsMin
}

// removeSubscriptions takes all of s's, which ends, now or later.
func (b *Broker) removeSubscriptions(s *Session) {
	if b.endsLater(s) {
		s.expiry = 0 // nothing waits for it
		b.remains = append(b.remains, s)
		b.remaining[s.id] = true
		return
	}
	b.removed += int(s.subs)
	b.removeSome(s, int(s.subs))
}

// removeSome takes the first n of s's, which has as many.
func (b *Broker) removeSome(s *Session, n int) {
	if n == 0 {
		return
	}
	some := make([]*persist.Subscription, 0, n)
	b.subs.Ascend(&persist.Subscription{ClientID: s.id}, func(sub *persist.Subscription) bool {
		some = append(some, sub)
		return len(some) < n
	})
	for _, sub := range some {
		b.removeSubscription(s, sub)
	}
}

// clearRemains takes away what is left of sessions that ended, some of it.
func (b *Broker) clearRemains() {
	for n := remainsTurn; n > 0 && len(b.remains) > 0; {
		s := b.remains[0]
		now := min(n, int(s.subs))
		b.removeSome(s, now)
		if n -= now; s.subs == 0 {
			delete(b.remaining, s.id)
			b.remains[0] = nil
			b.remains = b.remains[1:]
		}
	}
}

// waits has a CONNECT wait for what is left of the client's session, or of the one that
// it does not go on with. The client keeps a place among max_clients meanwhile: nobody
// is to take that of its old session.
func (b *Broker) waits(c *Client, id string, clean bool, now Time) bool {
	b.endWait(c)
	if s := b.sessions[id]; s != nil && b.endsLater(s) && (clean || !s.durable()) {
		b.resumeOrEnd(s, clean, now)
	}
	if !b.remaining[id] {
		return false
	}
	b.stats.Connections--
	c.flags |= flagPart
	b.expected++
	return true
}

// endWait gives back the place of a client that waited, if it did.
func (b *Broker) endWait(c *Client) {
	if c.state == opened && c.flags&flagPart != 0 {
		c.flags &^= flagPart
		b.expected--
	}
}

// noPlace says that there are max_clients, with those that wait for their sessions.
func (b *Broker) noPlace(c *Client, id string) bool {
	if b.cfg.MaxClients == 0 || b.sessions[id] != nil || c.flags&flagPart != 0 {
		return false
	}
	return len(b.sessions)+b.expected >= b.cfg.MaxClients
}
