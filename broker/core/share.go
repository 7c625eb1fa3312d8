package core

import (
	"slices"
	"strings"

	"midge/broker/topic"
	"midge/persist"
)

// share is the group of a shared subscription, $share/group/filter (v5 4.8.2).
// Each message that matches goes to one member. Connected members are preferred,
// and among them those that can take the message now, in turn; with none, a QoS
// 1 or 2 message waits in one member's session.
//
// When a member leaves, the others get what it did not acknowledge at QoS 1 and
// what it was never sent at QoS 2. What was sent at QoS 2 stays with it
// [MQTT-4.8.2-4], [MQTT-4.8.2-5].
type share struct {
	filter  string // the whole of it, as subscribed
	rest    string // behind the group
	members []member
	next    int // whose turn it is
}

type member struct {
	session *Session
	sub     *persist.Subscription
}

func (sh *share) find(s *Session) int {
	for i := range sh.members {
		if sh.members[i].session == s {
			return i
		}
	}
	return -1
}

// join makes s a member, or replaces its subscription.
func (b *Broker) join(s *Session, sub *persist.Subscription, rest string) (isNew bool) {
	sh := b.groups[sub.Filter]
	if sh == nil {
		sh = &share{filter: sub.Filter, rest: rest}
		b.groups[sh.filter] = sh
		b.account(sh.cost())
		b.shared.Set(sh.rest, sh, struct{}{})
	}
	if i := sh.find(s); i >= 0 {
		sh.members[i].sub = sub
		return false
	}
	sh.members = append(sh.members, member{s, sub})
	return true
}

// leave takes s out of the group.
func (b *Broker) leave(s *Session, filter string) bool {
	sh := b.groups[filter]
	if sh == nil {
		return false
	}
	i := sh.find(s)
	if i < 0 {
		return false
	}
	sh.members = slices.Delete(sh.members, i, i+1) // it clears the place at the end
	if i < sh.next {
		sh.next--
	}
	if len(sh.members) == 0 {
		delete(b.groups, filter)
		b.account(-sh.cost())
		b.shared.Delete(sh.rest, sh)
	}
	return true
}

// sharesFor lists the groups that p matches.
func (b *Broker) sharesFor(p *publication) [][]topic.Entry[*share, struct{}] {
	if len(b.groups) == 0 {
		return nil
	}
	return b.shared.Match(raw(p.topic))
}

// deliverShared gives p to one member.
func (b *Broker) deliverShared(sh *share, p *publication, now Time) {
	n := len(sh.members)
	for _, able := range [...]func(*Broker, *member, *publication, Time) bool{ready, online, offline} {
		for i := range n {
			b.work++
			at := (sh.next + i) % n
			m := &sh.members[at]
			if able(b, m, p, now) && b.deliver(m.session, m.sub, sh, p, now) {
				sh.next = at + 1
				return
			}
		}
	}
	// Nobody can take it: it is lost with the one whose turn it is among those that
	// may read it, as by a subscription of its own, and counted once.
	for i := range n {
		if m := &sh.members[(sh.next+i)%n]; b.mayRead(m.session, p) {
			b.deliver(m.session, m.sub, sh, p, now)
			return
		}
	}
}

// ready members can be sent p at once.
func ready(b *Broker, m *member, p *publication, now Time) bool {
	c := m.session.client
	if c == nil || c.full() || m.session.waiting != nil || !b.fits(c, m.sub.ID, p, b.grantedQoS(p.qos, m.sub), 0, now) {
		return false
	}
	return b.grantedQoS(p.qos, m.sub) == 0 || b.windowOpen(c, len(p.payload))
}

// online members can queue it.
func online(b *Broker, m *member, p *publication, now Time) bool {
	return m.session.client != nil && b.roomFor(m.session) &&
		b.fits(m.session.client, m.sub.ID, p, b.grantedQoS(p.qos, m.sub), 0, now)
}

func offline(b *Broker, m *member, _ *publication, _ Time) bool {
	return m.session.client == nil && b.roomFor(m.session)
}

// matched is the part of a filter that topics are matched with, and whether
// there is a group in front of it.
func matched(filter string) (rest string, shared bool) {
	if !strings.HasPrefix(filter, "$share/") {
		return filter, false
	}
	_, r, shared, err := topic.Shared(raw(filter))
	if err != nil || !shared {
		return filter, false
	}
	return string(r), true
}
