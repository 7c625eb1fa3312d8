package core

import (
	"unsafe"

	"midge/packet"
	"midge/persist"
)

// The account is what the state takes in memory, in bytes: each thing at what it
// was measured to take, and the bytes of its texts and payloads. Everything that is
// made for longer than a turn is added where it is made, and taken off where it is
// let go; what lies in pools to be used again, within their bounds, is not counted,
// nor is what one turn needs. QoS 0 from socket to socket touches it nowhere.
//
// memory_limit bounds it. Above the limit what would make it grow is refused, before
// it has any effect: new sessions and subscriptions, and messages of QoS 1 and 2 or
// with RETAIN, and wills and topic aliases of some size. What is there is kept, and everything that makes it smaller is done.
type account struct {
	bytes int64 // now
	most  int64 // the highest so far
	short bool  // the limit was reached, and there is no room again yet
}

// What things take, less their texts. That the sum is near the truth is tested.
const (
	costMessage      = int64(unsafe.Sizeof(message{}))
	costRetained     = 96 // its place in the store
	costWill         = 64
	costChunk        = int64(unsafe.Sizeof(chunk{}))
	costSlot         = int64(unsafe.Sizeof(delivery{})) // of a window
	costIncoming     = 64                               // its place in the session's map
	costClient       = 192                              // with the transport's part
	costSession      = 160                              // with its place in the map, and its origin
	costAbsence      = 80                               // with its deadline
	costSubscription = 192                              // with its places in index and tree
	costGroup        = 96                               // of a shared subscription
	costCursor       = 320
	costEarly        = 64 // of a retained message that was sent before its turn
	costAlias        = 64
)

// room is the part of the limit that must be free again before anything is taken
// in after the limit was reached, lest every other message be refused.
const room = 16

// account notes that the state has grown by n bytes.
func (b *Broker) account(n int64) {
	b.acct.bytes += n
	b.acct.most = max(b.acct.most, b.acct.bytes)
}

// Memory is the account: bytes now, and the most there were at once.
func (b *Broker) Memory() (now, most int64) { return b.acct.bytes, b.acct.most }

// tight says that n bytes more must not be taken in.
func (b *Broker) tight(n int64) bool {
	limit := b.cfg.MemoryLimit
	if limit == 0 {
		return false
	}
	b.watchLimit()
	return b.acct.short || b.acct.bytes+n > limit
}

// watchLimit says in the log that the limit was reached, or that there is room again.
func (b *Broker) watchLimit() {
	a, limit := &b.acct, b.cfg.MemoryLimit
	switch {
	case !a.short && limit > 0 && a.bytes >= limit:
		a.short = true
		b.log.Logf(LogWarning, "Warning: The memory_limit of %d bytes is reached. New sessions and subscriptions, and messages of QoS 1 and 2 or to be retained, are refused.", limit)
	case a.short && (limit == 0 || a.bytes < limit-limit/room):
		a.short = false
		b.log.Logf(LogNotice, "There is room below memory_limit again, %d bytes are in use.", a.bytes)
	}
}

// smallSize is what each client that may be connected above the limit may have even
// so, in bytes: of a will that it comes back with, and of topic aliases.
const smallSize = 1 << 10

// tightForClient says that a client is to be refused: for its session is new, or for
// its large will.
func (b *Broker) tightForClient(id string, cn *packet.ConnectBody) bool {
	will := 0
	if cn.Will {
		will = int(costWill+costMessage) + len(cn.WillTopic) + len(cn.WillProps.Raw) + len(cn.WillPayload)
	}
	if b.sessions[id] == nil {
		return b.tight(costClient + costSession + int64(len(id)+len(cn.Username)+will))
	}
	return will > smallSize && b.tight(int64(will))
}

// tightFor says that a message of s is to be refused because it would be kept. One
// that takes a retained one away is welcome, and so is one that is here already.
func (b *Broker) tightFor(s *Session, p *packet.Packet, name string) bool {
	removes := p.Retain && len(p.Payload) == 0
	if removes || p.QoS == 0 && !p.Retain {
		return false
	}
	if !b.tight(costMessage + int64(len(name)+len(p.Props.Raw)+len(p.Payload))) {
		return false
	}
	_, here := s.incoming[p.ID]
	return !here || p.QoS != 2
}

// rejectPublish refuses a message for want of memory, or of a place to retain it. A client before v5 that wants
// it acknowledged cannot be told, so its connection ends: it keeps the message.
func (b *Broker) rejectPublish(c *Client, p *packet.Packet, f *fault) error {
	if b.debug {
		b.log.Logf(LogDebug, "Rejected PUBLISH from %s, quota exceeded.", c.session.id)
	}
	b.stats.PublishDropped++
	if c.version != packet.V5 && p.QoS > 0 {
		return f
	}
	b.acknowledge(c, p, packet.QuotaExceeded)
	return nil
}

// cost is what the message takes.
func (m *message) cost() int64 {
	return costMessage + int64(len(m.Topic)+len(m.Properties)+len(m.Payload))
}

func costOfWill(w *persist.Will) int64 {
	m := w.Message
	return costWill + costMessage + int64(len(m.Topic)+len(m.Properties)+len(m.Payload))
}

func (w *inflight) cost() int64 { return int64(len(w.slots)) * costSlot }

func (s *Session) cost() int64 {
	n := costSession + int64(len(s.id)+len(s.username()))
	if s.who != nil && s.who.rights != nil {
		n += s.who.rights.cost()
	}
	return n
}

func (r *rights) cost() int64 {
	n := int64(unsafe.Sizeof(*r))
	if len(r.seen) > len(r.first) {
		n += int64(len(r.seen)) * int64(unsafe.Sizeof(r.seen[0]))
	}
	return n
}

func costOfSubscription(sub *persist.Subscription) int64 {
	return costSubscription + int64(len(sub.Filter))
}

func (sh *share) cost() int64 { return costGroup + int64(len(sh.filter)) }

func (cur *cursor) cost() int64 {
	return costCursor + int64(len(cur.early))*costEarly
}

func (all *cursors) cost() (n int64) {
	if all != nil {
		for _, cur := range all.by {
			n += cur.cost()
		}
	}
	return n
}

// tightForAlias says that t must not grow by a topic of n bytes.
func (b *Broker) tightForAlias(t *aliases, n int) bool {
	n += costAlias
	return t.cost+int64(n) > smallSize && b.tight(int64(n))
}

// accountAlias notes that t has grown by n bytes.
func (b *Broker) accountAlias(t *aliases, n int) {
	t.cost += int64(n)
	b.account(int64(n))
}

// charge makes n bytes of c's output part of the account, in place of what was
// before. That is done to what a socket did not take; the rest is gone with the turn.
func (b *Broker) charge(c *Client, n int) {
	if int(c.charged) != n {
		b.account(int64(n) - int64(c.charged))
		c.charged = uint32(n)
	}
}

// Hold makes n bytes more, or fewer, part of the account: those that the transport keeps
// of what connected clients have sent.
func (b *Broker) Hold(n int) { b.account(int64(n)) }

// Room says whether n bytes more may be held.
func (b *Broker) Room(n int) bool {
	return n <= 0 || b.cfg.MemoryLimit == 0 || b.acct.bytes+int64(n) <= b.cfg.MemoryLimit
}
