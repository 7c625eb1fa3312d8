package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"midge/broker/internal/script"
	"midge/packet"
)

// client is an MQTT client that does only what it is told, in the words of the
// conformance scripts (see package script).
type client struct {
	s    *server
	name string // and client id, unless told otherwise
	v    packet.Version
	conn net.Conn
	buf  []byte // received and not looked at
}

// dial connects a socket to midge's port.
func (s *server) dial(name string, v packet.Version) *client {
	s.t.Helper()
	return s.dialTo(name, v, "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
}

func (s *server) dialTo(name string, v packet.Version, network, address string) *client {
	s.t.Helper()
	return s.dialBy(&net.Dialer{}, name, v, network, address)
}

// dialSmall connects a socket that takes in little beyond what is read from it.
func (s *server) dialSmall(name string, v packet.Version) *client {
	s.t.Helper()
	d := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		})
		return err
	}}
	return s.dialBy(d, name, v, "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
}

func (s *server) dialBy(d *net.Dialer, name string, v packet.Version, network, address string) *client {
	s.t.Helper()
	d.Timeout = patience
	conn, err := d.Dial(network, address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &client{s: s, name: name, v: v, conn: conn}
}

// connect makes a client that is connected; options are those of a script's
// CONNECT.
func (s *server) connect(name string, v packet.Version, options string) *client {
	s.t.Helper()
	c := s.dial(name, v)
	c.send("CONNECT " + options)
	c.expect("CONNACK 00")
	return c
}

// peer is the client as the log has it: address and port.
func (c *client) peer() string {
	a, ok := c.conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return c.host() + ":0"
	}
	return fmt.Sprintf("%s:%d", a.IP, a.Port)
}

// host is its address without port; the path of a Unix socket.
func (c *client) host() string {
	if a, ok := c.conn.LocalAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return c.conn.RemoteAddr().String()
}

// encode makes packets of a script's words.
func (c *client) encode(text string) []byte {
	c.s.t.Helper()
	b, err := script.Encode(c.name, text, c.v)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return b
}

// send sends packets, in one write.
func (c *client) send(text string) {
	c.s.t.Helper()
	c.write(c.encode(text))
}

func (c *client) write(b []byte) {
	c.s.t.Helper()
	if err := c.tryWrite(b); err != nil {
		c.s.t.Fatalf("%s: %v", c.name, err)
	}
}

func (c *client) tryWrite(b []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// expect receives exactly these packets, as scripts write them; "close" is the
// end of the connection. Properties are left out where they are "{*}".
func (c *client) expect(want ...string) {
	c.s.t.Helper()
	for _, w := range want {
		got, err := c.receive()
		if err != nil {
			c.s.t.Fatalf("%s: %v in place of %s", c.name, err, w)
		}
		if start, ok := strings.CutSuffix(w, " {*}"); ok && strings.HasPrefix(got, start+" {") {
			continue
		}
		if got != w {
			c.s.t.Fatalf("%s received\n\t%s\nnot\n\t%s", c.name, got, w)
		}
	}
}

// receive is the next packet in a script's words, or "close".
func (c *client) receive() (string, error) {
	b, err := c.packet()
	if err == io.EOF {
		return "close", nil
	}
	if err != nil {
		return "", err
	}
	return script.Print(b, c.v), nil
}

// next is the next packet, decoded.
func (c *client) next() *packet.Packet {
	c.s.t.Helper()
	p, err := c.tryNext()
	if err != nil {
		c.s.t.Fatalf("%s: %v", c.name, err)
	}
	return p
}

func (c *client) tryNext() (*packet.Packet, error) {
	b, err := c.packet()
	if err != nil {
		return nil, err
	}
	h, _ := packet.ReadHeader(b, c.v)
	p := new(packet.Packet)
	return p, p.Decode(c.v, packet.FromServer, h.First, b[h.Size:])
}

// packet is the next packet's bytes, the caller's to keep; io.EOF
// when the broker closed the connection instead.
func (c *client) packet() ([]byte, error) {
	for {
		h, err := packet.ReadHeader(c.buf, c.v)
		if err != nil {
			return nil, err
		}
		if h.Size > 0 && h.Len() <= len(c.buf) {
			b := c.buf[:h.Len():h.Len()]
			c.buf = c.buf[h.Len():]
			return b, nil
		}
		if err := c.read(); err != nil {
			if len(c.buf) > 0 && err == io.EOF {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// read takes in what the socket has.
func (c *client) read() error {
	if cap(c.buf)-len(c.buf) < 4096 {
		c.buf = append(make([]byte, 0, 2*len(c.buf)+16384), c.buf...)
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, syscall.ECONNRESET):
		return io.EOF // it closed what we had sent more to
	}
	return err
}

// lives sees that the connection goes on, and that nothing has come on it.
func (c *client) lives() {
	c.s.t.Helper()
	c.send("PINGREQ")
	c.expect("PINGRESP")
}

// reset ends the connection with a reset.
func (c *client) reset() {
	c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
}
