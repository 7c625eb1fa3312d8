package persist

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// journal is the other side of a Store: it runs on a goroutine of its own, which
// alone touches the image and the segments.
//
//	          write or sync fails                    segment made, snapshot begun
//	up  ─────────────────────────────▶  down  ◀─────────────────────────────────▶  rising
//	 ▲                                          write, sync or snapshot fails          │
//	 └─────────────────────────────────────────────────────────────────────────────────┘
//	                               snapshot safe
//
// After a failure nobody knows what is on the disk, so the segment is never
// touched again (a second sync would say yes to what the first has lost). The image
// has all changes, safe or not; once it is in a snapshot everything is. Until then
// nothing more is said to be safe.
type journal struct {
	o   Options
	enc encoder // has the image

	file    File // the open segment; nil while there is none
	number  uint64
	next    uint64   // of the next segment
	id      uint64   // of the snapshot that is on the disk
	written Position // the newest record in the open segment
	safe    Position
	based   bool      // what the open segment follows is safe
	from    *Recovery // something of which is still to be put aside, or nil
	down    error
	clock   clock // of the newest batch
	said    clock // in the open segment

	size   int64 // of the segments that the snapshot does not have, in bytes
	base   int64 // of the snapshot
	grown  int64 // size at which the next snapshot is due
	saving *save // the snapshot being made
	again  bool  // and one is to follow

	saved   chan saved
	synced  chan error
	syncing bool
	dirty   bool          // something was written since the last sync
	took    time.Duration // to sync the last batch
	ticker  <-chan time.Time
	retry   <-chan time.Time
	backoff time.Duration
}

// save is a snapshot being made.
type save struct {
	image  *Image
	stamp  Stamp
	rising bool // its segment follows nothing that is safe yet
}

// saved is how that went.
type saved struct {
	size int64
	err  error
}

// bufferKept is how much room for records is kept from one batch to the next.
const bufferKept = 4 << 20

// clockStep is how far a clock moves before the journal says so, in milliseconds.
const clockStep = 1000

func newJournal(o Options, r *Recovery) *journal {
	j := &journal{
		o: o, enc: encoder{image: r.Image}, next: r.next, clock: r.clock,
		saved: make(chan saved, 1), synced: make(chan error, 1), backoff: o.RetryFirst,
	}
	j.written, j.safe = r.Image.at, r.Image.at
	if r.snapshot != nil {
		j.id, j.base = r.snapshot.stamp.ID, r.snapshot.size
	}
	for _, s := range r.segments {
		j.size += s.size
	}
	j.grown = j.limit()
	j.setSync(o.Sync)
	return j
}

// begin makes the first segment, and a snapshot where there is none that it could
// follow, or one that the next start would have more work with. It does not, where what was
// found could not be made safe.
func (j *journal) begin(r *Recovery, err error) {
	id := j.id
	redo := !r.whole || len(r.segments) > 0 || r.snapshot != nil && r.snapshot.damage != nil
	if redo {
		id = newID()
	}
	if len(r.aside)+len(r.copied) > 0 {
		j.from = r
	}
	if err == nil {
		err = j.open(id)
	}
	if err != nil {
		j.fail(err)
		j.report(false)
		return
	}
	j.based = r.whole
	if redo {
		j.freeze(id)
	}
}

// newID is a snapshot's, never 0.
func newID() uint64 { return rand.Uint64() | 1 }

// setSync says when a record is safe.
func (j *journal) setSync(to Sync) {
	j.o.Sync, j.ticker = to, nil
	if to != SyncAlways && to != SyncOff {
		j.ticker = time.Tick(time.Duration(to))
	}
}

// run does one thing after the other. Of what is there already it takes the first in an
// order that is always the same, where select would cast lots: so that a simulation repeats.
func (j *journal) run(s *Store) {
	save := func(struct{}) { j.save() }
	for {
		switch {
		case got(s.work, j.take), got(j.saved, j.finish), got(j.synced, j.settle), got(s.syncs, j.setSync), got(s.saves, save):
			continue
		}
		select {
		case b := <-s.work:
			j.take(b)
		case <-s.saves:
			j.save()
		case to := <-s.syncs:
			j.setSync(to)
		case r := <-j.saved:
			j.finish(r)
		case err := <-j.synced:
			j.settle(err)
		case <-j.ticker:
			j.syncBeside()
		case <-j.retry:
			j.save()
		case at := <-s.stop:
			select {
			case b := <-s.work:
				j.take(b)
			default:
			}
			j.close(at)
			return
		}
	}
}

