package core

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"midge/packet"
)

// simClient is a client id, and a client that keeps to the rules: what it did not see
// acknowledged it sends again, in order, as long as the session lasts.
type simClient struct {
	w      *simWorld
	id     string
	conn   *simConn // nil while it has none
	out    []*simOut
	nextID uint16
	in     map[uint16]*simMsg // QoS 2 messages until their PUBREL
	seen   map[uint16]*simMsg // QoS 1 and 2 messages that were not acknowledged yet
	sess   *simSession
	exist  simTruth // of the session, at the broker
	tried  bool     // a CONNECT that may have made one, if it was over, was not answered
	taint  bool     // a CONNECT that may have made another was not answered
	from   Time     // from which the session may end; simForever while connected
	to     Time     // by which it surely does
	least  uint32   // its expiry, in seconds, is between these
	most   uint32
	wills  []*simMsg // that may still come
	given  []*simMsg // up, but may still be on an earlier connection
}

type simTruth int

const (
	simNo simTruth = iota
	simMaybe
	simYes
)

const simForever = math.MaxInt64

// simOut is a PUBLISH that was not acknowledged.
type simOut struct {
	m        *simMsg
	id       uint16
	released bool // PUBREL is what is to be sent
	payload  string
}

// simConn is a connection: core's side, the client's, and the bytes in between.
type simConn struct {
	Client
	c       *simClient
	v       packet.Version
	n       int    // its number
	up      []byte // under way to the broker
	tail    []byte // of which that is the beginning
	down    []byte // under way to the client
	rest    []byte // the beginning of a packet at the client
	room    int    // bytes that may be under way to the client
	gone    bool   // the client has left it
	told    bool   // the broker knows that it is over
	welcome bool   // CONNACK came
	left    bool   // DISCONNECT was sent
	clean   bool
	expiry  uint32
	sent    Time // when CONNECT was
	window  int
	open    map[uint16]*simMsg // QoS 1 and 2 messages that it has not acknowledged here
	owed    []simAnswer
	asked   map[uint16]*simAsk
	pings   [][]*simMsg // QoS 0 messages in front of each PINGREQ
	plain   []*simMsg   // and since the last
	sends   []*simMsg   // QoS 0 messages that it sent here
	will    *simMsg
	delay   uint32
	aliases []string // that the broker may use
}

// simAnswer is a packet that the client owes.
type simAnswer struct {
	p packet.Packet
	o *simOut
}

// simAsk is a SUBSCRIBE or UNSUBSCRIBE.
type simAsk struct {
	subs, old []*simSub
}

func (c *simClient) fail(format string, args ...any) { c.w.fail(c.id+" "+format, args...) }

// send puts a packet on its way.
func (cn *simConn) send(p *packet.Packet) {
	cn.up = p.Append(cn.up, cn.v)
	cn.c.w.packets++
}

// connect opens a connection. One that is there is left to itself.
func (c *simClient) connect(d *simDice) {
	w := c.w
	if c.conn != nil {
		c.lose()
	}
	w.conns++
	cn := &simConn{
		c: c, n: w.conns, v: []packet.Version{packet.V31, packet.V311, packet.V5}[d.n(3)], room: []int{64 << 10, 64 << 10, 300}[d.n(3)],
		open: map[uint16]*simMsg{}, asked: map[uint16]*simAsk{}, sent: w.now, clean: d.n(4) == 0, window: 65535,
	}
	if n := w.cfg.MaxInflightMessages; n > 0 {
		cn.window = n
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: cn.v, CleanStart: cn.clean, ClientID: []byte(c.id)}}
	if !cn.clean {
		cn.expiry = noExpiry
	}
	if cn.v == packet.V5 {
		cn.expiry = []uint32{0, 3, 60, 3600, noExpiry, noExpiry}[d.n(6)]
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, cn.expiry)
		if d.n(2) == 0 {
			cn.window = 1 + d.n(5)
			p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.ReceiveMaximum, uint16(cn.window))
		}
		if d.n(3) == 0 {
			cn.aliases = make([]string, 1+d.n(3))
			p.Props.Raw = packet.AppendUint16Property(p.Props.Raw, packet.TopicAliasMaximum, uint16(len(cn.aliases)))
		}
	}
	if d.n(4) == 0 {
		c.leaveWill(cn, &p, d)
	}
	if cn.clean {
		c.forget()
		if c.sess != nil {
			c.sess.unsure(w.step)
		}
	}
	c.conn = cn
	w.open(cn)
	cn.send(&p)
	w.say("%s connects as connection %d: version %d, clean %t, expiry %d, window %d, will %v", c.id, cn.n, cn.v, cn.clean, cn.expiry, cn.window, cn.will)
}

