package broker_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
)

// TestMemoryLimit: a limit that 50 bytes were taken for lets nobody in, says so, and
// harms nobody who is there when a reload brings it.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, "memory_limit 0\nsys_interval 0")
	old := s.connect("old", 5, "clean")
	s.reload(ownListener("memory_limit 50MB\nsys_interval 0"))
	s.await("Warning: The 'memory_limit' value (50MB) is not a number of bytes, using 50.")
	s.await("Warning: The memory_limit of 50 bytes is reached. New sessions and subscriptions, and messages of QoS 1 and 2 or to be retained, are refused.")
	for v, answer := range map[packet.Version]string{4: "CONNACK 03", 5: "CONNACK 97"} {
		c := s.dial("new", v)
		c.send("CONNECT clean")
		c.expect(answer, "close")
		s.await("Client new [" + c.peer() + "] disconnected: quota exceeded.")
	}
	old.send("PUBLISH t 'x' qos=1 id=1")
	old.expect("PUBACK 1 rc=97")
	old.send("PUBLISH t 'x'")
	old.lives()
	s.reload(ownListener("memory_limit 1000000\nsys_interval 0"))
	s.log.find(func(line string) bool { return strings.HasPrefix(line, "There is room below memory_limit again") })
	s.connect("new", 4, "clean")
	old.send("PUBLISH t 'x' qos=1 id=1")
	old.expect("PUBACK 1 rc=10")
}

// TestUnreadTLSCounts: what is kept for a client by TLS that does not read counts.
func TestUnreadTLSCounts(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf+"sys_interval 1\nmax_queued_messages 1\n")
	deaf, p := s.connectTLS("deaf", 4, a.clientConfig()), s.connectTLS("p", 4, a.clientConfig())
	deaf.send("SUBSCRIBE 1 t")
	deaf.expect("SUBACK 1 00")
	p.send("SUBSCRIBE 1 $SYS/broker/heap/current")
	p.expect("SUBACK 1 00")
	heap := func() int {
		said, _ := strconv.Atoi(string(p.next().Payload))
		return said
	}
	before := heap()
	const some = 100
	messages := bytes.Repeat(packet.AppendPublish(nil, 4, 0, "t", 0, "", string(make([]byte, 1000))), some)
	for range 15_000 / some { // more than sockets take
		p.write(messages)
	}
	for heap() < before+4<<10 { // how much of the last that TLS was given is left, is chance
	}
}

// TestMemoryLimitOfHalves: what is kept of packets that were sent in part counts, and
// those who have sent most have to go where it is too much.
func TestMemoryLimitOfHalves(t *testing.T) {
	t.Parallel()
	const limit, clients = 20_000_000, 20
	s := serve(t, fmt.Sprintf("memory_limit %d\nsys_interval 1", limit))
	watch := s.connect("watch", 5, "clean")
	whole := packet.AppendPublish(nil, 5, 0, "half", 0, "", string(make([]byte, 1_900_000)))
	var all []*client
	for i := range clients { // 36 MB
		c := s.connect(fmt.Sprint("half", i), 5, "clean")
		if c.tryWrite(whole[:1_800_000]) == nil {
			all = append(all, c)
		}
	}
	gone := func(line string) bool { return strings.HasSuffix(line, "] disconnected: quota exceeded.") }
	for range clients/2 - 2 {
		if _, ok := s.log.find(gone); !ok {
			t.Fatal("too few are gone")
		}
	}
	watch.send("SUBSCRIBE 1 $SYS/broker/heap/maximum")
	watch.expect("SUBACK 1 00")
	for said := 0; said < limit/2; {
		p := watch.next()
		if said, _ = strconv.Atoi(string(p.Payload)); said > limit {
			t.Fatalf("the account was %d", said)
		}
	}
	stayed := 0
	for _, c := range all {
		if c.tryWrite(whole[1_800_000:]) == nil && c.tryWrite([]byte{0xC0, 0}) == nil {
			if got, err := c.receive(); err == nil && got == "PINGRESP" {
				stayed++
			}
		}
	}
	if stayed < clients/4 {
		t.Errorf("%d of %d stayed", stayed, clients)
	}
	watch.send("PUBLISH t 'x' qos=1 id=1")
	for {
		if p := watch.next(); p.Type == packet.Puback {
			if p.Reason != packet.NoMatchingSubscribers {
				t.Errorf("reason %v", p.Reason)
			}
			return
		}
	}
}
