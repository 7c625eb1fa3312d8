package loop

import (
	"runtime"
	"sort"
	"testing"
	"time"
)

// TestWaitCollector has the collector run while a loop waits behind the
// scheduler's back: it must interrupt the wait, not sit it out. With one
// processor the loop does not wait that way, and helpers must get their turn.
func TestWaitCollector(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run("procs="+string(rune('0'+procs)), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			p := newPoller(t)
			stop, ended := false, make(chan struct{})
			go func() {
				defer close(ended)
				for !stop {
					if _, err := p.Wait(-1); err != nil {
						t.Error(err)
						return
					}
					p.RunMail()
				}
			}()
			const rounds = 50
			took := make([]time.Duration, rounds)
			for i := range took {
				p.Post(func() {}) // so that the loop is in its first, restless wait
				from := time.Now()
				runtime.GC()
				took[i] = time.Since(from)
			}
			p.Post(func() { stop = true })
			<-ended
			sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
			t.Logf("a collection took %v, at most %v", took[rounds/2], took[rounds-1])
			if took[rounds/2] > restless*time.Millisecond {
				t.Errorf("half the collections took more than %v: they waited for the loop", took[rounds/2])
			}
		})
	}
}
