package core

// A subscriber's acknowledgements are handled between reads, and one read may bring
// more than its queue can take: it would lose messages of a burst while it reads and
// acknowledges as fast as it can. So who publishes into the fuller half of a live
// subscriber's queue waits until the queue is in its emptier half, or for the rest of
// the millisecond. For a subscriber that was slow for longer, whose queue has
// overflowed, nobody waits: it loses what max_queued_messages says.

// crowdLive is for how long a subscriber may be silent while messages wait for it, in
// milliseconds: then nobody waits any more.
const crowdLive Time = 1_000

// crowd is who waits.
type crowd struct {
	at      Time      // the millisecond that the first of them waits in
	mine    bool      // the client whose bytes are being handled is to wait
	waiting []*Client // publishers that are not read meanwhile
	next    []*Client // the list before, reused
}

// crowded says whether the queue of s is in its fuller half.
func (b *Broker) crowded(s *Session) bool {
	return b.cfg.MaxQueuedMessages > 0 && s.waiting.len() > b.cfg.MaxQueuedMessages/2 ||
		b.cfg.MaxQueuedBytes > 0 && s.waiting.bytes() > b.cfg.MaxQueuedBytes/2
}

// queued has the publisher of p wait if p made, or found, a crowd. One that publishes to
// itself does not: its acknowledgements come behind what it publishes.
func (b *Broker) queued(s *Session, p *publication, now Time) {
	w := s.waiting
	if w == nil || s == p.from {
		return
	}
	if w.since == 0 {
		w.since = now
	}
	if !s.spilled && b.crowded(s) && now-max(w.since, s.client.heard) <= crowdLive {
		b.crowd.mine = true
	}
}

// wait has c wait.
func (b *Broker) wait(c *Client, now Time) {
	c.flags |= flagCrowding
	if len(b.crowd.waiting) == 0 {
		b.crowd.at = now
	}
	b.crowd.waiting = append(b.crowd.waiting, c)
}

// thin is called when s has got its queue down: perhaps those who wait go on.
func (b *Broker) thin(s *Session) {
	if (s.spilled || len(b.crowd.waiting) > 0) && !b.crowded(s) {
		s.spilled = false
		b.disperse()
	}
}

// disperse has all who wait go on.
func (b *Broker) disperse() {
	list := b.crowd.waiting
	b.crowd.waiting, b.crowd.next = b.crowd.next[:0], list
	for i, c := range list {
		list[i] = nil
		c.flags &^= flagCrowding
		if c.state != closed {
			b.addDirty(c)
		}
	}
}
