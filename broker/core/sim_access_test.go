package core

import (
	"slices"

	"midge/packet"
	"midge/persist"
)

// What clients may do, in some worlds, changes now and then. Between two steps it is
// the same, so that of a message which was on its way for some of them the oracle knows
// whether it was allowed all the time, or at least once.

// simRules are in force from a step on.
type simRules struct {
	from   int
	denies [2][]uint16 // for each Action and client a bit for each topic
}

// simAccess is the Access of such a world.
type simAccess struct{ w *simWorld }

func (a simAccess) May(who *persist.Origin, do Action, name string) (ok bool, notice string) {
	w := a.w
	at := slices.IndexFunc(w.clients, func(c *simClient) bool { return c.id == who.ClientID })
	if at < 0 || !slices.ContainsFunc(w.listeners, func(l *Listener) bool { return l.Port == who.Listener }) {
		w.fail("the broker asks about %+v", *who)
		return false, ""
	}
	return w.rules[len(w.rules)-1].allows(at, do, name), ""
}

func (r *simRules) allows(who int, do Action, name string) bool {
	return r.denies[do][who]>>slices.Index(simTopics, name)&1 == 0
}

// newRules puts others in force.
func (w *simWorld) newRules(d *simDice) {
	r := &simRules{from: w.step}
	for do := range r.denies {
		for range w.clients {
			few := d.n(1 << 16)
			few &= d.n(1 << 16)
			few &= d.n(1 << 16)
			r.denies[do] = append(r.denies[do], uint16(few))
		}
	}
	w.rules = append(w.rules, r)
	w.say("clients may do other things")
}

// allowed says whether a client might do something at some step between two, and whether
// it might at all of them. A last step of 0 is now.
func (w *simWorld) allowed(c *simClient, do Action, name string, from, to int) (ever, always bool) {
	if len(w.rules) == 0 {
		return true, true
	}
	if to == 0 {
		to = w.step
	}
	always = true
	for i, r := range w.rules {
		if r.from > to || i+1 < len(w.rules) && w.rules[i+1].from < from {
			continue
		}
		if r.allows(c.n, do, name) {
			ever = true
		} else {
			always = false
		}
	}
	return ever, always
}

// ever says that c might read what was there from a step on, or publish m.
func (c *simClient) mightRead(name string, from int) bool {
	ever, _ := c.w.allowed(c, ActionRead, name, from, 0)
	return ever
}

func (c *simClient) alwaysRead(name string, from int) bool {
	_, always := c.w.allowed(c, ActionRead, name, from, 0)
	return always
}

// mightPublish says that whoever sent m might publish it, some time from a step on.
func (w *simWorld) mightPublish(m *simMsg, from, to int) bool {
	ever, _ := w.allowed(m.by, ActionWrite, m.topic, from, to)
	return ever
}

// routed: m is at its end, as far as its publisher is concerned. It tells whether it surely was
// routed: nobody can have refused it.
func (w *simWorld) routed(m *simMsg) bool {
	m.until = w.step
	if w.large(m) {
		return false
	}
	if _, always := w.allowed(m.by, ActionWrite, m.topic, m.start, w.step); !always || m.shaky {
		return false
	}
	m.sure = w.step
	return true
}

// denied judges an acknowledgement by what its publisher might do.
func (c *simClient) denied(m *simMsg, p *packet.Packet) {
	ever, always := c.w.allowed(c, ActionWrite, m.topic, m.start, 0)
	switch {
	case p.Reason == packet.NotAuthorized && always:
		c.fail("is not authorized to publish %v, and always was", m)
	case p.Reason != packet.NotAuthorized && !ever && c.conn.v == packet.V5 && !c.w.refuses(max(m.start, c.conn.begun)) && !c.w.large(m):
		c.fail("never might publish %v, and gets %v with reason %d", m, p.Type, p.Reason)
	}
}

// port is a client's listener for its next connection, mostly the same. What it has to send
// again would go elsewhere by another.
func (c *simClient) port(d *simDice) int {
	if len(c.w.listeners) == 1 {
		return 0
	}
	if len(c.out) > 0 {
		return c.last.port
	}
	if d.n(10) == 0 {
		return d.n(2)
	}
	return c.n % 2
}

// whole is the name that all others have for what cn's client calls so.
func (cn *simConn) whole(name string) string { return cn.listener().Mount + name }

func (cn *simConn) listener() *Listener { return cn.c.w.listeners[cn.port] }

// wholeFilter likewise.
func (cn *simConn) wholeFilter(filter string) string {
	rest, _ := matched(filter)
	return filter[:len(filter)-len(rest)] + cn.whole(rest)
}
