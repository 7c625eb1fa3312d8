package core

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"midge/packet"
	"midge/persist"
)

// The simulation: one seed makes a broker with its journal on a simulated disk, a
// dozen clients of all protocol levels, a network that delays, cuts, and brings bytes
// in any portions, and a clock. The broker is stopped and killed, the disk loses what
// was not synced, and an oracle judges all that the clients are sent (sim_oracle_test.go).
//
// A seed is a list of actions. What an action does depends on its own numbers and on
// the state, so that any part of a list is a list too: that is how a failure is
// made small before it is printed.
//
//	go test ./broker/core -run Sim -seed N       replays one seed
//	go test ./broker/core -run Sim -seeds N      tries N of them, from -from on
var (
	simSeed  = flag.Int64("seed", -1, "the seed that TestSim is to replay")
	simSeeds = flag.Int("seeds", 0, "how many seeds TestSim is to try")
	simLogs  = flag.Bool("logs", false, "show the broker's log in the trace of a failure")
	simFrom  = flag.Uint64("from", 0, "the first of them")
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
)

// simWeights is how often each action comes.
var simWeights = [...]int{
	simConnect: 40, simSubscribe: 50, simUnsubscribe: 12, simPublish: 160, simPing: 20, simPay: 120, simUp: 160, simDown: 160,
	simTurn: 60, simDiskGo: 120, simRound: 40, simCut: 14, simLeave: 8, simNotice: 14, simTime: 16, simSave: 4, simCrash: 6, simStop: 1, simFail: 3,
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

// simWorld is everything.
type simWorld struct {
	seed     uint64
	cfg      Config
	listener Listener
	b        *Broker
	store    *persist.Store
	disk     *simDisk
	mutation *simMutation
	now      Time // on the machine's clock and the broker's, which are in step
	again    Time // when the store wants more
	slept    Time // of now, by the timers of the store
	step     int
	clients  []*simClient
	live     map[*Client]*simConn
	order    []*simConn // those that are not over, by their numbers
	conns    int
	msgs     []*simMsg
	ops      map[string][]*simMsg // on what a topic retains
	sessions []*simSession
	fails    bool // the disk may
	failed   bool // it did, so that clients may be refused
	stable   int  // all that happened up to this step is safe
	packets  int  // that clients sent
	trace    []string
	tracing  bool
	err      error

	mu      sync.Mutex
	reports []persist.Report
	notes   []string
}

// simStart is when the first broker starts.
const simStart Time = 1_000_000_000

var simTopics = []string{"a/1", "a/2", "a/3", "b/1", "b/2", "c"}

func (w *simWorld) topic(d *simDice) string { return simTopics[d.n(len(simTopics))] }

func (w *simWorld) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("step %d: "+format, append([]any{w.step}, args...)...)
		w.say("WRONG: "+format, args...)
	}
}

func (w *simWorld) say(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%4d %s", w.step, fmt.Sprintf(format, args...)))
	}
}

func (w *simWorld) message(by *simClient, name string, qos byte, retain bool) *simMsg {
	m := &simMsg{n: len(w.msgs), topic: name, by: by, qos: qos, retain: retain}
	w.msgs = append(w.msgs, m)
	if retain {
		w.ops[name] = append(w.ops[name], m)
	}
	return m
}

// find is the message that a PUBLISH is of, or nil.
func (w *simWorld) find(p *packet.Packet) *simMsg {
	n := 0
	head, _, _ := strings.Cut(string(p.Payload), ".")
	if _, err := fmt.Sscanf(head, "m%d", &n); err != nil || n >= len(w.msgs) || w.msgs[n].topic != string(p.Topic) {
		return nil
	}
	return w.msgs[n]
}

