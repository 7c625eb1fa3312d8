package core

// Keep alives are the deadlines there are most of: every connection has one. They
// are gathered by the second they are in, and the clients of one second are a list
// that goes through the clients themselves (as in mosquitto's keepalive.c), so the
// tree of deadlines has an entry for a second and not for a client. A deadline is
// checked lazily: a packet stores the time it came, and the client is moved on when
// the second of its old deadline begins. So a packet costs no timer work, and an
// idle client one visit in 1.5 times its keep alive. Who was silent until then is
// moved to its deadline exactly.

// vigil is the clients to be looked at at one time: the beginning of a second, or
// the deadline itself. It may be empty, and goes when its time has come.
type vigil struct {
	first *Client
	timer timer
}

// vigilStep is what deadlines are rounded down to, in milliseconds.
const vigilStep Time = 1000

// keepVigil has the client looked at for its deadline.
func (b *Broker) keepVigil(c *Client, now Time) {
	c.leaveVigil()
	at := c.deadline()
	if begins := at - at%vigilStep; begins > now {
		at = begins
	}
	v := b.vigils[at]
	if v == nil {
		v = new(vigil)
		b.vigils[at] = v
		b.arm(&v.timer, at, v)
	}
	if c.next = v.first; c.next != nil {
		c.next.link = &c.next
	}
	c.link, v.first = &v.first, c
}

// leaveVigil takes the client out of its vigil, if it is in one.
func (c *Client) leaveVigil() {
	if c.link == nil {
		return
	}
	if c.next != nil {
		c.next.link = c.link
	}
	*c.link = c.next
	c.next, c.link = nil, nil
}

// kept says that it is not for want of packets that nothing was heard of c: it is not
// read for the recorder's or a subscriber's sake, or has packets that wait for their turn.
func (c *Client) kept() bool {
	return c.Paused() && (c.held != nil || c.flags&flagOwed != 0) ||
		c.flags&(flagMore|flagCrowding) != 0 && c.flags&(flagPaused|flagParked) == 0
}

// due looks at one client, so that a great many do not make a turn long.
func (v *vigil) due(b *Broker, now Time) {
	at, c := v.timer.at, v.first
	v.timer = timer{}
	if c == nil {
		delete(b.vigils, at)
		return
	}
	if c.kept() {
		c.heard = now
	}
	if now >= c.deadline() && c.Parked() {
		b.reject(c, c.extra.claim, refuseBusy, now)
	} else if now >= c.deadline() {
		b.close(c, causeTimeout, now)
	} else {
		b.keepVigil(c, now)
	}
	b.arm(&v.timer, at, v)
}

// deadline is when the client is ended unless something is heard of it: it sent no
// CONNECT, or its login was not decided, or it sent nothing for 1.5 times its keep alive ([MQTT-3.1.2-24],
// v5 [MQTT-3.1.2-22]).
func (c *Client) deadline() Time {
	if c.Parked() {
		return c.heard + loginTimeout
	}
	if c.state == opened {
		return c.heard + connectTimeout
	}
	return c.heard + Time(c.keepAlive)*1500
}
