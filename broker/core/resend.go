package core

import (
	"slices"

	"midge/packet"
)

// retry_interval, which mosquitto dropped and midge keeps: what a 3.1 or 3.1.1
// client leaves unacknowledged for that long is sent again on the live
// connection. The time counts from when the bytes left our output, so a slow
// reader is not sent twice what it has not had once. v5 forbids it
// [MQTT-4.4.0-1]. Both lists are in the order of their times, so watching a
// message costs one append.

// resend watches one client's open deliveries.
type resend struct {
	written uint64    // bytes that left since resend was made
	leaving []watched // not yet written; at is the count of bytes at which they are
	gone    []watched // written; at is when
	timer   timer
}

// resend is what is watched for c, or nil.
func (c *Client) resend() *resend {
	if c.extra == nil {
		return nil
	}
	return c.extra.resend
}

// watched is one PUBLISH or PUBREL.
type watched struct {
	at       uint64
	num      uint64 // of the delivery
	id       uint16
	released bool // it is the PUBREL
}

// open gives the delivery, if it still is where it was when it was watched.
func (v watched) open(s *Session) *delivery {
	d := s.window.at(v.id)
	if d == nil || d.num != v.num || d.released() != v.released || d.flags&deliverAgain != 0 {
		return nil
	}
	return d
}

// watchResend notes that the delivery's PUBLISH, or its PUBREL, was just appended
// to the output. id 0 is no delivery's.
func (b *Broker) watchResend(c *Client, id uint16, pubrel bool) {
	if id == 0 || b.cfg.RetryInterval == 0 || c.version == packet.V5 {
		return
	}
	d := c.session.window.at(id)
	if d == nil {
		return
	}
	r := c.resend()
	if r == nil {
		r = new(resend)
		c.more().resend = r
	}
	at := r.written + uint64(c.out.len())
	r.leaving = append(r.leaving, watched{at, d.num, id, pubrel})
}

// left tells that n bytes were written.
func (r *resend) left(n uint64, now Time) {
	r.written += n
	i := 0
	for ; i < len(r.leaving) && r.leaving[i].at <= r.written; i++ {
		r.gone = append(r.gone, r.leaving[i])
		r.gone[len(r.gone)-1].at = uint64(now)
	}
	r.leaving = r.leaving[:copy(r.leaving, r.leaving[i:])]
}

// armResend sets the client's retry deadline if it has none. While the output is
// full there is none: Flushed sets it.
func (b *Broker) armResend(c *Client) {
	r := c.resend()
	r.prune(c.session)
	if r.timer.num == 0 && len(r.gone) > 0 && b.cfg.RetryInterval > 0 && c.state == connected && !c.full() {
		b.arm(&r.timer, Time(r.gone[0].at)+b.cfg.RetryInterval, (*retrier)(c))
	}
}

// prune forgets what was acknowledged: at the front, and all of it when it is more
// than what is open.
func (r *resend) prune(s *Session) {
	n := 0
	for n < len(r.gone) && r.gone[n].open(s) == nil {
		n++
	}
	r.gone = slices.Delete(r.gone, 0, n)
	if open, _ := s.window.held(); len(r.gone) > 2*open+64 {
		r.gone = slices.DeleteFunc(r.gone, func(v watched) bool { return v.open(s) == nil })
	}
}

// retrier is a Client as the owner of its retry deadline.
type retrier Client

func (t *retrier) due(b *Broker, now Time) {
	c := (*Client)(t)
	r := c.resend()
	r.timer = timer{}
	if c.state != connected || b.cfg.RetryInterval == 0 {
		return
	}
	n := 0
	for n < len(r.gone) && Time(r.gone[n].at)+b.cfg.RetryInterval <= now && !c.full() {
		d := r.gone[n].open(c.session)
		n++
		if d != nil && b.mayRepeat(c, d) {
			b.repeat(c, d, now)
		}
	}
	r.gone = slices.Delete(r.gone, 0, n)
	b.armResend(c)
}

// mayRepeat says that c may read what it had already. If not, that stays open: its
// acknowledgement may come yet.
func (b *Broker) mayRepeat(c *Client, d *delivery) bool {
	p := publicationOf(d.msg)
	return d.released() || b.mayRead(c.session, &p)
}

// stopResend forgets what was watched.
func (b *Broker) stopResend(c *Client) {
	if r := c.resend(); r != nil {
		b.disarm(&r.timer)
		c.extra.resend = nil
	}
}
