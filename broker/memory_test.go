package broker_test

import (
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
