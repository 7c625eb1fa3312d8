package loop

import (
	"os"
	"runtime"
	"sort"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWaitCollector has the collector run while a loop waits behind the
// scheduler's back: it must interrupt the wait, not sit it out. So too where all
// threads share one processor.
func TestWaitCollector(t *testing.T) {
	for _, cpus := range []int{1, 2} {
		t.Run("processors="+strconv.Itoa(cpus), func(t *testing.T) {
			confine(t, cpus)
			runtime.GOMAXPROCS(cpus)
			p := newPoller(t)
			if n := runtime.GOMAXPROCS(0); n < 2 {
				t.Fatalf("Go has %d processor for the loop and its helpers", n)
			}
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

// confine has all threads of the process run on n of the processors at most, as
// long as the test runs.
func confine(t *testing.T, n int) {
	var before, few unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &before))
	for cpu := 0; few.Count() < min(n, before.Count()); cpu++ {
		if before.IsSet(cpu) {
			few.Set(cpu)
		}
	}
	procs := runtime.GOMAXPROCS(0)
	everyThread(t, &few)
	t.Cleanup(func() {
		everyThread(t, &before)
		runtime.GOMAXPROCS(procs)
	})
}

func everyThread(t *testing.T, set *unix.CPUSet) {
	threads, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		must(t, err)
		if err := unix.SchedSetaffinity(tid, set); err != nil && err != unix.ESRCH { // it may have ended
			t.Fatal(err)
		}
	}
}
