// Package logging is the broker's log: lines of classes, in mosquitto's shape, to
// stdout, stderr, a file, syslog and topics.
//
// The loop logs with Logf, which gathers lines, and at the end of its turn calls
// Publish and Flush. A goroutine writes what was flushed, so that no destination can
// hold the loop up (writer.go). Begin with Options and Log.
//
// It is not where lines are worded, nor who decides about levels: core and broker say
// what they have to say, and Options comes from the configuration. Messages before the
// log is open are main's.
package logging

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"midge/broker/core"
)

// allClasses are the classes there are.
const allClasses = core.LogInternal<<1 - 1

const (
	// lineMax is the length, in bytes, at which a line is cut: prefix
	// included, newline not.
	lineMax = 999

	// backlogMax bounds the bytes that wait to be written.
	backlogMax = 4 << 20

	// syncMax bounds the wait of Sync.
	syncMax = 5 * time.Second
)

// Options says what is logged, where and in which shape. With no
// destination at all nothing is logged (log_dest none).
type Options struct {
	Stdout, Stderr bool
	File           string // path, appended to and created with mode 0600; "" for none
	FollowLinks    bool   // File may be a symbolic link
	Syslog         bool
	Facility       int  // of Syslog, by its number
	Topic          bool // lines are published, see Log.PublishBy

	Classes core.Class // log_type
	Verbose bool       // -v: all classes, whatever Classes says
	Quiet   bool       // -q: no class, whatever Classes and Verbose say

	Timestamp       bool   // lines begin with the time
	TimestampFormat string // of strftime; "" for seconds since 1970
}

// classes is the set that o comes to.
func (o *Options) classes() core.Class {
	switch {
	case o.Quiet, !o.written() && !o.Topic:
		return 0
	case o.Verbose:
		return allClasses
	}
	return o.Classes
}

// written says that there is a destination beside the topics.
func (o *Options) written() bool {
	return o.Stdout || o.Stderr || o.Syslog || o.File != ""
}

// Log is the broker's log, in mosquitto's shape: a core.Logger whose lines are
// gathered while the loop takes its turn, and written by a goroutine. The loop
// never waits for a destination: when one does not keep up and the backlog has
// grown to 4 MiB, lines are dropped, and one line says how many they were.
//
// All methods belong to the loop's goroutine, as do the calls of its clock.
type Log struct {
	options Options
	target  *target    // made of options
	classes core.Class // what is logged now: of options, or errors only if its file failed
	now     func() time.Time
	writer  *writer
	buf     []byte // whole lines, not handed over yet
	levels  []byte // of those lines, one for each, where syslog wants them
	backlog int    // bytes the writer had left when it was last asked
	limit   int    // of backlog and buf together
	lost    int    // lines lost and not told yet; while there are some, lines are dropped

	prefix    []byte // of lines of the second prefixSec
	prefixSec int64  // Unix time; meaningless while prefix is nil

	public published
}

// New opens a log. The clock is asked once for each line; its times carry
// the location to show them in.
//
// A file that cannot be opened is no error. That is said on stderr; from then
// on only errors are logged, and to stderr.
func New(o Options, now func() time.Time) *Log {
	return newLog(o, now, os.Stdout, os.Stderr, backlogMax)
}

func newLog(o Options, now func() time.Time, stdout, stderr io.Writer, limit int) *Log {
	l := &Log{now: now, writer: newWriter(stdout, stderr), limit: limit}
	l.Configure(o)
	return l
}

// Enabled reports whether lines of class c are logged.
func (l *Log) Enabled(c core.Class) bool {
	return l.classes&c != 0
}

// Logf adds a line, without its newline, of class c. Newlines in it become
// spaces, so that a line stays one.
func (l *Log) Logf(c core.Class, format string, args ...any) {
	if !l.Enabled(c) {
		return
	}
	if l.hears(c) {
		l.announce(c, format, args...)
	}
	switch {
	case !l.options.written():
	case l.full():
		l.lost++
	default:
		l.line(c, format, args...)
		if len(l.buf) >= jobSize-(lineMax+1) {
			l.Flush() // a long turn
		}
	}
}

// full reports whether there is no room for another line. Once lines were
// lost it takes a Flush to make room again.
func (l *Log) full() bool {
	const most = lineMax + 1
	if l.lost == 0 && l.backlog+len(l.buf)+most > l.limit {
		l.heed(l.writer.state())
	}
	return l.lost > 0 || l.backlog+len(l.buf)+most > l.limit
}

