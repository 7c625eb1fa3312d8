package core

import "midge/persist"

// Deadlines live in one tree, ordered by time and number. Those of keep alives
// share its entries, see keepalive.go.

// timer is an owner's place in the tree; zero when it has none.
type timer struct {
	at  Time
	num uint64
}

// timed is what can be waited for.
type timed interface {
	due(b *Broker, now Time)
}

// due is one deadline.
type due struct {
	at   Time
	num  uint64
	what timed
}

func lessDue(a, b due) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.num < b.num
}

// arm sets the deadline of what, whose timer is t; persist.Never takes it away.
func (b *Broker) arm(t *timer, at Time, what timed) {
	b.disarm(t)
	if at == persist.Never {
		return
	}
	b.timed++
	t.at, t.num = at, b.timed
	b.timers.Set(due{at: at, num: t.num, what: what})
}

func (b *Broker) disarm(t *timer) {
	if t.num != 0 {
		b.timers.Delete(due{at: t.at, num: t.num})
		*t = timer{}
	}
}

// due: a session's will or its end has come.
func (s *Session) due(b *Broker, now Time) {
	s.absence.timer = timer{}
	if s.will != nil && s.will.Due <= now {
		b.publishWill(s, now)
		b.commit()
	}
	if s.absence.endsAt <= now {
		b.stats.Expired++
		b.log.Logf(LogNotice, "Expiring client %s due to timeout.", s.id)
		b.endSession(s, now)
		return
	}
	b.armSession(s)
}

// armSession sets the deadline of an offline session: its will or its end.
func (b *Broker) armSession(s *Session) {
	at := s.absence.endsAt
	if s.will != nil {
		at = min(at, s.will.Due)
	}
	b.arm(&s.absence.timer, at, s)
}
