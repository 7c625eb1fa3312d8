package broker

import (
	"errors"
	"net/netip"
	"syscall"

	"midge/broker/core"
	"midge/broker/login"
	"midge/broker/loop"
)

// accepts is how many connections one listener takes in one turn.
const accepts = 64

// accept takes in the connections that wait, up to a bound.
func (s *Server) accept(l *listener, from int, now core.Time) {
	for range accepts {
		fd, addr, err := loop.Accept(from)
		if err != nil {
			if err != loop.ErrAgain {
				s.refused(from, err)
			}
			return
		}
		s.starved = false
		s.welcome(l, fd, addr, now)
	}
}

// refused handles a connection that could not be accepted. Without descriptors
// it is taken by the one kept in reserve and closed, so that it does not wait
// and wake the loop for ever.
func (s *Server) refused(from int, err error) {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		s.log.Logf(core.LogError, "Error: %s", plain(err))
		return
	}
	s.reserve.Shed(from)
	if !s.starved {
		s.starved = true
		s.log.Logf(core.LogWarning, `Unable to accept new connection, system socket count has been exceeded. Try increasing "ulimit -n" or equivalent.`)
	}
}

// welcome lets in who may come in, at once or later.
func (s *Server) welcome(l *listener, fd int, addr netip.AddrPort, now core.Time) {
	if s.passes(l, fd, addr) {
		s.seat(l, fd, addr, now)
	}
}

// seat makes a connection of an accepted socket.
func (s *Server) seat(l *listener, fd int, addr netip.AddrPort, now core.Time) {
	if top := l.conf.MaxConnections; top > 0 && l.open >= top || s.conf.GlobalMaxConnections > 0 && s.sockets >= s.conf.GlobalMaxConnections {
		s.deny(l, addr)
		loop.Close(fd)
		return
	}
	if s.conf.SetTCPNoDelay && addr.IsValid() {
		s.setNoDelay(fd)
	}
	if err := s.poll.Add(fd, loop.Readable); err != nil {
		s.log.Logf(core.LogError, "Error: %s", err)
		loop.Close(fd)
		return
	}
	c := newConn(fd, l.core, addr)
	for fd >= len(s.conns) {
		s.conns = append(s.conns, make([]*conn, max(64, len(s.conns)))...)
	}
	s.conns[fd] = c
	s.lead(c, l.way)
	l.enter()
	s.sockets++
	if l.way == nil || l.way.proxy == nil { // else it is not known yet from whom
		s.sayNew(c)
	}
	s.core.Open(&c.Client, now)
}

// sayNew logs a connection.
func (s *Server) sayNew(c *conn) {
	if s.conf.ConnectionMessages && s.log.Enabled(core.LogNotice) {
		s.log.Logf(core.LogNotice, "New connection from %s on port %d.", c.Peer(), c.Listener.Port)
	}
}

// deny logs that a connection was one too many.
func (s *Server) deny(l *listener, addr netip.AddrPort) {
	if !s.conf.ConnectionMessages {
		return
	}
	from := l.conf.Path
	if addr.IsValid() {
		from = addr.Addr().Unmap().String()
	}
	s.log.Logf(core.LogNotice, "Client connection from %s denied: max_connections exceeded.", from)
}

// newLogins makes the logins of a server that has its core.
func (s *Server) newLogins() *login.Gates {
	return login.New(login.Caller{
		Now:   s.now,
		From:  func(c *core.Client) netip.Addr { return netip.AddrFrom16(s.conns[c.Handle].ip) },
		Admit: s.admit,
		Post:  s.poll.Post,
	})
}

// admit goes on with a client whose login took time, and reads on from it.
func (s *Server) admit(c *core.Client, v core.Verdict) {
	s.core.Admit(c, v, s.now())
	if own := s.conns[c.Handle]; own != nil && &own.Client == c {
		s.list(own)
		s.watch(own)
	}
}

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
