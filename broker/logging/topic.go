package logging

import "midge/broker/core"

// log_dest topic: lines are published to $SYS/broker/log/... by the broker itself.
// core logs in the middle of what it does, so they are gathered and published when
// the turn has come to its end. Without a subscriber none is even made.

// topicClasses are the classes that have a topic: debug lines would each cause the
// next.
const topicClasses = allClasses &^ (core.LogDebug | core.LogInternal)

// publicMax bounds the bytes of lines of one turn that are published.
const publicMax = 1 << 20

// Publisher takes the lines that are published. core.Broker is one.
type Publisher interface {
	HearsLog() bool // somebody is subscribed
	PublishLog(c core.Class, line []byte, now core.Time)
}

// published is what Log has for its topics.
type published struct {
	to      Publisher    // nil before the broker is made
	wanted  core.Class   // the classes that are published
	lines   []publicLine // to be published
	buf     []byte       // where they are
	speaks  bool         // they are being published
	skipped int          // lines for which there was no room
}

// publicLine is a line in published.buf.
type publicLine struct {
	class      core.Class
	start, end int
}

// PublishBy has the lines for topics published by p from now on; without one there
// are none.
func (l *Log) PublishBy(p Publisher) { l.public.to = p }

func (p *published) off() { p.wanted = 0 }

// hears says that a line of class c is to be published. What is logged because a
// line is published is not, lest it go on for ever.
func (l *Log) hears(c core.Class) bool {
	p := &l.public
	return p.wanted&c != 0 && !p.speaks && p.to != nil && p.to.HearsLog()
}

// announce keeps a line to be published.
func (l *Log) announce(c core.Class, format string, args ...any) {
	p := &l.public
	if len(p.buf) > publicMax {
		p.skipped++
		return
	}
	start := len(p.buf)
	p.buf = l.appendLine(p.buf, format, args...)
	p.lines = append(p.lines, publicLine{c, start, len(p.buf)})
}

// Unpublished says that Publish has something to do.
func (l *Log) Unpublished() bool { return len(l.public.lines) > 0 }

// Publish publishes the lines that were logged since the last call.
func (l *Log) Publish(now core.Time) {
	p := &l.public
	if len(p.lines) == 0 {
		return
	}
	if p.skipped > 0 {
		n := p.skipped
		p.skipped, p.buf = 0, p.buf[:len(p.buf):len(p.buf)]
		start := len(p.buf)
		p.buf = l.appendLine(p.buf, "Warning: %d log lines were not published, there were too many at once.", n)
		p.lines = append(p.lines, publicLine{core.LogWarning, start, len(p.buf)})
	}
	p.speaks = true
	for _, line := range p.lines {
		p.to.PublishLog(line.class, p.buf[line.start:line.end], now)
	}
	p.speaks = false
	p.lines = p.lines[:0]
	if p.buf = p.buf[:0]; cap(p.buf) > jobSize {
		p.lines, p.buf = nil, nil
	}
}
