package logging

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"midge/broker/core"
)

// syslogIdent is what the broker calls itself, so that filters made for mosquitto
// go on working.
const syslogIdent = "mosquitto"

// syslogPatience is how long a line may wait for room in the socket. When that was
// in vain the next ones do not wait, until one is taken again.
const syslogPatience = time.Second

// syslogSockets are the places where syslog listens: the one of the C library, and
// where journald has that link to.
func syslogSockets() []string {
	return []string{"/dev/log", "/run/systemd/journal/dev-log"}
}

// syslogLevel is the severity of a class.
func syslogLevel(c core.Class) byte {
	switch c {
	case core.LogError, core.LogInternal:
		return 3 // LOG_ERR
	case core.LogWarning:
		return 4
	case core.LogNotice, core.LogSubscribe, core.LogUnsubscribe:
		return 5
	case core.LogInfo:
		return 6
	}
	return 7 // LOG_DEBUG
}

// syslog sends lines as the C library does, one datagram each:
//
//	<PRIORITY>Mmm dd hh:mm:ss mosquitto[PID]: line
//
// The socket is opened by the first line, and anew when the daemon has been
// started again.
type syslog struct {
	sockets  []string // paths, the first that takes a datagram is used
	facility int
	patience time.Duration
	conn     net.Conn // nil while there is none
	lost     int      // lines since sending began to fail
	stuck    bool     // the daemon does not read
	why      error    // of the last failure
	told     bool     // it was complained about
	pid      string
	buf      []byte
}

func newSyslog(sockets []string, facility int) *syslog {
	return &syslog{sockets: sockets, facility: facility, patience: syslogPatience, pid: strconv.Itoa(os.Getpid())}
}

// write sends each line and returns how many had been lost before one got through.
func (s *syslog) write(lines, levels []byte) (lost int) {
	for _, level := range levels {
		line, rest, _ := bytes.Cut(lines, []byte("\n"))
		lines = rest
		if s.send(s.datagram(level, line, time.Now())) {
			lost += s.lost
			s.lost = 0
		} else {
			s.lost++
		}
	}
	return lost
}

// complaint is what is to be said on stderr, once until it works again; nil for
// nothing.
func (s *syslog) complaint(prefix string) []byte {
	if s.lost == 0 || s.told {
		s.told = s.told && s.lost > 0
		return nil
	}
	s.told = true
	return fmt.Appendf(nil, "%sWarning: Unable to write to syslog: %v\n", prefix, s.why)
}

func (s *syslog) datagram(level byte, line []byte, now time.Time) []byte {
	s.buf = fmt.Appendf(s.buf[:0], "<%d>", s.facility<<3|int(level))
	s.buf = now.AppendFormat(s.buf, time.Stamp)
	s.buf = append(append(append(s.buf, " "+syslogIdent+"["...), s.pid...), "]: "...)
	s.buf = append(s.buf, line...)
	return s.buf
}

// send tries the socket that is open, and if that is no good a new one.
func (s *syslog) send(data []byte) bool {
	for range 2 {
		fresh := s.conn == nil
		if fresh && !s.dial() {
			return false
		}
		err := s.put(data)
		if err == nil {
			s.stuck = false
			return true
		}
		s.why = err
		if late, ok := err.(net.Error); ok && late.Timeout() {
			s.stuck = true
			return false
		}
		s.close()
		if fresh {
			return false
		}
	}
	return false
}

// put sends one datagram, waiting for room unless that was in vain before.
func (s *syslog) put(data []byte) error {
	wait := s.patience
	if s.stuck {
		wait = time.Millisecond
	}
	s.conn.SetWriteDeadline(time.Now().Add(wait))
	_, err := s.conn.Write(data)
	return err
}

func (s *syslog) dial() bool {
	for _, path := range s.sockets {
		c, err := net.Dial("unixgram", path)
		if err == nil {
			s.conn = c
			return true
		}
		s.why = err
	}
	return false
}

func (s *syslog) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
