package core

import (
	"testing/synctest"
	"time"

	"midge/persist"
)

// persistence_sync: where it is not always, what was acknowledged outlasts a crash of
// the broker, and a loss of power takes what was not synced yet. Whatever it takes came last, so
// what clients were told before still holds.

// simSync is the time between syncs in worlds that have one.
const simSync = persist.Sync(2 * time.Second)

// lasting notes how far everything outlasts a loss of power.
func (w *simWorld) lasting() {
	if w.lasts < w.stable && (w.sync == persist.SyncAlways || w.survives(w.stableAt)) {
		w.lasts = w.stable
	}
	w.clockSafe(w.lasts)
}

// survives says that a loss of power takes nothing up to a position: all is synced or, where
// something failed, what the loss may leave has it.
func (w *simWorld) survives(p persist.Position) bool {
	some, old := w.disk.unsynced()
	if !some || !old {
		return !some
	}
	for i := range uint64(simCuts) {
		d := &simDice{uint64(w.step)<<8 + i}
		found, err := persist.Recover(w.disk.cut(d.n), "sim.db", nil)
		if err != nil || found.Image.Position() < p {
			return false
		}
	}
	return true
}

// simCuts is how many losses of power are tried to see that none takes anything.
const simCuts = 5

// synced judges that all was, in a time in which there was nothing to write.
func (w *simWorld) synced() {
	if w.sync != simSync || !w.disk.works() {
		return
	}
	w.disk.setSteady(true)
	defer w.disk.setSteady(false)
	for !w.disk.idle() {
		w.disk.let(0)
		synctest.Wait()
	}
	if !w.survives(w.b.safe) {
		w.fail("what was written is not synced after %v", time.Duration(w.sync))
	}
	w.lasting()
}

// lost has the oracle take back what may be lost: all since w.lasts.
func (w *simWorld) lost() {
	w.say("what happened since step %d may be lost", w.lasts)
	for _, c := range w.clients {
		if c.conn != nil {
			c.lose() // what the broker told before its end, and is still on its way, does not come
		}
	}
	for _, m := range w.msgs {
		m.lose(w.lasts)
	}
	for _, s := range w.sessions {
		s.lose(w.lasts)
	}
	for _, c := range w.clients {
		c.loseMemory(w.lasts)
	}
}

func (m *simMsg) lose(since int) {
	if m.sure > since {
		m.sure, m.firm = 0, false
	}
	if m.dead > since {
		m.dead = 0
	}
	if (m.will || m.qos == 2) && m.until > since { // the broker may have it again, to be released
		m.until = 0
	}
}

// lose: subscriptions made since may be gone, those that ended may be back.
func (s *simSession) lose(since int) {
	s.shaky = true
	for _, sub := range s.subs {
		if sub.sure > since {
			sub.sure = 0
		}
		if sub.mayEnd > since {
			sub.mayEnd = 0
		}
	}
}

// loseMemory: a session that changed since may be another, or none. What the client knew of
// exchanges is of no use.
func (c *simClient) loseMemory(since int) {
	c.unsure()
	if c.changed <= since {
		return
	}
	if c.exist != simNo || c.sess != nil {
		c.exist, c.taint, c.tried = simMaybe, true, true
		c.least, c.most, c.from, c.to = 0, noExpiry, c.w.now, simForever
	}
	for _, m := range c.wills {
		m.late, m.left.ended = simForever, true
	}
	for _, s := range c.w.sessions {
		if s.c != c || s.ended > 0 && s.ended <= since {
			continue
		}
		if s != c.sess {
			c.sess.subs = append(c.sess.subs, s.subs...)
		}
		s.ended = 0 // until the next begins: its end may be lost as well
	}
}
