package core

import (
	"math/rand/v2"
	"slices"
	"testing/synctest"
)

// simAct is one action.
type simAct struct {
	kind simKind
	who  byte
	dice uint64
}

type simKind byte

const (
	simConnect simKind = iota
	simSubscribe
	simUnsubscribe
	simPublish
	simPing
	simPay    // answers that are owed
	simUp     // bytes to the broker
	simDown   // bytes to the client
	simTurn   // of the loop
	simDiskGo // a call of the disk's
	simRound  // all that is under way comes, without the answers
	simCut
	simLeave
	simNotice // the broker learns of a cut
	simTime
	simSave
	simCrash
	simStop
	simFail // the disk is full for some calls
	simJump // the machine's clock is set
	simRule // clients may do other things
)

// simWeights is how often each action comes.
var simWeights = [...]int{
	simConnect: 40, simSubscribe: 50, simUnsubscribe: 12, simPublish: 160, simPing: 20, simPay: 120, simUp: 160, simDown: 160,
	simTurn: 60, simDiskGo: 120, simRound: 40, simCut: 14, simLeave: 8, simNotice: 14, simTime: 16, simSave: 4, simCrash: 6, simStop: 1, simFail: 3, simJump: 5, simRule: 3,
}

// simDice gives an action its numbers.
type simDice struct{ at uint64 }

// n is a number below most.
func (d *simDice) n(most int) int {
	d.at += 0x9e3779b97f4a7c15
	z := d.at
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) >> 1 % uint64(most))
}

// simActs are the actions of a seed.
func simActs(seed uint64, n int) []simAct {
	rnd := rand.New(rand.NewPCG(seed, 11))
	var kinds []simKind
	for k, weight := range simWeights {
		for range weight {
			kinds = append(kinds, simKind(k))
		}
	}
	acts := make([]simAct, n)
	for i := range acts {
		acts[i] = simAct{kinds[rnd.IntN(len(kinds))], byte(rnd.IntN(256)), rnd.Uint64()}
	}
	return acts
}

func (w *simWorld) do(a *simAct) {
	d := &simDice{a.dice}
	c := w.clients[int(a.who)%len(w.clients)]
	if a.kind != simConnect {
		c = w.near(int(a.who), a.kind == simUp || a.kind == simDown || a.kind == simCut)
	}
	cn := c.conn
	ready := cn != nil && cn.welcome
	switch a.kind {
	case simConnect:
		if cn == nil || d.n(8) == 0 {
			c.connect(d)
		}
	case simSubscribe:
		if ready && len(cn.asked) < 3 {
			cn.subscribe(d)
		}
	case simUnsubscribe:
		if ready && len(cn.asked) < 3 {
			cn.unsubscribe(d)
		}
	case simPublish:
		for range 1 + d.n(3) {
			if ready && len(c.out) < 10 {
				cn.say(d)
			}
		}
	case simPing:
		if ready {
			cn.ping()
		}
	case simPay:
		for range 1 + d.n(6) {
			if ready && len(cn.owed) > 0 {
				cn.pay()
			}
		}
	case simUp:
		if cn != nil {
			w.up(cn, 1+d.n([]int{1, 30, 1000, 1000}[d.n(4)]))
		}
	case simDown:
		if cn != nil {
			w.down(cn, 1+d.n([]int{1, 30, 1000, 1000}[d.n(4)]))
		}
	case simTurn:
		w.turn()
	case simDiskGo:
		for range 1 + d.n(4) {
			w.diskGo(d)
		}
	case simRound:
		w.round(d)
	case simCut:
		if cn != nil {
			w.cut(c, d)
		}
	case simLeave:
		if ready {
			cn.leave(d)
		}
	case simNotice:
		for _, o := range slices.Clone(w.order) {
			if o.gone {
				w.notice(o)
				break
			}
		}
	case simTime:
		w.pass(Time(1 + d.n([]int{10, 10, 1000, 1000, 5000, 5000, 5000, 100_000}[d.n(8)])))
	case simSave:
		w.store.Save()
		synctest.Wait()
	case simCrash:
		w.crash(d)
	case simStop:
		w.stop(d)
	case simFail:
		if w.fails {
			w.disk.fail(1 + d.n(12))
			w.say("the disk is full")
		}
	case simJump:
		w.jump(d)
	case simRule:
		if len(w.rules) > 0 {
			w.newRules(d)
			w.b.Recheck(w.now)
		}
	}
}

// near is a client that is connected, or one that at least tries, where there is one.
func (w *simWorld) near(who int, tries bool) *simClient {
	for i := range w.clients {
		c := w.clients[(who+i)%len(w.clients)]
		if c.conn != nil && (tries || c.conn.welcome) {
			return c
		}
	}
	return w.clients[who%len(w.clients)]
}
