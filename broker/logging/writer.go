package logging

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
)

const (
	// jobSize is how many bytes of lines are written at a time, and how large
	// a buffer may be kept.
	jobSize = 64 << 10

	// jobsKept is the length that the list of jobs may keep after a burst.
	jobsKept = 16
)

// writer writes lines on a goroutine of its own, so that a slow disk or a
// pipe that nobody reads stops no one else. Work is queued by the loop and done
// in order:
//
//	put, open, sync --> queue --(run: swap)--> write, reopen, report
//
// The destinations of one batch of lines are written one after the other, so
// the slowest of them sets the pace of all.
type writer struct {
	stdout, stderr io.Writer
	wake           chan struct{} // of one place: there is something in queue

	mu      sync.Mutex
	queue   []job
	spare   []byte  // a written buffer, to be filled again; nil if there is none
	levels  []byte  // another one, of levels
	backlog int     // bytes that were put and are not written yet
	lost    int     // lines that could not be written, known since writing works again
	failed  *target // the last target, if its file could not be opened

	sinks []sink   // where lines go now; run's own
	file  *os.File // the one of sinks that is to be closed, if any; run's own

	syslog *syslog  // nil where lines do not go there; run's own
	socket []string // where it listens, the first that does
	prefix string   // of lines of the writer's own
}

// job is one step of work; one of its fields is set.
type job struct {
	lines  []byte          // whole lines to write
	levels []byte          // with syslog: the severity of each
	target *target         // destinations to write to from here on
	done   chan<- struct{} // closed when all before it is done
}

// target is a set of destinations. It is immutable.
type target struct {
	stdout, stderr bool
	file           string // path, "" for none
	followLinks    bool   // the file may be a symbolic link
	syslog         bool
	facility       int    // of syslog
	prefix         string // of the line that says that file cannot be opened
}

// sink is one destination.
type sink struct {
	w    io.Writer
	lost int  // lines since writing to it began to fail
	torn bool // the last byte that it took was not the end of a line
}

func newWriter(stdout, stderr io.Writer) *writer {
	w := &writer{stdout: stdout, stderr: stderr, wake: make(chan struct{}, 1), socket: syslogSockets()}
	go w.run()
	return w
}

// put queues lines, which must end with a newline, and the levels that belong to
// them, if any. It returns buffers to use instead of theirs.
func (w *writer) put(lines, levels []byte) (emptyLines, emptyLevels []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog += len(lines)
	if n := len(w.queue); n > 0 && len(w.queue[n-1].lines) > 0 && len(w.queue[n-1].lines)+len(lines) <= jobSize {
		last := &w.queue[n-1]
		last.lines = append(last.lines, lines...)
		last.levels = append(last.levels, levels...)
		return lines[:0], levels[:0]
	}
	w.add(job{lines: lines, levels: levels})
	emptyLines, emptyLevels = w.spare, w.levels
	w.spare, w.levels = nil, nil
	return emptyLines, emptyLevels
}

// open queues a change of destinations.
func (w *writer) open(t *target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(job{target: t})
}

// sync returns a channel that is closed once all queued so far is done.
func (w *writer) sync() <-chan struct{} {
	done := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(job{done: done})
	return done
}

// add appends to queue and wakes run; mu is held.
func (w *writer) add(j job) {
	w.queue = append(w.queue, j)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// stop ends the goroutine when all queued so far is done. Nothing may be
// queued after it.
func (w *writer) stop() {
	close(w.wake)
}

// state is what run has to tell.
type state struct {
	backlog int     // bytes not written yet
	lost    int     // lines lost, each told once
	failed  *target // as in writer
}

func (w *writer) state() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := state{backlog: w.backlog, lost: w.lost, failed: w.failed}
	w.lost = 0
	return s
}

func (w *writer) run() {
	var jobs []job
	for range w.wake {
		jobs = w.take(jobs)
		for i := range jobs {
			w.do(&jobs[i])
		}
	}
	w.closeFile()
	w.closeSyslog()
}

// take swaps the jobs that are done for those in queue.
func (w *writer) take(done []job) []job {
	clear(done)
	if cap(done) > jobsKept {
		done = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.queue
	w.queue = done[:0]
	return jobs
}

func (w *writer) do(j *job) {
	switch {
	case j.target != nil:
		w.reopen(j.target)
	case j.done != nil:
		close(j.done)
	default:
		w.write(j.lines, j.levels)
	}
}

// write gives lines to every destination. What one of them does not take is
// lost to it, and is counted once it takes lines again.
func (w *writer) write(lines, levels []byte) {
	lost := 0
	for i := range w.sinks {
		lost += w.sinks[i].write(lines)
	}
	if w.syslog != nil {
		lost += w.syslog.write(lines, levels)
		if text := w.syslog.complaint(w.prefix); text != nil {
			w.stderr.Write(text)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog -= len(lines)
	w.lost += lost
	if cap(lines) <= 2*jobSize {
		w.spare, w.levels = lines[:0], levels[:0]
	}
}

// write returns how many lines were lost before this one got through.
func (s *sink) write(lines []byte) (lost int) {
	if s.torn {
		if _, err := s.w.Write([]byte("\n")); err == nil {
			s.torn = false
		}
	}
	n, err := s.w.Write(lines)
	if n > 0 {
		s.torn = lines[n-1] != '\n'
	}
	if err != nil {
		s.lost += bytes.Count(lines[n:], []byte("\n"))
		return 0
	}
	lost, s.lost = s.lost, 0
	return lost
}

// reopen makes t the destinations. If its file cannot be opened, stderr stands
// in for all of them.
func (w *writer) reopen(t *target) {
	w.closeFile()
	w.closeSyslog()
	w.sinks = nil
	failed, err := (*target)(nil), error(nil)
	if t.file != "" {
		w.file, err = t.openFile()
	}
	if err != nil {
		failed = t
		w.sinks = []sink{{w: w.stderr}}
		w.sinks[0].write(t.complain(err))
	} else {
		w.sinks = w.sinksOf(t)
		if w.prefix = t.prefix; t.syslog {
			w.syslog = newSyslog(w.socket, t.facility)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = failed
}

func (w *writer) sinksOf(t *target) []sink {
	var sinks []sink
	if t.stdout {
		sinks = append(sinks, sink{w: w.stdout})
	}
	if t.stderr {
		sinks = append(sinks, sink{w: w.stderr})
	}
	if w.file != nil {
		sinks = append(sinks, sink{w: w.file})
	}
	return sinks
}

func (w *writer) closeSyslog() {
	if w.syslog != nil {
		w.syslog.close()
		w.syslog = nil
	}
}

func (w *writer) closeFile() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// openFile opens the file to append to it, readable by the owner only if it is
// new.
func (t *target) openFile() (*os.File, error) {
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if !t.followLinks {
		flags |= syscall.O_NOFOLLOW
	}
	return os.OpenFile(t.file, flags, 0o600)
}

// complain is what is said when openFile failed.
func (t *target) complain(err error) []byte {
	line := fmt.Appendf(nil, "%sError: Unable to open log file %s for writing.\n", t.prefix, t.file)
	if errors.Is(err, syscall.ELOOP) && !t.followLinks {
		line = fmt.Appendf(line, "%sError: %s is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set.\n", t.prefix, t.file)
	}
	return slices.Clip(line)
}
