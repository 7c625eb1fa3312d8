package loop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRTMin has threads of every kind busy while the signal comes a thousand
// times: each is told, and nothing else happens.
func TestRTMin(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := NewRTMin()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := p.Add(r.FD(), Readable); err != nil {
		t.Fatal(err)
	}
	if r.Came() {
		t.Error("it came before it was sent")
	}
	stop := busy(runtime.GOMAXPROCS(0) + 2)
	for i := range 1000 {
		if err := syscall.Kill(syscall.Getpid(), SIGRTMIN); err != nil {
			t.Fatal(err)
		}
		arrives(t, p, r, i)
	}
	stop()
	if r.Came() {
		t.Error("one came more often than it was sent")
	}
}

// arrives waits for the signal.
func arrives(t *testing.T, p *Poller, r *RTMin, i int) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); {
		events, err := p.Wait(1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if int(e.FD) == r.FD() && r.Came() {
				return
			}
		}
	}
	t.Fatalf("signal %d does not arrive", i)
}

// busy keeps n goroutines computing, allocating and calling the system, on new
// threads now and then, until stop is called.
func busy(n int) (stop func()) {
	var over atomic.Bool
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !over.Load() {
				switch i % 3 {
				case 0:
					_ = make([]byte, 100_000)
				case 1:
					syscall.Nanosleep(&syscall.Timespec{Nsec: 1000}, nil)
				case 2:
					ended := make(chan bool)
					go func() {
						runtime.LockOSThread() // the thread ends with it
						close(ended)
					}()
					<-ended
				}
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}

// TestRTMinClosed: afterwards the signal does nothing, least of all harm.
func TestRTMinClosed(t *testing.T) {
	for range 10 {
		r, err := NewRTMin()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := syscall.Kill(syscall.Getpid(), SIGRTMIN); err != nil {
			t.Fatal(err)
		}
	}
}
