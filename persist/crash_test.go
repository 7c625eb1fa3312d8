package persist

import (
	"fmt"
	"testing"
)

// crashed is what a crash at one moment would have left.
type crashed struct {
	disk *memory
	safe Position
	what string
}

// watch notes what a crash would leave, before each call of the disk.
func (p *plant) watch() *[]crashed {
	var all []crashed
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	p.disk.tap = func() {
		n, safe := p.disk.calls+1, Position(p.safe.Load())
		all = append(all, crashed{p.disk.killed(), safe, fmt.Sprintf("killed before call %d", n)})
		for _, more := range []int{0, 7, 100} {
			all = append(all, crashed{p.disk.lost(more), safe, fmt.Sprintf("power lost before call %d, %d bytes more", n, more)})
		}
	}
	return &all
}

// TestCrashes: a crash at any moment, of a store that works, rotates, makes snapshots
// and stops, leaves what was said to be safe; so does a second crash at any moment of the
// start after the first.
func TestCrashes(t *testing.T) {
	seeds, step := uint64(3), 9
	if testing.Short() {
		seeds, step = 1, 40
	}
	for seed := range seeds {
		p, err := grow(t, before(t), 200+seed, nil)
		if err != nil {
			t.Fatal(err)
		}
		all := p.watch()
		for range 3 {
			p.life(4)
			p.Save()
			p.awaitSafe()
			p.awaitSnapshot()
		}
		p.end()
		for i, c := range *all {
			p.holdsFrom(c.safe, fmt.Sprintf("seed %d, %s", seed, c.what), c.disk)
			if i%step == 0 {
				twice(t, fmt.Sprintf("seed %d, %s, and then", seed, c.what), c.disk)
			}
		}
		t.Logf("%d crashes", len(*all))
	}
}

// twice starts on what a crash has left, and crashes again.
func twice(t *testing.T, what string, disk *memory) {
	t.Helper()
	p, err := grow(t, disk, 300, nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	all := p.watch()
	p.record()
	p.awaitSafe()
	p.end()
	for _, c := range *all {
		p.holdsFrom(c.safe, what+" "+c.what, c.disk)
	}
}
