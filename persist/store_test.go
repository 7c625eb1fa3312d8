package persist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// plant is a store on a simulated disk, with a twin that knows what the state was
// at each position.
type plant struct {
	*testing.T
	*Store
	disk    *memory
	random  *random
	tw      *twin
	states  map[Position][]string
	pos     Position
	reports chan Report
	last    Report
	safe    atomic.Uint64 // last.Safe
	said    *said
}

// said is a log.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) log(_ Level, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

const plantName = "mosquitto.db"

// grow recovers what is on the disk and goes on from it. It gives nil when that is
// not to be had.
func grow(t *testing.T, disk *memory, seed uint64, change func(*Options)) (*plant, error) {
	t.Helper()
	r, err := Recover(disk, plantName, nil)
	if err != nil {
		return nil, err
	}
	p := &plant{T: t, disk: disk, tw: newTwin(), states: map[Position][]string{},
		reports: make(chan Report, 1000), said: new(said)}
	o := Options{
		Disk: disk, Name: plantName, Path: plantName, RetryFirst: time.Millisecond, RetryMost: 2 * time.Millisecond,
		Report: func(r Report) { p.reports <- r },
		Log:    p.said.log,
	}
	if change != nil {
		change(&o)
	}
	p.pos = r.Image.Position()
	p.states[p.pos] = r.Image.lines()
	p.last.Safe = p.pos
	p.safe.Store(uint64(p.pos))
	r.Image.tellAll(p.tw)
	number := r.Image.Number()
	p.Store = NewStore(o, r)
	p.Store.Start()
	p.random = &random{rnd: rand.New(rand.NewPCG(seed, 4)), number: number, to: []Recorder{p.tw, p.Store}}
	return p, nil
}

// tellAll reports all there is.
func (im *Image) tellAll(to Recorder) {
	for m := range im.Retained() {
		to.Retain(m)
	}
	for s := range im.Sessions() {
		to.Session(*s)
		id := s.ClientID
		for sub := range im.SubscriptionsOf(id) {
			to.Subscribe(sub)
		}
		for d := range im.Deliveries(id) {
			to.Deliver(id, d)
		}
		for mid, m := range im.Incoming(id) {
			to.Receive(id, mid, m)
		}
		if w := im.WillOf(id); w != nil {
			to.Will(id, w)
		}
		for n, c := range im.Cursors(id) {
			to.Cursor(id, n, *c)
		}
	}
}

// record makes a record of a few changes.
func (p *plant) record() {
	for range 1 + p.random.rnd.IntN(4) {
		p.random.change()
	}
	p.pos++
	p.Commit(p.pos)
	p.states[p.pos] = p.tw.lines()
}

func (p *plant) hand() { p.Hand(Time(p.pos)*10, int64(p.pos)*10+5000) }

// look takes in the reports there are.
func (p *plant) look() {
	for {
		select {
		case r := <-p.reports:
			p.heed(r)
		default:
			return
		}
	}
}

func (p *plant) heed(r Report) {
	if r.Safe < p.last.Safe {
		p.Errorf("safe went back from %d to %d", p.last.Safe, r.Safe)
	}
	p.last = r
	p.safe.Store(uint64(r.Safe))
	p.Done(r)
}

// await takes in reports until there is one as wanted.
func (p *plant) await(what string, ok func(Report) bool) {
	p.Helper()
	late := time.After(10 * time.Second)
	for !ok(p.last) {
		select {
		case r := <-p.reports:
			p.heed(r)
			p.hand()
		case <-late:
			p.Fatalf("waiting for %s: at %d, last report %+v", what, p.pos, p.last)
		}
	}
}

func (p *plant) awaitSafe() {
	p.Helper()
	p.hand()
	p.await("safety", func(r Report) bool { return r.Err == nil && r.Safe >= p.pos })
}

// holds fails unless a disk has a state that lies between what was said to be safe
// and what was attempted.
func (p *plant) holds(what string, disk *memory) { p.holdsFrom(p.last.Safe, what, disk) }

