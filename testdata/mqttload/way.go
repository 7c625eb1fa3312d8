package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// runWay is about what lies between MQTT and the socket: TLS or WebSocket. Its
// connections are blocking ones, which cost the generator much more than those of
// the loop.
func runWay(r *result) {
	a := take(true)
	cs := joinWays()
	end := time.Now()
	time.Sleep(o.hold)
	b := take(true)
	if o.n == 0 {
		r.one("connect", o.clients, a, b, end.Sub(a.t))
		r.growth("bytes_per_item", o.clients, a, b)
	} else {
		flowWay(r, cs[0], cs[len(cs)-1])
	}
	r.mem(b)
	for _, c := range cs {
		c.Close()
	}
}

// joinWays connects -clients clients, -pending of them at once.
func joinWays() []*wayConn {
	cs := make([]*wayConn, o.clients)
	var next atomic.Int64
	var workers sync.WaitGroup
	ends := make(chan any, o.pending)
	for range o.pending {
		workers.Go(func() {
			defer func() { ends <- recover() }()
			for i := int(next.Add(1)) - 1; i < len(cs); i = int(next.Add(1)) - 1 {
				cs[i] = joinWay(i)
			}
		})
	}
	workers.Wait()
	for range o.pending {
		if e := <-ends; e != nil {
			panic(e)
		}
	}
	return cs
}

// flowWay has messages go from p to s, at most -window of them under way.
func flowWay(r *result, p, s *wayConn) {
	a := take(false)
	window, failed := make(chan struct{}, o.window), make(chan string, 1)
	go func() {
		topic, payload := []byte(s.topic), make([]byte, o.size)
		head := append(app16(appVar([]byte{0x30}, 2+len(topic)+o.size), len(topic)), topic...)
		for i := range o.n {
			window <- struct{}{}
			binary.BigEndian.PutUint32(payload, uint32(i))
			if _, err := p.Write(append(head, payload...)); err != nil {
				failed <- err.Error()
				return
			}
		}
	}()
	for i := range o.n {
		h, body := s.packet()
		at := 2 + len(s.topic)
		if h != 0x30 || len(body) != at+o.size || binary.BigEndian.Uint32(body[at:]) != uint32(i) {
			failf("client %s: message %d is %d bytes of packet %#x", s.topic, i, len(body), h)
		}
		<-window
	}
	end := time.Now()
	select {
	case why := <-failed:
		failf("publish: %s", why)
	default:
	}
	r.one("delivered message", o.n, a, take(false), end.Sub(a.t))
}

// wayConn is an MQTT client with one subscription.
type wayConn struct {
	net.Conn
	in    *bufio.Reader
	topic string
	body  []byte
}

func joinWay(i int) *wayConn {
	conn, err := dialWay(i)
	must(err, "connect by "+o.way)
	conn.SetDeadline(o.hard)
	c := &wayConn{Conn: conn, topic: fmt.Sprintf("way/%d", i)}
	c.in = bufio.NewReaderSize(conn, 16)
	if o.n > 0 {
		c.in = bufio.NewReaderSize(conn, 64<<10)
	}
	c.ask(appConnect(nil, name("w", i), true), tConnack)
	c.ask(appSubscribe(nil, 1, 0, c.topic), tSuback)
	return c
}

// ask sends a packet and waits for its answer.
func (c *wayConn) ask(packet []byte, answer byte) {
	_, err := c.Write(packet)
	must(err, "write")
	if h, body := c.packet(); h>>4 != answer || body[len(body)-1] != 0 {
		failf("client %s: packet %#x % x", c.topic, h, body)
	}
}

// packet reads one; its body is good until the next.
func (c *wayConn) packet() (byte, []byte) {
	h, err := c.in.ReadByte()
	must(err, "read")
	n, err := binary.ReadUvarint(c.in)
	must(err, "read")
	if uint64(cap(c.body)) < n {
		c.body = make([]byte, n)
	}
	_, err = io.ReadFull(c.in, c.body[:n])
	must(err, "read")
	return h, c.body[:n]
}

func dialWay(i int) (net.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%249))}
	if !o.ip.Is4() {
		from = nil
	}
	conn, err := net.DialTCP("tcp", from, &net.TCPAddr{IP: o.ip.AsSlice(), Port: o.port})
	switch {
	case err != nil:
		return nil, err
	case o.way == "tls": // the broker's certificate is one of its own, for this run
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
		return c, c.Handshake()
	case o.way == "ws":
		return upgrade(conn)
	}
	return conn, nil
}

// wsConn has MQTT in the frames of a WebSocket.
type wsConn struct {
	net.Conn
	in   *bufio.Reader
	left uint64 // of the frame that is read
	out  []byte
}

func upgrade(conn net.Conn) (net.Conn, error) {
	io.WriteString(conn, "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
	c := &wsConn{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	for i := 0; ; i++ {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimSpace(line); i == 0 && !strings.Contains(line, " 101 ") {
			return nil, fmt.Errorf("not upgraded: %q", line)
		}
		if line == "" {
			return c, nil
		}
	}
}

func (c *wsConn) Read(b []byte) (int, error) {
	for c.left == 0 {
		var h [8]byte
		if _, err := io.ReadFull(c.in, h[:2]); err != nil {
			return 0, err
		}
		if op := h[0] & 15; op != 0 && op != 2 {
			return 0, fmt.Errorf("WebSocket frame % x", h[:2])
		}
		n, wide := uint64(h[1]&127), map[byte]int{126: 2, 127: 8}[h[1]&127]
		if wide > 0 {
			if _, err := io.ReadFull(c.in, h[8-wide:]); err != nil {
				return 0, err
			}
			clear(h[:8-wide])
			n = binary.BigEndian.Uint64(h[:])
		}
		c.left = n
	}
	n, err := c.in.Read(b[:min(uint64(len(b)), c.left)])
	c.left -= uint64(n)
	return n, err
}

// Write sends one frame, with a mask that is not 0: the broker has to take it off.
func (c *wsConn) Write(b []byte) (int, error) {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	out := append(c.out[:0], 0x82)
	switch n := len(b); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = app16(append(out, 0x80|126), n)
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(append(out, mask[:]...), b...)
	at := len(out) - len(b)
	pad := bytes.Repeat(mask[:], 2)
	word := binary.NativeEndian.Uint64(pad)
	for ; len(out)-at >= 8; at += 8 {
		binary.NativeEndian.PutUint64(out[at:], binary.NativeEndian.Uint64(out[at:])^word)
	}
	for i := range out[at:] {
		out[at+i] ^= mask[i%4]
	}
	c.out = out
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
