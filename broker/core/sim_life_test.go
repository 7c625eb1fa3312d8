package core

import (
	"math/rand/v2"
	"slices"
	"testing/synctest"

	"midge/persist"
)

// start is a broker's, which goes on with what is on the disk.
func (w *simWorld) start() {
	w.disk.setSteady(true)
	found, err := persist.Recover(w.disk, "sim.db", nil)
	if err != nil {
		w.fail("the start: %v", err)
		return
	}
	for _, n := range found.Notes {
		w.say("%s", n.Text)
		if n.Level == persist.Error && w.disk.failures() == 0 { // a first snapshot that could not be made is missing
			w.fail("the start says: %s", n.Text)
		}
	}
	w.clockFound(found.Now(w.wall))
	w.reports = nil
	if w.b != nil {
		w.most = max(w.most, w.b.acct.most)
	}
	w.store = persist.NewStore(persist.Options{
		Disk: w.disk, Name: "sim.db", Path: "sim.db", Least: 4000, Sync: w.sync,
		Report: func(r persist.Report) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reports = append(w.reports, r)
		},
		Log: func(l persist.Level, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notes = append(w.notes, text)
		},
	}, found)
	recorder := persist.Recorder(w.store)
	if w.mutation.recorder != nil {
		recorder = w.mutation.recorder(recorder)
	}
	w.b = New(w.cfg, Options{Log: simLog{w}, Recorder: recorder, Rand: rand.New(rand.NewPCG(w.seed, 3))}, w.now)
	w.b.free.messages.spoil = spoil
	w.b.Restore(found.Image, w.now)
	w.gone = found.Image.Position()
	w.whole(w.store.Start)
	w.disk.setSteady(false)
	synctest.Wait()
}

// crash ends the broker in the middle of whatever it does, and starts another.
func (w *simWorld) crash(d *simDice) {
	power := d.n(2) == 0
	w.say("the broker crashes, power lost: %t", power)
	for _, cn := range slices.Clone(w.order) {
		if cn.c.conn == cn && d.n(2) == 0 {
			w.down(cn, d.n(len(cn.down)+1))
		}
		w.drop(cn)
	}
	for _, c := range w.clients {
		if c.conn != nil {
			c.conn.crashed = true
		}
	}
	w.disk = w.disk.kill(power, d.n)
	w.store.Close(w.now, w.wall)
	if power && w.sync != persist.SyncAlways {
		w.lost()
	}
	w.crashed()
	w.restart(d)
}

// drop is the end of a connection with its broker.
func (w *simWorld) drop(cn *simConn) {
	cn.told = true
	cn.over()
	if cn.c.conn == cn {
		cn.c.lose()
	}
	delete(w.live, &cn.Client)
	w.order = slices.DeleteFunc(w.order, func(o *simConn) bool { return o == cn })
}

// crashed takes back what was sure and not safe.
func (w *simWorld) crashed() {
	w.wasDown()
	for _, m := range w.msgs {
		if m.sure > w.stable && !m.firm {
			m.sure = 0
		}
		if m.will && m.until > w.stable { // it may come another time
			m.until = 0
		}
		if m.dead > w.stable {
			m.dead = 0
		}
	}
	for _, s := range w.sessions {
		s.crashes++
	}
	for _, c := range w.clients {
		if c.lapsed > 0 { // a crash may bring back a session whose end was not safe, to which nothing was owed since
			c.drops = append(c.drops, simDrops{c.lapsed, w.step})
		}
	}
}

// restarted is told when another broker goes on.
func (c *simClient) restarted() {
	if c.exist == simNo {
		return
	}
	if c.least != noExpiry {
		c.from = min(c.from, c.w.now+Time(c.least)*1000)
	}
	if end := c.w.now + Time(c.most)*1000; c.most != noExpiry && (c.to == simForever || c.to < end) {
		c.to = end
	}
}

// stop ends the broker as SIGTERM does, and starts another.
func (w *simWorld) stop(d *simDice) {
	w.say("the broker stops")
	w.b.Stop(w.now)
	for _, cn := range slices.Clone(w.order) {
		w.drop(cn)
	}
	whole, failed := w.disk.works(), w.disk.failures()
	w.whole(func() { w.store.Close(w.now, w.wall) })
	whole = whole && w.disk.failures() == failed
	w.disk = w.disk.kill(false, nil)
	if whole {
		w.stable, w.lasts = w.step, w.step
		w.clocks = nil
	}
	w.clocks, w.exact = append(w.clocks, simInstant{w.now, w.wall, w.step, w.life}), whole
	for _, c := range w.clients {
		c.willsStopped(whole)
	}
	w.crashed()
	w.restart(d)
}

// whole does something that waits for the disk; its calls come one by one.
func (w *simWorld) whole(do func()) {
	over := make(chan struct{})
	go func() {
		do()
		close(over)
	}()
	for {
		synctest.Wait()
		select {
		case <-over:
			return
		default:
			w.disk.let(0)
		}
	}
}

// restart starts a broker after a while.
func (w *simWorld) restart(d *simDice) {
	w.away(d)
	w.start()
	for _, c := range w.clients {
		c.restarted()
		c.willsLeft()
	}
}