func (p *plant) holdsFrom(safe Position, what string, disk *memory) {
	p.Helper()
	r, err := Recover(disk, plantName, nil)
	if err != nil {
		p.Fatalf("%s: %v", what, err)
	}
	have := r.Image.lines()
	for pos := safe; pos <= p.pos; pos++ {
		if want, ok := p.states[pos]; ok && slices.Equal(have, want) {
			return
		}
	}
	p.Errorf("%s: recovered what is none of the states from %d to %d", what, safe, p.pos)
	for _, n := range r.Notes {
		p.Log(n.Text)
	}
	same(p.T, what, have, p.states[safe])
}

// end lets the store come to its end, whatever its disk says.
func (p *plant) end() { p.endAt(Time(p.pos)*10, int64(p.pos)*10+5000) }

func (p *plant) endAt(now Time, wall int64) {
	done := make(chan struct{})
	go func() { p.Close(now, wall); close(done) }()
	for {
		select {
		case <-p.reports:
		case <-done:
			return
		}
	}
}

// life is what a store goes through in the tests: records in groups, with
// snapshots in between.
func (p *plant) life(groups int) {
	for i := range groups {
		for range 1 + p.random.rnd.IntN(3) {
			p.record()
		}
		p.hand()
		if i%5 == 3 {
			p.Save()
		}
		if i%2 == 0 {
			select {
			case r := <-p.reports:
				p.heed(r)
			case <-time.After(50 * time.Millisecond):
			}
		}
		p.look()
	}
}