// got does something with what is there to be received.
func got[T any](from <-chan T, do func(T)) bool {
	select {
	case v := <-from:
		do(v)
		return true
	default:
		return false
	}
}

// take has a batch written, and made safe.
func (j *journal) take(b *batch) {
	j.clock = clock{b.now, b.wall}
	if j.file == nil {
		b.tell(j.enc.image)
	} else {
		j.encode(b)
		if err := j.write(); err != nil {
			j.fail(err)
		}
	}
	j.report(true)
	if j.size > j.grown && j.saving == nil && j.file != nil {
		j.save()
	}
}

func (j *journal) encode(b *batch) {
	j.enc.buf = j.enc.buf[:0]
	jumped := (j.clock.wall - j.clock.now) - (j.said.wall - j.said.now)
	if j.clock.now-j.said.now >= clockStep || jumped >= clockStep || jumped <= -clockStep {
		j.said = j.clock
		j.enc.clock(j.clock.now, j.clock.wall)
	}
	b.tell(&j.enc)
	j.written = b.newest
}

func (j *journal) write() error {
	n, err := j.file.Write(j.enc.buf)
	j.size += int64(n)
	if err == nil && n < len(j.enc.buf) {
		err = io.ErrShortWrite
	}
	if cap(j.enc.buf) > bufferKept {
		j.enc.buf = nil
	}
	j.dirty = true
	if err == nil && j.o.Sync == SyncAlways {
		start := time.Now()
		err = j.file.Sync()
		j.dirty, j.took = false, time.Since(start)
	}
	return err
}

// report tells the loop how far everything is safe.
func (j *journal) report(taken bool) {
	if j.based && j.file != nil {
		j.safe = j.written
	}
	j.o.Report(Report{Safe: j.safe, Err: j.down, taken: taken, took: j.took})
	j.took = 0
}

// syncBeside syncs while batches go on being written.
func (j *journal) syncBeside() {
	if j.file == nil || j.syncing || !j.dirty {
		return
	}
	j.syncing, j.dirty = true, false
	f := j.file
	go func() { j.synced <- f.Sync() }()
}

func (j *journal) settle(err error) {
	j.syncing = false
	if err != nil && j.file != nil {
		j.fail(err)
		j.report(false)
	}
}

// keep puts aside what is to be kept of what was found, before anything replaces it.
func (j *journal) keep() error {
	if j.from == nil {
		return nil
	}
	err := j.from.setAside(j.o.Disk)
	if err == nil {
		j.from = nil
	}
	return err
}

// open makes the next segment, which is to follow a snapshot.
func (j *journal) open(snapshot uint64) error {
	if err := j.keep(); err != nil {
		return err
	}
	s := segment{number: j.next, snapshot: snapshot, first: j.enc.image.at + 1, clock: j.clock}
	j.next++
	name := segmentName(j.o.Name, s.number)
	f, err := j.o.Disk.Create(name)
	if err != nil {
		return err
	}
	if err = j.writeHead(f, s); err != nil {
		f.Close()
		j.o.Disk.Remove(name) // as well as it can
		return err
	}
	if j.closeFile() != nil {
		j.based = false
	}
	j.file, j.number, j.said, j.written = f, s.number, s.clock, j.enc.image.at
	return nil
}

func (j *journal) writeHead(f File, s segment) error {
	head := s.append(nil)
	n, err := f.Write(head)
	if err == nil && n < len(head) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.o.Disk.Sync()
	}
	j.size += int64(n)
	return err
}

// closeFile ends the open segment, if there is one. After an error the next does not follow
// what is safe, and a snapshot has to tell.
func (j *journal) closeFile() (err error) {
	if j.file == nil {
		return nil
	}
	if j.syncing {
		err = <-j.synced
		j.syncing = false
	}
	if err == nil && j.dirty && j.o.Sync != SyncOff {
		err = j.file.Sync()
	}
	j.file.Close()
	j.file, j.dirty = nil, false
	return err
}

// fail takes the journal down: what is in its segment is not known any more.
func (j *journal) fail(err error) {
	if j.file != nil {
		f, syncing := j.file, j.syncing
		j.file, j.syncing, j.dirty = nil, false, false
		if syncing {
			<-j.synced
		}
		f.Close()
	}
	j.based = false
	if j.down == nil {
		j.o.Log(Error, fmt.Sprintf("Error: the journal of %s cannot be written: %v. Until it can, nothing is taken that would have to be kept.", j.o.Path, err))
	}
	j.down = err
	if j.saving == nil {
		j.retryLater()
	}
}

