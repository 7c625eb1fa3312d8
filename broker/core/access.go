package core

import (
	"hash/maphash"

	"midge/persist"
)

// Action is what a client does with a topic.
type Action uint8

// The actions.
const (
	ActionRead  Action = iota // it is delivered a message
	ActionWrite               // it publishes one
)

// Access knows what clients may do. It is asked on the goroutine of the Broker's
// caller and must not block. Its answers are remembered until the next call of
// Configure or Recheck.
//
// A client is asked about where it publishes, at PUBREL once more, where its will is
// sent, and at each delivery: of live messages, of retained ones, and of those that
// waited. To subscribe is always allowed, as it is with mosquitto's ACL files.
type Access interface {
	// May says whether a client may do something with a topic, which is a view for
	// the time of the call. Where a client is refused for its name there is a notice
	// for the log, else "".
	May(who *persist.Origin, do Action, topic string) (ok bool, notice string)
}

// rights are what a session may do: who knows, and what it said. Its answers stand
// by the numbers of the topics (see names), each with two bits for each action, so
// that a delivery to a thousand subscribers costs each of them one comparison.
type rights struct {
	access Access   // nil: the session may do anything
	rules  uint64   // Broker.rules when access was looked up
	told   bool     // the notice is in the log
	ousted int32    // answers that made way since seen was made
	seen   []uint64 // number<<4 | bits; a topic's place is given by the lowest bits of its number
	first  [seenMin]uint64
}

// Sizes of rights.seen, powers of two.
const (
	seenMin = 4
	seenMax = 256
)

// mayRead says whether s may be delivered p.
func (b *Broker) mayRead(s *Session, p *publication) bool {
	if !b.guarded || p.open {
		return true
	}
	if p.number == 0 {
		p.number = b.names.number(p.topic)
	}
	ok := b.permits(s, ActionRead, p.topic, p.number)
	p.refused = p.refused || !ok
	return ok
}

// beginGuarded looks whether all receivers of p's topic may read it: they did the
// last time, and nothing has changed since that could make one more or others of
// them. Then nobody is asked about. Of a group not every member is a receiver.
func (b *Broker) beginGuarded(p *publication, groups bool) {
	p.number = b.names.number(p.topic)
	p.since, p.refused = b.epoch, groups
	p.open = p.number != 0 && b.names.last.open == b.epoch
}

// endGuarded remembers that all receivers of p may read it.
func (b *Broker) endGuarded(p *publication) {
	if p.open || p.refused || p.number == 0 {
		return
	}
	if n := b.names.number(p.topic); n == p.number {
		b.names.last.open = p.since
	}
}

// mayWrite says whether s may publish to a topic.
func (b *Broker) mayWrite(s *Session, name string) bool {
	return !b.guarded || b.permits(s, ActionWrite, name, b.names.number(name))
}

func (b *Broker) permits(s *Session, do Action, name string, number uint64) bool {
	if do == ActionRead && s.client == nil && s.absence == nil {
		return false // it has ended, and its subscriptions are still being taken away
	}
	r := s.identity().rights
	if r == nil || r.rules != b.rules {
		r = b.renew(s)
	}
	if r.access == nil {
		return true
	}
	known := uint64(1) << (2 * do)
	e := &r.seen[number&uint64(len(r.seen)-1)]
	if *e>>4 == number && *e&known != 0 {
		return *e&(known<<1) != 0
	}
	ok, notice := r.access.May(s.from(), do, name)
	if notice != "" && !r.told {
		r.told = true
		b.log.Logf(LogNotice, "%s", notice)
	}
	if number != 0 {
		b.account(r.keep(number, known, ok))
	}
	return ok
}

// keep remembers an answer, and says how many bytes more that takes.
func (r *rights) keep(number, known uint64, ok bool) (more int64) {
	e := &r.seen[number&uint64(len(r.seen)-1)]
	if *e>>4 != number {
		if *e != 0 {
			r.ousted++
		}
		if int(r.ousted) > len(r.seen) && len(r.seen) < seenMax {
			more = -r.cost()
			r.grow()
			more += r.cost()
			e = &r.seen[number&uint64(len(r.seen)-1)]
		}
		*e = number << 4
	}
	*e |= known
	if ok {
		*e |= known << 1
	}
	return more
}

func (r *rights) grow() {
	old := r.seen
	r.seen, r.ousted = make([]uint64, 2*len(old)), 0
	for _, e := range old {
		if e != 0 {
			r.seen[e>>4&uint64(len(r.seen)-1)] = e
		}
	}
}

