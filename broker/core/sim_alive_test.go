package core

import "midge/packet"

// Keep alive: a client that is silent for 1.5 times as long is disconnected, then and not
// before; what retry_interval has sent again was sent before.

// keepAlive asks for a keep alive, in seconds.
func (cn *simConn) keepAlive(p *packet.Packet, d *simDice) {
	w := cn.c.w
	asked := []uint16{0, 0, 0, 1, 2, 10}[d.n(6)]
	if most := w.cfg.MaxKeepAlive; most > 0 && cn.v != packet.V5 {
		asked = 1 + uint16(d.n(int(most))) // it would be refused
	}
	p.Connect.KeepAlive = asked
	if cn.keep = asked; cn.v == packet.V5 && w.cfg.MaxKeepAlive > 0 && (asked == 0 || asked > w.cfg.MaxKeepAlive) {
		cn.keep = w.cfg.MaxKeepAlive
	}
}

// serverKeepAlive judges the one that CONNACK names.
func (cn *simConn) serverKeepAlive(asked uint16, p *packet.Packet) {
	given := asked
	if p.Props.Has(packet.ServerKeepAlive) {
		given = p.Props.ServerKeepAlive
	}
	if given != cn.keep {
		cn.c.fail("is given a keep alive of %d s, not %d", given, cn.keep)
	}
}

// silent says that for so long nothing came by cn, since a time, that it is to end.
func (cn *simConn) silent(since Time) bool {
	w := cn.c.w
	if cn.session == nil {
		return w.now >= cn.sent+connectTimeout
	}
	return cn.keep > 0 && w.now >= since+Time(cn.keep)*1500
}

// watch judges that nobody is connected who was silent for long. From those that wait for
// the disk nothing is read.
func (w *simWorld) watch() {
	for _, cn := range w.order {
		switch {
		case cn.Paused():
			cn.last = w.now
		case cn.session != nil && cn.silent(cn.last):
			cn.c.fail("was silent since %d, with a keep alive of %d s, and connection %d is there", cn.last, cn.keep, cn.n)
		}
	}
}

// pings has those that would be silent for too long say something.
func (w *simWorld) pings() {
	for _, cn := range w.order {
		if cn.keep > 0 && !cn.gone && cn.welcome {
			cn.ping()
			w.up(cn, len(cn.up))
		}
	}
}

// retried says that p, of m, came before on this connection, and is sent again because its
// acknowledgement was long in coming.
func (cn *simConn) retried(m *simMsg, p *packet.Packet) bool {
	if cn.c.w.cfg.RetryInterval == 0 || cn.v == packet.V5 || !p.Dup {
		return false
	}
	was, known := cn.came[p.ID]
	return known && was == m
}
