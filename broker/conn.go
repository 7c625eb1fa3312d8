package broker

import (
	"net/netip"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/broker/transport"
)

// conn is one connection: core's Client and its socket. One with nothing
// pending owns no buffer. Its size class is three lines of the processor's cache,
// so that the beginning of the Client is one.
type conn struct {
	core.Client
	ip      [16]byte    // address of the other end; 0 for a Unix socket
	port    uint16      // its port
	watched loop.Events // what the poller watches
	marks   connMarks
	used    int32           // how many bytes of tail core has used
	need    int32           // the length of the packet that is to be completed, where it is known
	charged int32           // bytes of tail counted in Server.unadmitted, or in core's account
	tail    []byte          // what core left of the bytes that came, behind some it has used
	wire    *transport.Conn // what wraps MQTT's bytes; nil for a plain connection
}

type connMarks uint8

const (
	markListed    connMarks = 1 << iota // on Server.again
	markBlocked                         // the socket took less than it was given: wait for it
	markPrompt                          // the socket sends at once what it is given
	markEnded                           // the other end sends nothing more, and something is still to be handled
	markHeavy                           // had more than its share the last time: others go first
	markUnwritten                       // on Server.unwritten
	markCharged                         // its charge is core's
	markFinal                           // its transport has come to its end, and something is still to be handled
)

func (c *conn) blocked() bool { return c.marks&markBlocked != 0 }

func (c *conn) setBlocked(b bool) {
	c.marks &^= markBlocked
	if b {
		c.marks |= markBlocked
	}
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

func (r *remote) Port() int { return int(r.port) }

func (r *remote) Host() string {
	if r.wire != nil && r.wire.Forwarded().IsValid() {
		return r.wire.Forwarded().String()
	}
	if r.port == 0 && r.Listener.Path != "" {
		return r.Listener.Path
	}
	return netip.AddrFrom16(r.ip).Unmap().String()
}

// Secured is the version and the cipher of the connection's TLS, or "".
func (r *remote) Secured() (version, cipher string) {
	if r.wire == nil {
		return "", ""
	}
	if state, ok := r.wire.TLS(); ok {
		return transport.Description(state)
	}
	told := r.wire.Told()
	return told.Version, told.Cipher
}

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
		if pending == 0 && !c.unsent() || c.blocked() {
			break
		}
		n, err := s.write(c)
		s.written += max(0, n)
		if err != nil && err != loop.ErrAgain {
			if !c.Closed() && c.outlives(err) {
				break // its handshake first
			}
			s.core.Lost(&c.Client, err, now)
			s.core.Discard(&c.Client)
			break
		}
		c.setBlocked(n < pending || c.unsent())
		if pending > 0 {
			s.core.Flushed(&c.Client, n, now)
		}
	}
	if c.wire != nil {
		s.core.Keeps(&c.Client, c.wire.Kept())
	}
	if c.Closed() {
		s.sayGoodBye(c)
		s.closing = append(s.closing, c)
		return
	}
	s.list(c)
	s.watch(c)
}

// write writes c's output with one call.
func (s *Server) write(c *conn) (int, error) {
	runs := s.core.Output(&c.Client)
	if c.wire != nil {
		return c.wire.Write(int(c.Handle), runs)
	}
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
	if c.marks&markPrompt != 0 || c.port == 0 {
		return
	}
	c.marks |= markPrompt
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
	if c.Paused() || c.wire != nil && c.wire.Full() {
		want = 0
	}
	if c.Parked() && c.marks&markEnded == 0 {
		want |= loop.Ended
	}
	if c.Pending() > 0 || c.unsent() {
		want |= loop.Writable
	}
	if c.wire != nil && c.wire.Full() && c.wire.Shaking() {
		want = loop.Once // its handshake will give notice
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
	if c.wire != nil {
		c.wire.Close()
	}
	s.core.Discard(&c.Client)
	s.tails.put(c.tail)
	c.tail = nil
	s.discharge(c)
	if !c.Left() || c.wire != nil {
		loop.Read(int(c.Handle), s.buf) // bytes left unread would turn the close into a reset, and our last packet be lost
	}
	loop.Close(int(c.Handle))
	s.leave(c.Listener)
	s.sockets--
}
