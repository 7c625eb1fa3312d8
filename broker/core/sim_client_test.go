package core

import (
	"fmt"
	"math"
	"slices"

	"midge/packet"
)

// simClient is a client id, and a client that keeps to the rules: what it did not see
// acknowledged it sends again, in order, as long as the session lasts.
type simClient struct {
	w       *simWorld
	n       int
	id      string
	conn    *simConn // nil while it has none
	last    *simConn // that it opened
	out     []*simOut
	nextID  uint16
	in      map[uint16]*simMsg // QoS 2 messages until their PUBREL
	seen    map[uint16]*simMsg // QoS 1 and 2 messages that were not acknowledged yet
	sess    *simSession
	exist   simTruth // of the session, at the broker
	tried   bool     // a CONNECT that may have made one, if it was over, was not answered
	changed int      // the step of its last change
	taint   bool     // a CONNECT that may have made another was not answered
	from    Time     // from which the session may end; simForever while connected
	to      Time     // by which it surely does
	lapsed  int      // the step since which it may have ended, of itself; 0: not yet
	least   uint32   // its expiry, in seconds, is between these
	most    uint32
	wills   []*simMsg // that may still come
	drops   []simDrops
	given   []*simMsg // up, but may still be on an earlier connection
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
	name     string // of its topic, to the client
	id       uint16
	released bool // PUBREL is what is to be sent
	payload  string
}

func (c *simClient) fail(format string, args ...any) { c.w.fail(c.id+" "+format, args...) }

// connect opens a connection. One that is there is left to itself.
func (c *simClient) connect(d *simDice) {
	w := c.w
	if c.conn != nil {
		c.lose()
	}
	c.changed = w.step
	c.willsUnsure()
	w.conns++
	cn := &simConn{
		c: c, n: w.conns, port: c.port(d), v: []packet.Version{packet.V31, packet.V311, packet.V5}[d.n(3)], room: []int{64 << 10, 64 << 10, 300}[d.n(3)],
		open: map[uint16]*simMsg{}, asked: map[uint16]*simAsk{}, sent: w.now, clear: w.now, bare: w.step, begun: w.step, heard: w.now, last: w.now, came: map[uint16]*simMsg{}, brief: noExpiry, clean: d.n(4) == 0, window: 65535,
	}
	if n := w.cfg.MaxInflightMessages; n > 0 {
		cn.window = n
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: cn.v, CleanStart: cn.clean, ClientID: []byte(c.id)}}
	if !cn.clean {
		cn.expiry = noExpiry
	}
	cn.keepAlive(&p, d)
	cn.asks = p.Connect.KeepAlive
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
		c.willsNow(cn)
		c.forget()
		if c.sess != nil {
			c.sess.unsure(w.step)
		}
	}
	c.conn, c.last = cn, cn
	if c.sess != nil && c.sess.port != cn.port {
		c.sess.blind = true
	}
	w.open(cn)
	cn.send(&p)
	w.say("%s connects as connection %d to port %d: version %d, clean %t, expiry %d, window %d, will %v", c.id, cn.n, cn.port, cn.v, cn.clean, cn.expiry, cn.window, cn.will)
}

func (c *simClient) leaveWill(cn *simConn, p *packet.Packet, d *simDice) {
	w, b := c.w, &p.Connect
	name := w.topic(d)
	m := w.message(c, cn.whole(name), byte(d.n(3)), d.n(3) == 0)
	m.will, m.from, m.early, m.late, m.left = true, w.step, simForever, simForever, cn
	cn.will, c.wills = m, append(c.wills, m)
	b.Will, b.WillQoS, b.WillRetain, b.WillTopic = true, m.qos, m.retain, []byte(name)
	b.WillPayload = []byte(m.payload())
	if cn.v == packet.V5 && d.n(2) == 0 {
		cn.delay = []uint32{0, 1, 2, 4, 60}[d.n(5)]
		b.WillProps.Raw = packet.AppendUint32Property(nil, packet.WillDelay, cn.delay)
	}
}

func (m *simMsg) payload() string { return fmt.Sprintf("m%d.", m.n) }

