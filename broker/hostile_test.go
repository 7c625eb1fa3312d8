package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"midge/packet"
)

// What strangers and broken clients may try.

// TestLengthRefused: a packet that is too large is refused by its header; what
// follows is neither waited for nor kept.
func TestLengthRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for _, tt := range []struct {
		name   string
		v      packet.Version
		before bool // CONNECT
		header []byte
		answer []string
	}{
		{"CONNECT of 100,001", 4, true, []byte{0x10, 0xA1, 0x8D, 0x06}, []string{"close"}},
		{"CONNECT of 268,435,455", 5, true, []byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F}, []string{"close"}},
		{"CONNECT with a length of five bytes", 4, true, []byte{0x10, 0xFF, 0xFF, 0xFF, 0xFF}, []string{"close"}},
		{"PUBLISH first", 4, true, []byte{0x30}, []string{"close"}},
		{"PUBLISH of 268,435,455", 4, false, []byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, []string{"close"}},
		{"PUBLISH of 268,435,455, v5", 5, false, []byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, []string{"DISCONNECT 95", "close"}},
		{"PUBLISH of 2,000,001, v5", 5, false, []byte{0x30, 0xFD, 0x88, 0x7A}, []string{"DISCONNECT 95", "close"}},
		{"SUBSCRIBE of 100,001, v5", 5, false, []byte{0x82, 0xA1, 0x8D, 0x06}, []string{"close"}},
		{"PUBACK of 10,001, v5", 5, false, []byte{0x40, 0x91, 0x4E}, []string{"close"}},
		{"PINGREQ of 1", 4, false, []byte{0xC0, 0x01}, []string{"close"}},
		{"length of five bytes", 4, false, []byte{0x30, 0x80, 0x80, 0x80, 0x80}, []string{"close"}},
		{"length of five bytes, v5", 5, false, []byte{0x30, 0x80, 0x80, 0x80, 0x80}, []string{"DISCONNECT 81", "close"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			c := s.dial("a", tt.v)
			if !tt.before {
				c.send("CONNECT clean")
				c.expect("CONNACK 00")
			}
			c.write(tt.header)
			c.expect(tt.answer...)
		})
	}
}

// largeConnect is a CONNECT with a Remaining Length of n, between 66,000 and 100,000.
func largeConnect(id string, n int) []byte {
	p := packet.Packet{Type: packet.Connect}
	p.Connect = packet.ConnectBody{Version: 4, CleanStart: true, ClientID: []byte(id), Will: true, WillTopic: []byte("t"),
		WillPayload: bytes.Repeat([]byte{'x'}, 65535), HasUsername: true}
	for {
		b := p.Append(nil, 4)
		h, _ := packet.ReadHeader(b, 4)
		if h.Remaining == n {
			return b
		}
		p.Connect.Username = bytes.Repeat([]byte{'u'}, n-h.Remaining)
	}
}

// TestLargestConnect: the limit itself is within it.
func TestLargestConnect(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	c := s.dial("a", 4)
	c.write(largeConnect("a", 100_000))
	c.expect("CONNACK 00")
	c.lives()
	c = s.dial("b", 4)
	c.tryWrite(largeConnect("b", 100_001))
	c.expect("close")
}

// TestStrangersBounded: what all clients hold whose CONNECT is not whole is at most
// 16 MiB. Those that were within it can go on.
func TestStrangersBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	before := s.memory()
	var all []*client
	last := byte(0)
	for i := range 200 { // 20 MB
		c := s.dial("a", 4)
		b := largeConnect(fmt.Sprintf("c%03d", i), 99_999)
		last = b[len(b)-1]
		if c.tryWrite(b[:len(b)-1]) == nil {
			all = append(all, c)
		}
	}
	sentAway := func(line string) bool { return strings.HasSuffix(line, "] disconnected: out of memory.") }
	if _, ok := s.log.find(sentAway); !ok {
		t.Fatal("nobody was sent away")
	}
	in := 0
	for _, c := range all {
		if c.tryWrite([]byte{last}) != nil {
			continue
		}
		switch got, err := c.receive(); {
		case err != nil:
			t.Fatal(err)
		case got == "CONNACK 00":
			in++
		case got != "close":
			t.Fatal(got)
		}
	}
	if in < 100 || in > 168 { // 16 MiB of 100 KB each
		t.Errorf("%d were taken in", in)
	}
	if grown := s.memory() - before; grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	c := s.dial("later", 4) // what the others held is free again
	c.write(largeConnect("later", 100_000))
	c.expect("CONNACK 00")
}

// TestFloodOfPings: a client that sends and never reads is not read any more, and
// is served to the end when it reads.
func TestFloodOfPings(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	c := s.dialSmall("a", 4)
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	before := s.memory()
	pings := bytes.Repeat([]byte{0xC0, 0}, 32<<10)
	sent := 0
	for stuck := false; !stuck; {
		c.conn.SetWriteDeadline(time.Now().Add(250 * time.Millisecond))
		n, err := c.conn.Write(pings[sent&1:])
		if sent += n; err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			stuck = n == 0
		}
		if sent > 256<<20 {
			t.Fatal("it reads on and on")
		}
	}
	if grown := s.memory() - before; grown > 16<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	s.connect("b", 4, "clean").lives()
	if sent&1 == 1 {
		go c.tryWrite([]byte{0}) // the rest of the last PINGREQ, as soon as there is room
		sent++
	}
	answers := make([]byte, sent-len(c.buf))
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.conn, answers); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(append(c.buf, answers...), []byte{0xD0, 0}); n != sent/2 {
		t.Errorf("%d answers to %d", n, sent/2)
	}
	c.buf = nil
	c.lives()
}

// TestGarbage: connections that make no sense. The broker goes on.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rounds := 600
	if testing.Short() {
		rounds = 120
	}
	watch := s.connect("watch", 5, "clean")
	for i := range rounds {
		c := s.dial("g", packet.Version(3+r.IntN(3)))
		c.conn.SetDeadline(time.Now().Add(patience))
		c.conn.Write(c.nonsense(r, i))
		c.conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c.conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.conn.Close()
	}
	watch.lives()
}

// nonsense is random bytes, or a conversation with mistakes in it.
func (c *client) nonsense(r *rand.Rand, i int) []byte {
	if i%4 == 0 {
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	b := c.encode("CONNECT clean keepalive=5 will={w 'x' qos=1} user=u password=p")
	start := len(b)
	for _, line := range []string{"SUBSCRIBE 1 t/# qos=2 u qos=1", "PUBLISH t/1 'payload' qos=1 id=3", "PUBLISH t/2 'payload' qos=2 id=4",
		"PUBREL 4", "PUBACK 1", "PUBREC 2", "PUBCOMP 2", "UNSUBSCRIBE 2 u", "PINGREQ", "PUBLISH u 'z' retain"} {
		b = append(b, c.encode(line)...)
	}
	if i%4 == 1 {
		start = 0
	}
	for range 1 + r.IntN(4) {
		b[start+r.IntN(len(b)-start)] = byte(r.Uint32())
	}
	return b[:1+r.IntN(len(b))]
}