func newSimWorld(seed uint64, mutation *simMutation, tracing bool) *simWorld {
	d := &simDice{seed}
	w := &simWorld{seed: seed, now: simStart, step: 1, mutation: mutation, tracing: tracing, disk: newSimDisk(),
		live: map[*Client]*simConn{}, ops: map[string][]*simMsg{}}
	w.cfg = Config{
		Version: "sim", RetainAvailable: true, AllowDuplicates: d.n(4) > 0,
		MaxInflightMessages: []int{1, 2, 5, 20, 0}[d.n(5)], MaxQueuedMessages: []int{0, 0, 0, 5}[d.n(4)], QueueQoS0: d.n(2) == 0,
	}
	w.fails = d.n(3) == 0
	w.say("window %d, queue %d, QoS 0 waits %t, overlapping subscriptions get each %t",
		w.cfg.MaxInflightMessages, w.cfg.MaxQueuedMessages, w.cfg.QueueQoS0, w.cfg.AllowDuplicates)
	w.listener = Listener{Port: 1883, Anonymous: true, EmptyClientID: true, MaxQoS: 2, MaxAlias: 10, MaxAliasOut: 10, Versions: AllVersions}
	for i := range 4 + d.n(20) {
		c := &simClient{w: w, id: fmt.Sprintf("c%d", i)}
		c.forget()
		w.clients = append(w.clients, c)
	}
	w.start()
	return w
}

// simLog puts the broker's log into the trace, where it is wanted.
type simLog struct{ w *simWorld }

func (l simLog) Enabled(Class) bool { return l.w.tracing && *simLogs }

func (l simLog) Logf(c Class, format string, args ...any) {
	if l.Enabled(c) {
		l.w.say("    "+format, args...)
	}
}

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

// open takes a connection in.
func (w *simWorld) open(cn *simConn) {
	for _, o := range w.order {
		if o.c == cn.c && !o.Connected() {
			o.up = nil // its CONNECT is lost, lest it come later than this one and win
		}
	}
	cn.Listener = &w.listener
	w.live[&cn.Client] = cn
	w.order = append(w.order, cn)
	w.b.Open(&cn.Client, w.now)
}

// end is the end of a connection on the broker's side.
func (w *simWorld) end(cn *simConn) {
	cn.told = true
	w.b.Discard(&cn.Client)
	delete(w.live, &cn.Client)
	w.order = slices.DeleteFunc(w.order, func(o *simConn) bool { return o == cn })
	cn.over()
	if m := cn.will; m != nil && cn.left && len(cn.up) == 0 && cn.Client.Left() {
		m.dead = w.step
		w.say("the broker has taken back the will of connection %d", cn.n)
	}
	cn.c.ended()
}

// up brings n bytes to the broker.
func (w *simWorld) up(cn *simConn, n int) {
	if cn.told || cn.Closed() || cn.Paused() {
		return
	}
	if w.mutation.before != nil {
		w.mutation.before(w, cn)
	}
	n = min(n, len(cn.up))
	cn.tail = append(cn.tail, cn.up[:n]...)
	cn.up = cn.up[n:]
	used, _ := receiveAll(w.b, &cn.Client, slices.Clone(cn.tail), n, w.now)
	cn.tail = cn.tail[used:]
}

// flush writes what a connection has to send, as far as there is room.
func (w *simWorld) flush(cn *simConn) {
	for !cn.told && cn.Pending() > 0 {
		out := w.b.output(&cn.Client)
		n := len(out)
		if !cn.gone {
			n = min(n, max(0, cn.room-len(cn.down)))
			cn.down = append(cn.down, out[:n]...)
		}
		if n == 0 {
			break
		}
		w.b.Flushed(&cn.Client, n, w.now)
		if n < len(out) {
			break
		}
	}
	if cn.Closed() && !cn.told {
		w.end(cn)
	}
}

// turn is one of the loop's.
func (w *simWorld) turn() {
	w.hear()
	w.b.Tick(w.now)
	for _, c := range slices.Clone(w.b.Dirty()) {
		if cn := w.live[c]; cn != nil {
			w.flush(cn)
		}
	}
	w.again = w.store.Hand(w.now, w.now)
	synctest.Wait()
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
		w.store.Done(r)
		w.b.Synced(r.Safe, r.Err, w.now)
	}
	if len(reports) > 0 && w.b.safe == w.b.pos {
		w.stable = w.step
	}
}

// down brings n bytes to the client, and after the last the end, if there was one.
func (w *simWorld) down(cn *simConn, n int) {
	n = min(n, len(cn.down))
	data := cn.down[:n:n]
	cn.down = cn.down[n:]
	if n > 0 {
		cn.take(data)
	}
	if !cn.told {
		w.flush(cn)
	}
	if cn.told && len(cn.down) == 0 && cn.c.conn == cn && cn.mayClose() {
		cn.c.lose()
	} else if cn.told && len(cn.down) == 0 && cn.c.conn == cn {
		cn.c.fail("is disconnected from connection %d for no reason", cn.n)
	}
}