// forget is a client's part of a session that is over.
func (c *simClient) forget() {
	for _, o := range c.out {
		if o.m.qos == 2 && (len(c.w.rules) > 0 || c.w.cfg.MessageSizeLimit > 0) {
			if o.m.from == 0 {
				o.m.from = c.w.step // should the session last, the PUBREL of one that is refused may release it
			}
			continue
		}
		c.given = append(c.given, o.m)
	}
	c.out, c.in, c.seen = nil, map[uint16]*simMsg{}, map[uint16]*simMsg{}
}

// unsure: a client goes on with a session that may be another than it takes it for. It sends
// again what was not acknowledged; what comes to it may have come before.
func (c *simClient) unsure() {
	c.in, c.seen = map[uint16]*simMsg{}, map[uint16]*simMsg{}
	for _, o := range c.out {
		o.m.shaky = o.m.shaky || o.released // its message may have gone with the other
	}
}

// lose is the end of a connection as the client sees it.
func (c *simClient) lose() {
	cn := c.conn
	c.conn, cn.gone = nil, true
	cn.willStarts()
	if !cn.welcome {
		c.unanswered(cn)
		return
	}
	if cn.expiry == 0 {
		c.exist, c.changed = simNo, c.w.step
		c.sess.end(c.w.step)
		c.sess.unsure(c.w.step)
	}
	c.from, c.to = cn.since()+Time(c.least)*1000, simForever
	if c.least == noExpiry {
		c.from = simForever
	}
}

// since is the time from which the session may be without cn, which is over for the client.
func (cn *simConn) since() Time {
	if cn.ended {
		return min(cn.endedAt, cn.c.w.now)
	}
	return cn.c.w.now
}

// unanswered weighs what a CONNECT that got no CONNACK may have done.
func (c *simClient) unanswered(cn *simConn) {
	c.taint = c.taint || c.exist == simYes && c.tried && c.w.now >= c.from // by the one before
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
	c.from, c.to = min(c.from, cn.since()+Time(c.least)*1000), simForever
}

// ended is told when the broker knows of the end of one of c's connections.
func (c *simClient) ended() {
	if c.conn != nil && c.conn.welcome || c.most == noExpiry {
		return
	}
	c.to = c.w.now + Time(c.most)*1000
}

// lapses notes that the session may have expired.
func (c *simClient) lapses() {
	from := c.from
	if cn := c.conn; cn != nil && cn.ended && c.least != noExpiry {
		from = cn.endedAt + Time(c.least)*1000
	}
	if c.lapsed == 0 && c.exist != simNo && c.w.now >= from {
		c.lapsed = c.w.step
	}
}

// welcomed is CONNACK.
func (c *simClient) welcomed(cn *simConn, p *packet.Packet) {
	w := c.w
	if p.Reason != packet.Success {
		c.refused(cn, p)
		return
	}
	cn.welcome, c.changed = true, w.step
	c.dropsEnd(cn.begun)
	cn.serverKeepAlive(cn.asks, p)
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
		old.over, old.ended = false, 0
	case resumed:
		c.begin()
		c.sess.loose = true
		if old != nil {
			old.unsure(w.step)
			c.sess.subs = old.subs
		}
		c.unsure()
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
	c.least, c.most, c.from, c.to, c.lapsed = cn.expiry, cn.expiry, simForever, simForever, 0
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
	known := c.w.refuses(cn.begun) && p.Reason == 3
	if cn.v == packet.V5 {
		known = c.w.mayBeDown(cn.begun) && p.Reason == packet.ServerUnavailable || c.w.tight(simLarge) && p.Reason == packet.QuotaExceeded
	}
	if !known {
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

// begin is a new session.
func (c *simClient) begin() {
	for _, s := range c.w.sessions {
		if s.c == c && s.ended == 0 {
			s.end(c.w.step)
		}
	}
	if c.sess != nil {
		c.sess.end(c.w.step)
		c.sess.unsure(c.w.step)
	}
	c.sess = newSimSession(c)
	c.sess.port = c.conn.port
	c.w.sessions = append(c.w.sessions, c.sess)
}
