package broker_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"midge/packet"
)

// corked is a net.Conn that can keep what is written, to send all of it in one write.
type corked struct {
	net.Conn
	corked bool
	kept   bytes.Buffer
}

func (c *corked) Write(b []byte) (int, error) {
	if c.corked {
		return c.kept.Write(b)
	}
	return c.Conn.Write(b)
}

// farewell is a way to say that nothing more is sent.
type farewell struct {
	name string
	conf string                                   // of the listener
	wrap func(c *corked) (net.Conn, func() error) // what speaks over it, and the farewell; nil: the socket's end
}

// farewells are those of all transports.
func farewells(t *testing.T) []farewell {
	t.Helper()
	a, secure := secured(t)
	secure = strings.Replace(secure, "allow_anonymous true\n", "", 1)
	const plain, web = "listener {port} 127.0.0.1\n", "protocol websockets\n"
	overTLS := func(c net.Conn) *tls.Conn { return tls.Client(c, a.clientConfig()) }
	overWeb := func(c net.Conn) (net.Conn, func() error) {
		w, err := speakWeb(c, "")
		if err != nil {
			t.Fatal(err)
		}
		return w, func() error { return w.frame(0x88, []byte{0x03, 0xE9}) }
	}
	return []farewell{
		{"TCP", plain, func(c *corked) (net.Conn, func() error) { return c, nil }},
		{"TLS", secure, func(c *corked) (net.Conn, func() error) {
			s := overTLS(c)
			return s, s.CloseWrite
		}},
		{"WebSocket", plain + web, func(c *corked) (net.Conn, func() error) { return overWeb(c) }},
		{"secure WebSocket", secure + web, func(c *corked) (net.Conn, func() error) { return overWeb(overTLS(c)) }},
	}
}

// leave has a client send packets and the farewell in one write. Its side of the socket,
// which it gives, may be closed then.
func (f *farewell) leave(c *client, first string, packets []byte) *net.TCPConn {
	c.s.t.Helper()
	socket := c.conn.(*net.TCPConn)
	cork := &corked{Conn: socket}
	conn, bye := f.wrap(cork)
	c.conn = conn
	if s, ok := c.conn.(*tls.Conn); ok {
		if err := s.Handshake(); err != nil {
			c.s.t.Fatal(err)
		}
	}
	if first != "" {
		c.send(first)
		c.expect("CONNACK 00")
	}
	cork.corked = true
	c.write(packets)
	if bye == nil {
		defer socket.CloseWrite()
	} else if err := bye(); err != nil {
		c.s.t.Fatal(err)
	}
	c.conn = socket
	c.write(cork.kept.Bytes())
	c.conn = conn
	return socket
}

// letter is the topic of message i of a burst: short, so that the burst comes in one read.
func letter(i int) string { return string(rune('a' + i%26)) }

// burst is n messages, and what follows them.
func burst(c *client, n int, qos byte, then string) (b []byte) {
	for i := range n {
		b = packet.AppendPublish(b, c.v, qos<<1, letter(i), uint16(i+1)*uint16(qos), "", "")
	}
	if then != "" {
		b = append(b, c.encode(then)...)
	}
	return b
}

// watcher is a client that gets a burst, and the will of who sent it.
func (s *server) watcher(qos string) *client {
	s.t.Helper()
	w := s.dialTo("w", 4, "tcp", s.expand("127.0.0.1:{second}"))
	w.send("CONNECT clean + SUBSCRIBE 1 '+' qos=" + qos)
	w.expect("CONNACK 00", "SUBACK 1 0"+qos)
	return w
}

// expectBurst receives it.
func (c *client) expectBurst(n int) {
	c.s.t.Helper()
	for i := range n {
		p := c.next()
		if p.Type != packet.Publish || string(p.Topic) != letter(i) {
			c.s.t.Fatalf("%s: in place of message %d came %v %s", c.name, i, p.Type, p.Topic)
		}
		if p.QoS == 1 {
			c.send(fmt.Sprint("PUBACK ", p.ID))
		}
	}
}

