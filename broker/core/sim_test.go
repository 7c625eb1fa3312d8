package core

import (
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// The simulation: one seed makes a broker with its journal on a simulated disk, a
// dozen clients of all protocol levels, a network that delays, cuts, and brings bytes
// in any portions, and a clock. The broker is stopped and killed, the disk loses what
// was not synced, is full or fails in some worlds, and an oracle judges all that the clients
// are sent, or not (sim_oracle_test.go).
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

// simRun plays actions in a bubble of their own, where time is not the machine's.
func simRun(t *testing.T, seed uint64, acts []simAct, mutation *simMutation, tracing bool) (w *simWorld, err error) {
	synctest.Test(t, func(t *testing.T) {
		w = newSimWorld(seed, mutation, tracing)
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
	b := simPlay(t, from, n, new(simMutation))
	t.Logf("%d seeds from %d on, %d packets of clients, %.0f a second of CPU, of which it took %.1f", b.done, from, b.packets, float64(b.packets)/b.cpu.Seconds(), b.cpu.Seconds())
	if b.err != nil {
		t.Errorf("seed %d: %v", b.seed, b.err)
		simExplain(t, b.seed, simActs(b.seed, simLength), new(simMutation), os.Stdout)
	}
}

// TestSimRepeats: a seed does the same each time.
func TestSimRepeats(t *testing.T) {
	n := trim(t, 20, 5)
	if *simSeeds > 0 {
		n = *simSeeds
	}
	for seed := *simFrom; seed < *simFrom+uint64(n); seed++ {
		one, _ := simRun(t, seed, simActs(seed, simLength), new(simMutation), true)
		two, _ := simRun(t, seed, simActs(seed, simLength), new(simMutation), true)
		for i, line := range one.trace {
			if i >= len(two.trace) || two.trace[i] != line {
				t.Fatalf("seed %d: line %d is once\n%s\nand then\n%s", seed, i, line, strings.Join(two.trace[min(i, len(two.trace)):min(i+1, len(two.trace))], ""))
			}
		}
	}
}
