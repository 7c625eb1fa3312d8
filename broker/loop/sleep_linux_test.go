package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asleep has p's next Wait be one that sleeps at once.
func asleep(p *Poller) { p.quiet = true }

// TestSleepMissesNothing: what happens as the goroutine is about to sleep wakes it.
func TestSleepMissesNothing(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	buf := make([]byte, 1)
	for i := range 2000 {
		write := func() { Write(b, []byte("x")) }
		if i%2 == 0 {
			go write()
		} else {
			time.AfterFunc(time.Duration(i)*time.Microsecond/4, write)
		}
		var events []Event
		for len(events) == 0 {
			var err error
			asleep(p)
			events, err = p.Wait(-1)
			must(t, err)
		}
		if n, err := Read(a, buf); n != 1 || err != nil {
			t.Fatalf("round %d: read %d, %v", i, n, err)
		}
	}
}

func TestSleepTakesMail(t *testing.T) {
	p := newPoller(t)
	came := false
	go p.Post(func() { came = true })
	for !came {

		_, err := p.Wait(-1)
		must(t, err)
		p.RunMail()
	}
}

// TestSleepEnds: a bound holds for the sleep it was given for, and no other.
func TestSleepEnds(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	for range 3 {

		events, err := p.Wait(restless + 1)
		must(t, err)
		if len(events) != 0 {
			t.Fatalf("got %v", events)
		}
		if !p.quiet {
			t.Error("the poller takes a long wait for a short one")
		}
		time.AfterFunc((restless+3)*time.Millisecond, func() { Write(b, []byte("x")) })
		if events, err = p.Wait(-1); err != nil || len(events) != 1 {
			t.Fatalf("without a bound: got %v, %v", events, err)
		}
		Read(a, make([]byte, 1))
	}
}

// TestSleepWatchesOnlyAsleep: a loop that is awake is not watched by the runtime, which
// would wake a thread for each of its events.
func TestSleepWatchesOnlyAsleep(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	for _, woken := range []bool{true, false} {

		timeout := restless + 1
		if woken {
			go Write(b, []byte("x"))
			timeout = -1
		}
		_, err := p.Wait(timeout)
		must(t, err)
		Write(b, []byte("y"))
		var told [1]unix.EpollEvent
		if n, err := unix.EpollWait(p.sleeper.outer, told[:], 0); n != 0 || err != nil {
			t.Errorf("woken %v: the runtime would be told of %d events, %v", woken, n, err)
		}
		Read(a, make([]byte, 8))
	}
}

// BenchmarkSleep is the CPU of the whole process for a wake-up after a long wait.
func BenchmarkSleep(b *testing.B) {
	p := newPoller(b)
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &before)
	for b.Loop() {
		time.AfterFunc(4*restless*time.Millisecond, func() { p.Post(func() {}) })
		p.Wait(-1)
		p.RunMail()
	}
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &after)
	b.ReportMetric(float64(after.Nano()-before.Nano())/1000/float64(b.N), "cpu-µs/op")
	b.ReportMetric(0, "ns/op")
}