// TestLeaving: what a client sent before it said that it sends nothing more is handled,
// however much it is, and so is its DISCONNECT.
func TestLeaving(t *testing.T) {
	t.Parallel()
	const n = 10_000
	for _, f := range farewells(t) {
		for then, will := range map[string][]string{"DISCONNECT": nil, "": {"PUBLISH gone 'x'"}} {
			t.Run(f.name+" "+then, func(t *testing.T) {
				t.Parallel()
				s := serve(t, "max_queued_messages 0\nlistener {second} 127.0.0.1\n"+f.conf+"allow_anonymous true\n")
				w := s.watcher("0")
				c := s.dial("c", 4)
				socket := f.leave(c, "CONNECT clean will={gone 'x'}", burst(c, n, 0, then))
				if then != "" { // else the farewell is enough
					socket.CloseWrite()
				}
				w.expectBurst(n)
				c.expect("close")
				w.expect(will...)
				w.lives()
			})
		}
	}
}

// TestLeavingUnknown: the same for a client whose login takes time.
func TestLeavingUnknown(t *testing.T) {
	t.Parallel()
	const n = 5_000
	passwords := passwordFile(t, "joe:secret")
	for _, f := range farewells(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "max_queued_messages 0\nper_listener_settings true\n"+f.conf+"password_file "+passwords+
				"\nlistener {second} 127.0.0.1\nallow_anonymous true\n")
			w := s.watcher("0")
			c := s.dial("c", 4)
			f.leave(c, "", append(c.encode("CONNECT clean user=joe password=secret will={gone 'x'}"), burst(c, n, 0, "DISCONNECT")...))
			w.expectBurst(n)
			c.expect("CONNACK 00", "close")
			w.lives()
		})
	}
}

// TestLeavingCrowd: the same for a client that has to wait for a subscriber, and is sent
// acknowledgements.
func TestLeavingCrowd(t *testing.T) {
	t.Parallel()
	const n = 5_600 // a little more than half of what may be queued
	for _, f := range farewells(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "max_queued_messages 11000\nlistener {second} 127.0.0.1\n"+f.conf+"allow_anonymous true\n")
			w := s.watcher("1")
			c := s.dial("c", 4)
			f.leave(c, "CONNECT clean will={gone 'x'}", burst(c, n, 1, "DISCONNECT"))
			for i := range n {
				c.expect(fmt.Sprint("PUBACK ", i+1))
			}
			c.expect("close")
			w.expectBurst(n)
			w.lives()
		})
	}
}

// TestLeavingAtOnce: the same for a client that sends all of it with the last of its
// handshake, and waits for no answer, whether its side of the socket is closed then or is
// reset.
func TestLeavingAtOnce(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, linger := range []int{-1, 0} {
			t.Run(fmt.Sprintf("%s, linger %d", tls.VersionName(version), linger), func(t *testing.T) {
				t.Parallel()
				n := 20
				if linger < 0 {
					n = 6_000 // more than is read before the handshake is over
				}
				s := serve(t, conf+"max_queued_messages 0\nlistener {second} 127.0.0.1\n")
				w := s.watcher("0")
				config := a.clientConfig()
				config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
				s.connectTLS("first", 4, config).conn.Close() // with TLS 1.2 only a session that is resumed ends with the client's words
				for range 10 {
					c := s.dial("c", 4)
					c.leaveAtOnce(config.Clone(), append(c.encode("CONNECT clean will={gone 'x'}"), burst(c, n, 0, "DISCONNECT")...), linger)
					w.expectBurst(n)
				}
				w.lives()
			})
		}
	}
}

// leaveAtOnce has a client send the last of its handshake, packets, the farewell and its
// socket's end in one go.
func (c *client) leaveAtOnce(config *tls.Config, packets []byte, linger int) {
	c.s.t.Helper()
	socket := c.conn.(*net.TCPConn)
	cork := &corked{Conn: socket}
	config.VerifyConnection = func(tls.ConnectionState) error { // it is the client's turn
		cork.corked = true
		return nil
	}
	conn := tls.Client(cork, config)
	c.conn = conn
	c.write(packets)
	if err := conn.CloseWrite(); err != nil {
		c.s.t.Fatal(err)
	}
	c.conn = socket
	c.write(cork.kept.Bytes())
	if linger < 0 {
		socket.CloseWrite()
	} else {
		socket.SetLinger(linger)
		socket.Close()
	}
}
