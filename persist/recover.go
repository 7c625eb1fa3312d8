package persist

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Recovery is what was found on a disk, and the state that it makes: the
// snapshot, and on top of it the journal's segments that it asks for. Nothing on the
// disk is changed by looking; a Store puts aside what cannot be used.
//
//	snapshot                     segments
//	none                         all, from the first on
//	midge's                      from the one on that its stamp names; older ones are left over
//	midge's, its stamp damaged   all: what they tell again changes nothing
//	mosquitto's                  none: they belong to another history, and are put aside
type Recovery struct {
	Image *Image
	Notes []Note // for the log

	name     string
	snapshot *snapshot      // nil when there is none
	segments []segmentFound // those that were used
	records  int            // that were read from them
	lost     int            // messages that the journal tells of, and no file has
	clock    clock          // the last instant that anything tells of
	next     uint64         // the number of the next segment
	whole    bool           // the snapshot and the segments can be followed by another
	aside    []moved        // files to be put aside
	copied   []leftover     // parts of files to be kept
	chosen   bool           // their new names are free
}

// Note is a line for the log.
type Note struct {
	Level Level
	Text  string
}

// Level is how much a Note matters.
type Level byte

const (
	Info Level = iota
	Warning
	Error
)

// moved is a file that is to have another name, and why.
type moved struct{ from, to, why string }

// leftover is a part of a file that is to be kept in another.
type leftover struct {
	from, to string
	at       int64
}

// Empty says that nothing was found.
func (r *Recovery) Empty() bool { return r.snapshot == nil && len(r.segments) == 0 }

// Now is what the broker's clock shows at an instant in Unix milliseconds: it goes
// on from the last instant that was recorded, with the time that has passed
// since, unless the machine's clock has gone back.
func (r *Recovery) Now(wall int64) Time { return r.clock.now + max(0, wall-r.clock.wall) }

// Recover reads the file name and its journal. A file that is no database is a
// *FormatError, and is to be left as it is. progress is told now and then how many
// bytes of how many were read; it may be nil.
func Recover(d Disk, name string, progress func(done, total int64)) (*Recovery, error) {
	r := &Recovery{name: name, whole: true}
	snapshot, err := loadSnapshot(d, name, progress)
	switch {
	case err == nil:
		r.take(snapshot)
	case errors.Is(err, fs.ErrNotExist):
		r.Image = NewImage()
	default:
		return nil, err
	}
	names, err := d.List()
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a folder that is missing has nothing in it
		return nil, err
	}
	if err := r.replay(d, segmentsOf(name, names), progress); err != nil {
		return nil, err
	}
	if r.Image.at == 0 { // 0 is before the first record: all that is known was recorded
		r.Image.Commit(1)
	}
	return r, nil
}

func (r *Recovery) note(l Level, format string, args ...any) {
	r.Notes = append(r.Notes, Note{l, fmt.Sprintf(format, args...)})
}

// take begins with a snapshot.
func (r *Recovery) take(s *snapshot) {
	r.snapshot, r.Image = s, s.image
	r.clock = clock{s.stamp.Now, s.stamp.Wall}
	r.next = s.stamp.Segment
	r.whole = s.stamp.ID != 0
	for _, line := range s.warnings {
		r.Notes = append(r.Notes, Note{Warning, line})
	}
	if s.damage != nil {
		kept := r.name + ".damaged"
		r.note(Error, "Error: %s is damaged (%v). What is whole was read; the file as it is now is kept as %s", r.name, s.damage, kept)
		r.copied = append(r.copied, leftover{from: r.name, to: kept})
	}
}

// numbered is a segment's file.
type numbered struct {
	name   string
	number uint64
}