func (j *journal) retryLater() {
	j.retry = time.After(j.backoff)
	j.backoff = min(2*j.backoff, j.o.RetryMost)
}

// limit is the size at which the journal makes a snapshot of itself.
func (j *journal) limit() int64 { return max(j.o.Least, 2*j.base) }

// save begins a snapshot, with a segment to follow it; while one is being made
// another is remembered.
func (j *journal) save() {
	if j.saving != nil {
		j.again = true
		return
	}
	id := newID()
	if err := j.open(id); err != nil {
		j.unsaved(err)
		return
	}
	j.freeze(id)
}

// freeze has the image as it is now written beside all else.
func (j *journal) freeze(id uint64) {
	s := &save{j.enc.image.copy(), Stamp{ID: id, Segment: j.number, Now: j.clock.now, Wall: j.clock.wall}, !j.based}
	j.saving, j.retry = s, nil
	j.o.Log(Info, fmt.Sprintf("Saving in-memory database to %s.", j.o.Path))
	o := j.o
	go func() {
		stepBack()
		n, err := SaveSnapshot(o.Disk, o.Name, s.image, s.stamp, false)
		j.saved <- saved{n, err}
	}()
}

// stepBack has the goroutine's thread, which ends with it, run when the others leave
// time for it.
func stepBack() {
	runtime.LockOSThread()
	unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), saveNice) // or it goes as it is
}

// saveNice is the priority of a snapshot, as nice has it.
const saveNice = 10

// finish ends a snapshot: now everything up to it is safe.
func (j *journal) finish(r saved) {
	s := j.saving
	j.saving = nil
	if r.err != nil {
		j.unsaved(r.err)
		if s.rising { // nobody was told that what is in its segment is safe, and nothing can follow it
			j.o.Disk.Remove(segmentName(j.o.Name, s.stamp.Segment)) // as well as it can
		}
	} else {
		j.id, j.base = s.stamp.ID, r.size
		j.safe = max(j.safe, s.image.at)
		j.removeBefore(s.stamp.Segment)
		j.grown = j.limit()
		if j.file != nil {
			j.rise()
		} else {
			j.retryLater()
		}
	}
	j.report(false)
	if j.again {
		j.again = false
		j.save()
	}
}

// rise brings the journal up: its segment follows what is safe.
func (j *journal) rise() {
	j.based, j.backoff = true, j.o.RetryFirst
	if j.down != nil {
		j.down = nil
		j.o.Log(Warning, fmt.Sprintf("The journal of %s can be written again; all that waited for it is safe.", j.o.Path))
	}
}

// unsaved says that there is no snapshot. The journal goes on without, if it can.
func (j *journal) unsaved(err error) {
	if j.down == nil {
		j.o.Log(Error, fmt.Sprintf("Error during saving in-memory database %s: %v", j.o.Path, err))
	}
	j.grown = j.size + j.limit()
	if j.based {
		return
	}
	j.fail(err)
}

// removeBefore removes the segments that a snapshot has.
func (j *journal) removeBefore(number uint64) {
	names, err := j.o.Disk.List()
	if err != nil {
		return // they go the next time
	}
	for _, s := range segmentsOf(j.o.Name, names) {
		if s.number < number {
			j.o.Disk.Remove(s.name)
		}
	}
	j.size = 0
	if j.file != nil {
		if n, err := j.file.Size(); err == nil {
			j.size = n
		}
	}
}

// close writes the last snapshot, and needs no journal then.
func (j *journal) close(at clock) {
	if j.saving != nil {
		j.again = false
		j.finish(<-j.saved)
	}
	j.closeFile()
	j.clock = at // for long there may have been nothing to record
	j.o.Log(Info, fmt.Sprintf("Saving in-memory database to %s.", j.o.Path))
	stamp := Stamp{ID: newID(), Segment: j.next, Now: j.clock.now, Wall: j.clock.wall}
	err := j.keep()
	if err == nil {
		_, err = SaveSnapshot(j.o.Disk, j.o.Name, j.enc.image, stamp, true)
	}
	if err != nil {
		j.o.Log(Error, fmt.Sprintf("Error during saving in-memory database %s: %v", j.o.Path, err))
		return
	}
	j.removeBefore(j.next)
	j.o.Disk.Sync() // lest they come back; if they do, they are known to be old
}
