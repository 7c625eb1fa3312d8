package core

import (
	"midge/packet"
	"midge/persist"
)

// close ends a connection, and its session if that does not outlive it.
func (b *Broker) close(c *Client, why cause, now Time) {
	if c.state == closed {
		return
	}
	b.endConnection(c, why)
	if s := c.session; s != nil && s.client == c {
		b.detach(s, now)
	}
}

// disconnectSize is the size of a DISCONNECT with a reason, in bytes.
const disconnectSize = 3

// endConnection is the connection's part of closing: the last packet, the log
// line, and everything that was only for its time. Held packets die with it.
func (b *Broker) endConnection(c *Client, why cause) {
	if c.state == connected && c.version == packet.V5 && why.reason != 0 && !c.awaitsConnack() && c.maxPacket >= disconnectSize {
		b.touch(c)
		c.out.buf = packet.AppendDisconnect(c.out.buf, c.version, why.reason)
		b.stats.MessagesSent++
	}
	c.unpark()
	b.endWait(c)
	c.state = closed
	c.held = nil
	if why.theirs {
		c.flags |= flagLeft
	}
	c.leaveVigil()
	b.stopResend(c)
	if c.extra != nil && c.extra.open > 0 { // the session forgets how many there were
		c.session.tightenIncoming(c)
	}
	b.account(-costClient)
	if c.extra != nil {
		b.account(-c.extra.aliases.cost)
		c.extra.aliases = aliases{}
	}
	b.addDirty(c)
	b.sockets--
	b.logEnd(c, why)
}

// logEnd is mosquitto's line for the end of a connection.
func (b *Broker) logEnd(c *Client, why cause) {
	if !b.cfg.ConnectionMessages || why.quiet || !b.log.Enabled(LogNotice) {
		return
	}
	if why.text == "" {
		b.log.Logf(LogNotice, "Client %s [%s] disconnected.", c.name(), c.Peer())
		return
	}
	b.log.Logf(LogNotice, "Client %s [%s] disconnected: %s.", c.name(), c.Peer(), why.text)
}

// detach leaves a session without a connection. Its will is due at the earlier
// of the Will Delay and the session's end (v5 [MQTT-3.1.2-8]); without a delay
// at once.
func (b *Broker) detach(s *Session, now Time) {
	port := s.port()
	s.client = nil
	b.online--
	if s.waiting != nil && (!b.cfg.QueueQoS0 || !s.durable()) {
		b.filter(&s.waiting.plain, func(d *delivery) bool {
			b.recordDropped(s, d)
			return false
		})
		b.drained(s)
	}
	if len(s.incoming) == 0 {
		s.incoming = nil
	}
	if !s.durable() {
		b.endSession(s, now)
		return
	}
	b.passOn(s, now)
	s.absence = &absence{endsAt: persist.Never, listener: port}
	b.account(costAbsence)
	if s.expiry != noExpiry {
		s.absence.endsAt = now + Time(s.expiry)*1000
	}
	if w := s.will; w != nil {
		if w.Delay == 0 && !b.busyWills() {
			b.publishWill(s, now)
		} else {
			b.delayWill(s, now)
		}
	}
	b.armSession(s)
	b.recordSession(s, now)
}

// endAbsence forgets when the session was to end.
func (b *Broker) endAbsence(s *Session) {
	if s.absence != nil {
		b.disarm(&s.absence.timer)
		s.absence = nil
		b.account(-costAbsence)
	}
}

// endSession is the end of all there is to a session.
func (b *Broker) endSession(s *Session, now Time) {
	durable := s.durable()
	b.endAbsence(s)
	b.removeSubscriptions(s)
	b.inherit(s, now)
	switch {
	case s.will == nil:
	case b.busyWills() && !durable: // else a crash would lose it
		b.postpone(s)
	default:
		b.publishWill(s, now)
	}
	for _, in := range s.incoming {
		b.unuse(in.msg)
	}
	b.dropRights(s)
	b.account(-costIncoming*int64(len(s.incoming)) - s.cursors.cost() - s.cost())
	s.incoming, s.cursors = nil, nil
	delete(b.sessions, s.id)
	if b.rec != nil && s.relies > 0 {
		b.record(nil)
		if b.ended == nil {
			b.ended = make(map[string]persist.Position)
		}
		b.ended[s.id] = b.pos + 1
		b.rec.Forget(s.id)
	}
}

// recordSession reports the session as it is now; gone is when its connection
// ended, Never while there is one.
func (b *Broker) recordSession(s *Session, gone Time) {
	if b.rec != nil && !s.durable() && s.relies > 0 { // it ends with its connection from now on
		b.record(s)
		b.rec.Forget(s.id)
	}
	if b.rec == nil || !s.durable() {
		return
	}
	b.record(s)
	b.rec.Session(persist.Session{
		ClientID: s.id, Username: s.username(), Listener: s.port(),
		Expiry: s.expiry, Gone: gone, LastID: s.nextID,
	})
}