func (c *simClient) leaveWill(cn *simConn, p *packet.Packet, d *simDice) {
	w, b := c.w, &p.Connect
	m := w.message(c, w.topic(d), byte(d.n(3)), d.n(3) == 0)
	m.will, m.from = true, w.step
	cn.will, c.wills = m, append(c.wills, m)
	b.Will, b.WillQoS, b.WillRetain, b.WillTopic = true, m.qos, m.retain, []byte(m.topic)
	b.WillPayload = []byte(m.payload())
	if cn.v == packet.V5 && d.n(2) == 0 {
		cn.delay = uint32(d.n(5))
		b.WillProps.Raw = packet.AppendUint32Property(nil, packet.WillDelay, cn.delay)
	}
}

func (m *simMsg) payload() string { return fmt.Sprintf("m%d.", m.n) }

// forget is a client's part of a session that is over.
func (c *simClient) forget() {
	for _, o := range c.out {
		c.given = append(c.given, o.m)
	}
	c.out, c.in, c.seen = nil, map[uint16]*simMsg{}, map[uint16]*simMsg{}
}

// lose is the end of a connection as the client sees it.
func (c *simClient) lose() {
	cn := c.conn
	c.conn, cn.gone = nil, true
	if !cn.welcome {
		c.unanswered(cn)
		return
	}
	if cn.expiry == 0 {
		c.exist = simNo
		c.sess.over = true
		c.sess.unsure(c.w.step)
	}
	c.from, c.to = c.w.now+Time(c.least)*1000, simForever
	if c.least == noExpiry {
		c.from = simForever
	}
}

// unanswered weighs what a CONNECT that got no CONNACK may have done.
func (c *simClient) unanswered(cn *simConn) {
	c.tried = c.tried || cn.expiry > 0
	switch {
	case c.exist == simNo && cn.expiry == 0:
		return
	case cn.clean || c.exist != simYes:
		c.exist, c.taint = simMaybe, true
	case cn.expiry == 0:
		c.exist = simMaybe
	}
	c.least, c.most = min(c.least, cn.expiry), max(c.most, cn.expiry)
	c.from, c.to = min(c.from, c.w.now+Time(c.least)*1000), simForever
}

// ended is told when the broker knows of the end of one of c's connections.
func (c *simClient) ended() {
	if c.conn != nil && c.conn.welcome || c.most == noExpiry {
		return
	}
	c.to = c.w.now + Time(c.most)*1000
}

// over is the end of the connection's QoS 0 messages: nobody sends them again.
func (cn *simConn) over() {
	for _, m := range cn.sends {
		if m.until == 0 {
			m.until = cn.c.w.step
		}
	}
}

// take parses what came.
func (cn *simConn) take(data []byte) {
	cn.rest = append(cn.rest, data...)
	for cn.c.conn == cn && cn.c.w.err == nil {
		h, err := packet.ReadHeader(cn.rest, cn.v)
		if err != nil {
			cn.c.fail("is sent a bad length: %v", err)
			return
		}
		if h.Size == 0 || h.Len() > len(cn.rest) {
			return
		}
		var p packet.Packet
		if err := p.Decode(cn.v, packet.FromServer, h.First, cn.rest[h.Size:h.Len()]); err != nil {
			cn.c.fail("is sent a bad packet: %v", err)
			return
		}
		cn.rest = cn.rest[h.Len():]
		if hears := cn.c.w.mutation.hears; hears != nil {
			hears(cn, &p)
		}
		cn.handle(&p)
	}
}

func (cn *simConn) handle(p *packet.Packet) {
	c := cn.c
	if cn.welcome == (p.Type == packet.Connack) {
		c.fail("is sent %v, CONNACK having come is %t", p.Type, cn.welcome)
		return
	}
	switch p.Type {
	case packet.Connack:
		c.welcomed(cn, p)
	case packet.Publish:
		cn.publish(p)
	case packet.Puback, packet.Pubrec, packet.Pubcomp:
		cn.acknowledged(p)
	case packet.Pubrel:
		c.w.say("%s gets PUBREL %d", c.id, p.ID)
		delete(c.in, p.ID)
		cn.owe(packet.Packet{Type: packet.Pubcomp, ID: p.ID}, nil)
	case packet.Suback, packet.Unsuback:
		cn.agreed(p)
	case packet.Pingresp:
		if len(cn.pings) == 0 {
			c.fail("gets a PINGRESP for nothing")
			return
		}
		for _, m := range cn.pings[0] {
			if m.until = c.w.step; !c.w.failed {
				m.sure = c.w.step
			}
		}
		cn.pings = cn.pings[1:]
	default:
		c.fail("is sent %v (reason %d)", p.Type, p.Reason)
	}
}