// cut takes a client's connection away; the broker may get some of what was under
// way, and learns of it now or later.
func (w *simWorld) cut(c *simClient, d *simDice) {
	cn := c.conn
	w.say("the network cuts connection %d of %s", cn.n, c.id)
	switch d.n(3) {
	case 0:
		cn.up = nil
	case 1:
		cn.up = cn.up[:d.n(len(cn.up)+1)]
	}
	c.lose()
	if d.n(2) == 0 {
		w.notice(cn)
	}
}

// notice tells the broker that a connection which its client has left is over.
func (w *simWorld) notice(cn *simConn) {
	w.up(cn, len(cn.up))
	w.flush(cn)
	if cn.told {
		return
	}
	w.say("the broker learns of the end of connection %d", cn.n)
	w.b.Lost(&cn.Client, nil, w.now)
	w.flush(cn)
	if m := cn.will; m != nil && cn.welcome && cn.delay == 0 && m.sure == 0 {
		m.low, m.sure = w.step, w.step
	}
}

// next is the next deadline.
func (w *simWorld) next() Time { return min(w.b.Next(), w.again) }

// pass lets time go by.
func (w *simWorld) pass(span Time) {
	w.say("%d ms go by", span)
	end := w.now + span
	for next := w.next(); next <= end; next = w.next() {
		w.now = max(w.now, next)
		w.turn()
	}
	w.now = end
	w.turn()
	time.Sleep(time.Duration(w.now-w.slept) * time.Millisecond)
	w.slept = w.now
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

// run does the actions, and tells what is wrong.
func (w *simWorld) run(acts []simAct) error {
	for i := range acts {
		w.step++
		w.do(&acts[i])
		if w.err == nil && (i%8 == 0 || w.tracing) {
			w.check()
		}
		if w.err != nil {
			break
		}
	}
	if w.err == nil {
		w.finish()
	}
	w.disk.kill(false, nil)
	w.store.Close(w.now, w.now)
	return w.err
}

func (w *simWorld) check() {
	if err := w.b.check(); err != nil {
		w.fail("the broker's state: %v", err)
	}
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
		w.pass(Time(1 + d.n([]int{10, 1000, 5000}[d.n(3)])))
	case simSave:
		w.store.Save()
		synctest.Wait()
	case simCrash:
		w.crash(d)
	case simStop:
		w.stop()
	case simFail:
		if w.fails {
			w.failed = true
			w.disk.fail(1 + d.n(12))
			w.say("the disk is full")
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

func (w *simWorld) diskGo(d *simDice) {
	if what := w.disk.let(d.n(8)); what != "" {
		w.say("the disk does: %s", what)
		synctest.Wait()
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

// calm lets everything come to its end that is under way: all answers are given.
func (w *simWorld) calm() {
	w.disk.fail(0)
	for range 2000 {
		busy := false
		for _, cn := range slices.Clone(w.order) {
			if cn.gone {
				w.notice(cn)
				continue
			}
			for len(cn.owed) > 0 {
				cn.pay()
			}
			busy = busy || len(cn.up) > 0
			w.up(cn, len(cn.up))
		}
		w.turn()
		for !w.disk.idle() {
			w.disk.let(0)
			synctest.Wait()
		}
		w.turn()
		for _, c := range w.clients {
			if cn := c.conn; cn != nil {
				busy = busy || len(cn.down) > 0
				w.down(cn, len(cn.down))
				busy = busy || len(cn.owed) > 0
			}
		}
		if w.err != nil || !busy && w.b.Next() > w.now && w.b.safe == w.b.pos && w.b.down == packet.Success {
			return
		}
		if !busy {
			w.pass(1000) // the disk is tried again
		}
	}
	w.fail("the broker does not come to rest: %d of %d is safe, next is %d at %d", w.b.safe, w.b.pos, w.next(), w.now)
}

// finish has everybody come back and get what is due, and then everything given up.
func (w *simWorld) finish() {
	w.step++
	w.say("the end begins")
	w.calm()
	for i, c := range w.clients {
		if c.conn == nil && c.exist != simNo && w.err == nil {
			w.resume(c, i)
		}
	}
	w.calm()
	if w.err != nil {
		return
	}
	w.step++
	w.owed()
	w.check()
	w.retained()
	if w.err == nil {
		w.bare()
	}
}

// resume connects a client that goes on with its session.
func (w *simWorld) resume(c *simClient, i int) {
	w.conns++
	cn := &simConn{c: c, n: w.conns, v: []packet.Version{packet.V311, packet.V5}[i%2], room: 64 << 10,
		open: map[uint16]*simMsg{}, asked: map[uint16]*simAsk{}, sent: w.now, expiry: noExpiry, window: 65535}
	if n := w.cfg.MaxInflightMessages; n > 0 {
		cn.window = n
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: cn.v, ClientID: []byte(c.id)}}
	if cn.v == packet.V5 {
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, noExpiry)
	}
	c.conn = cn
	w.open(cn)
	cn.send(&p)
	w.say("%s comes back as connection %d, version %d", c.id, cn.n, cn.v)
}

// retained compares what there is with what there may be.
func (w *simWorld) retained() {
	have := map[string]*simMsg{}
	w.b.retained.Walk(func(name string, m *message) bool {
		if m.Expires > w.now {
			have[name] = w.find(&packet.Packet{Topic: []byte(m.Topic), Payload: []byte(m.Payload)})
		}
		return true
	})
	for _, name := range simTopics {
		w.kept(name, have[name])
	}
}

// bare ends all clients, sessions and retained messages: nothing may be left.
func (w *simWorld) bare() {
	w.step++
	for _, cn := range slices.Clone(w.order) {
		w.b.Lost(&cn.Client, nil, w.now)
		w.end(cn)
		cn.c.conn = nil
	}
	for _, id := range slices.Sorted(maps.Keys(w.b.sessions)) {
		c := &Client{Listener: &w.listener}
		w.b.Open(c, w.now)
		p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: packet.V311, CleanStart: true, ClientID: []byte(id)}}
		data := append(p.Append(nil, packet.V311), 0xE0, 0)
		receiveAll(w.b, c, data, len(data), w.now)
		w.b.Discard(c)
	}
	for _, name := range simTopics {
		w.b.unretain(name)
	}
	w.b.commit()
	w.calm()
	if err := (&target{b: w.b}).checkEmpty(); err != nil {
		w.fail("something is left: %v", err)
	}
	if n := w.b.stats.RetainedBytes; n != 0 || w.b.retained.Len() != 0 {
		w.fail("%d retained bytes are left", n)
	}
	w.check()
	if w.b.safe != w.b.pos {
		w.fail("%d of %d is safe in the end", w.b.safe, w.b.pos)
	}
}

// simRun plays actions in a bubble of their own, where time is not the machine's.
func simRun(t *testing.T, seed uint64, acts []simAct, mutation *simMutation, tracing bool) (w *simWorld, err error) {
	synctest.Test(t, func(t *testing.T) {
		w = newSimWorld(seed, mutation, tracing)
		w.slept = w.now
		err = w.run(acts)
	})
	return w, err
}

// simLength is how many actions a seed has.
const simLength = 1000

// TestSim plays seeds.
func TestSim(t *testing.T) {
	from, n := *simFrom, trim(t, 200, 20)
	if *simSeeds > 0 {
		n = *simSeeds
	}
	if *simSeed >= 0 {
		from, n = uint64(*simSeed), 1
	}
	begun, packets := time.Now(), 0
	for seed := from; seed < from+uint64(n); seed++ {
		acts := simActs(seed, simLength)
		w, err := simRun(t, seed, acts, new(simMutation), false)
		if packets += w.packets; err != nil {
			t.Errorf("seed %d: %v", seed, err)
			simExplain(t, seed, acts, new(simMutation), os.Stdout)
			break
		}
	}
	t.Logf("%d seeds from %d on, %d packets of clients, %.0f a second", n, from, packets, float64(packets)/time.Since(begun).Seconds())
}

// TestSimRepeats: a seed does the same each time.
func TestSimRepeats(t *testing.T) {
	for seed := range uint64(trim(t, 20, 5)) {
		one, _ := simRun(t, seed, simActs(seed, simLength), new(simMutation), true)
		two, _ := simRun(t, seed, simActs(seed, simLength), new(simMutation), true)
		for i, line := range one.trace {
			if i >= len(two.trace) || two.trace[i] != line {
				t.Fatalf("seed %d: line %d is once\n%s\nand then\n%s", seed, i, line, strings.Join(two.trace[min(i, len(two.trace)):min(i+1, len(two.trace))], ""))
			}
		}
	}
}
