package core

import (
	"maps"
	"slices"
	"testing/synctest"

	"midge/packet"
)

// calm lets everything come to its end that is under way: all answers are given.
func (w *simWorld) calm() {
	w.disk.fail(0)
	w.disk.setSteady(true)
	w.pings()
	for range 2000 {
		busy := false
		for _, cn := range slices.Clone(w.order) {
			if cn.gone {
				w.notice(cn)
				continue
			}
			for len(cn.owed) > 0 {
				cn.pay()
			}
			busy = busy || len(cn.up) > 0
			w.up(cn, len(cn.up))
		}
		w.turn()
		for !w.disk.idle() {
			w.disk.let(0)
			synctest.Wait()
			w.lasting()
		}
		w.turn()
		for _, c := range w.clients {
			if cn := c.conn; cn != nil {
				busy = busy || len(cn.down) > 0
				w.down(cn, len(cn.down))
				busy = busy || len(cn.owed) > 0
			}
		}
		if w.err != nil || !busy && w.b.Next() > w.now && w.b.safe == w.b.pos && w.b.down == packet.Success {
			return
		}
		if len(w.b.crowd.waiting) > 0 {
			w.pass(1) // a publisher goes on then
		}
		if !busy {
			w.pings()
			w.pass(1000) // the disk is tried again
		}
	}
	w.fail("the broker does not come to rest: %d of %d is safe, next is %d at %d", w.b.safe, w.b.pos, w.next(), w.now)
}

// finish has everybody come back and get what is due, and then everything given up.
func (w *simWorld) finish() {
	w.step++
	w.say("the end begins")
	w.calm()
	for i, c := range w.clients {
		if c.conn == nil && c.exist != simNo && w.err == nil {
			w.resume(c, i)
		}
	}
	w.calm()
	if w.err != nil {
		return
	}
	w.step++
	w.answered()
	w.owed()
	w.check()
	w.retained()
	if w.err == nil {
		w.bare()
	}
}

// answered judges that every packet was which wants an answer.
func (w *simWorld) answered() {
	for _, c := range w.clients {
		switch cn := c.conn; {
		case cn == nil:
		case !cn.welcome:
			c.fail("never gets CONNACK on connection %d", cn.n)
		case len(c.out) > 0:
			c.fail("never gets an answer to packet %d with %v", c.out[0].id, c.out[0].m)
		case len(cn.asked) > 0:
			c.fail("never gets an answer to %d of its SUBSCRIBE and UNSUBSCRIBE", len(cn.asked))
		case len(cn.pings) > 0:
			c.fail("never gets PINGRESP")
		}
	}
}

// resume connects a client that goes on with its session.
func (w *simWorld) resume(c *simClient, i int) {
	w.conns++
	cn := &simConn{c: c, n: w.conns, v: []packet.Version{packet.V311, packet.V5}[i%2], room: 64 << 10, clear: w.now, bare: w.step, begun: w.step, heard: w.now, last: w.now, came: map[uint16]*simMsg{}, brief: noExpiry,
		open: map[uint16]*simMsg{}, asked: map[uint16]*simAsk{}, sent: w.now, expiry: noExpiry, window: 65535}
	if n := w.cfg.MaxInflightMessages; n > 0 {
		cn.window = n
	}
	cn.keep = w.cfg.MaxKeepAlive
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: cn.v, ClientID: []byte(c.id)}}
	cn.asks, p.Connect.KeepAlive = cn.keep, cn.keep
	if cn.v == packet.V5 {
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, noExpiry)
	}
	if len(c.out) > 0 {
		cn.port = c.last.port
	} else if c.sess != nil {
		cn.port = c.sess.port
	}
	c.conn, c.last = cn, cn
	w.open(cn)
	cn.send(&p)
	w.say("%s comes back as connection %d, version %d", c.id, cn.n, cn.v)
}

// retained compares what there is with what there may be.
func (w *simWorld) retained() {
	have := map[string]*simMsg{}
	w.b.retained.Walk(func(name string, m *message) bool {
		if m.Expires > w.now {
			have[name] = w.find(m.Topic, m.Payload)
		}
		return true
	})
	for _, name := range simTopics {
		w.kept(name, have[name])
	}
}

// bare ends all clients, sessions and retained messages: nothing may be left.
func (w *simWorld) bare() {
	w.step++
	for _, cn := range slices.Clone(w.order) {
		w.b.Lost(&cn.Client, nil, w.now)
		w.end(cn)
		cn.c.conn = nil
	}
	for _, id := range slices.Sorted(maps.Keys(w.b.sessions)) {
		c := &Client{Listener: w.listeners[0]}
		w.b.Open(c, w.now)
		p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: packet.V311, CleanStart: true, KeepAlive: w.cfg.MaxKeepAlive, ClientID: []byte(id)}}
		data := append(p.Append(nil, packet.V311), 0xE0, 0)
		receiveAll(w.b, c, data, len(data), w.now)
		w.b.Discard(c)
	}
	for _, name := range simTopics {
		w.b.unretain(name)
	}
	w.b.commit()
	w.calm()
	if err := (&target{b: w.b}).checkEmpty(); err != nil {
		w.fail("something is left: %v", err)
	}
	if n := w.b.acct.bytes; n != 0 {
		w.fail("%d bytes of the account are left", n)
	}
	if n := w.b.stats.RetainedBytes; n != 0 || w.b.retained.Len() != 0 {
		w.fail("%d retained bytes are left", n)
	}
	w.check()
	if w.b.safe != w.b.pos {
		w.fail("%d of %d is safe in the end", w.b.safe, w.b.pos)
	}
}
