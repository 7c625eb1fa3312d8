package broker_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"midge/packet"
)

var allVersions = []packet.Version{3, 4, 5}

// conversation is what one client says, and what it hears.
func conversation(c *client) (say []byte, hear []string) {
	var b []byte
	for _, line := range []string{"CONNECT clean", "SUBSCRIBE 1 t/# qos=2", "PUBLISH t/0 'zero'", "PUBLISH t/1 'one' qos=1 id=1",
		"PUBLISH t/2 'two' qos=2 id=2", "PUBREL 2", "PUBACK 1", "PUBREC 2", "PUBCOMP 2", "UNSUBSCRIBE 3 u", "PINGREQ", "DISCONNECT"} {
		b = append(b, c.encode(line)...)
	}
	unsuback := "UNSUBACK 3"
	if c.v == 5 {
		unsuback = "UNSUBACK 3 11"
	}
	return b, []string{"CONNACK 00", "SUBACK 1 02", "PUBLISH t/0 'zero'", "PUBLISH t/1 'one' qos=1 id=1", "PUBACK 1",
		"PUBREC 2", "PUBLISH t/2 'two' qos=2 id=2", "PUBCOMP 2", "PUBREL 2", unsuback, "PINGRESP", "close"}
}

// TestPieces: it does not matter in which pieces the bytes come.
func TestPieces(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for _, v := range allVersions {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			t.Run(fmt.Sprintf("v%d by %d", v, size), func(t *testing.T) {
				c := s.in(t).dial("a", v)
				c.conn.(*net.TCPConn).SetNoDelay(true)
				say, hear := conversation(c)
				for len(say) > 0 {
					n := min(size, len(say))
					c.write(say[:n])
					say = say[n:]
				}
				c.expect(hear...)
			})
		}
	}
}

