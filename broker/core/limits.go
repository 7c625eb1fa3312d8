package core

import (
	"strings"

	"midge/packet"
	"midge/persist"
)

// Limits on how many of something there may be, and how large: max_subscriptions,
// max_topic_levels, max_retained_messages and max_clientid_length. Each is 0 where
// there is none. What is there already is kept; what would be too much is refused
// before it has any effect, as it is above memory_limit (account.go).

// tooDeep says that a whole topic or filter has more levels than are taken.
func (b *Broker) tooDeep(name string) bool {
	n := b.cfg.MaxTopicLevels
	return n > 0 && len(name) >= n && strings.Count(name, "/") >= n
}

// tooLong says that a client id has more bytes than are taken.
func (b *Broker) tooLong(id string) bool {
	n := b.cfg.MaxClientIDLength
	return n > 0 && len(id) > n
}

// tooManyFilters says that a subscription of s would be one too many, if it is new.
func (b *Broker) tooManyFilters(s *Session) bool {
	n := b.cfg.MaxSubscriptions
	return n > 0 && int(s.subs) >= n
}

// tooManyRetained says that a message to be retained as name would be one too many.
func (b *Broker) tooManyRetained(name string) bool {
	n := b.cfg.MaxRetained
	if n == 0 || b.kept < n || !countsAsRetained(name) {
		return false
	}
	_, here := b.retained.Load(name)
	return !here
}

// excess is why a publication that may be made is not taken in now, or nil.
func (b *Broker) excess(s *Session, p *packet.Packet, name string) *fault {
	switch {
	case b.tooManyRetainedFor(s, p, name):
		return faultRetained
	case b.cfg.MemoryLimit > 0 && b.tightFor(s, p, name):
		return faultMemory
	}
	return nil
}

// tooManyRetainedFor says the same of a publication. One that takes a message away
// is welcome, and so is one of QoS 2 that is here already.
func (b *Broker) tooManyRetainedFor(s *Session, p *packet.Packet, name string) bool {
	if b.cfg.MaxRetained == 0 || !p.Retain || len(p.Payload) == 0 {
		return false
	}
	if _, here := s.incoming[p.ID]; here && p.QoS == 2 {
		return false
	}
	return b.tooManyRetained(name)
}

// tooManyRetainedForWill says the same of c's will.
func (b *Broker) tooManyRetainedForWill(c *Client, cn *packet.ConnectBody) bool {
	if b.cfg.MaxRetained == 0 || !cn.Will || !cn.WillRetain || len(cn.WillPayload) == 0 {
		return false
	}
	name, err := view(cn.WillTopic), error(nil)
	if c.Listener.Mount != "" {
		name, err = b.mount(c, name)
	}
	return err == nil && b.tooManyRetained(name)
}

// countsAsRetained says that name is no topic of the broker's own.
func countsAsRetained(name string) bool {
	return !isSys(name) || strings.HasPrefix(name, "$SYS/broker/connection/")
}

// countRetained notes that there are n more messages retained as name.
func (b *Broker) countRetained(name string, n int) {
	b.account(int64(n) * costRetained)
	if countsAsRetained(name) {
		b.kept += n
	}
}

// denies is the code for a filter of s that is one too many, or for which there is
// no memory, or Success. What replaces a subscription is neither.
func (b *Broker) denies(s *Session, filter string) packet.Reason {
	rest, _ := matched(filter)
	many := b.tooManyFilters(s)
	switch {
	case b.tooDeep(rest):
		return packet.QuotaExceeded
	case !many && b.cfg.MemoryLimit == 0:
		return packet.Success
	}
	_, here := b.subs.Get(&persist.Subscription{ClientID: s.id, Filter: filter})
	if !here && (many || b.tight(costSubscription+int64(len(filter)))) {
		return packet.QuotaExceeded
	}
	return packet.Success
}
