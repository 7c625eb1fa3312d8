package core

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"midge/persist"
)

// simWorld is everything.
type simWorld struct {
	seed      uint64
	cfg       Config
	listeners []*Listener
	rules     []*simRules // in their order; none: everybody may do anything
	b         *Broker
	store     *persist.Store
	disk      *simDisk
	mutation  *simMutation
	simClock
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
	most     int64 // the account of earlier brokers, at its highest
	fails    bool  // the disk may
	downAt   int   // the last step at which the broker knew that it did, before now
	downFor  int   // failures of the disk when it heard of that
	stable   int   // all that happened up to this step is safe
	stableAt persist.Position
	lasts    int // and up to this one outlasts a loss of power
	sync     persist.Sync
	packets  int // that clients sent
	trace    []string
	tracing  bool
	err      error
	wrong    string // its kind

	mu      sync.Mutex
	reports []persist.Report
	notes   []string
}

// simStart is when the first broker starts.
const simStart Time = 1_700_000_000_000

var simNames = []string{"a/1", "a/2", "a/3", "b/1", "b/2", "c"}

// simMount is in front of those of the second listener, where there is one.
const simMount = "m/"

// simTopics are all there are.
var simTopics = append(slices.Clone(simNames), simMount+"a/1", simMount+"a/2", simMount+"a/3", simMount+"b/1", simMount+"b/2", simMount+"c")

func (w *simWorld) topic(d *simDice) string { return simNames[d.n(len(simNames))] }

func (w *simWorld) fail(format string, args ...any) {
	if w.err == nil {
		w.wrong = format
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
	m := &simMsg{n: len(w.msgs), start: w.step, topic: name, by: by, qos: qos, retain: retain}
	w.msgs = append(w.msgs, m)
	if retain {
		w.ops[name] = append(w.ops[name], m)
	}
	return m
}

// find is the message with a payload to a topic, or nil.
func (w *simWorld) find(name, payload string) *simMsg {
	n := 0
	head, _, _ := strings.Cut(payload, ".")
	if _, err := fmt.Sscanf(head, "m%d", &n); err != nil || n >= len(w.msgs) || w.msgs[n].topic != name {
		return nil
	}
	return w.msgs[n]
}

func newSimWorld(seed uint64, mutation *simMutation, tracing bool) *simWorld {
	d := &simDice{seed}
	w := &simWorld{seed: seed, simClock: newSimClock(), step: 1, mutation: mutation, tracing: tracing, disk: newSimDisk(),
		live: map[*Client]*simConn{}, ops: map[string][]*simMsg{}}
	w.cfg = Config{
		Version: "sim", RetainAvailable: true, AllowDuplicates: d.n(4) > 0,
		MaxInflightMessages: []int{1, 2, 5, 20, 0}[d.n(5)], MaxQueuedMessages: []int{0, 0, 0, 5}[d.n(4)], QueueQoS0: d.n(2) == 0,
	}
	if w.fails = d.n(3) == 0; w.fails {
		w.disk.flaky = &simDice{seed}
	}
	w.say("window %d, queue %d, QoS 0 waits %t, overlapping subscriptions get each %t",
		w.cfg.MaxInflightMessages, w.cfg.MaxQueuedMessages, w.cfg.QueueQoS0, w.cfg.AllowDuplicates)
	for i := range 4 + d.n(20) {
		c := &simClient{w: w, n: i, id: fmt.Sprintf("c%d", i)}
		c.forget()
		w.clients = append(w.clients, c)
	}
	if d.n(3) == 0 {
		w.newRules(d)
		w.cfg.Access, w.cfg.CheckRetainSource = simAccess{w}, d.n(2) == 0
	}
	w.sync = []persist.Sync{persist.SyncAlways, persist.SyncAlways, persist.SyncAlways, simSync, persist.SyncOff}[d.n(5)]
	w.say("sync after %d ns", w.sync)
	w.limits(d)
	w.cfg.MaxKeepAlive = []uint16{0, 0, 0, 5}[d.n(4)]
	w.cfg.RetryInterval = []Time{0, 0, 3000}[d.n(3)]
	w.say("longest keep alive %d s, retry after %d ms", w.cfg.MaxKeepAlive, w.cfg.RetryInterval)
	w.listen("")
	if d.n(3) == 0 {
		w.listen(simMount)
	}
	w.start()
	return w
}

// listen makes another listener.
func (w *simWorld) listen(mount string) {
	l := &Listener{Port: 1883 + len(w.listeners), Mount: mount, Access: w.cfg.Access, Anonymous: true, EmptyClientID: true,
		MaxQoS: 2, MaxAlias: 10, MaxAliasOut: 10, Versions: AllVersions}
	w.listeners = append(w.listeners, l)
	w.say("listener with mount point %q, rights %t", mount, l.Access != nil)
}

// simLog puts the broker's log into the trace, where it is wanted.
type simLog struct{ w *simWorld }

func (l simLog) Enabled(Class) bool { return l.w.tracing && *simLogs }

func (l simLog) Logf(c Class, format string, args ...any) {
	l.w.heard(format, args)
	if l.Enabled(c) {
		l.w.say("    "+format, args...)
	}
}

// run does the actions, and tells what is wrong.
func (w *simWorld) run(acts []simAct) error {
	for i := range acts {
		w.step++
		w.do(&acts[i])
		if w.err == nil {
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
	w.store.Close(w.now, w.wall)
	return w.err
}

func (w *simWorld) check() {
	if err := w.b.check(); err != nil {
		w.fail("the broker's state: %v", err)
	}
	w.bounded()
}