// renew looks up who knows about s: its listener, or for one that is away whoever
// knows about those of its port. As long as the rules stay the same, what holds for
// a client holds for its session when it is away.
func (b *Broker) renew(s *Session) *rights {
	who := s.identity()
	if who.rights == nil {
		who.rights = new(rights)
		who.rights.seen = who.rights.first[:]
		b.account(who.rights.cost())
	}
	r := who.rights
	clear(r.seen)
	r.rules, r.told, r.ousted = b.rules, false, 0
	r.access = b.cfg.Access
	if s.client != nil {
		r.access = s.client.Listener.Access
	}
	return r
}

// Guard replaces Config.Access alone.
func (b *Broker) Guard(a Access) {
	b.cfg.Access = a
	b.guarded = a != nil
	b.newRules()
}

// newRules has all that was remembered of what clients may do forgotten.
func (b *Broker) newRules() {
	b.rules++
	b.epoch++
}

// forget has the rights looked up anew when they are needed.
func (r *rights) forget() {
	if r != nil {
		r.rules = 0
	}
}

// dropRights gives back what a session that ends has of rights. Retained messages may
// keep the rest of its identity.
func (b *Broker) dropRights(s *Session) {
	if s.who != nil && s.who.rights != nil {
		b.account(-s.who.rights.cost())
		s.who.rights = nil
	}
}

// withheld says that s does not get the retained message m: it may not read it, or,
// with check_retain_source, whoever published it may not any more.
func (b *Broker) withheld(s *Session, m *message) bool {
	if !b.guarded {
		return false
	}
	if !b.permits(s, ActionRead, m.Topic, b.names.number(m.Topic)) {
		return true
	}
	if !b.cfg.CheckRetainSource || m.Origin == nil {
		return false
	}
	ok, _ := b.cfg.Access.May(m.Origin, ActionWrite, m.Topic)
	return !ok
}

// names gives the topics of late numbers of their own, to remember things by. A name
// that has not been met for long, among many others, gets another number then. It
// has two places, by its hash, and takes the one that was filled first.
type names struct {
	seed  maphash.Seed
	slots []named // made when first needed
	last  *named  // the one found last: the next message is often to the same topic
	given uint64  // numbers so far
	lacks int     // names that made another give way since there were so many slots
}

type named struct {
	number uint64 // 0: the slot is empty
	open   uint64 // the Broker.epoch in which all receivers of the topic may read it
	name   []byte
}

// Bounds of names: numbers of slots, powers of two, and bytes of a name.
const (
	namesMin = 64
	namesMax = 4096
	nameMax  = 256
)

// number is that of a topic; 0 for one that is too long to be remembered.
func (n *names) number(topic string) uint64 {
	if n.last != nil && string(n.last.name) == topic {
		return n.last.number
	}
	if len(topic) > nameMax {
		return 0
	}
	if n.slots == nil {
		n.seed, n.slots = maphash.MakeSeed(), make([]named, namesMin)
	}
	hash := maphash.String(n.seed, topic)
	x, y := n.places(hash)
	switch {
	case x.number != 0 && string(x.name) == topic:
		n.last = x
	case y.number != 0 && string(y.name) == topic:
		n.last = y
	default:
		n.last = n.fill(hash, topic)
	}
	return n.last.number
}

func (n *names) places(hash uint64) (x, y *named) {
	mask := uint64(len(n.slots) - 1)
	return &n.slots[hash&mask], &n.slots[hash>>32&mask]
}

// fill gives a name a slot, and a number.
func (n *names) fill(hash uint64, topic string) *named {
	slot, y := n.places(hash)
	if y.number < slot.number {
		slot = y
	}
	if slot.number != 0 {
		if n.lacks++; n.lacks > len(n.slots)/2 && len(n.slots) < namesMax {
			n.grow()
			return n.fill(hash, topic)
		}
	}
	n.given++
	slot.number, slot.open, slot.name = n.given, 0, append(slot.name[:0], topic...)
	return slot
}

func (n *names) grow() {
	old := n.slots
	n.slots, n.lacks = make([]named, 2*len(old)), 0
	for _, one := range old {
		if one.number == 0 {
			continue
		}
		x, y := n.places(maphash.Bytes(n.seed, one.name))
		if x.number != 0 {
			x = y
		}
		*x = one
	}
}
