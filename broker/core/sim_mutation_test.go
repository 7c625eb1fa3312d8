package core

import (
	"maps"
	"slices"
	"testing"

	"midge/packet"
	"midge/persist"
)

// simMutation is a bug put in by hand, around the broker or into its state, to see that
// the simulation finds it. Its functions may be nil.
type simMutation struct {
	name     string
	seed     uint64                                  // that finds it
	recorder func(persist.Recorder) persist.Recorder // in place of the broker's
	hears    func(cn *simConn, p *packet.Packet)     // alters what a client is sent
	before   func(w *simWorld, cn *simConn)          // bytes come to the broker
	handed   func(w *simWorld)                       // a turn is over
}

var simMutations = []simMutation{
	{name: "skip a DUP", seed: 5, hears: func(cn *simConn, p *packet.Packet) {
		p.Dup = false
	}},
	{name: "reuse a packet identifier", seed: 1, hears: func(cn *simConn, p *packet.Packet) {
		if p.Type == packet.Publish && p.QoS > 0 && len(cn.open) == 2 {
			p.ID = slices.Min(slices.Collect(maps.Keys(cn.open)))
		}
	}},
	{name: "drop a queue entry on take-over", seed: 186, before: func(w *simWorld, cn *simConn) {
		s := w.b.sessions[cn.c.id]
		if cn.Connected() || s == nil || s.client == nil || s.waiting == nil || s.waiting.acked.n == 0 {
			return
		}
		d := *s.waiting.acked.front()
		w.b.recordDropped(s, &d)
		w.b.pop(&s.waiting.acked)
		w.b.unuse(d.msg)
		w.b.drained(s)
		w.b.commit()
	}},
	{name: "forget a retained delete", seed: 1, recorder: func(r persist.Recorder) persist.Recorder {
		return simForgetful{r}
	}},
	{name: "acknowledge before the sync", seed: 1, handed: func(w *simWorld) {
		w.b.Synced(w.b.pos, nil, w.now)
	}},
	{name: "never answer what waits for the disk", seed: 0, handed: func(w *simWorld) {
		if n := len(w.b.holding); n > 2 {
			w.b.holding = w.b.holding[:n-1]
		}
	}},
	{name: "lose the answer to a refused packet", seed: 0, hears: func(cn *simConn, p *packet.Packet) {
		if p.Type == packet.Suback && p.Codes[0] >= 0x80 {
			p.Type, p.ID = packet.Pingresp, 0
			cn.pings = append([][]*simMsg{nil}, cn.pings...)
		}
	}},
}

// simForgetful hears nothing of what is not retained any more.
type simForgetful struct{ persist.Recorder }

func (simForgetful) Unretain(string) {}

// TestSimMutations: each bug is found, by the seed that is known to or, with -seeds, by
// one of so many.
func TestSimMutations(t *testing.T) {
	for i := range simMutations {
		m := &simMutations[i]
		t.Run(m.name, func(t *testing.T) {
			from, n := m.seed, uint64(1)
			if *simSeeds > 0 {
				from, n = *simFrom, uint64(*simSeeds)
			}
			b := simPlay(t, from, int(n), m)
			if b.err == nil {
				t.Fatalf("nothing is found from seed %d on", from)
			}
			t.Logf("%q is found by seed %d, after %d seeds and %.2f seconds of CPU: %v", m.name, b.seed, b.done, b.cpu.Seconds(), b.err)
		})
	}
}
