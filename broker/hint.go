package broker

import "midge/broker/core"

// What keeps people out who did not mean to keep anybody out is said with the lines
// that change it. mosquitto only says "not authorised".

// hintEvery is how long a listener is silent after a hint, in milliseconds.
const hintEvery core.Time = 3_600_000

// hint says why nobody can connect to l.
func (s *Server) hint(l *listener) {
	now := s.now()
	if l.hinted != 0 && now-l.hinted < hintEvery {
		return
	}
	l.hinted = now
	where := "the configuration"
	if s.conf.PerListenerSettings {
		where = "the configuration, below its 'listener' line,"
	}
	s.log.Logf(core.LogNotice, "Nobody can connect to listener %s, for no option says who may. One of these two lines in %s lets clients in:", l.conf.Name(), where)
	s.log.Logf(core.LogNotice, "    password_file /path/to/file (which 'midge passwd' makes)")
	s.log.Logf(core.LogNotice, "    allow_anonymous true (everybody, without a password)")
}
