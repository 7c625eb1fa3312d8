package core

import (
	"slices"

	"midge/packet"
)

// simAsk is a SUBSCRIBE or UNSUBSCRIBE.
type simAsk struct {
	subs, old []*simSub
	step      int
}

var simFilters = []string{"a/1", "a/2", "a/+", "a/#", "b/1", "+/1", "#", "b/#", "c", "$share/g/a/+", "$share/g/b/#", "$share/h/a/1"}

// subscribe asks for one or two filters.
func (cn *simConn) subscribe(d *simDice) {
	c, w := cn.c, cn.c.w
	ask := &simAsk{step: w.step}
	p := packet.Packet{Type: packet.Subscribe, Filters: packet.Filters{Options: true}}
	id := uint32(0)
	if cn.v == packet.V5 && d.n(3) > 0 {
		id = uint32(1 + d.n(200))
		p.Props.Raw = packet.AppendVarintProperty(nil, packet.SubscriptionID, id)
	}
	for range 1 + d.n(2) {
		filter := simFilters[d.n(len(simFilters))]
		s := &simSub{filter: cn.wholeFilter(filter), id: id, may: w.step, options: byte(d.n(3))}
		s.rest, s.shared = matched(s.filter)
		if cn.v == packet.V5 {
			s.options |= byte(d.n(2)<<3 | d.n(3)<<4)
			if !s.shared {
				s.options |= byte(d.n(2) * d.n(2) << 2)
			}
		}
		if slices.ContainsFunc(ask.subs, func(o *simSub) bool { return o.filter == s.filter }) {
			continue
		}
		p.Filters.Raw = packet.AppendSubscription(p.Filters.Raw, filter, s.options)
		ask.old = append(ask.old, c.sess.have(s.filter)...)
		ask.subs = append(ask.subs, s)
		w.say("%s subscribes to %s, options %#x, id %d", c.id, s.filter, s.options, s.id)
	}
	ask.unsure(w.step)
	c.sess.subs = append(c.sess.subs, ask.subs...)
	p.ID = c.freeID()
	cn.asked[p.ID] = ask
	cn.send(&p)
}

// refusedFilters takes out of ask what was refused, which has changed nothing.
func (c *simClient) refusedFilters(ask *simAsk, codes []byte) {
	var refused []*simSub
	for i, s := range ask.subs {
		switch packet.Reason(codes[i]) {
		case packet.QuotaExceeded, packet.UnspecifiedError: // 0x80 is every failure before version 5
			refused = append(refused, s)
			codes[i] = s.qos()
			ask.old = slices.DeleteFunc(ask.old, func(old *simSub) bool { return old.filter == s.filter })
		}
	}
	c.sess.subs = slices.DeleteFunc(c.sess.subs, func(s *simSub) bool { return slices.Contains(refused, s) })
}

// have are the subscriptions to a filter that may be there.
func (s *simSession) have(filter string) (out []*simSub) {
	for _, sub := range s.subs {
		if sub.filter == filter && sub.mayEnd == 0 {
			out = append(out, sub)
		}
	}
	return out
}

func (a *simAsk) unsure(step int) {
	for _, s := range a.old {
		if s.sureEnd == 0 {
			s.sureEnd = step
		}
	}
}

func (cn *simConn) unsubscribe(d *simDice) {
	c, w := cn.c, cn.c.w
	filter := simFilters[d.n(len(simFilters))]
	ask := &simAsk{step: w.step, old: c.sess.have(cn.wholeFilter(filter))}
	ask.unsure(w.step)
	p := packet.Packet{Type: packet.Unsubscribe, ID: c.freeID(), Filters: packet.Filters{Raw: packet.AppendFilter(nil, filter)}}
	cn.asked[p.ID] = ask
	w.say("%s unsubscribes from %s", c.id, filter)
	cn.send(&p)
}

// agreed is SUBACK or UNSUBACK.
func (cn *simConn) agreed(p *packet.Packet) {
	ask := cn.asked[p.ID]
	if ask == nil {
		cn.c.fail("gets %v for packet %d, which it did not send", p.Type, p.ID)
		return
	}
	delete(cn.asked, p.ID)
	cn.c.w.say("%s gets %v %d, %d", cn.c.id, p.Type, p.ID, p.Codes)
	if cn.c.w.mayBeDown(ask.step) && len(p.Codes) > 0 && packet.Reason(p.Codes[0]) == packet.UnspecifiedError && p.Type == packet.Unsuback {
		return
	}
	if cn.c.w.refuses(ask.step) && len(p.Codes) == len(ask.subs) {
		cn.c.refusedFilters(ask, p.Codes)
	}
	for _, s := range ask.old {
		s.mayEnd = cn.c.w.step
	}
	if p.Type == packet.Unsuback {
		return
	}
	for i, s := range ask.subs {
		if i >= len(p.Codes) || p.Codes[i] != s.qos() {
			cn.c.fail("asked for %s at QoS %d and is given %d", s.filter, s.qos(), p.Codes)
			return
		}
		if s.sure == 0 {
			s.sure = cn.c.w.step
		}
	}
}
