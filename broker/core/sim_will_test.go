package core

// What is known of a will: it does not come before early, which is never while its client is
// connected; where it must come it has by late. The broker's clock counts.

// willSpan is how long after the end of cn its will comes: the delay, or what is left of the
// session, if that is less.
func (cn *simConn) willSpan() Time { return Time(min(cn.delay, cn.expiry, cn.brief)) * 1000 }

// willStarts: cn may be at its end.
func (cn *simConn) willStarts() {
	if m := cn.will; m != nil {
		m.early = min(m.early, cn.c.w.now+cn.willSpan())
	}
}

// willDue: cn has ended, as nobody wanted it to. If that is due, its will is to come.
func (cn *simConn) willDue(due bool) {
	c := cn.c
	if m := cn.will; m != nil && due && m.sure == 0 {
		m.low, m.late = c.w.step, c.w.now+cn.willSpan()
		if m.late <= c.w.now {
			c.w.routed(m)
		}
	}
}

// willsCame: those that were to come have.
func (w *simWorld) willsCame() {
	for _, c := range w.clients {
		for _, m := range c.wills {
			if m.late <= w.now && m.sure == 0 {
				w.routed(m)
			}
		}
	}
}

// willsUnsure: the client connects again, which may take back its wills.
func (c *simClient) willsUnsure() {
	for _, m := range c.wills {
		m.late = simForever
	}
}

// willsNow: and it wants a new session by cn, which ends the one before.
func (c *simClient) willsNow(cn *simConn) {
	for _, m := range c.wills {
		if m != cn.will {
			m.early = min(m.early, c.w.now)
		}
	}
}

// unwanted says that the end of cn, of which the broker has not heard yet, brings its will.
func (cn *simConn) unwanted() bool {
	return cn.welcome && !cn.left && !cn.ended && cn.brief == noExpiry && cn.c.last == cn
}

// willsStopped: the broker has published all of them at its end; that is on the disk, or not.
func (c *simClient) willsStopped(safe bool) {
	for _, m := range c.wills {
		m.early = min(m.early, c.w.now)
		switch {
		case m.sure > 0:
		case !safe:
			m.late, m.left.ended = simForever, true // unknown
		case m.late < simForever:
			c.w.routed(m)
		case m.left.unwanted():
			m.low = c.w.step
			c.w.routed(m)
		}
	}
}

// willsLeft: another broker goes on, for which those that were connected are cut off now.
func (c *simClient) willsLeft() {
	for _, m := range c.wills {
		cn := m.left
		end := c.w.now + cn.willSpan()
		m.early = min(m.early, end)
		switch {
		case m.sure > 0:
		case cn.expiry == 0:
			m.late = simForever // it is lost
		case m.late < simForever:
			m.late = max(m.late, end)
		case cn.unwanted():
			m.low, m.late = c.w.step, end
		}
		cn.ended = true
	}
}
