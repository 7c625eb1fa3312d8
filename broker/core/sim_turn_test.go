package core

import (
	"slices"
	"testing/synctest"
	"time"

	"midge/packet"
)

// turn is one of the loop's.
func (w *simWorld) turn() {
	w.hear()
	w.b.Tick(w.now)
	for _, cn := range w.order {
		if cn.Paused() {
			cn.last = w.now
		}
	}
	for _, c := range slices.Clone(w.b.Dirty()) {
		if cn := w.live[c]; cn != nil {
			w.flush(cn)
		}
	}
	w.hand()
	synctest.Wait()
	w.willsCame()
	if w.mutation.handed != nil {
		w.mutation.handed(w)
	}
}

// hear takes in what the journal reports.
func (w *simWorld) hear() {
	w.mu.Lock()
	reports := w.reports
	w.reports = nil
	w.mu.Unlock()
	for _, r := range reports {
		before := w.store.Backlog()
		w.store.Done(r)
		w.onWay = w.onWay && w.store.Backlog() >= before
		w.wasDown()
		if was := w.b.down; r.Err != nil && was == packet.Success {
			w.goesDown(r.Err)
		}
		w.b.Synced(r.Safe, r.Err, w.now)
	}
	if len(reports) > 0 && w.b.safe == w.b.pos {
		w.stable, w.stableAt = w.step-1, w.b.safe // in this step there may be more
		w.lasting()
	}
}

// goesDown judges that the journal does: something failed since it did last.
func (w *simWorld) goesDown(err error) {
	n := w.disk.failures()
	if w.say("the journal is down: %v", err); n <= w.downFor {
		w.fail("the journal is down, and nothing failed: %v", err)
	}
	w.downFor = n
}

// wasDown notes that the broker refuses what it would have to record, if it does.
func (w *simWorld) wasDown() {
	if w.b.down != packet.Success {
		w.downAt = w.step
	}
}

// mayBeDown says that it may have refused something since a step.
func (w *simWorld) mayBeDown(since int) bool {
	return since <= w.step && (w.b.down != packet.Success || w.downAt >= since)
}

// next is the next deadline.
func (w *simWorld) next() Time { return min(w.b.Next(), w.again) }

// pass lets time go by.
func (w *simWorld) pass(span Time) {
	w.say("%d ms go by", span)
	end := w.now + span
	for next := w.next(); next <= end; next = w.next() {
		w.goOn(max(w.now, next))
		w.turn()
	}
	w.goOn(end)
	w.turn()
	w.watch()
	for _, c := range w.clients {
		c.lapses()
	}
	rest := w.b.safe == w.b.pos && w.disk.idle() && w.b.down == packet.Success
	slept := time.Duration(w.now-w.slept) * time.Millisecond
	time.Sleep(slept)
	synctest.Wait()
	w.slept = w.now
	if rest && slept >= time.Duration(simSync) {
		w.synced()
	}
}

func (w *simWorld) diskGo(d *simDice) {
	if what := w.disk.let(d.n(8)); what != "" {
		w.say("the disk does: %s", what)
		synctest.Wait()
		w.lasting()
	}
}

// round brings everybody what is under way.
func (w *simWorld) round(d *simDice) {
	for _, cn := range slices.Clone(w.order) {
		if !cn.gone {
			w.up(cn, len(cn.up))
		}
	}
	w.turn()
	if d.n(2) == 0 {
		for !w.disk.idle() {
			w.diskGo(d)
		}
		w.turn()
	}
	for _, c := range w.clients {
		if c.conn != nil {
			w.down(c.conn, len(c.conn.down))
		}
	}
}