// TestBurst: a client that reads loses nothing of a burst that is larger than its
// queue and the broker's buffers.
func TestBurst(t *testing.T) {
	t.Parallel()
	s := serve(t, "max_queued_messages 100")
	sub, pub := s.connect("sub", 4, "clean"), s.connect("pub", 4, "clean")
	sub.send("SUBSCRIBE 1 t")
	sub.expect("SUBACK 1 00")
	const n = 12_000
	var burst []byte
	for i := range n {
		burst = append(burst, pub.encode(fmt.Sprintf("PUBLISH t '%05d'", i))...)
	}
	done := make(chan error, 1)
	go func() { done <- pub.tryWrite(burst) }()
	for i := range n {
		if p := sub.next(); string(p.Payload) != fmt.Sprintf("%05d", i) {
			t.Fatalf("message %d is %q", i, p.Payload)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestBurstAcknowledged: nor does one that acknowledges, as fast as it can, what comes to
// it one by one. The publisher has gone before all is delivered.
func TestBurstAcknowledged(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for qos := 1; qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			s := s.in(t)
			sub, pub := s.connect("sub", 4, "clean"), s.connect("pub", 4, "clean")
			sub.send("SUBSCRIBE 1 t qos=2")
			sub.expect("SUBACK 1 02")
			const n = 5000
			var burst, release []byte
			for i := range n {
				burst = append(burst, pub.encode(fmt.Sprintf("PUBLISH t '%05d' qos=%d id=%d", i, qos, i+1))...)
				release = packet.AppendAck(release, 4, packet.Pubrel, uint16(i+1), 0)
			}
			if qos == 2 {
				burst = append(burst, release...)
			}
			done := make(chan error, 1)
			go func() {
				err := pub.tryWrite(burst)
				pub.conn.(*net.TCPConn).CloseWrite()
				done <- err
			}()
			for i := 0; i < n; {
				switch p := sub.next(); {
				case p.Type == packet.Pubrel:
					sub.write(packet.AppendAck(nil, 4, packet.Pubcomp, p.ID, 0))
				case string(p.Payload) != fmt.Sprintf("%05d", i):
					t.Fatalf("message %d is %v %q", i, p.Type, p.Payload)
				case p.QoS == 2:
					i++
					sub.write(packet.AppendAck(nil, 4, packet.Pubrec, p.ID, 0))
				default:
					i++
					sub.write(packet.AppendAck(nil, 4, packet.Puback, p.ID, 0))
				}
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestManyPacketsInOneWrite: several times the size of the broker's read buffer.
func TestManyPacketsInOneWrite(t *testing.T) {
	t.Parallel()
	s := serve(t, "max_queued_messages 0")
	for _, v := range allVersions {
		c := s.dial("a", v)
		const n = 20_000
		b := append(c.encode("CONNECT clean"), c.encode("SUBSCRIBE 1 t")...)
		for i := range n {
			b = append(b, c.encode(fmt.Sprintf("PUBLISH t '%019d'", i))...)
		}
		b = append(b, c.encode("PUBLISH t 'last' qos=1 id=9")...)
		done := make(chan error, 1)
		go func() { done <- c.tryWrite(b) }()
		c.expect("CONNACK 00", "SUBACK 1 00")
		acked := false
		for i := 0; i <= n; i++ {
			p := c.next()
			want := fmt.Sprintf("%019d", i)
			switch {
			case p.Type == packet.Puback && !acked: // it does not wait for room, messages do
				acked = true
				i--
			case i < n && string(p.Payload) != want, i == n && string(p.Payload) != "last":
				t.Fatalf("message %d is %v %q", i, p.Type, p.Payload)
			}
		}
		if !acked {
			c.expect("PUBACK 9")
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestLargePayloads goes through with 1 MB at every QoS, up to max_packet_size.
func TestLargePayloads(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, v := range allVersions {
		sub, pub := s.connect("sub", v, "clean"), s.connect("pub", v, "clean")
		sub.send("SUBSCRIBE 1 big qos=2")
		sub.expect("SUBACK 1 02")
		for qos := byte(0); qos <= 2; qos++ {
			p := packet.Packet{Type: packet.Publish, QoS: qos, Topic: []byte("big"), Payload: payload}
			if qos > 0 {
				p.ID = 7
			}
			pub.write(p.Append(nil, v))
			switch qos {
			case 1:
				pub.expect("PUBACK 7")
			case 2:
				pub.expect("PUBREC 7")
				pub.send("PUBREL 7")
				pub.expect("PUBCOMP 7")
			}
			got := sub.next()
			if got.Type != packet.Publish || got.QoS != qos || !bytes.Equal(got.Payload, payload) {
				t.Fatalf("v%d QoS %d: received %v, %d bytes", v, qos, got.Type, len(got.Payload))
			}
			switch qos {
			case 1:
				sub.send(fmt.Sprintf("PUBACK %d", got.ID))
			case 2:
				sub.send(fmt.Sprintf("PUBREC %d", got.ID))
				sub.expect(fmt.Sprintf("PUBREL %d", got.ID))
				sub.send(fmt.Sprintf("PUBCOMP %d", got.ID))
			}
		}
		sub.lives()
		over := packet.PublishSize(v, 0, len("big"), 0, 2_000_000) - 2_000_000
		whole := strings.Repeat("x", 2_000_000-over)
		pub.write(packet.AppendPublish(nil, v, 0, "big", 0, "", whole))
		if got := sub.next(); string(got.Payload) != whole {
			t.Fatalf("%d bytes in place of %d", len(got.Payload), len(whole))
		}
		pub.tryWrite(packet.AppendPublish(nil, v, 0, "big", 0, "", whole+"x"))
		for got := ""; got != "close"; { // what is on its way may be lost by the close
			var err error
			if got, err = pub.receive(); err != nil || got != "close" && (v != 5 || got != "DISCONNECT 95") {
				t.Fatal(got, err)
			}
		}
		sub.lives()
	}
}

// TestHalfClosed: a client that sends, and closes its side, gets what it is due.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for _, v := range allVersions {
		w := s.connect("w", v, "clean")
		w.send("SUBSCRIBE 1 t + SUBSCRIBE 2 gone")
		w.expect("SUBACK 1 00", "SUBACK 2 00")
		c := s.dial("a", v)
		c.send("CONNECT clean will={gone 'x'} + PUBLISH t 'y' qos=1 id=1")
		c.conn.(*net.TCPConn).CloseWrite()
		c.expect("CONNACK 00", "PUBACK 1", "close")
		w.expect("PUBLISH t 'y'", "PUBLISH gone 'x'")
	}
}

// TestStalledSubscriber: one that does not read costs its queue and no more, and
// nobody waits for it.
func TestStalledSubscriber(t *testing.T) {
	t.Parallel()
	s := serve(t, "max_queued_messages 100")
	stalled := []*client{s.dialSmall("s0", 4), s.dialSmall("s1", 5)}
	for i, c := range stalled {
		c.send("CONNECT clean")
		c.expect("CONNACK 00")
		c.send(fmt.Sprintf("SUBSCRIBE 1 t qos=%d", i))
		c.expect(fmt.Sprintf("SUBACK 1 0%d", i))
	}
	reader := s.connect("reader", 4, "clean")
	reader.send("SUBSCRIBE 1 t qos=1")
	reader.expect("SUBACK 1 01")
	other := s.connect("other", 4, "clean")
	pub := s.connect("pub", 4, "clean")
	const n, size = 10_000, 4 << 10
	payload := strings.Repeat("x", size-5)
	before := s.memory()
	for i := range n {
		pub.write(packet.AppendPublish(nil, 4, 2, "t", uint16(i+1), "", fmt.Sprintf("%05d", i)+payload))
		p := reader.next()
		if string(p.Payload[:5]) != fmt.Sprintf("%05d", i) {
			t.Fatalf("message %d begins with %s", i, p.Payload[:5])
		}
		reader.write(packet.AppendAck(nil, 4, packet.Puback, p.ID, 0))
		pub.expect(fmt.Sprintf("PUBACK %d", i+1))
		if i%100 == 0 {
			other.lives()
		}
	}
	if grown := s.memory() - before; grown > 24<<20 { // of 80 MB for the two of them
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for _, c := range stalled {
		s.await("Outgoing messages are being dropped for client " + c.name + ".")
		c.send("PINGREQ")
		for next := 0; ; { // what they get is in order
			p := c.next()
			if p.Type == packet.Pingresp {
				if next == 0 {
					t.Errorf("%s received nothing", c.name)
				}
				break
			}
			var i int
			if fmt.Sscanf(string(p.Payload[:5]), "%d", &i); i < next || p.Dup {
				t.Fatalf("%s received %d after %d", c.name, i, next-1)
			}
			next = i + 1
		}
		s.log.next = 0
	}
}

// TestRetainedFeed: whoever subscribes gets every retained message, whatever the
// queue may hold.
func TestRetainedFeed(t *testing.T) {
	t.Parallel()
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	s := serve(t, "max_queued_messages 100")
	pub := s.connect("pub", 4, "clean")
	var b []byte
	for i := range n {
		b = packet.AppendPublish(b, 4, 3, fmt.Sprintf("retained/%d/%d", i%100, i), 1, "", fmt.Sprint(i))
	}
	done := make(chan error, 1)
	go func() { done <- pub.tryWrite(b) }()
	for range n {
		pub.expect("PUBACK 1")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, v := range allVersions {
		sub := s.connect("sub", v, "clean")
		sub.send("SUBSCRIBE 1 # qos=1")
		sub.expect("SUBACK 1 01")
		seen := make([]bool, n)
		for k := range n {
			p := sub.next()
			var i int
			fmt.Sscan(string(p.Payload), &i)
			if p.Type != packet.Publish || !p.Retain || p.QoS != 1 || seen[i] {
				t.Fatalf("message %d of v%d: %+v", k, v, p)
			}
			seen[i] = true
			sub.write(packet.AppendAck(nil, v, packet.Puback, p.ID, 0))
		}
		sub.lives()
	}
}
