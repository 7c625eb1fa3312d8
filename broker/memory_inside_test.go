package broker

import (
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"midge/packet"
)

// TestHeedMemory: the collector keeps the process below memory_limit while there is
// little state, and gives it more as the state grows.
func TestHeedMemory(t *testing.T) {
	if os.Getenv("GOMEMLIMIT") != "" {
		t.Fatal("GOMEMLIMIT is set, and has precedence")
	}
	was := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	in := serveInside(t, "memory_limit 160000000\nmax_packet_size 10000000")
	heeds := func(low, high int64) {
		t.Helper()
		for late := time.Now().Add(20 * time.Second); ; {
			in.ask(func() { in.heed.again = 0 }) // time passes faster here
			switch limit := debug.SetMemoryLimit(-1); {
			case low <= limit && limit <= high:
				return
			case time.Now().After(late):
				t.Fatalf("the limit is %d, not between %d and %d", limit, low, high)
			}
		}
	}
	heeds(150_000_000, 150_000_000)
	w := in.join("w", packet.V311, true)
	m := publishing("t", strings.Repeat("x", 9_000_000), 0, 0)
	m.Retain = true
	for i := range 12 {
		m.Topic = append(m.Topic[:0], 't', byte('a'+i))
		w.Write(m.Append(nil, packet.V311))
	}
	heeds(108_000_000*5/4+64<<20, 120_000_000*5/4+64<<20)
}