// welcomed is CONNACK.
func (c *simClient) welcomed(cn *simConn, p *packet.Packet) {
	w := c.w
	if p.Reason != packet.Success {
		c.refused(cn, p)
		return
	}
	cn.welcome = true
	exist, resumed := c.exist, p.SessionPresent
	if exist != simNo && c.to < cn.sent {
		exist = simNo
	} else if exist == simYes && w.now >= c.from {
		exist = simMaybe
		c.taint = c.taint || c.tried
	}
	w.say("%s gets CONNACK on connection %d, session present %t", c.id, cn.n, resumed)
	switch {
	case cn.clean:
		if resumed {
			c.fail("began anew, and its session is present")
		}
	case cn.v == packet.V31:
		resumed = exist != simNo
	case exist == simYes && !resumed:
		c.fail("has lost its session")
	case exist == simNo && resumed:
		c.fail("has a session that should be over")
	}
	old, loose := c.sess, c.taint || cn.v == packet.V31 && exist == simMaybe
	switch {
	case resumed && !loose:
		old.over = false
	case resumed:
		c.begin()
		c.sess.loose = true
		if old != nil {
			old.unsure(w.step)
			c.sess.subs = old.subs
		}
		c.forget()
	default:
		c.begin()
		c.forget()
	}
	for _, m := range c.wills {
		if m != cn.will && m.until == 0 {
			m.until = w.step
		}
	}
	c.wills = slices.DeleteFunc(c.wills, func(m *simMsg) bool { return m != cn.will })
	c.sess.conns++
	c.sess.durable = cn.expiry > 0
	c.exist, c.taint, c.tried = simYes, false, false
	c.least, c.most, c.from, c.to = cn.expiry, cn.expiry, simForever, simForever
	for _, m := range c.given {
		m.until = w.step
	}
	c.given = nil
	for _, o := range c.out {
		cn.again(o)
	}
}

// refused is a CONNACK that says no. Nothing has changed by it, but the client has forgotten
// its session if it wanted a new one.
func (c *simClient) refused(cn *simConn, p *packet.Packet) {
	want := packet.Reason(3)
	if cn.v == packet.V5 {
		want = packet.ServerUnavailable
	}
	if !c.w.failed || p.Reason != want {
		c.fail("is refused with %d", p.Reason)
		return
	}
	c.w.say("%s is refused", c.id)
	c.conn, cn.gone = nil, true
	c.taint = c.taint || cn.clean
	if cn.will != nil {
		cn.will.dead = c.w.step
	}
}

// mayClose says that the broker may end the connection because it cannot record what
// the client wants, which clients before version 5 cannot be told otherwise.
func (cn *simConn) mayClose() bool { return cn.c.w.failed && (cn.v != packet.V5 || !cn.welcome) }

// begin is a new session.
func (c *simClient) begin() {
	if c.sess != nil {
		c.sess.over = true
		c.sess.unsure(c.w.step)
	}
	c.sess = newSimSession(c)
	c.w.sessions = append(c.w.sessions, c.sess)
}

// again sends what was not acknowledged on an earlier connection.
func (cn *simConn) again(o *simOut) {
	if o.released {
		cn.send(&packet.Packet{Type: packet.Pubrel, ID: o.id})
		return
	}
	o.m.sends++
	cn.send(&packet.Packet{Type: packet.Publish, Dup: true, QoS: o.m.qos, Retain: o.m.retain, ID: o.id,
		Topic: []byte(o.m.topic), Payload: []byte(o.payload)})
}

