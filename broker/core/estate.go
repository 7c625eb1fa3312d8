package core

import "slices"

// What a member of a group leaves unfinished goes to other members. It may be tens of
// thousands of messages, and each may be offered to hundreds of members. So there is
// a bound on what is offered in one turn. What a session that has ended leaves beyond
// it waits for the next turns; what one that is only away has stays with it, until it
// comes back or ends.

// estateTurn is how much of that one turn does, in units of Broker.work.
const estateTurn = workMax

// estate is what a session leaves. When the session has ended nothing else has its
// deliveries any more: they are handed on, or dropped.
type estate struct {
	session *Session
	ended   bool
	sent    []*delivery // of its window, the oldest first
	refused map[offered]int
}

// offered is what the members of a group are asked to take. Not everybody may read a
// topic, or has a name for it; where that makes no difference topic is empty.
type offered struct {
	share *share
	topic string
	plain bool // QoS 0 needs less
}

// busyEstates says that this turn has offered enough.
func (b *Broker) busyEstates() bool { return b.passed > estateTurn }

// passOn hands the unfinished messages of s's groups to other members that are
// connected, when s has just lost its connection. What nobody takes stays where it is.
func (b *Broker) passOn(s *Session, now Time) {
	if len(b.groups) == 0 {
		return
	}
	e := estate{session: s}
	for _, d := range s.window.inOrder() {
		if d.qos == 1 && b.offer(&e, d, now) {
			b.take(s, d)
		}
	}
	if s.waiting == nil {
		return
	}
	keep := func(d *delivery) bool {
		if !b.offer(&e, d, now) {
			return true
		}
		b.recordDropped(s, d)
		return false
	}
	b.filter(&s.waiting.acked, keep)
	b.filter(&s.waiting.plain, keep)
	b.drained(s)
}

// inherit hands what s leaves, which has ended, to any other members, now or later.
// Nothing of it is recorded: the whole of s is forgotten.
func (b *Broker) inherit(s *Session, now Time) {
	s.expiry = 0
	e := estate{session: s, ended: true, sent: s.window.inOrder()}
	if !b.divide(&e, now) {
		b.estates = append(b.estates, e)
	}
}

// settleEstates goes on with what sessions have left, as far as there is time for it.
func (b *Broker) settleEstates(now Time) {
	n := 0
	for n < len(b.estates) && b.divide(&b.estates[n], now) {
		n++
	}
	b.estates = slices.Delete(b.estates, 0, n)
	b.commit()
}

// divide hands on what is in e, or drops it, and tells whether all is done.
func (b *Broker) divide(e *estate, now Time) (done bool) {
	s := e.session
	clear(e.refused)
	for ; len(e.sent) > 0; e.sent = e.sent[1:] {
		if b.busyEstates() {
			return false
		}
		d := e.sent[0]
		if b.passed++; d.qos == 1 {
			b.offer(e, d, now)
		}
		b.take(s, d)
	}
	for w := s.waiting; w.len() > 0; b.passed++ {
		if b.busyEstates() {
			return false
		}
		q := &w.acked
		if q.n == 0 {
			q = &w.plain
		}
		d := *q.front()
		b.pop(q)
		b.offer(e, &d, now)
		b.unuse(d.msg)
	}
	s.waiting = nil
	return true
}

// offer hands one message of e's to another member, and says whether it was taken.
// The sizes of what nobody took are remembered: a thousand members are not asked a
// thousand times.
func (b *Broker) offer(e *estate, d *delivery, now Time) bool {
	if d.share == nil || d.msg.Expires <= now || b.busyEstates() { // for others what has expired was never begun (v5 [MQTT-3.3.2-5])
		return false
	}
	all := offered{share: d.share, plain: d.qos == 0}
	one, size := all, d.size()
	one.topic = d.msg.Topic
	for _, of := range [...]offered{all, one} {
		if n, ok := e.refused[of]; ok && size >= n {
			return false
		}
	}
	before := b.work
	taken, hidden := b.handOver(e, d, now)
	b.passed += b.work - before
	if taken {
		return true
	}
	if e.refused == nil {
		e.refused = make(map[offered]int)
	}
	if b.guarded || hidden {
		all = one
	}
	e.refused[all] = size
	return false
}

// handOver gives one delivery to another member of its group. hidden says that one
// has no name for its topic.
func (b *Broker) handOver(e *estate, d *delivery, now Time) (taken, hidden bool) {
	sh := d.share
	if b.groups[sh.filter] != sh {
		return false, false
	}
	p := publicationOf(d.msg)
	n := len(sh.members)
	for _, able := range [...]func(*Broker, *member, *publication, Time) bool{ready, online, offline} {
		for i := range n {
			b.work++
			m := &sh.members[(sh.next+i)%n]
			c := m.session.client
			if m.session == e.session || c == nil && !e.ended {
				continue
			}
			hidden = hidden || c != nil && !c.sees(p.topic)
			if able(b, m, &p, now) && b.deliver(m.session, m.sub, sh, &p, now) {
				sh.next = (sh.next+i)%n + 1
				return true, hidden
			}
		}
	}
	return false, hidden
}
