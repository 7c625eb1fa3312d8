package core

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"

	"midge/persist"
)

// simDisk is a persist.Disk whose every call waits until the simulation lets it go
// on, so that a broker can be killed, or lose its power, in front of each of them.
// A loss of power takes what was not synced: of a file the bytes behind the last
// sync, but for some of them; of the names that were made, moved or removed
// since the folder's sync any.
type simDisk struct {
	mu      sync.Mutex
	names   map[string]*simFile // as the broker sees them
	durable map[string]*simFile // as of the folder's last sync
	waiting []*simCall
	open    bool     // calls need not wait
	dead    bool     // the broker is gone: nothing works any more
	failing int      // as many of the next calls fail, for want of room
	flaky   *simDice // by which others fail now and then; nil: none
	steady  bool     // not now
	failed  int      // calls, of all disks before as well
}

// simFile is a file's contents.
type simFile struct {
	data   []byte
	synced int  // bytes of it
	old    bool // an earlier broker wrote it, or a call failed
	lost   bool // a sync failed: no other is of use to who wrote it
}

// simCall is one that waits.
type simCall struct {
	what string
	let  chan struct{}
}

var errSimDead = errors.New("the process is dead")

func newSimDisk() *simDisk {
	return &simDisk{names: map[string]*simFile{}, durable: map[string]*simFile{}}
}

// enter waits for leave to go on. It returns with the disk locked where err is nil.
func (d *simDisk) enter(what string) error {
	d.mu.Lock()
	if !d.open && !d.dead {
		c := &simCall{what, make(chan struct{})}
		d.waiting = append(d.waiting, c)
		d.mu.Unlock()
		<-c.let
		d.mu.Lock()
	}
	err := error(nil)
	switch {
	case d.dead:
		err = errSimDead
	case d.failing > 0:
		d.failing--
		d.failed++
		err = syscall.ENOSPC
	case d.breaks():
		err = syscall.EIO
	}
	if err != nil {
		d.mu.Unlock()
	}
	return err
}

// simFlaky is one in how many calls of a flaky disk fails.
const simFlaky = 200

// breaks says that the call at hand fails.
func (d *simDisk) breaks() bool {
	if d.flaky == nil || d.steady || d.flaky.n(simFlaky) > 0 {
		return false
	}
	d.failed++
	return true
}

// setSteady has no call fail that is not to for want of room, or has them again.
func (d *simDisk) setSteady(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steady = yes
}

// failures is how many calls have failed.
func (d *simDisk) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// let has one of the waiting calls go on, and says which.
func (d *simDisk) let(pick int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return ""
	}
	slices.SortStableFunc(d.waiting, func(a, b *simCall) int { return cmp.Compare(a.what, b.what) })
	i := pick % len(d.waiting)
	c := d.waiting[i]
	d.waiting = slices.Delete(d.waiting, i, i+1)
	close(c.let)
	return c.what
}

// fail has as many of the next calls fail.
func (d *simDisk) fail(calls int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = calls
}

// works says that no call is to fail.
func (d *simDisk) works() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failing == 0
}

// unsynced says that a loss of power may take something of the journal, and whether all
// that is of segments which may not be needed any more.
func (d *simDisk) unsynced() (some, old bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old = true
	for name, f := range d.names {
		if isSegment(name) && (f.synced < len(f.data) || d.durable[name] != f) {
			some, old = true, old && f.old
		}
	}
	return some, some && old
}

// isSegment says that a file is one of the journal's, and not a copy that is kept of one.
func isSegment(name string) bool {
	_, number, found := strings.Cut(name, ".journal.")
	return found && strings.Trim(number, "0123456789") == ""
}

// idle says that no call waits.
func (d *simDisk) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting) == 0
}

// letAll has all calls go on, those to come as well.
func (d *simDisk) letAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = true
	for _, c := range d.waiting {
		close(c.let)
	}
	d.waiting = nil
}

// kill ends the process that uses the disk, and gives the disk that the next one
// finds. With a loss of power what was not synced is lost, as dice, which gives
// a number below the one it is given, will have it; else a later one may take it.
func (d *simDisk) kill(power bool, dice func(int) int) *simDisk {
	d.mu.Lock()
	d.dead = true
	out := newSimDisk()
	out.flaky, out.failed = d.flaky, d.failed
	if power {
		out.put(d.left(dice), dice)
	} else {
		out.take(d)
	}
	d.mu.Unlock()
	d.letAll()
	return out
}

