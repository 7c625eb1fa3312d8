package core

import (
	"fmt"
	"math"
	"slices"

	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// The oracle is not a second broker. It knows what its clients sent, what was
// answered, and the steps at which that was; from this it says of each message that
// arrives whether it may, and in the end which had to. What was not answered may have
// happened or not, at any step from when it was sent on.

// simMsg is a message that a client published, or left as a will.
type simMsg struct {
	n      int
	topic  string
	by     *simClient
	qos    byte
	retain bool
	clears bool // removes what is retained
	will   bool
	brief  bool // it may expire
	life   uint32
	lives  Time     // it surely does not before
	dies   Time     // it surely has by then
	early  Time     // a will does not come before
	late   Time     // and does by then
	left   *simConn // which leaves it
	sends  int      // PUBLISH packets
	size   int      // of its payload
	start  int      // the step at which it was sent first
	from   int      // the step from which it may have been routed; 0: not yet
	until  int      // and to which; 0: still
	low    int      // the same from which it has been, if sure says so
	sure   int      // the step at which it surely was; 0: nobody said so
	shaky  bool     // a part of its exchange was lost
	firm   bool     // and that was acknowledged, so it outlives a crash
	dead   int      // a will that is not to come, since that step
}

func (m *simMsg) String() string { return fmt.Sprintf("m%d (%s, QoS %d)", m.n, m.topic, m.qos) }

// simSub is a subscription of a session.
type simSub struct {
	filter, rest string
	shared       bool
	id           uint32
	options      byte
	may, mayEnd  int // the steps between which it may be there; 0: still
	sure         int // the step from which it is surely there; 0: never was
	sureEnd      int // up to which; 0: still
}

func (s *simSub) qos() byte     { return s.options & persist.OptionQoS }
func (s *simSub) noLocal() bool { return s.options&persist.OptionNoLocal != 0 }

// meets says that m may have been routed while s was there. A member of a group may
// get what another one left, later.
func (s *simSub) meets(m *simMsg) bool {
	return m.from > 0 && (s.shared || m.until == 0 || s.may <= m.until) && (s.mayEnd == 0 || s.mayEnd >= m.from)
}

// simKey is a message at the QoS it arrived with.
type simKey struct {
	m   *simMsg
	qos byte
}

// simStream is what keeps its order.
type simStream struct {
	by       *simClient
	topic    string
	sent, as byte // QoS
}

// simSession is a session as its client knows it.
type simSession struct {
	c       *simClient
	subs    []*simSub
	got     map[simKey]int // how often it came, but for what was marked a duplicate
	had     map[*simMsg]bool
	last    map[simStream]int
	ended   int  // at that step
	shaky   bool // a part of what happened to it was lost
	loose   bool // it may be another than the client takes it for
	durable bool
	conns   int
	crashes int
	over    bool
	port    int  // of its first connection
	blind   bool // it had another, to which not all topics have a name
}

func newSimSession(c *simClient) *simSession {
	return &simSession{c: c, got: map[simKey]int{}, had: map[*simMsg]bool{}, last: map[simStream]int{}}
}

func (s *simSession) end(step int) {
	if s.over = true; s.ended == 0 {
		s.ended = step
	}
	s.unsure(step)
}

// unsure ends all that is sure of a session.
func (s *simSession) unsure(step int) {
	for _, sub := range s.subs {
		if sub.sureEnd == 0 {
			sub.sureEnd = step
		}
	}
}

// arrived judges a PUBLISH, which is no repeat within its connection.
func (w *simWorld) arrived(cn *simConn, m *simMsg, p *packet.Packet) {
	s, c := cn.c.sess, cn.c
	if m.will && w.latest < m.early {
		w.fail("%s receives the will %v %d ms early", c.id, m, m.early-w.latest)
		return
	}
	if m.dead > 0 {
		w.fail("%s receives the will %v, which was taken back", c.id, m)
		return
	}
	if w.large(m) {
		w.fail("%s receives %v, which is too large", c.id, m)
		return
	}
	if !c.mightRead(m.topic, cn.bare) {
		w.fail("%s receives %v, which it might not read when it was sent", c.id, m)
		return
	}
	if !w.mightPublish(m, m.from, m.until) {
		w.fail("%s receives %v, which %s never might publish", c.id, m, m.by.id)
		return
	}
	retained, live, groups, fits := 0, 0, 0, false
	for _, sub := range s.subs {
		if min(m.qos, sub.qos()) != p.QoS || !topic.Match(sub.rest, m.topic) {
			continue
		}
		if m.retain && !sub.shared && w.mayRetain(s, sub, m) && c.mightRead(m.topic, sub.may) &&
			(!w.cfg.CheckRetainSource || w.mightPublish(m, sub.may, 0)) {
			retained++
			fits = fits || p.Retain && w.fits(cn, sub, p)
		}
		if !sub.meets(m) || sub.noLocal() && m.by == c || !c.mightRead(m.topic, max(m.from, sub.may)) {
			continue
		}
		if sub.shared {
			groups++
		} else {
			live++
		}
		asPublished := m.retain && sub.options&persist.OptionRetainAsPublished != 0
		fits = fits || (p.Retain == asPublished || !w.cfg.AllowDuplicates) && w.fits(cn, sub, p)
	}
	if !fits {
		w.fail("%s receives %v at QoS %d, retain %t, which none of its subscriptions gives it", c.id, m, p.QoS, p.Retain)
		return
	}
	key := simKey{m, p.QoS}
	first := s.got[key] == 0
	s.had[m] = true
	if p.Dup && (p.QoS == 1 || s.loose) {
		if s.conns == 1 && !s.loose {
			w.fail("%s is sent %v as a duplicate on the first connection of its session", c.id, m)
		}
		if first {
			s.got[key] = 1
		}
	} else {
		s.got[key]++
	}
	if s.loose || s.shaky {
		return
	}
	if !w.cfg.AllowDuplicates {
		live = min(live, 1)
	}
	most := live + groups
	if m.qos == 1 {
		most *= max(1, m.sends)
	}
	if most += retained; p.QoS < 2 || m.will {
		most *= 1 + s.crashes
	}
	if groups > 0 && p.QoS < 2 {
		most = math.MaxInt // it goes from one to the other and back
	}
	if s.got[key] > most {
		w.fail("%s receives %v %d times at QoS %d, and at most %d are in order", c.id, m, s.got[key], p.QoS, most)
	}
	if first && !p.Retain && groups == 0 && !m.will && (m.sends == 1 || p.QoS > 0 && len(c.drops) == 0 && !m.brief && s.listened(m)) {
		at := simStream{m.by, m.topic, m.qos, p.QoS}
		if s.last[at] > m.n {
			w.fail("%s receives %v after m%d", c.id, m, s.last[at])
		}
		s.last[at] = m.n
	}
}

// listened says that what was sent first of m, which was sent again, came to the session.
func (s *simSession) listened(m *simMsg) bool {
	if _, always := s.c.w.allowed(m.by, ActionWrite, m.topic, m.start, m.until); !always || s.blind || !s.c.alwaysRead(m.topic, m.start) {
		return false
	}
	return slices.ContainsFunc(s.subs, func(sub *simSub) bool {
		return !sub.shared && sub.qos() > 0 && !(sub.noLocal() && m.by == s.c) && sub.sure > 0 && sub.sure < m.low && sub.sureEnd == 0 && topic.Match(sub.rest, m.topic)
	})
}

// fits says that a PUBLISH looks as sub would have it.
func (w *simWorld) fits(cn *simConn, sub *simSub, p *packet.Packet) bool {
	if cn.v != packet.V5 || !w.cfg.AllowDuplicates {
		return true
	}
	if p.Props.Has(packet.SubscriptionID) {
		return p.Props.SubscriptionID == sub.id
	}
	return sub.id == 0
}

// mayRetain says that m may be sent to sub as a retained message: for its own SUBSCRIBE,
// or for an earlier one of the filter whose delivery goes on.
func (w *simWorld) mayRetain(s *simSession, sub *simSub, m *simMsg) bool {
	return slices.ContainsFunc(s.subs, func(o *simSub) bool {
		return o.filter == sub.filter && o.may <= sub.may && o.options>>4&3 != 2 && !w.superseded(m, o.may)
	})
}

// superseded says that m was surely replaced, as what its topic retains, before a step.
func (w *simWorld) superseded(m *simMsg, step int) bool {
	if m.until == 0 {
		return false
	}
	for _, o := range w.ops[m.topic] {
		if o != m && !w.mayFade(o) && o.sure > 0 && o.sure < step && o.low > m.until {
			return true
		}
	}
	return false
}

// owed is asked in the end, when everything that was under way has come: whoever
// had a right to a message has it.
func (w *simWorld) owed() {
	for _, m := range w.msgs {
		if m.sure == 0 || w.mayFade(m) || m.clears || !m.firm && !m.will {
			continue
		}
		for _, c := range w.clients {
			if s := c.sess; c.conn != nil && c.conn.welcome && !s.loose && s.durable && !s.over && !s.blind && !c.dropped(m) && !s.had[m] && s.owes(m) && c.alwaysRead(m.topic, m.start) {
				w.fail("%s never received %v of %s, which was acknowledged at step %d", c.id, m, m.by.id, m.sure)
			}
		}
		w.owedShared(m)
	}
}

// owes says that one of the session's own subscriptions was there all the time.
func (s *simSession) owes(m *simMsg) bool {
	for _, sub := range s.subs {
		if !sub.shared && sub.holds(m) && !(sub.noLocal() && m.by == s.c) {
			return true
		}
	}
	return false
}

// holds says that sub was surely there when m was surely routed, at a QoS that lasts.
func (sub *simSub) holds(m *simMsg) bool {
	return min(m.qos, sub.qos()) > 0 && sub.sure > 0 && sub.sure < m.low &&
		(sub.sureEnd == 0 || sub.sureEnd > m.sure) && topic.Match(sub.rest, m.topic)
}

// owedShared: one member of each group has it, if all that may have been dealt it keep
// what they are dealt.
func (w *simWorld) owedShared(m *simMsg) {
	for filter, group := range w.groups() {
		sure, kept, had := false, true, false
		for _, g := range group {
			if !g.sub.meets(m) || !topic.Match(g.sub.rest, m.topic) {
				continue
			}
			had = had || g.s.had[m]
			kept = kept && g.s.c.conn != nil && g.s.c.conn.welcome && !g.s.blind && !g.s.c.dropped(m) && g.s.c.alwaysRead(m.topic, m.start) && g.s.durable && !g.s.over && !g.s.loose && min(m.qos, g.sub.qos()) > 0
			sure = sure || g.sub.holds(m)
		}
		if sure && kept && !had {
			w.fail("nobody of %s received %v of %s, which was acknowledged", filter, m, m.by.id)
		}
	}
}

// simMember is a session's place in a group.
type simMember struct {
	s   *simSession
	sub *simSub
}

// groups are those of shared subscriptions that there ever were.
func (w *simWorld) groups() map[string][]simMember {
	out := map[string][]simMember{}
	for _, s := range w.sessions {
		for _, sub := range s.subs {
			if sub.shared {
				out[sub.filter] = append(out[sub.filter], simMember{s, sub})
			}
		}
	}
	return out
}

// kept judges what a topic retains in the end; nil is nothing.
func (w *simWorld) kept(name string, m *simMsg) {
	nothing := true
	for _, o := range w.ops[name] {
		possible := o.from > 0 && o.dead == 0 && !w.superseded(o, math.MaxInt)
		if o == m && !o.clears && possible {
			return
		}
		if o.sure > 0 && !o.clears && !w.mayFade(o) {
			nothing = false // unless one that may be later says otherwise
		}
	}
	for _, o := range w.ops[name] {
		if (o.clears || w.mayFade(o)) && o.from > 0 && !w.superseded(o, math.MaxInt) {
			nothing = true
		}
	}
	if m != nil || !nothing {
		w.fail("%s retains %v, which it may not", name, m)
	}
}
