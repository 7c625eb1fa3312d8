package broker

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"midge/broker/core"
	"midge/packet"
)

var (
	barRetained = flag.Int("bar", 0, "measure a snapshot of so many retained messages")
	barQuiet    = flag.Duration("bar-quiet", time.Minute, "how long the time before it is")
	barPing     = flag.String("bar-ping", "", "ping the broker at this address until the standard input ends, and print how long each took")
)

// bar watches the loop while it turns.
type bar struct {
	longest atomic.Int64 // CPU of one turn, in ns
	peak    atomic.Int64 // memory, in KiB
	pings   chan time.Duration
}

// TestSnapshotBar measures what others notice of a snapshot: the loop's longest turn,
// the answers to PINGREQ, and the process's memory, beside the time before it. The
// state is -bar retained messages and a tenth of that queued, with 1,000 changes a
// second. It prints a table for testdata/bench.
func TestSnapshotBar(t *testing.T) {
	if *barRetained == 0 {
		t.Skip("a measurement: -bar 1000000 makes it")
	}
	b := &bar{pings: make(chan time.Duration, 1<<20)}
	in := serveTurning(t, "max_queued_messages 0\nautosave_interval 0\nsys_interval 0", b.turn)
	b.fill(in, *barRetained)
	stop := make(chan struct{})
	var helpers sync.WaitGroup
	helpers.Go(func() { b.change(in, *barRetained, stop) })
	helpers.Go(func() { b.ping(in, stop) })
	helpers.Go(func() { b.watchMemory(stop) })
	time.Sleep(time.Second)
	debug.FreeOSMemory()

	b.reset()
	time.Sleep(*barQuiet)
	quiet := b.row("the time before")
	before := b.peak.Load()
	b.reset()
	start := time.Now()
	in.ask(func() { in.db.save() })
	for old := modified(in); modified(in) == old; {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(start)
	busy := b.row("the snapshot")
	close(stop)
	helpers.Wait()
	fmt.Printf("| meanwhile | longest turn, ms of CPU | PINGREQ, median, ms | p99, ms | longest, ms | memory at most, MiB |\n| --- | ---: | ---: | ---: | ---: | ---: |\n%s\n%s\n", quiet, busy)
	t.Logf("%v, memory %.2f of what it was", took, float64(b.peak.Load())/float64(before))
}

// modified is when the file was written last.
func modified(in *inside) (at time.Time) {
	if info, err := os.Stat(in.conf.PersistencePath()); err == nil {
		at = info.ModTime()
	}
	return at
}

// turn is one turn of the loop, measured.
func (b *bar) turn(s *Server) error {
	before := threadCPU()
	err := s.turn()
	if took := threadCPU() - before; took > b.longest.Load() {
		b.longest.Store(took)
	}
	return err
}

func threadCPU() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano()
}

func (b *bar) fill(in *inside, n int) {
	in.join("queue", packet.V311, false).subscribe("q/#", 1)
	w := in.join("fill", packet.V311, true)
	const batch = 1000
	var buf []byte
	for i := range n {
		m := publishing(barTopic(i), strings.Repeat("x", 100), 0, 0)
		m.Retain = true
		if buf = m.Append(buf, w.v); i%10 == 0 {
			buf = publishing("q/1", strings.Repeat("y", 100), 1, uint16(i/10%60000)+1).Append(buf, w.v)
		}
		if i%batch == batch-1 {
			w.Write(buf)
			buf = buf[:0]
			for range batch / 10 {
				w.expect(packet.Puback, 0)
			}
		}
	}
}

func barTopic(i int) string { return fmt.Sprintf("site/%d/device/%d/value", i%1000, i/1000) }

// change has a retained message replaced every millisecond, and a message queued now and
// then.
func (b *bar) change(in *inside, n int, stop chan struct{}) {
	w := in.join("change", packet.V311, true)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := uint16(0); ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		for j := range uint16(10) {
			m := publishing(barTopic(rnd.IntN(n)), strings.Repeat("z", 100), 1, i%1000*10+j+1)
			if m.Retain = j > 0; !m.Retain {
				m.Topic = []byte("q/1")
			}
			w.send(m)
		}
		for range 10 {
			w.expect(packet.Puback, 0)
		}
	}
}

// ping has a process of its own ping, which shares no processor of Go's with the broker.
func (b *bar) ping(in *inside, stop chan struct{}) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSnapshotPing$", "-test.timeout=0", "-bar-ping="+in.addr)
	end, err := cmd.StdinPipe()
	if err != nil {
		in.Error(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		in.Error(err)
		return
	}
	go func() {
		<-stop
		end.Close()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if took, err := time.ParseDuration(lines.Text()); err == nil {
			b.pings <- took
		}
	}
	if err := cmd.Wait(); err != nil {
		in.Errorf("the client that pings: %v", err)
	}
}

// TestSnapshotPing is the process that pings for TestSnapshotBar.
func TestSnapshotPing(t *testing.T) {
	if *barPing == "" {
		t.Skip("it is started by TestSnapshotBar")
	}
	end := make(chan struct{})
	go func() {
		os.Stdin.Read(make([]byte, 1))
		close(end)
	}()
	w := (&inside{T: t, addr: *barPing}).join("ping", packet.V311, true)
	for {
		select {
		case <-end:
			return
		case <-time.After(2 * time.Millisecond):
		}
		start := time.Now()
		w.send(&packet.Packet{Type: packet.Pingreq})
		w.expect(packet.Pingresp, 0)
		fmt.Println(time.Since(start))
	}
}

func (b *bar) watchMemory(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		var size, resident int64
		data, _ := os.ReadFile("/proc/self/statm")
		fmt.Sscan(string(data), &size, &resident)
		if kib := resident * int64(os.Getpagesize()) >> 10; kib > b.peak.Load() {
			b.peak.Store(kib)
		}
	}
}

func (b *bar) reset() {
	b.longest.Store(0)
	b.peak.Store(0)
	for len(b.pings) > 0 {
		<-b.pings
	}
}

// row is what was measured since reset.
func (b *bar) row(what string) string {
	var all []time.Duration
	for len(b.pings) > 0 {
		all = append(all, <-b.pings)
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.2f | %d |", what, ms(time.Duration(b.longest.Load())),
		ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1]), b.peak.Load()>>10)
}

// serveTurning is serveInside with a turn of the test's own.
func serveTurning(t *testing.T, text string, turn func(*Server) error) *inside {
	return serveBy(t, text, func(s *Server) int {
		runtime.LockOSThread()
		p := s.plan(s.conf)
		if err := p.prepare(); err != nil {
			return report(s.log, err)
		}
		s.guardDoors()
		if err := s.bind(p); err != nil {
			return ExitFailed
		}
		s.install(p, s.now())
		for !s.stopping {
			if err := turn(s); err != nil {
				s.log.Logf(core.LogError, "Error: %v", err)
				return ExitFailed
			}
		}
		return ExitOK
	})
}
