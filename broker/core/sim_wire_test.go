package core

import (
	"slices"
)

// open takes a connection in.
func (w *simWorld) open(cn *simConn) {
	for _, o := range w.order {
		if o.c == cn.c && !o.Connected() {
			o.up = nil // its CONNECT is lost, lest it come later than this one and win
		}
	}
	cn.Listener = cn.listener()
	w.live[&cn.Client] = cn
	w.order = append(w.order, cn)
	w.b.Open(&cn.Client, w.now)
}

// end is the end of a connection on the broker's side.
func (w *simWorld) end(cn *simConn) {
	cn.told = true
	w.b.Discard(&cn.Client)
	delete(w.live, &cn.Client)
	w.order = slices.DeleteFunc(w.order, func(o *simConn) bool { return o == cn })
	cn.over()
	due := cn.unwanted()
	cn.ended, cn.endedAt, cn.overdue = true, w.now, cn.silent(cn.heard)
	if cn.overdue {
		cn.willDue(due)
	}
	cn.willStarts()
	if m := cn.will; m != nil && cn.left && len(cn.up) == 0 && cn.Client.Left() {
		m.dead = w.step
		w.say("the broker has taken back the will of connection %d", cn.n)
	}
	cn.c.ended()
}

// up brings n bytes to the broker.
func (w *simWorld) up(cn *simConn, n int) {
	if cn.told || cn.Closed() || cn.Paused() {
		return
	}
	if w.mutation.before != nil {
		w.mutation.before(w, cn)
	}
	n = min(n, len(cn.up))
	cn.tail = append(cn.tail, cn.up[:n]...)
	cn.up = cn.up[n:]
	used, _ := receiveAll(w.b, &cn.Client, slices.Clone(cn.tail), n, w.now)
	cn.tail = cn.tail[used:]
	if n > 0 {
		cn.last = w.now
	}
	if used > 0 {
		cn.heard = w.now
	}
	if cn.Closed() {
		cn.willStarts()
	}
}

// flush writes what a connection has to send, as far as there is room.
func (w *simWorld) flush(cn *simConn) {
	for !cn.told && cn.Pending() > 0 {
		out := w.b.output(&cn.Client)
		n := len(out)
		if !cn.gone {
			n = min(n, max(0, cn.room-len(cn.down)))
			cn.down = append(cn.down, out[:n]...)
		}
		if n == 0 {
			break
		}
		w.b.Flushed(&cn.Client, n, w.now)
		if n < len(out) {
			break
		}
	}
	if cn.Closed() && !cn.told {
		w.end(cn)
	}
	cn.cleared()
}

// down brings n bytes to the client, and after the last the end, if there was one.
func (w *simWorld) down(cn *simConn, n int) {
	n = min(n, len(cn.down))
	data := cn.down[:n:n]
	cn.down = cn.down[n:]
	if n > 0 {
		cn.take(data)
	}
	if !cn.told {
		w.flush(cn)
	}
	if cn.told && len(cn.down) == 0 && cn.c.conn == cn && cn.mayClose() {
		cn.c.lose()
	} else if cn.told && len(cn.down) == 0 && cn.c.conn == cn {
		cn.c.fail("is disconnected from connection %d for no reason", cn.n)
	}
}

// cut takes a client's connection away; the broker may get some of what was under
// way, and learns of it now or later.
func (w *simWorld) cut(c *simClient, d *simDice) {
	cn := c.conn
	w.say("the network cuts connection %d of %s", cn.n, c.id)
	switch d.n(3) {
	case 0:
		cn.up = nil
	case 1:
		cn.up = cn.up[:d.n(len(cn.up)+1)]
	}
	c.lose()
	if d.n(2) == 0 {
		w.notice(cn)
	}
}

// notice tells the broker that a connection which its client has left is over.
func (w *simWorld) notice(cn *simConn) {
	w.up(cn, len(cn.up))
	w.flush(cn)
	if cn.told {
		return
	}
	w.say("the broker learns of the end of connection %d", cn.n)
	due := cn.unwanted()
	w.b.Lost(&cn.Client, nil, w.now)
	w.flush(cn)
	cn.willDue(due)
}
