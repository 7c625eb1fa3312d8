package core

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"midge/packet"
	"midge/persist"
)

// rig is a broker with clients in memory, and a clock that stands still until
// it is told to go on.
type rig struct {
	testing.TB
	*Broker
	now      Time
	listener *Listener
	peers    map[*Client]*peer
	lines    []string // of the log: notices and what is above them
	in, out  traffic  // what the clients sent and received
	goes     uint64   // calls that may feed clients
	most     int      // PUBLISH packets that one of them brought about
}

// traffic is counted on the clients' side.
type traffic struct{ bytes, packets, publishes, payloads uint64 }

func (t *traffic) count(pkt *packet.Packet) {
	t.packets++
	if pkt.Type == packet.Publish {
		t.publishes++
		t.payloads += uint64(len(pkt.Payload))
	}
}

// call notes what one call of the broker brings about.
func (r *rig) call(f func()) {
	before := r.stats.PublishSent
	r.goes++
	f()
	r.most = max(r.most, int(r.stats.PublishSent-before))
}

func (r *rig) Tick(now Time) { r.call(func() { r.Broker.Tick(now) }) }

func (r *rig) Flushed(c *Client, n int, now Time) { r.call(func() { r.Broker.Flushed(c, n, now) }) }

// rigStart is the time of a rig's start, a multiple of every interval in use.
const rigStart Time = 1_000_000_000

// plain is mosquitto's default configuration without a $SYS tree.
func plain() Config {
	return Config{
		Version:             "test",
		MaxInflightMessages: 20,
		MaxQueuedMessages:   1000,
		RetainAvailable:     true,
		AllowDuplicates:     true,
		ConnectionMessages:  true,
	}
}

func newRig(tb testing.TB, cfg Config, rec ...persist.Recorder) *rig {
	tb.Helper()
	r := &rig{
		TB: tb, now: rigStart, peers: map[*Client]*peer{},
		listener: &Listener{
			Port: 1883, Anonymous: true, EmptyClientID: true, AutoIDPrefix: "auto-",
			MaxQoS: 2, MaxAlias: 10, MaxAliasOut: 10, Versions: AllVersions,
		},
	}
	opt := Options{Log: r, Rand: rand.New(rand.NewPCG(1, 2))}
	if len(rec) > 0 {
		opt.Recorder = rec[0]
	}
	r.Broker = New(cfg, opt, r.now)
	r.free.messages.spoil = spoil
	return r
}

// Enabled leaves debug lines out, as a broker does by default.
func (r *rig) Enabled(c Class) bool { return c < LogInfo }

func (r *rig) Logf(c Class, format string, args ...any) {
	if r.Enabled(c) {
		r.lines = append(r.lines, fmt.Sprintf(format, args...))
	}
}

// logged counts the lines that contain part.
func (r *rig) logged(part string) (n int) {
	for _, l := range r.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// settle runs turns until there is nothing left to do now.
func (r *rig) settle() {
	r.Helper()
	for range 1_000_000 {
		if !r.turn() && r.Next() > r.now {
			return
		}
	}
	r.Fatal("the broker does not come to rest")
}

// turn runs one turn, and tells whether there was output.
func (r *rig) turn() bool {
	r.Tick(r.now)
	dirty := r.Dirty()
	for _, c := range dirty {
		if p := r.peers[c]; p != nil {
			p.drain()
		}
	}
	return len(dirty) > 0
}

// wait lets time go on, from deadline to deadline.
func (r *rig) wait(d Time) {
	r.Helper()
	end := r.now + d
	r.settle()
	for next := r.Next(); next <= end; next = r.Next() {
		r.now = next
		r.settle()
	}
	r.now = end
	r.settle()
}

// bare ends all that is left and checks that the broker has given everything back.
func (r *rig) bare() {
	r.Helper()
	for _, p := range r.peers {
		if !p.closed {
			p.stalled = false
			r.Lost(&p.c, nil, r.now)
		}
	}
	r.settle()
	for id := range r.sessions { // end them by a clean start
		p := r.dial(packet.V311, id)
		r.settle()
		p.leave()
	}
	r.Synced(r.pos, nil, r.now)
	r.settle()
	switch {
	case len(r.sessions) != 0 || r.online != 0 || r.sockets != 0:
		r.Errorf("%d sessions, %d online, %d sockets are left", len(r.sessions), r.online, r.sockets)
	case r.index.Len() != 0 || r.shared.Len() != 0 || len(r.groups) != 0 || r.subs.Len() != 0:
		r.Errorf("%d+%d subscriptions, %d groups are left", r.index.Len(), r.shared.Len(), len(r.groups))
	case r.stats.Queued != 0 || r.stats.QueuedBytes != 0:
		r.Errorf("%d deliveries of %d bytes are left", r.stats.Queued, r.stats.QueuedBytes)
	case r.stats.Subscriptions != 0 || r.stats.SharedSubscriptions != 0:
		r.Errorf("%d+%d subscriptions are counted", r.stats.Subscriptions, r.stats.SharedSubscriptions)
	case r.acct.bytes != r.retainedCost():
		r.Errorf("the account is %d, of which %d are retained messages", r.acct.bytes, r.retainedCost())
	case len(r.busy) != 0 || len(r.dirty) != 0 || len(r.holding) != 0:
		r.Errorf("%d busy, %d dirty, %d holding clients are left", len(r.busy), len(r.dirty), len(r.holding))
	}
}

// retainedCost is what retained messages make of the account.
func (r *rig) retainedCost() (n int64) {
	r.retained.Walk(func(_ string, m *message) bool {
		n += costRetained + m.cost()
		return true
	})
	return n
}

// TestGivenBack: when clients, sessions and messages are gone, so is the memory.
func TestGivenBack(t *testing.T) {
	n := trim(t, 3000, 1000)
	r := newRig(t, plain())
	round := func() {
		p := r.connect(packet.V5, "p")
		for i := range n {
			s := r.connect([]packet.Version{packet.V311, packet.V5}[i%2], "s"+itoa(i), durably, withWill("w/"+itoa(i), "gone", 1, 0))
			s.subscribe("t/"+itoa(i)+"/#", 1)
			s.subscribe("$share/g"+itoa(i%10)+"/t/+/x", 2)
			if i%100 == 0 {
				s.subscribe("w/#", 0)
			}
			if i%3 == 0 {
				s.stalled = true
			}
			if i%100 == 0 {
				p.say("t/"+itoa(i)+"/x", strings.Repeat("x", 1000), 1)
			}
		}
		p.auto = true
		for i := range n {
			p.retain("t/"+itoa(i)+"/x", strings.Repeat("y", 1000), byte(i%3))
		}
		r.settle()
		for i := range n {
			p.retain("t/"+itoa(i)+"/x", "", 1)
		}
		r.bare()
		if r.retained.Len() != 0 || r.stats.RetainedBytes != 0 || r.timers.Len() > len(r.vigils) {
			t.Errorf("%d retained messages of %d bytes and %d timers are left", r.retained.Len(), r.stats.RetainedBytes, r.timers.Len()-len(r.vigils))
		}
		pooled(t, r)
		r.lines, r.dirty, r.Broker.turn, r.busy = nil, nil, nil, nil
		r.free = pool{} // its buffers grow for many rounds before they have all met a long output
	}
	round()
	before := heap()
	for range 4 {
		round()
	}
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("%d KiB more than before", grown>>10)
	}
	runtime.KeepAlive(r)
}

// trim is how much of something a test does: less when it is to be short.
func trim(tb testing.TB, all, short int) int {
	tb.Helper()
	if testing.Short() {
		return short
	}
	return all
}