// TestStoreGoesOn: a state survives clean stops, kills and losses of power.
func TestStoreGoesOn(t *testing.T) {
	disk := newMemory()
	for i := range uint64(12) {
		p, err := grow(t, disk, i, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.life(20)
		p.awaitSafe()
		switch i % 3 {
		case 0:
			p.end()
			disk = disk.kill()
			if names, _ := disk.List(); !slices.Equal(names, []string{plantName}) {
				t.Errorf("a clean stop leaves %q", names)
			}
		case 1:
			disk = disk.kill()
		case 2:
			disk = disk.lose(0)
		}
		p.holds(fmt.Sprint("life ", i), disk)
		if i%3 != 0 {
			p.end()
		}
	}
}

// TestStoreStopClock: after a clean stop the clock goes on from the stop, no matter when
// something was recorded last, if ever, and whether the machine's was set back.
func TestStoreStopClock(t *testing.T) {
	for _, records := range []int{0, 1} {
		disk := newMemory()
		p, err := grow(t, disk, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range records {
			p.record()
			p.hand()
			p.awaitSafe()
		}
		p.endAt(7_000_000, 9_000_000)
		r, err := Recover(disk.kill(), plantName, nil)
		if err != nil {
			t.Fatal(err)
		}
		if later, back := r.Now(9_000_010), r.Now(1000); later != 7_000_010 || back != 7_000_000 {
			t.Errorf("%d records: the clock goes on at %d, and at %d where the machine's was set back", records, later, back)
		}
	}
}

// TestStoreBegins: a start that ends at any call of the disk leaves nothing behind that
// the journal of the next one could be mistaken for.
func TestStoreBegins(t *testing.T) {
	for n := 1; n < 12; n++ {
		for _, kill := range []func(*memory) *memory{(*memory).kill, func(m *memory) *memory { return m.lose(1) }} {
			disk := stoppedDisk(t)
			disk.failAt, disk.failFor = disk.calls+n, 1<<30
			if p, err := grow(t, disk, 1, nil); err == nil {
				p.record()
				p.hand()
				p.end()
			}
			disk = kill(disk)
			p, err := grow(t, disk, 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.record()
			p.awaitSafe()
			p.holds(fmt.Sprint("call ", n), disk.now().lose(0))
			p.end()
		}
	}
}

// fullDisk has no room for a snapshot, nor for the first segment.
type fullDisk struct {
	*memory
	full  bool
	tried chan string // snapshots
}

func (d *fullDisk) Create(name string) (File, error) {
	if strings.HasSuffix(name, ".new") {
		d.tried <- name
		return nil, syscall.ENOSPC
	}
	if !d.full { // asked on the journal's goroutine alone
		d.full = true
		return nil, syscall.ENOSPC
	}
	return d.memory.Create(name)
}

// TestStoreNeverBegun: where no snapshot was ever made, the next start misses none.
func TestStoreNeverBegun(t *testing.T) {
	disk := &fullDisk{memory: newMemory(), tried: make(chan string, 100)}
	p, err := grow(t, disk.memory, 1, func(o *Options) { o.Disk = disk })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.record()
		p.hand()
		<-disk.tried
	}
	p.end()
	r, err := Recover(disk.kill(), plantName, nil)
	if err != nil || len(r.Notes) > 0 || !r.Empty() {
		t.Errorf("the next start: %v, %v", err, r.Notes)
	}
}

// stoppedDisk is a disk after a clean stop.
func stoppedDisk(t *testing.T) *memory {
	disk := newMemory()
	p, err := grow(t, disk, 97, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.life(3)
	p.awaitSafe()
	p.end()
	return disk.kill()
}

// TestStoreDisk: whatever call of the disk fails, for once or for a while, the store
// goes on when it works again, and what it said was safe is: after a kill, and after
// a loss of power that tore what was not synced. With three and four calls a snapshot
// and the journal fail together, and the disk works again when the segment between
// them could be taken away, of which clients were told.
func TestStoreDisk(t *testing.T) {
	for _, mode := range []struct {
		name   string
		length int
		short  bool
	}{{"once", 1, false}, {"once, half written", 1, true}, {"three times", 3, false}, {"four times", 4, false}, {"for a while", 7, true}} {
		t.Run(mode.name, func(t *testing.T) {
			for n := 1; ; n++ {
				disk := before(t)
				start := disk.calls
				p, err := grow(t, disk, uint64(n), nil)
				if err != nil {
					t.Fatal(err)
				}
				disk.mu.Lock()
				disk.failAt, disk.failFor, disk.short = start+n, mode.length, mode.short
				disk.mu.Unlock()
				p.life(12)
				disk.mu.Lock()
				over := disk.calls < disk.failAt
				disk.mu.Unlock()
				now := disk.now()
				p.holds(fmt.Sprint("call ", n, ", killed"), now.kill())
				for _, more := range []int{0, 1, 30, 200} {
					p.holds(fmt.Sprintf("call %d, power lost, %d bytes more", n, more), now.lose(more))
				}
				p.awaitSafe()
				p.holds(fmt.Sprint("call ", n, ", in the end"), disk.now().lose(0))
				p.end()
				if over {
					t.Logf("%d calls", n)
					return
				}
			}
		})
	}
}

// before is a disk with a snapshot and a segment on it.
func before(t *testing.T) *memory {
	disk := newMemory()
	p, err := grow(t, disk, 99, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.life(6)
	p.awaitSafe()
	p.end()
	disk = disk.kill()
	p, err = grow(t, disk, 98, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.life(2)
	p.awaitSafe()
	disk = disk.kill()
	p.end()
	return disk
}

// TestStoreTorn: a journal that ends anywhere gives a state that was there once, and
// everything that the whole records before tell.
func TestStoreTorn(t *testing.T) {
	disk := before(t)
	p, err := grow(t, disk, 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.awaitSnapshot()
	for range 30 {
		p.record()
		p.awaitSafe()
	}
	now := disk.now()
	p.end()
	name := newestSegment(now)
	whole := now.names[name].data
	states := map[string]bool{}
	for n := range len(whole) + 1 {
		now.names[name].data = whole[:n]
		r, err := Recover(now, plantName, nil)
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		have := r.Image.lines()
		if want := p.states[r.Image.Position()]; n >= segmentHead && !slices.Equal(have, want) {
			t.Fatalf("cut to %d of %d bytes: position %d has another state", n, len(whole), r.Image.Position())
		}
		states[strings.Join(have, "\n")] = true
		if torn := n >= segmentHead && r.segments[len(r.segments)-1].good < int64(n); torn != (len(r.Notes) > 0) {
			t.Fatalf("cut to %d bytes, torn %t, said %q", n, torn, r.Notes)
		}
	}
	if len(states) < 20 {
		t.Errorf("only %d states", len(states))
	}
}

func newestSegment(m *memory) string {
	names, _ := m.List()
	list := segmentsOf(plantName, names)
	return list[len(list)-1].name
}

// awaitSnapshot waits until the snapshot of the start has replaced the old segments.
func (p *plant) awaitSnapshot() {
	p.Helper()
	for range 2000 {
		p.disk.mu.Lock()
		n := 0
		for name := range p.disk.names {
			if segmentNumber(plantName, name) > 0 {
				n++
			}
		}
		p.disk.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	p.Fatal("no snapshot was made")
}

// TestStoreDown: while the disk is full nothing is safe, and it is said once; then
// all that came meanwhile is.
func TestStoreDown(t *testing.T) {
	disk := newMemory()
	p, err := grow(t, disk, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.record()
	p.awaitSafe()
	disk.mu.Lock()
	disk.failAt, disk.failFor, disk.err = disk.calls+1, 1<<30, syscall.ENOSPC
	disk.mu.Unlock()
	safe := p.last.Safe
	for range 50 {
		p.record()
		p.hand()
		p.await("an answer", func(Report) bool { return p.batch.empty() || p.sent == nil })
	}
	p.await("the error", func(r Report) bool { return errors.Is(r.Err, syscall.ENOSPC) })
	if p.last.Safe != safe {
		t.Errorf("%d is safe on a full disk", p.last.Safe)
	}
	disk.mu.Lock()
	disk.failAt = 0
	disk.mu.Unlock()
	p.awaitSafe()
	now := disk.now()
	p.holds("after it", now.lose(0))
	p.end()
	down, up := 0, 0
	for _, line := range p.said.lines {
		if strings.Contains(line, "cannot be written") {
			down++
		}
		if strings.Contains(line, "can be written again") {
			up++
		}
	}
	if down != 1 || up != 1 {
		t.Errorf("said %d times that it is down, %d times that it is up", down, up)
	}
}

// TestStoreModes: without waiting for syncs, what was written survives a kill.
func TestStoreModes(t *testing.T) {
	for _, mode := range []Sync{SyncOff, Sync(5 * time.Millisecond)} {
		disk := newMemory()
		p, err := grow(t, disk, 1, func(o *Options) { o.Sync = mode })
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			p.record()
			p.awaitSafe()
		}
		name := newestSegment(disk)
		if mode != SyncOff {
			for range 1000 {
				disk.mu.Lock()
				n := disk.names[name]
				done := n.synced == len(n.data)
				disk.mu.Unlock()
				if done {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		disk.mu.Lock()
		n := disk.names[name]
		if synced := n.synced == len(n.data); synced != (mode != SyncOff) {
			t.Errorf("mode %v: synced is %t", mode, synced)
		}
		disk.mu.Unlock()
		p.holds(fmt.Sprint("mode ", mode), disk.now())
		p.end()
	}
}

// TestStoreGrows: the journal makes a snapshot of itself before it grows too large.
func TestStoreGrows(t *testing.T) {
	disk := newMemory()
	p, err := grow(t, disk, 1, func(o *Options) { o.Least = 5000 })
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		p.record()
		p.awaitSafe()
		disk.mu.Lock()
		n := 0
		for name, f := range disk.names {
			if segmentNumber(plantName, name) > 0 {
				n += len(f.data)
			}
		}
		base := 0
		if f := disk.names[plantName]; f != nil {
			base = len(f.data)
		}
		disk.mu.Unlock()
		if n > 4*max(5000, base) {
			t.Fatalf("the journal has %d bytes, the snapshot %d", n, base)
		}
	}
	if disk.names[plantName] == nil {
		t.Error("there is no snapshot")
	}
	p.end()
}

// TestStoreCloseFails: a segment whose last sync fails when the next one follows it is in a
// snapshot before anything more is safe.
func TestStoreCloseFails(t *testing.T) {
	disk := newMemory()
	p, err := grow(t, disk, 1, func(o *Options) { o.Sync = Sync(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	p.record()
	p.awaitSafe()
	disk.mu.Lock()
	disk.failAt, disk.failFor = disk.calls+5, 3 // behind the next segment's four; with the close, and the snapshot's first
	disk.mu.Unlock()
	p.Save()
	p.await("the failure", func(r Report) bool { return r.Err != nil })
	p.await("the end of it", func(r Report) bool { return r.Err == nil })
	p.holds("power lost", disk.now().lose(0))
	p.end()
}
