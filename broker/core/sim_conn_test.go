package core

import (
	"midge/packet"
)

// simConn is a connection: core's side, the client's, and the bytes in between.
type simConn struct {
	Client
	c       *simClient
	v       packet.Version
	n       int    // its number
	port    int    // the index of its listener
	up      []byte // under way to the broker
	tail    []byte // of which that is the beginning
	down    []byte // under way to the client
	rest    []byte // the beginning of a packet at the client
	room    int    // bytes that may be under way to the client
	gone    bool   // the client has left it
	told    bool   // the broker knows that it is over
	crashed bool   // the broker has crashed, of which the client has not heard
	ended   bool   // and is not over itself
	overdue bool   // it ended when nothing had come for long
	welcome bool   // CONNACK came
	left    bool   // DISCONNECT was sent
	clean   bool
	expiry  uint32
	sent    Time               // when CONNECT was
	clear   Time               // when nothing was under way to the client last
	keep    uint16             // seconds
	asks    uint16             // for that
	heard   Time               // when a packet came to the broker last
	last    Time               // and when anything did
	came    map[uint16]*simMsg // the last message with each packet identifier
	endedAt Time
	begun   int // the step of CONNECT
	bare    int // the step of that
	window  int
	open    map[uint16]*simMsg // QoS 1 and 2 messages that it has not acknowledged here
	owed    []simAnswer
	asked   map[uint16]*simAsk
	pings   [][]*simMsg // QoS 0 messages in front of each PINGREQ
	plain   []*simMsg   // and since the last
	sends   []*simMsg   // QoS 0 messages that it sent here
	will    *simMsg
	delay   uint32
	brief   uint32   // the least expiry that it may have left its session with
	aliases []string // that the broker may use
}

// simAnswer is a packet that the client owes.
type simAnswer struct {
	p packet.Packet
	o *simOut
}

// send puts a packet on its way.
func (cn *simConn) send(p *packet.Packet) {
	cn.up = p.Append(cn.up, cn.v)
	cn.c.w.packets++
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
			m.came(c.w.now)
			if m.until = c.w.step; !c.w.mayBeDown(m.start) && !cn.crashed && !(m.retain && c.w.tight(simLarge)) {
				c.w.routed(m) // a PINGRESP that comes after a crash says nothing about what is left
			}
		}
		cn.pings = cn.pings[1:]
	case packet.Disconnect:
		if p.Reason != packet.KeepAliveTimeout || !cn.overdue {
			c.fail("is disconnected with reason %d", p.Reason)
		}
	default:
		c.fail("is sent %v (reason %d)", p.Type, p.Reason)
	}
}

// mayClose says that the broker may end the connection because it cannot record what
// the client wants, which clients before version 5 cannot be told otherwise, or that nothing
// came for too long.
func (cn *simConn) mayClose() bool {
	w := cn.c.w
	return cn.overdue || w.refuses(cn.oldest()) && (cn.v != packet.V5 || !cn.welcome)
}

// oldest is the step of the first packet that was not answered, or that of the next.
func (cn *simConn) oldest() int {
	if !cn.welcome {
		return cn.begun
	}
	step := cn.c.w.step + 1
	for _, o := range cn.c.out {
		step = min(step, max(cn.begun, o.m.start))
	}
	for _, ask := range cn.asked {
		step = min(step, ask.step)
	}
	return step
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
	cn.left, c.changed = true, c.w.step
	if cn.v == packet.V5 && d.n(3) == 0 {
		p.Reason, cn.left = packet.DisconnectWithWill, false
	}
	if cn.v == packet.V5 && cn.expiry > 0 && d.n(4) == 0 {
		e := []uint32{0, 2, 100}[d.n(3)]
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, e)
		c.least, c.most = min(c.least, e), max(c.most, e)
		cn.brief = min(cn.expiry, e)
		c.exist = simMaybe
		c.sess.unsure(c.w.step)
	}
	c.w.say("%s leaves connection %d", c.id, cn.n)
	cn.send(&p)
	c.lose()
}
