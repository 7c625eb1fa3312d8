package broker

import (
	"cmp"
	"io"
	"syscall"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/broker/transport"
)

// wireBuffer is the size of the buffer for what is not read in place, in bytes:
// with what a handshake held and with Slack it is less than readBuffer.
const wireBuffer = 128 << 10

// wired is what the connections share that have a transport.
type wired struct {
	buf        []byte // what came from a socket, before it is unwrapped; made when first needed
	scratch    transport.Scratch
	handshakes *transport.Handshakes
}

// unsent says that c's transport has bytes of its own to send.
func (c *conn) unsent() bool { return c.wire != nil && c.wire.Unsent() }

// readWire is read for a connection with a transport.
func (s *Server) readWire(c *conn, ready loop.Events, now core.Time) {
	if c.wire.Full() {
		s.watch(c) // until its handshake has used what there is, or the socket has taken it
		if ready&loop.Hangup != 0 && !c.wire.Shaking() {
			s.core.Lost(&c.Client, nil, now)
		}
		return
	}
	if c.wire.InPlace() {
		s.readInPlace(c, now)
		return
	}
	if s.wired.buf == nil {
		s.wired.buf = make([]byte, wireBuffer)
	}
	n, err := loop.Read(int(c.Handle), s.wired.buf)
	if n == 0 && err != loop.ErrAgain && c.wire.End(cmp.Or(err, io.EOF)) {
		s.watch(c)
		return
	}
	if s.alive(c, n, err, now) {
		s.unwrap(c, s.wired.buf[:n], now)
	}
}

// readInPlace is readWire where the bytes are read to where core wants them.
func (s *Server) readInPlace(c *conn, now core.Time) {
	if c.large() {
		if have, end := s.makeRoom(c); end-have >= largeTail {
			n, err := loop.Read(int(c.Handle), c.tail[have:end])
			if s.alive(c, n, err, now) {
				n, err = c.wire.Unwrap(c.tail[have:end], c.tail[have:have+n])
				c.tail = c.tail[:have+n]
				s.receiveLarge(c, nil, n, now)
				s.unwrapped(c, err, now)
			}
			return
		}
	}
	old := 0
	if !c.large() {
		old = copy(s.buf, c.left())
	}
	n, err := loop.Read(int(c.Handle), s.buf[old:])
	if s.alive(c, n, err, now) {
		n, err = c.wire.Unwrap(s.buf[old:], s.buf[old:old+n])
		s.meet(c)
		s.pass(c, old, n, now)
		s.unwrapped(c, err, now)
	}
}

// large says that c's tail is the beginning of a large packet, and is not to be
// copied for each read.
func (c *conn) large() bool { return c.need > 0 && len(c.left()) >= largeTail }

// unwrap hands to core what of MQTT is in wire.
func (s *Server) unwrap(c *conn, wire []byte, now core.Time) {
	old := 0
	if !c.large() {
		old = copy(s.buf, c.left())
	}
	n, err := c.wire.Unwrap(s.buf[old:], wire)
	s.meet(c)
	s.pass(c, old, n, now)
	s.unwrapped(c, err, now)
}

// pass gives core n bytes of MQTT, which came behind old bytes of the buffer.
func (s *Server) pass(c *conn, old, n int, now core.Time) {
	switch {
	case n == 0:
	case c.large():
		s.appendLarge(c, s.buf[:n], now)
	default:
		data := s.buf[:old+n]
		used, need := s.receive(c, data, n, now)
		s.keep(c, data[used:], need)
	}
}

// meet notes who a PROXY header says the client is.
func (s *Server) meet(c *conn) {
	addr, ok := c.wire.Source()
	if !ok {
		return
	}
	if addr.IsValid() {
		c.ip, c.port = addr.Addr().As16(), addr.Port()
	}
	s.sayNew(c)
}

// unwrapped does what is due after Unwrap.
func (s *Server) unwrapped(c *conn, err error, now core.Time) {
	rejected, _ := err.(*transport.Rejected)
	gone, _ := err.(syscall.Errno) // what End was told
	switch {
	case c.Closed():
	case rejected != nil:
		if rejected.Why != "" && s.conf.ConnectionMessages {
			s.log.Logf(core.LogNotice, "Connection from %s rejected, %s.", c.Peer(), rejected.Why)
		}
		s.core.Dismiss(&c.Client, now)
	case gone != 0 && !c.unhandled():
		s.core.Lost(&c.Client, gone, now)
	case err == io.EOF || gone != 0:
		c.marks |= markFinal
		s.conclude(c, now)
	case err != nil:
		s.core.Kick(&c.Client, 0, err.Error(), now)
	case c.charged > 0 || !c.Connected():
		s.charge(c)
	}
	if !c.Closed() && c.unsent() {
		s.flush(c, now)
	}
}

// appendLarge adds data to c's tail, up to the end of the packet in it.
func (s *Server) appendLarge(c *conn, data []byte, now core.Time) {
	fresh := len(data)
	for whole := false; !whole && len(data) > 0; {
		have, end := s.makeRoom(c)
		here := copy(c.tail[have:end], data)
		c.tail = c.tail[:have+here]
		data = data[here:]
		whole = len(c.tail) == int(c.need)
	}
	s.receiveLarge(c, data, fresh, now)
}

// wake goes on with a connection whose handshake has news.
func (s *Server) wake(w *transport.Conn) {
	c := s.conns[w.Handle]
	if c == nil || c.wire != w || c.Closed() {
		return
	}
	s.unwrap(c, nil, s.now())
	if !c.Closed() {
		s.watch(c)
	}
}

// outlives says that there is something to be made of what c has sent, although its socket
// takes nothing any more, as err says.
func (c *conn) outlives(err error) bool {
	return c.wire != nil && c.wire.Shaking() && (loop.Unread(int(c.Handle)) || c.wire.End(err))
}

// sayGoodBye writes the last words of a closed connection's transport, as far as the
// socket takes them.
func (s *Server) sayGoodBye(c *conn) {
	if c.wire == nil || c.blocked() {
		return
	}
	c.wire.Finish(int(c.Handle))
}
