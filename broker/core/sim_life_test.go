package core

import (
	"math/rand/v2"
	"slices"
	"testing/synctest"

	"midge/persist"
)

// start is a broker's, which goes on with what is on the disk.
func (w *simWorld) start() {
	found, err := persist.Recover(w.disk, "sim.db", nil)
	if err != nil {
		w.fail("the start: %v", err)
		return
	}
	for _, n := range found.Notes {
		w.say("%s", n.Text)
		if n.Level == persist.Error && !w.failed { // a first snapshot that could not be made is missing
			w.fail("the start says: %s", n.Text)
		}
	}
	if at := found.Now(w.now); at != w.now {
		w.fail("the clock goes on at %d, and not at %d", at, w.now)
	}
	w.reports = nil
	w.store = persist.NewStore(persist.Options{
		Disk: w.disk, Name: "sim.db", Path: "sim.db", Least: 4000,
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
	w.store.Start()
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
	w.disk = w.disk.kill(power, d.n)
	w.store.Close(w.now, w.now)
	w.crashed()
	w.start()
	for _, c := range w.clients {
		c.restarted()
	}
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
	for _, m := range w.msgs {
		if m.sure > w.stable && !m.firm {
			m.sure = 0
			if m.will {
				m.until = 0
			}
		}
		if m.dead > w.stable {
			m.dead = 0
		}
	}
	for _, s := range w.sessions {
		s.crashes++
	}
}

// restarted is told when another broker goes on.
func (c *simClient) restarted() {
	if c.exist != simNo && c.most != noExpiry {
		c.to = c.w.now + Time(c.most)*1000
	}
}

// stop ends the broker as SIGTERM does, and starts another.
func (w *simWorld) stop() {
	w.say("the broker stops")
	w.b.Stop(w.now)
	for _, cn := range slices.Clone(w.order) {
		w.drop(cn)
	}
	w.disk.letAll()
	w.store.Close(w.now, w.now)
	w.disk = w.disk.kill(false, nil)
	w.crashed()
	w.start()
	for _, c := range w.clients {
		c.restarted()
	}
}