// say publishes.
func (cn *simConn) say(d *simDice) {
	c, w := cn.c, cn.c.w
	m := w.message(c, w.topic(d), byte(d.n(3)), d.n(4) == 0)
	m.clears = m.retain && d.n(3) == 0
	p := packet.Packet{Type: packet.Publish, QoS: m.qos, Retain: m.retain, Topic: []byte(m.topic), Payload: []byte(m.payload())}
	switch {
	case m.clears:
		p.Payload = nil
	case d.n(12) == 0:
		p.Payload = append(p.Payload, strings.Repeat("x", d.n(4000))...)
	}
	if cn.v == packet.V5 && d.n(8) == 0 {
		m.brief = true
		p.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, uint32(1+d.n(5)))
	}
	w.say("%s publishes %v, retain %t, clears %t", c.id, m, m.retain, m.clears)
	if m.qos < 2 {
		m.from, m.low = w.step, w.step
	}
	m.sends = 1
	if m.qos == 0 {
		cn.plain, cn.sends = append(cn.plain, m), append(cn.sends, m)
	} else {
		p.ID = c.freeID()
		c.out = append(c.out, &simOut{m: m, id: p.ID, payload: string(p.Payload)})
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
	m := w.find(p)
	w.say("%s gets %v at QoS %d as packet %d, dup %t, retain %t", c.id, m, p.QoS, p.ID, p.Dup, p.Retain)
	if m == nil && len(p.Payload) > 0 {
		c.fail("is sent what nobody published: %q to %q", p.Payload, p.Topic)
		return
	}
	if p.QoS == 0 {
		if m != nil {
			w.arrived(cn, m, p)
		}
		return
	}
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

func (cn *simConn) owe(p packet.Packet, o *simOut) { cn.owed = append(cn.owed, simAnswer{p, o}) }

// pay sends the first of the answers that are owed.
func (cn *simConn) pay() {
	a := cn.owed[0]
	cn.owed = cn.owed[1:]
	switch a.p.Type {
	case packet.Puback, packet.Pubcomp:
		delete(cn.open, a.p.ID)
		delete(cn.c.seen, a.p.ID)
	case packet.Pubrel:
		if m := a.o.m; m.from == 0 {
			m.from, m.low = cn.c.w.step, cn.c.w.step
		}
	}
	cn.c.w.say("%s sends %v %d", cn.c.id, a.p.Type, a.p.ID)
	cn.send(&a.p)
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
	if p.Type == packet.Pubrec {
		o.released = true
		if o.m.from == 0 {
			o.m.from, o.m.low = w.step, w.step // should the connection end, PUBREL is sent on the next
		}
		cn.owe(packet.Packet{Type: packet.Pubrel, ID: o.id}, o)
		return
	}
	c.out = slices.Delete(c.out, i, i+1)
	o.m.sure, o.m.until, o.m.firm = w.step, w.step, true
}

// turnedDown is PUBACK or PUBREC that says no: nobody gets the message, unless it was
// taken when it was sent first.
func (c *simClient) turnedDown(o *simOut, p *packet.Packet) {
	if !c.w.failed || o.released || !p.Reason.Failed() || p.Reason != packet.QuotaExceeded && p.Reason != packet.UnspecifiedError {
		c.fail("gets %v with reason %d", p.Type, p.Reason)
		return
	}
	if o.m.until = c.w.step; o.m.sends == 1 {
		o.m.from = 0
	}
}

var simFilters = []string{"a/1", "a/2", "a/+", "a/#", "b/1", "+/1", "#", "b/#", "c", "$share/g/a/+", "$share/g/b/#", "$share/h/a/1"}

// subscribe asks for one or two filters.
func (cn *simConn) subscribe(d *simDice) {
	c, w := cn.c, cn.c.w
	ask := new(simAsk)
	p := packet.Packet{Type: packet.Subscribe, Filters: packet.Filters{Options: true}}
	id := uint32(0)
	if cn.v == packet.V5 && d.n(3) > 0 {
		id = uint32(1 + d.n(200))
		p.Props.Raw = packet.AppendVarintProperty(nil, packet.SubscriptionID, id)
	}
	for range 1 + d.n(2) {
		s := &simSub{filter: simFilters[d.n(len(simFilters))], id: id, may: w.step, options: byte(d.n(3))}
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
		p.Filters.Raw = packet.AppendSubscription(p.Filters.Raw, s.filter, s.options)
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
	ask := &simAsk{old: c.sess.have(filter)}
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
	if cn.c.w.failed && len(p.Codes) > 0 && packet.Reason(p.Codes[0]).Failed() { // all or none
		s := cn.c.sess
		s.subs = slices.DeleteFunc(s.subs, func(sub *simSub) bool { return slices.Contains(ask.subs, sub) })
		return
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

// ping asks for a PINGRESP, which tells that what was sent before has come.
func (cn *simConn) ping() {
	cn.pings = append(cn.pings, cn.plain)
	cn.plain = nil
	cn.send(&packet.Packet{Type: packet.Pingreq})
}

// leave says DISCONNECT.
func (cn *simConn) leave(d *simDice) {
	c := cn.c
	p := packet.Packet{Type: packet.Disconnect}
	cn.left = true
	if cn.v == packet.V5 && d.n(3) == 0 {
		p.Reason, cn.left = packet.DisconnectWithWill, false
	}
	if cn.v == packet.V5 && cn.expiry > 0 && d.n(4) == 0 {
		e := []uint32{0, 2, 100}[d.n(3)]
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, e)
		c.least, c.most = min(c.least, e), max(c.most, e)
		c.exist = simMaybe
		c.sess.unsure(c.w.step)
	}
	c.w.say("%s leaves connection %d", c.id, cn.n)
	cn.send(&p)
	c.lose()
}