// line appends a line of class c to buf.
func (l *Log) line(c core.Class, format string, args ...any) {
	l.buf = append(l.appendLine(l.buf, format, args...), '\n')
	if l.options.Syslog {
		l.levels = append(l.levels, syslogLevel(c))
	}
}

// appendLine appends a line without a newline.
func (l *Log) appendLine(buf []byte, format string, args ...any) []byte {
	start := len(buf)
	buf = append(buf, l.stamp()...)
	buf = fmt.Appendf(buf, format, args...)
	buf = buf[:min(len(buf), start+lineMax)]
	for i, b := range buf[start:] {
		if b == '\n' || b == '\r' {
			buf[start+i] = ' '
		}
	}
	return buf
}

// stamp is the beginning of a line that is logged now. It is kept for the
// second: no format shows less.
func (l *Log) stamp() []byte {
	if !l.options.Timestamp {
		return nil
	}
	now := l.now()
	if l.prefix != nil && l.prefixSec == now.Unix() {
		return l.prefix
	}
	l.prefixSec = now.Unix()
	l.prefix = l.prefix[:0]
	if f := l.options.TimestampFormat; f == "" {
		l.prefix = strconv.AppendInt(l.prefix, l.prefixSec, 10)
	} else {
		l.prefix = appendStrftime(l.prefix, f, now, lineMax)
		if n := len(l.prefix); n == 0 || n > lineMax {
			l.prefix = append(l.prefix[:0], "Time error"...)
		}
	}
	l.prefix = append(l.prefix, ": "...)
	return l.prefix
}

// Flush hands the lines over to be written. It is meant for the end of a turn,
// and costs next to nothing if there were none.
func (l *Log) Flush() {
	if len(l.buf) == 0 && l.lost == 0 {
		return
	}
	l.heed(l.writer.state())
	if len(l.buf) > 0 {
		l.backlog += len(l.buf)
		l.buf, l.levels = l.writer.put(l.buf, l.levels)
	}
}

// heed takes note of how the writer fares.
func (l *Log) heed(s state) {
	l.backlog = s.backlog
	l.lost += s.lost
	if s.failed == l.target && l.classes != 0 {
		l.classes = core.LogError
		l.public.off()
	}
	// Half of it must be free, or every other line would be about lost ones.
	if l.lost > 0 && l.backlog+len(l.buf) <= l.limit/2 {
		l.line(core.LogWarning, "Warning: %d log lines were lost because they could not be written.", l.lost)
		l.lost = 0
	}
}

// Sync flushes and waits until all is written. It is for start and stop, where
// waiting does no harm, but even then it gives up after five seconds, lest a
// pipe that nobody reads keep the broker from stopping. It reports whether all
// was written.
func (l *Log) Sync() bool {
	return l.syncWithin(syncMax)
}

func (l *Log) syncWithin(most time.Duration) bool {
	late := time.After(most)
	for {
		l.Flush()
		select {
		case <-l.writer.sync():
		case <-late:
			return false
		}
		l.heed(l.writer.state())
		if len(l.buf) == 0 && l.lost == 0 {
			return true
		}
	}
}

// Configure puts new options in force. Lines logged before go where they
// belonged; the file is opened anew even if it is the same. It is opened by the
// goroutine: whether that failed is known by the first Flush after it, or at
// once by Sync.
func (l *Log) Configure(o Options) {
	l.Flush()
	l.options = o
	l.classes = o.classes()
	l.public.wanted = 0
	if o.Topic {
		l.public.wanted = l.classes & topicClasses
	}
	l.prefix = nil
	l.target = &target{
		stdout:      o.Stdout,
		stderr:      o.Stderr,
		file:        o.File,
		followLinks: o.FollowLinks,
		syslog:      o.Syslog,
		facility:    o.Facility,
		prefix:      string(l.stamp()),
	}
	l.writer.open(l.target)
}

// Reopen opens the destinations anew, after the file has been moved away by a
// rotation.
func (l *Log) Reopen() {
	l.Configure(l.options)
}

// Close syncs, closes the file and ends the goroutine. The log must not be used
// any more.
func (l *Log) Close() {
	l.Sync()
	l.writer.stop()
}