func segmentsOf(base string, names []string) []numbered {
	var out []numbered
	for _, name := range names {
		if n := segmentNumber(base, name); n > 0 {
			out = append(out, numbered{name, n})
		}
	}
	slices.SortFunc(out, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	return out
}

// replay reads the segments.
func (r *Recovery) replay(d Disk, list []numbered, progress func(done, total int64)) error {
	read := &decoder{image: r.Image}
	for _, n := range list {
		r.next = max(r.next, n.number+1)
		if r.snapshot != nil && n.number < r.snapshot.stamp.Segment {
			continue // it is in the snapshot, and was about to be removed
		}
		if err := r.replayOne(d, n, read, progress); err != nil {
			return err
		}
	}
	r.next = max(r.next, 1)
	if r.lost = read.lost; r.lost > 0 {
		r.note(Error, "Error: the journal of %s tells of %d messages that are in no file.", r.name, r.lost)
	}
	return nil
}

func (r *Recovery) replayOne(d Disk, n numbered, read *decoder, progress func(done, total int64)) error {
	f, err := d.Open(n.name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	s, err := openSegment(f, n.name, size)
	if err != nil {
		return err
	}
	if why := r.unfit(s); why != "" {
		if s.good > 0 || size >= int64(segmentHead) { // else it was just being made
			r.putAside(n.name, why)
		}
		return nil
	}
	if len(r.segments) == 0 {
		r.Image.Commit(s.first - 1)
	}
	if err := s.replay(read, func(at int64) { tell(progress, at, size) }); err != nil {
		return err
	}
	if s.now >= r.clock.now || len(r.segments) == 0 {
		r.clock = clock{s.now, s.wall}
	}
	r.records += s.records
	r.segments = append(r.segments, s.segmentFound)
	if s.good < size {
		kept := n.name + ".damaged"
		r.note(Warning, "Warning: the last %d bytes of %s are torn or damaged and were not read; they are kept as %s", size-s.good, n.name, kept)
		r.copied = append(r.copied, leftover{n.name, kept, s.good})
	}
	return nil
}

func tell(progress func(done, total int64), done, total int64) {
	if progress != nil {
		progress(done, total)
	}
}

// unfit is why a segment does not follow what was read so far, or "".
func (r *Recovery) unfit(s *segmentReader) string {
	own := r.snapshot != nil && r.snapshot.own
	switch {
	case s.good == 0 || s.number != segmentNumber(r.name, s.name):
		return "has no header"
	case r.snapshot != nil && !own:
		return "does not belong to " + r.name + ", which mosquitto wrote"
	case len(r.segments) > 0 && s.first != r.Image.at+1:
		return "does not continue what is before it"
	case len(r.segments) == 0 && own && r.whole && s.snapshot != r.snapshot.stamp.ID:
		return "does not belong to this " + r.name
	case len(r.segments) == 0 && r.snapshot == nil && s.snapshot != 0:
		r.note(Error, "Error: %s is missing. Only what its journal holds was read.", r.name)
	}
	return ""
}

func (r *Recovery) putAside(name, why string) {
	to := name + ".aside"
	r.note(Warning, "Warning: %s %s. It was not read, and is kept as %s.", name, why, to)
	r.aside = append(r.aside, moved{name, to, why})
}

// settle makes safe what was read of the journal, and the name of the snapshot. Whoever wrote
// it may have been killed before it did.
func (r *Recovery) settle(d Disk) error {
	if r.Empty() {
		return nil // and the folder may be missing
	}
	for _, s := range r.segments {
		if err := syncFile(d, s.name); err != nil {
			return err
		}
	}
	return d.Sync()
}

func syncFile(d Disk, name string) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// setAside keeps what could not be read under other names. Nothing that may still
// be needed is touched, so it can be done again after a crash, and goes on after an error.
func (r *Recovery) setAside(d Disk) error {
	if err := r.chooseNames(d); err != nil {
		return err
	}
	for ; len(r.copied) > 0; r.copied = r.copied[1:] {
		if err := copyFile(d, r.copied[0]); err != nil {
			d.Remove(r.copied[0].to) // as well as it can
			return err
		}
	}
	for ; len(r.aside) > 0; r.aside = r.aside[1:] {
		if err := d.Rename(r.aside[0].from, r.aside[0].to); err != nil {
			return err
		}
	}
	return d.Sync()
}

// chooseNames gives everything that is put aside a name that no file has, once.
func (r *Recovery) chooseNames(d Disk) error {
	if r.chosen {
		return nil
	}
	names, err := d.List()
	if err != nil {
		return err
	}
	for i := range r.copied {
		r.copied[i].to = unused(r.copied[i].to, names)
	}
	for i := range r.aside {
		r.aside[i].to = unused(r.aside[i].to, names)
	}
	r.chosen = true
	return nil
}

// unused is the name, or, where there is such a file, one with a number behind it.
func unused(name string, names []string) string {
	free := name
	for i := 2; slices.Contains(names, free); i++ {
		free = fmt.Sprintf("%s.%d", name, i)
	}
	return free
}

func copyFile(d Disk, c leftover) error {
	from, err := d.Open(c.from)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := d.Create(c.to)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, from, c.at)
	if err == nil {
		_, err = io.Copy(to, from)
	}
	if err == nil {
		err = to.Sync()
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	return err
}
