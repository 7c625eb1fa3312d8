package broker

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
	// logJobSize is how many bytes of lines are written at a time, and how large
	// a buffer may be kept.
	logJobSize = 64 << 10

	// logJobsKept is the length that the list of jobs may keep after a burst.
	logJobsKept = 16
)

// logWriter writes lines on a goroutine of its own, so that a slow disk or a
// pipe that nobody reads stops no one else. Work is queued by the loop and done
// in order:
//
//	put, open, sync --> queue --(run: swap)--> write, reopen, report
//
// The destinations of one batch of lines are written one after the other, so
// the slowest of them sets the pace of all.
type logWriter struct {
	stdout, stderr io.Writer
	wake           chan struct{} // of one place: there is something in queue

	mu      sync.Mutex
	queue   []logJob
	spare   []byte     // a written buffer, to be filled again; nil if there is none
	levels  []byte     // another one, of levels
	backlog int        // bytes that were put and are not written yet
	lost    int        // lines that could not be written, known since writing works again
	failed  *logTarget // the last target, if its file could not be opened

	sinks []logSink // where lines go now; run's own
	file  *os.File  // the one of sinks that is to be closed, if any; run's own

	syslog *syslog  // nil where lines do not go there; run's own
	socket []string // where it listens, the first that does
	prefix string   // of lines of the writer's own
}

// logJob is one step of work; one of its fields is set.
type logJob struct {
	lines  []byte          // whole lines to write
	levels []byte          // with syslog: the severity of each
	target *logTarget      // destinations to write to from here on
	done   chan<- struct{} // closed when all before it is done
}

// logTarget is a set of destinations. It is immutable.
type logTarget struct {
	stdout, stderr bool
	file           string // path, "" for none
	followLinks    bool   // the file may be a symbolic link
	syslog         bool
	facility       int    // of syslog
	prefix         string // of the line that says that file cannot be opened
}

// logSink is one destination.
type logSink struct {
	w    io.Writer
	lost int  // lines since writing to it began to fail
	torn bool // the last byte that it took was not the end of a line
}

func newLogWriter(stdout, stderr io.Writer) *logWriter {
	w := &logWriter{stdout: stdout, stderr: stderr, wake: make(chan struct{}, 1), socket: syslogSockets()}
	go w.run()
	return w
}

// put queues lines, which must end with a newline, and the levels that belong to
// them, if any. It returns buffers to use instead of theirs.
func (w *logWriter) put(lines, levels []byte) (emptyLines, emptyLevels []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog += len(lines)
	if n := len(w.queue); n > 0 && len(w.queue[n-1].lines) > 0 && len(w.queue[n-1].lines)+len(lines) <= logJobSize {
		last := &w.queue[n-1]
		last.lines = append(last.lines, lines...)
		last.levels = append(last.levels, levels...)
		return lines[:0], levels[:0]
	}
	w.add(logJob{lines: lines, levels: levels})
	emptyLines, emptyLevels = w.spare, w.levels
	w.spare, w.levels = nil, nil
	return emptyLines, emptyLevels
}

// open queues a change of destinations.
func (w *logWriter) open(t *logTarget) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(logJob{target: t})
}

// sync returns a channel that is closed once all queued so far is done.
func (w *logWriter) sync() <-chan struct{} {
	done := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(logJob{done: done})
	return done
}

// add appends to queue and wakes run; mu is held.
func (w *logWriter) add(j logJob) {
	w.queue = append(w.queue, j)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// stop ends the goroutine when all queued so far is done. Nothing may be
// queued after it.
func (w *logWriter) stop() {
	close(w.wake)
}

// logState is what run has to tell.
type logState struct {
	backlog int        // bytes not written yet
	lost    int        // lines lost, each told once
	failed  *logTarget // as in logWriter
}

func (w *logWriter) state() logState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := logState{backlog: w.backlog, lost: w.lost, failed: w.failed}
	w.lost = 0
	return s
}

func (w *logWriter) run() {
	var jobs []logJob
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
func (w *logWriter) take(done []logJob) []logJob {
	clear(done)
	if cap(done) > logJobsKept {
		done = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.queue
	w.queue = done[:0]
	return jobs
}

func (w *logWriter) do(j *logJob) {
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
func (w *logWriter) write(lines, levels []byte) {
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
	if cap(lines) <= 2*logJobSize {
		w.spare, w.levels = lines[:0], levels[:0]
	}
}

// write returns how many lines were lost before this one got through.
func (s *logSink) write(lines []byte) (lost int) {
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
func (w *logWriter) reopen(t *logTarget) {
	w.closeFile()
	w.closeSyslog()
	w.sinks = nil
	failed, err := (*logTarget)(nil), error(nil)
	if t.file != "" {
		w.file, err = t.openFile()
	}
	if err != nil {
		failed = t
		w.sinks = []logSink{{w: w.stderr}}
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

func (w *logWriter) sinksOf(t *logTarget) []logSink {
	var sinks []logSink
	if t.stdout {
		sinks = append(sinks, logSink{w: w.stdout})
	}
	if t.stderr {
		sinks = append(sinks, logSink{w: w.stderr})
	}
	if w.file != nil {
		sinks = append(sinks, logSink{w: w.file})
	}
	return sinks
}

func (w *logWriter) closeSyslog() {
	if w.syslog != nil {
		w.syslog.close()
		w.syslog = nil
	}
}

func (w *logWriter) closeFile() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// openFile opens the file to append to it, readable by the owner only if it is
// new.
func (t *logTarget) openFile() (*os.File, error) {
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if !t.followLinks {
		flags |= syscall.O_NOFOLLOW
	}
	return os.OpenFile(t.file, flags, 0o600)
}

// complain is what is said when openFile failed.
func (t *logTarget) complain(err error) []byte {
	line := fmt.Appendf(nil, "%sError: Unable to open log file %s for writing.\n", t.prefix, t.file)
	if errors.Is(err, syscall.ELOOP) {
		line = fmt.Appendf(line, "%sError: %s is a symbolic link.\n", t.prefix, t.file)
	}
	return slices.Clip(line)
}
