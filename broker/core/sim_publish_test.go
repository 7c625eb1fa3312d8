package core

import (
	"slices"
	"strings"

	"midge/packet"
)

// again sends what was not acknowledged on an earlier connection.
func (cn *simConn) again(o *simOut) {
	if o.released {
		cn.send(&packet.Packet{Type: packet.Pubrel, ID: o.id})
		return
	}
	o.m.sends++
	cn.send(&packet.Packet{Type: packet.Publish, Dup: true, QoS: o.m.qos, Retain: o.m.retain, ID: o.id,
		Topic: []byte(o.name), Payload: []byte(o.payload)})
}

// say publishes.
func (cn *simConn) say(d *simDice) {
	c, w := cn.c, cn.c.w
	name := w.topic(d)
	m := w.message(c, cn.whole(name), byte(d.n(3)), d.n(4) == 0)
	m.clears = m.retain && d.n(3) == 0
	p := packet.Packet{Type: packet.Publish, QoS: m.qos, Retain: m.retain, Topic: []byte(name), Payload: []byte(m.payload())}
	switch {
	case m.clears:
		p.Payload = nil
	case d.n(12) == 0:
		p.Payload = append(p.Payload, strings.Repeat("x", d.n(4000))...)
	}
	if cn.v == packet.V5 && d.n(6) == 0 {
		m.brief = true
		m.life = []uint32{1, 2, 3, 4, 5, 60, 60, 3600}[d.n(8)]
		m.lives, m.dies = w.now+Time(m.life)*1000, simForever
		p.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, m.life)
	}
	w.say("%s publishes %v, retain %t, clears %t", c.id, m, m.retain, m.clears)
	if m.qos < 2 {
		m.from, m.low = w.step, w.step
	}
	m.sends, m.size = 1, len(p.Payload)
	if m.qos == 0 {
		cn.plain, cn.sends = append(cn.plain, m), append(cn.sends, m)
	} else {
		p.ID = c.freeID()
		c.out = append(c.out, &simOut{m: m, name: name, id: p.ID, payload: string(p.Payload)})
	}
	cn.send(&p)
}

// freeID is a packet identifier that is not in use, of few.
func (c *simClient) freeID() uint16 {
	for {
		c.nextID = c.nextID%24 + 1
		used := c.conn.asked[c.nextID] != nil
		for _, o := range c.out {
			used = used || o.id == c.nextID
		}
		if !used {
			return c.nextID
		}
	}
}

// publish is a PUBLISH that came.
func (cn *simConn) publish(p *packet.Packet) {
	c, w := cn.c, cn.c.w
	if !cn.resolve(p) {
		c.fail("is sent a bad topic alias %d", p.Props.TopicAlias)
		return
	}
	m := w.find(cn.whole(string(p.Topic)), string(p.Payload))
	w.say("%s gets %v at QoS %d as packet %d, dup %t, retain %t", c.id, m, p.QoS, p.ID, p.Dup, p.Retain)
	if m == nil && len(p.Payload) > 0 {
		c.fail("is sent what nobody published: %q to %q", p.Payload, p.Topic)
		return
	}
	if p.QoS == 0 {
		if m != nil {
			w.inTime(cn, m, p)
			w.arrived(cn, m, p)
		}
		return
	}
	if cn.retried(m, p) {
		cn.owe(packet.Packet{Type: [...]packet.Type{1: packet.Puback, 2: packet.Pubrec}[p.QoS], ID: p.ID}, nil)
		return
	}
	cn.came[p.ID] = m
	if old, used := cn.open[p.ID]; used {
		c.fail("is sent %v as packet %d, which is still %v", m, p.ID, old)
		return
	}
	if was, known := c.seen[p.ID]; known && was == m && m != nil && !p.Dup && !c.sess.loose && c.sess.crashes == 0 {
		c.fail("is sent %v again as packet %d, without DUP", m, p.ID)
		return
	}
	cn.open[p.ID], c.seen[p.ID] = m, m
	if len(cn.open) > cn.window {
		c.fail("has %d messages open, and its window is %d", len(cn.open), cn.window)
		return
	}
	if p.QoS == 1 {
		cn.owe(packet.Packet{Type: packet.Puback, ID: p.ID}, nil)
	} else {
		cn.owe(packet.Packet{Type: packet.Pubrec, ID: p.ID}, nil)
		if old, known := c.in[p.ID]; known {
			if old != m {
				c.fail("is sent %v as packet %d, which is still %v", m, p.ID, old)
			}
			return
		}
		c.in[p.ID] = m
	}
	if m != nil {
		w.inTime(cn, m, p)
		w.arrived(cn, m, p)
	}
}

// resolve gives p the topic that its alias stands for.
func (cn *simConn) resolve(p *packet.Packet) bool {
	if !p.Props.Has(packet.TopicAlias) {
		return true
	}
	i := int(p.Props.TopicAlias)
	if i > len(cn.aliases) {
		return false
	}
	if len(p.Topic) > 0 {
		cn.aliases[i-1] = string(p.Topic)
	}
	p.Topic = []byte(cn.aliases[i-1])
	return len(p.Topic) > 0
}

// acknowledged is an answer to a PUBLISH, or to a PUBREL.
func (cn *simConn) acknowledged(p *packet.Packet) {
	c, w := cn.c, cn.c.w
	w.say("%s gets %v %d", c.id, p.Type, p.ID)
	i := slices.IndexFunc(c.out, func(o *simOut) bool { return o.id == p.ID })
	if i < 0 {
		c.fail("gets %v for packet %d, which it did not send", p.Type, p.ID)
		return
	}
	o := c.out[i]
	if !o.released {
		c.denied(o.m, p)
	}
	if p.Reason.Failed() {
		c.out = slices.Delete(c.out, i, i+1)
		c.turnedDown(o, p)
		return
	}
	want := packet.Puback
	if o.m.qos == 2 && !o.released {
		want = packet.Pubrec
	} else if o.m.qos == 2 {
		want = packet.Pubcomp
	}
	if p.Type != want {
		c.fail("gets %v for packet %d, not %v", p.Type, p.ID, want)
		return
	}
	o.m.came(w.now)
	if w.large(o.m) && cn.v == packet.V5 && o.m.sends == 1 && !o.released {
		c.fail("gets %v for %v, which is too large", p.Type, o.m)
		return
	}
	if p.Type == packet.Pubrec {
		o.released = true
		if o.m.from == 0 {
			o.m.from, o.m.low = w.step, w.step // should the connection end, PUBREL is sent on the next
		}
		cn.owe(packet.Packet{Type: packet.Pubrel, ID: o.id}, o)
		return
	}
	c.out = slices.Delete(c.out, i, i+1)
	o.m.firm = w.routed(o.m)
}

// turnedDown is PUBACK or PUBREC that says no: nobody gets the message, unless it was
// taken when it was sent first.
func (c *simClient) turnedDown(o *simOut, p *packet.Packet) {
	if o.released || !c.mayRefuse(o.m, p.Reason) {
		c.fail("gets %v with reason %d", p.Type, p.Reason)
		return
	}
	if o.m.until = c.w.step; o.m.sends == 1 {
		o.m.from = 0
	}
}
