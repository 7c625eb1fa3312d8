package broker

import (
	"net/netip"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/packet"
)

// conn is one connection: core's Client and its socket. One with nothing
// pending owns no buffer.
type conn struct {
	core.Client
	listener *listener
	addr     netip.AddrPort // of the other end; not for a Unix socket
	tail     []byte         // the beginning of a packet whose rest is to come
	need     int            // the whole length of that packet where it is known
	charged  int            // bytes of tail counted in Server.unadmitted
	watched  loop.Events    // what the poller watches
	listed   bool           // on Server.again
	blocked  bool           // the socket took less than it was given: wait for it
}

// remote is a conn as the other end of its connection.
type remote conn

func (r *remote) Host() string { return r.addr.Addr().Unmap().String() }
func (r *remote) Port() int    { return int(r.addr.Port()) }

// What connections may hold in all before their CONNECT was accepted, in bytes.
const unadmittedMax = 16 << 20

// firstTail is the room a large packet gets at first; it doubles as the bytes
// arrive, so that a length alone never costs memory.
const firstTail = 16 << 10

// largeTail is the length from which on a tail is not copied for each read, so
// that a packet that comes byte by byte costs no more than its bytes.
const largeTail = 8 << 10

// writes is how often a connection is written in one turn, when its queue keeps
// its output filled.
const writes = 4

// read takes in what the socket has, once, and hands it to core.
func (s *Server) read(c *conn, ready loop.Events, now core.Time) {
	if c.Paused() {
		if ready&loop.Hangup != 0 {
			s.core.Lost(&c.Client, nil, now)
		}
		return
	}
	if c.More() {
		return // first what there is
	}
	if c.need > readBuffer/2 || len(c.tail) >= largeTail {
		s.readLarge(c, now)
		return
	}
	old := copy(s.buf, c.tail)
	n, err := loop.Read(int(c.Handle), s.buf[old:])
	if !s.alive(c, n, err, now) {
		return
	}
	data := s.buf[:old+n]
	used, need := s.receive(c, data, n, now)
	s.keep(c, data[used:], need)
}

// receives is how often core may stop for full outputs in one go.
const receives = 8

// receive hands bytes to core and writes the outputs that become full on the
// way. Where core has had enough for this turn, the connection goes on in the next.
func (s *Server) receive(c *conn, data []byte, fresh int, now core.Time) (used, need int) {
	for range receives {
		var n int
		n, need = s.core.Receive(&c.Client, data[used:], fresh, now)
		used, fresh = used+n, 0
		filled := s.core.Filled()
		s.flushEach(filled, now)
		s.core.Settle()
		if !c.More() || len(filled) == 0 {
			break
		}
	}
	s.list(c)
	return used, need
}

// list has c go on in the next turn, if core left something of it and may have it.
func (s *Server) list(c *conn) {
	if c.More() && !c.listed && !c.Paused() {
		c.listed = true
		s.again = append(s.again, c)
	}
}

// goOn gives core what it left in the last turn.
func (s *Server) goOn(now core.Time) {
	s.again, s.going = s.going[:0], s.again
	for i, c := range s.going {
		s.going[i] = nil
		c.listed = false
		if !c.Closed() && !c.Paused() {
			used, need := s.receive(c, c.tail, 0, now)
			s.advance(c, used, need)
		}
	}
}

// readLarge reads more of a large packet straight to where it is kept.
func (s *Server) readLarge(c *conn, now core.Time) {
	if len(c.tail) == cap(c.tail) {
		bigger := make([]byte, len(c.tail), min(c.need, max(firstTail, 2*len(c.tail))))
		copy(bigger, c.tail)
		c.tail = bigger
		s.charge(c)
	}
	room := c.tail[len(c.tail):min(cap(c.tail), c.need)]
	n, err := loop.Read(int(c.Handle), room)
	if !s.alive(c, n, err, now) {
		return
	}
	c.tail = c.tail[:len(c.tail)+n]
	used, need := s.receive(c, c.tail, n, now)
	if used > 0 {
		s.advance(c, used, need)
	}
}

// alive says whether a read brought bytes; else the connection is told to be
// lost, or just has nothing.
func (s *Server) alive(c *conn, n int, err error, now core.Time) bool {
	switch {
	case err == loop.ErrAgain:
		return false
	case err != nil:
		s.core.Lost(&c.Client, err, now)
		return false
	case n == 0:
		s.core.Lost(&c.Client, nil, now)
		return false
	}
	return true
}

// keep stores the beginning of a packet with its connection, or lets the buffer go.
func (s *Server) keep(c *conn, rest []byte, need int) {
	c.need = need
	if len(rest) == 0 {
		c.tail = nil
	} else {
		c.tail = append([]byte(nil), rest...)
	}
	s.charge(c)
}

// advance takes what core used from the beginning of c's tail. The rest stays
// where it is while it is the greater part.
func (s *Server) advance(c *conn, used, need int) {
	rest := c.tail[used:]
	if len(rest) < used {
		s.keep(c, rest, need)
		return
	}
	c.tail, c.need = rest, need
	s.charge(c)
}

// charge counts what is kept for those whose CONNECT was not accepted yet. Above
// the limit the one that holds most is ended.
func (s *Server) charge(c *conn) {
	kept := cap(c.tail)
	if c.Connected() || c.Closed() {
		kept = 0
	}
	s.unadmitted += kept - c.charged
	c.charged = kept
	if s.unadmitted <= unadmittedMax {
		return
	}
	for _, other := range s.conns {
		if other != nil && other.charged > c.charged {
			c = other
		}
	}
	s.core.Kick(&c.Client, packet.ServerBusy, "out of memory", s.now())
	s.unadmitted -= c.charged
	c.charged = 0
}

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
	return loop.Writev(int(c.Handle), runs)
}

// watch tells the poller what to wait for: to be able to write where something
// is left over, to be able to read unless core wants none.
func (s *Server) watch(c *conn) {
	want := loop.Readable
	if c.Paused() {
		want = 0
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
	s.unadmitted -= c.charged
	loop.Read(int(c.Handle), s.buf) // bytes left unread would turn the close into a reset, and our last packet be lost
	loop.Close(int(c.Handle))
	c.listener.limits.open--
	s.sockets--
}
