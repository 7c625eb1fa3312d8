package broker

import (
	"net/netip"

	"midge/broker/core"
	"midge/broker/loop"
)

// conn is one connection: core's Client and its socket. One with nothing
// pending owns no buffer. Its size class is three lines of the processor's cache,
// so that the beginning of the Client is one.
type conn struct {
	core.Client
	ip      [16]byte    // address of the other end; 0 for a Unix socket
	port    uint16      // its port
	watched loop.Events // what the poller watches
	listed  bool        // on Server.again
	prompt  bool        // the socket sends at once what it is given
	blocked bool        // the socket took less than it was given: wait for it
	ended   bool        // the other end sends nothing more, and something is still to be handled
	tail    []byte      // what core left of the bytes that came, behind some it has used
	used    int32       // how many those are
	need    int32       // the length of the packet that is to be completed, where it is known
	charged int32       // bytes of tail counted in Server.unadmitted
}

// left is what core left of the bytes that came.
func (c *conn) left() []byte { return c.tail[c.used:] }

// newConn makes the connection of an accepted socket, which the poller watches.
func newConn(fd int, l *core.Listener, addr netip.AddrPort) *conn {
	c := &conn{watched: loop.Readable, port: addr.Port()}
	if addr.IsValid() {
		c.ip = addr.Addr().As16()
	}
	c.Handle, c.Listener = int32(fd), l
	return c
}

// remote is a conn as the other end of its connection.
type remote conn

func (r *remote) Host() string { return netip.AddrFrom16(r.ip).Unmap().String() }
func (r *remote) Port() int    { return int(r.port) }

// remote finds the other end of a client's connection.
func (s *Server) remote(c *core.Client) core.Remote { return (*remote)(s.conns[c.Handle]) }

// writes is how often a connection is written in one turn, when its queue keeps
// its output filled.
const writes = 4

// flush writes c's output: once, or a few times while its queue fills it again.
// A closed connection is written once and given up.
func (s *Server) flush(c *conn, now core.Time) {
	for range writes {
		pending := c.Pending()
		if pending == 0 || c.blocked {
			break
		}
		n, err := s.write(c)
		if err != nil && err != loop.ErrAgain {
			s.core.Lost(&c.Client, err, now)
			s.core.Discard(&c.Client)
			break
		}
		c.blocked = n < pending
		s.core.Flushed(&c.Client, n, now)
	}
	if c.Closed() {
		s.closing = append(s.closing, c)
		return
	}
	s.list(c)
	s.watch(c)
}

// write writes c's output with one call.
func (s *Server) write(c *conn) (int, error) {
	runs := s.core.Output(&c.Client)
	if len(runs) == 1 {
		return loop.Write(int(c.Handle), runs[0])
	}
	s.hurry(c)
	return loop.Writev(int(c.Handle), runs)
}

// hurry has a TCP socket send at once what it is given. With large payloads the
// last bytes of a write would else wait until the receiver has acknowledged those
// before, which a reader of whole messages does late.
func (s *Server) hurry(c *conn) {
	if c.prompt || c.port == 0 {
		return
	}
	c.prompt = true
	s.setNoDelay(int(c.Handle))
}

func (s *Server) setNoDelay(fd int) {
	if loop.SetNoDelay(fd) != nil {
		s.log.Logf(core.LogWarning, "Warning: Unable to set TCP_NODELAY.")
	}
}

// watch tells the poller what to wait for: to be able to write where something
// is left over, to be able to read unless core wants none.
func (s *Server) watch(c *conn) {
	want := loop.Readable
	if c.Paused() {
		want = 0
	}
	if c.Parked() && !c.ended {
		want |= loop.Ended
	}
	if c.Pending() > 0 {
		want |= loop.Writable
	}
	if want == c.watched {
		return
	}
	if err := s.poll.Mod(int(c.Handle), want); err != nil {
		s.core.Lost(&c.Client, err, s.now())
		return
	}
	c.watched = want
}

// drop closes the socket and forgets the connection.
func (s *Server) drop(c *conn) {
	if s.conns[c.Handle] != c {
		return
	}
	s.conns[c.Handle] = nil
	s.core.Discard(&c.Client)
	s.tails.put(c.tail)
	c.tail = nil
	s.unadmitted -= int(c.charged)
	if !c.Left() {
		loop.Read(int(c.Handle), s.buf) // bytes left unread would turn the close into a reset, and our last packet be lost
	}
	loop.Close(int(c.Handle))
	s.leave(c.Listener)
	s.sockets--
}
