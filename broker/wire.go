package broker

import (
	"io"

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
func (s *Server) readWire(c *conn, now core.Time) {
	if c.wire.Full() {
		s.watch(c) // until its handshake has used what there is
		return
	}
	if s.wired.buf == nil {
		s.wired.buf = make([]byte, wireBuffer)
	}
	n, err := loop.Read(int(c.Handle), s.wired.buf)
	if s.alive(c, n, err, now) {
		s.unwrap(c, s.wired.buf[:n], now)
	}
}

// unwrap hands to core what of MQTT is in wire.
func (s *Server) unwrap(c *conn, wire []byte, now core.Time) {
	var err error
	if c.need > 0 && len(c.left()) >= largeTail {
		err = s.unwrapLarge(c, wire, now)
	} else {
		old, n := copy(s.buf, c.left()), 0
		if n, err = c.wire.Unwrap(s.buf[old:], wire); n > 0 {
			data := s.buf[:old+n]
			used, need := s.receive(c, data, n, now)
			s.keep(c, data[used:], need)
		}
	}
	if err != nil && !c.Closed() {
		if err == io.EOF {
			err = nil
		}
		s.core.Lost(&c.Client, err, now)
	}
	switch {
	case c.Closed():
	case c.unsent():
		s.flush(c, now)
	case !c.Connected():
		s.charge(c)
	}
}

// unwrapLarge does it where c's tail is the beginning of a large packet.
func (s *Server) unwrapLarge(c *conn, wire []byte, now core.Time) error {
	n, err := c.wire.Unwrap(s.buf, wire)
	for data := s.buf[:n]; len(data) > 0 && !c.Closed(); {
		have, end := s.makeRoom(c)
		here := copy(c.tail[have:end], data)
		c.tail = c.tail[:have+here]
		if data = data[here:]; end == int(c.need) {
			s.receiveLarge(c, data, n, now)
			break
		}
	}
	return err
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

// sayGoodBye writes the last words of a closed connection's transport, as far as the
// socket takes them.
func (s *Server) sayGoodBye(c *conn) {
	if c.wire == nil || c.blocked() {
		return
	}
	c.wire.Finish()
	if c.wire.Unsent() {
		c.wire.Write(int(c.Handle), nil)
	}
}
