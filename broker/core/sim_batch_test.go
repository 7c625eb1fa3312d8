package core

import (
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// simBatch is seeds that are played one after the other by as many workers as there are
// processors, until one fails.
type simBatch struct {
	mu       sync.Mutex
	mutation *simMutation
	next     uint64
	end      uint64

	done    int
	packets int    // of clients
	seed    uint64 // the first that failed
	err     error
	cpu     time.Duration // of this process, meanwhile
}

// simPlay plays n seeds.
func simPlay(t *testing.T, from uint64, n int, mutation *simMutation) *simBatch {
	b := &simBatch{mutation: mutation, next: from, end: from + uint64(n)}
	begun := simCPU()
	t.Run("seeds", func(t *testing.T) {
		for range min(n, runtime.GOMAXPROCS(0)) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				b.work(t)
			})
		}
	})
	b.cpu = simCPU() - begun
	return b
}

func (b *simBatch) work(t *testing.T) {
	for {
		seed, ok := b.take()
		if !ok {
			return
		}
		w, err := simRun(t, seed, simActs(seed, simLength), b.mutation, false)
		b.played(t, seed, w.packets, err)
	}
}

func (b *simBatch) take() (seed uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == b.end || b.err != nil {
		return 0, false
	}
	b.next++
	return b.next - 1, true
}

// simOften is after how many seeds a long batch says how far it is.
const simOften = 1000

func (b *simBatch) played(t *testing.T, seed uint64, packets int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets += packets
	if b.done++; b.done%simOften == 0 {
		t.Logf("%d seeds are played", b.done)
	}
	if err != nil && (b.err == nil || seed < b.seed) {
		b.seed, b.err = seed, err
	}
}

// simCPU is what this process has used of the processors.
func simCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
