package persist

import (
	"errors"
	"math"
	"syscall"
	"time"
)

// Store is the journal as the loop sees it: a Recorder whose changes are written,
// made safe and put into snapshots on another goroutine. All methods are for the
// loop's goroutine, and none waits for the disk but Start and Close.
//
//	loop                                    journal's goroutine
//	changes of a turn ──▶ batch ──Hand──▶   encode, image, write, sync
//	core.Synced ◀──── Done ◀──Report────    safe up to here
//
// One batch is on its way at a time. What comes meanwhile is the next, so that the
// slower the disk, the more goes into one sync. After one of many records the next batch
// waits for a quarter of its time, in which those who were just answered say what they
// have next; else they and the others would take turns, with half of them in each sync.
//
// What the journal may owe is bounded by who fills it: when Backlog is above what
// is wanted, nothing should be read from those whose packets make records.
type Store struct {
	*batch // being filled

	spare   *batch
	sent    *batch // on its way; nil when there is none
	changes int    // that autosave_on_changes counts
	rest    Time   // nothing is handed over before
	took    time.Duration
	work    chan *batch
	saves   chan struct{}
	syncs   chan Sync
	stop    chan clock
	stopped chan struct{}

	journal *journal // not the loop's once it is started
	from    *Recovery
}

// Options of a Store.
type Options struct {
	Disk Disk
	Name string // of the snapshot's file; the journal's are named after it
	Path string // the same for the log
	Sync Sync

	// Report and Log are called on the journal's goroutine and must not block. What
	// Report is given is for Done, on the loop's.
	Report func(Report)
	Log    func(Level, string)

	Least      int64         // the journal's size in bytes below which it makes no snapshot of itself; 0: 64 MiB
	RetryFirst time.Duration // after which a failed disk is tried again, doubled up to RetryMost; 0: a second
	RetryMost  time.Duration // 0: a minute
}

// Sync says when a record is safe.
type Sync time.Duration

// The values of Sync; others are a time after which what was written is synced,
// while it is held to be safe when it is written.
const (
	SyncAlways Sync = 0             // when it is synced
	SyncOff    Sync = math.MaxInt64 // when it is written
)

// Report says how far the journal is.
type Report struct {
	Safe  Position
	Err   error         // nil: it works. Else nothing becomes safe until a later Report says so
	taken bool          // the batch on its way was taken
	took  time.Duration // to sync it
}

// NoSpace says that an error is for want of room on the disk.
func NoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// NewStore takes changes in, to go on from what Recover found once it is started.
func NewStore(o Options, r *Recovery) *Store {
	if o.Least == 0 {
		o.Least = 64 << 20
	}
	if o.RetryFirst == 0 {
		o.RetryFirst = time.Second
	}
	if o.RetryMost == 0 {
		o.RetryMost = time.Minute
	}
	return &Store{
		batch: new(batch), spare: new(batch),
		work: make(chan *batch, 1), saves: make(chan struct{}, 1), syncs: make(chan Sync, 1),
		stop: make(chan clock), stopped: make(chan struct{}),
		journal: newJournal(o, r), from: r,
	}
}

// Start begins to write. The image that was recovered is the store's from now on. It
// waits until the disk has what was found, of which clients may be told then.
// What is there to be put aside is, in the background as all else.
func (s *Store) Start() {
	err := error(nil)
	if s.journal.o.Sync != SyncOff {
		err = s.from.settle(s.journal.o.Disk)
	}
	go func() {
		defer close(s.stopped)
		s.journal.begin(s.from, err)
		s.from = nil
		s.journal.run(s)
	}()
}

// Hand gives what was recorded to the journal, unless it is still busy with what it was
// given before; then it gets it later: after Done, or at the time that is returned, which
// may be Never. now and wall are this instant on the broker's clock and, in Unix
// milliseconds, the machine's.
func (s *Store) Hand(now Time, wall int64) (again Time) {
	if s.took > 0 { // since Done
		s.rest = now + min(s.took/4, restMax).Milliseconds()
		s.took = 0
	}
	if s.sent != nil || s.empty() {
		return Never
	}
	if now < s.rest {
		return s.rest
	}
	s.batch.now, s.batch.wall = now, wall
	s.changes += s.batch.saves
	s.sent, s.batch, s.spare = s.batch, s.spare, nil
	s.work <- s.sent
	return Never
}

const (
	restMax   = 10 * time.Millisecond // the longest that a batch waits for more to come
	restLeast = 8                     // records in the batch before it, for it to wait
)

// Done takes note of a Report. Hand may have something to do then.
func (s *Store) Done(r Report) {
	if r.taken && s.sent != nil {
		if s.sent.records >= restLeast {
			s.took = r.took
		}
		s.sent.reset()
		s.spare, s.sent = s.sent, nil
	}
}

// Backlog is about how many bytes are still to be written.
func (s *Store) Backlog() int {
	n := s.batch.size
	if s.sent != nil {
		n += s.sent.size
	}
	return n
}

// Changes is how many there were, as autosave_on_changes counts them.
func (s *Store) Changes() int { return s.changes }

// Save has a snapshot made, after the one that is being made, if any.
func (s *Store) Save() {
	select {
	case s.saves <- struct{}{}:
	default: // one is remembered
	}
}

// SetSync says from now on when a record is safe.
func (s *Store) SetSync(to Sync) {
	select {
	case <-s.syncs: // one that was not looked at
	default:
	}
	s.syncs <- to
}

// Close writes all that is left and a last snapshot, and waits for it. The next start goes
// on from this instant.
func (s *Store) Close(now Time, wall int64) {
	s.batch.now, s.batch.wall = now, wall
	if !s.empty() {
		s.work <- s.batch // the one before is being taken, or was
	}
	s.stop <- clock{now, wall}
	<-s.stopped
}
