package core

import (
	"midge/packet"
	"midge/persist"
)

// simClock is the broker's clock, which never goes back while a broker runs, and the
// machine's, which is set now and then. A broker goes on from the last instant on both
// that is on the disk; the oracle knows which those are.
type simClock struct {
	now    Time  // the broker's
	wall   int64 // the machine's
	latest Time  // the broker's, at its highest
	clocks []simInstant
	exact  bool             // the one of them is on the disk as it is
	life   int              // counts brokers
	gone   persist.Position // up to which records were handed over
	onWay  bool             // and were not taken yet
}

// simInstant was told to the journal. The first in simClock.clocks, or a later one, is on
// the disk.
type simInstant struct {
	now  Time
	wall int64
	step int
	life int // of which broker
}

func newSimClock() simClock {
	return simClock{now: simStart, wall: simStart, latest: simStart, clocks: []simInstant{{}}}
}

// goOn has both clocks go on.
func (k *simClock) goOn(to Time) {
	k.wall += to - k.now
	k.now = to
	k.latest = max(k.latest, to)
}

// Spans on a clock, in milliseconds.
const (
	simHour = 3_600_000
	simYear = 365 * 24 * simHour
)

// jump sets the machine's clock. The broker's takes no notice.
func (w *simWorld) jump(d *simDice) {
	by := []int64{-3000, 3000, -simHour, simHour, -24 * simHour, 50 * simYear, -50 * simYear}[d.n(7)]
	if at := w.wall + by; at < simStart-51*simYear || at > simStart+200*simYear {
		by = 0
	}
	w.wall += by
	w.say("the machine's clock is set by %d ms", by)
}

// away is the time without a broker.
func (w *simWorld) away(d *simDice) {
	span := int64(d.n([]int{1, 1, 1, 5000, 100_000, 2 * simHour}[d.n(6)]))
	w.wall += span
	w.say("%d ms go by without a broker", span)
	if d.n(6) == 0 {
		w.jump(d)
	}
}

// hand gives the journal what was recorded, with the time of both clocks.
func (w *simWorld) hand() {
	w.again = w.store.Hand(w.now, w.wall)
	if !w.onWay && w.b.pos > w.gone && w.again == persist.Never {
		w.onWay, w.gone = true, w.b.pos
		w.clocks = append(w.clocks, simInstant{w.now, w.wall, w.step, w.life})
		w.exact = false
	}
}

// clockSafe: what was told to the journal up to a step is on the disk.
func (k *simClock) clockSafe(step int) {
	for i := len(k.clocks) - 1; i > 0; i-- {
		if at := k.clocks[i]; at.life == k.life && at.step <= step {
			k.clocks = k.clocks[i:]
			return
		}
	}
}

// simClockStep is by how much a clock on the disk may be behind what was told to the
// journal, in milliseconds.
const simClockStep = 1000

// clockFound judges where the broker's clock goes on.
func (w *simWorld) clockFound(at Time) {
	slack := Time(simClockStep)
	if w.exact {
		slack = 0
	}
	fits := false
	for _, i := range w.clocks {
		off := at - (i.now + max(0, w.wall-i.wall))
		fits = fits || -slack <= off && off <= slack
	}
	if !fits {
		w.fail("the broker's clock, last %d, goes on at %d with the machine's at %d, after %v", w.now, at, w.wall, w.clocks)
	}
	w.say("the broker's clock goes on by %d ms", at-w.now)
	w.now, w.slept, w.onWay = at, at, false
	w.life++
	w.latest = max(w.latest, at)
}

// came: m has arrived, at the latest now.
func (m *simMsg) came(now Time) {
	if m.brief && m.dies == simForever {
		m.dies = now + Time(m.life)*1000
	}
}

// mayFade says that m may have expired.
func (w *simWorld) mayFade(m *simMsg) bool { return m.brief && w.latest >= m.lives }

// cleared notes when nothing is under way to the client.
func (cn *simConn) cleared() {
	if cn.held == nil && len(cn.down) == 0 && (cn.told || cn.Pending() == 0) {
		cn.clear, cn.bare = cn.c.w.now, cn.c.w.step
	}
}

// inTime judges the expiry of a PUBLISH: it was not over when it was sent, which was after
// cn.clear, and what is said to be left of it is.
func (w *simWorld) inTime(cn *simConn, m *simMsg, p *packet.Packet) {
	if !m.brief || m.sends != 1 {
		return
	}
	if !p.Dup && m.dies <= cn.clear {
		w.fail("%s receives %v, which has expired for %d ms", cn.c.id, m, cn.clear-m.dies)
	}
	if cn.v != packet.V5 {
		return
	}
	least, most := secondsLeft(m.lives, w.now), secondsLeft(w.latest+Time(m.life)*1000, cn.clear)
	if m.dies != simForever {
		most = min(most, secondsLeft(m.dies, cn.clear))
	}
	if left := p.Props.MessageExpiry; !p.Props.Has(packet.MessageExpiry) || left < least || left > most {
		w.fail("%s receives %v with %d seconds left, not %d to %d", cn.c.id, m, left, least, most)
	}
}