// cut gives the disk that a loss of power would leave now, with no byte that was not synced.
func (d *simDisk) cut(names func(int) int) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := newSimDisk()
	out.put(d.left(names), func(int) int { return 0 })
	return out
}

// left are the names that a loss of power leaves.
func (d *simDisk) left(dice func(int) int) map[string]*simFile {
	names := maps.Clone(d.durable)
	for _, name := range slices.Sorted(maps.Keys(d.changed())) {
		if now, there := d.names[name]; dice(2) == 0 {
			if delete(names, name); there {
				names[name] = now
			}
		}
	}
	return names
}

// put makes files of what a loss of power leaves of others.
func (d *simDisk) put(names map[string]*simFile, dice func(int) int) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		n := len(f.data)
		if n > f.synced {
			n = f.synced + dice(n-f.synced+1)
		}
		d.names[name] = &simFile{data: slices.Clone(f.data[:n]), synced: n, old: true}
	}
	d.durable = maps.Clone(d.names)
}

// take makes a new process's disk of another's.
func (d *simDisk) take(from *simDisk) {
	copies := map[*simFile]*simFile{}
	copied := func(names map[string]*simFile) map[string]*simFile {
		to := map[string]*simFile{}
		for name, f := range names {
			if copies[f] == nil {
				copies[f] = &simFile{data: slices.Clone(f.data), synced: f.synced, old: true}
			}
			to[name] = copies[f]
		}
		return to
	}
	d.names, d.durable = copied(from.names), copied(from.durable)
}

// changed are the names that are not as of the folder's last sync.
func (d *simDisk) changed() map[string]bool {
	out := map[string]bool{}
	for name, f := range d.names {
		if d.durable[name] != f {
			out[name] = true
		}
	}
	for name := range d.durable {
		if d.names[name] == nil {
			out[name] = true
		}
	}
	return out
}

func (d *simDisk) Create(name string) (persist.File, error) {
	if err := d.enter("create " + name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	f := new(simFile)
	d.names[name] = f
	return &simHandle{disk: d, name: name, file: f}, nil
}

func (d *simDisk) Open(name string) (persist.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	switch {
	case f == nil:
		return nil, fs.ErrNotExist
	case d.breaks():
		return nil, syscall.EIO
	}
	return &simHandle{disk: d, name: name, file: f}, nil
}

func (d *simDisk) Rename(from, to string) error {
	if err := d.enter("rename " + from); err != nil {
		return err
	}
	defer d.mu.Unlock()
	f := d.names[from]
	if f == nil {
		return fs.ErrNotExist
	}
	delete(d.names, from)
	d.names[to] = f
	return nil
}

func (d *simDisk) Remove(name string) error {
	err := d.enter("remove " + name)
	if err != nil {
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	f := d.names[name]
	switch {
	case f == nil:
		return fs.ErrNotExist
	case err != nil:
		f.old = true
		return err
	}
	delete(d.names, name)
	return nil
}

func (d *simDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errSimDead
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

func (d *simDisk) Sync() error {
	if err := d.enter("sync the folder"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.durable = maps.Clone(d.names)
	return nil
}

// simHandle is an open file.
type simHandle struct {
	disk *simDisk
	name string
	file *simFile
	at   int
}

func (h *simHandle) Read(b []byte) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	n := copy(b, h.file.data[h.at:])
	h.at += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (h *simHandle) Write(b []byte) (int, error) {
	if err := h.disk.enter("write " + h.name); err != nil {
		return h.writeHalf(b, err)
	}
	defer h.disk.mu.Unlock()
	h.file.data = append(h.file.data, b...)
	return len(b), nil
}

// writeHalf is a write that fails for want of room.
func (h *simHandle) writeHalf(b []byte, err error) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.disk.dead {
		return 0, err
	}
	h.file.old = true
	h.file.data = append(h.file.data, b[:len(b)/2]...)
	return len(b) / 2, err
}

func (h *simHandle) Sync() error {
	err := h.disk.enter("sync " + h.name)
	if err != nil {
		h.disk.mu.Lock()
	}
	defer h.disk.mu.Unlock()
	switch {
	case err != nil:
		h.file.old, h.file.lost = true, true
		return err
	case !h.file.lost:
		h.file.synced = len(h.file.data)
	}
	return nil
}

func (h *simHandle) Size() (int64, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return int64(len(h.file.data)), nil
}

func (h *simHandle) Close() error { return nil }
