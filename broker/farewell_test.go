package broker_test

import (
	"fmt"
	"syscall"
	"testing"
)

// TestFarewell: who is connected when the broker stops is sent everything that was for him,
// the wills of the others and a DISCONNECT, however many there are.
func TestFarewell(t *testing.T) {
	t.Parallel()
	const n = 400
	s := serve(t, "connection_messages false\n")
	crowd := make([]*client, n)
	for i := range crowd {
		c := s.dial(fmt.Sprintf("c%03d", i), 5)
		words := "CONNECT clean"
		if i%40 == 0 {
			words += fmt.Sprintf(" will={w '%03d'}", i)
		}
		c.send(words + " + SUBSCRIBE 1 t w")
		crowd[i] = c
	}
	for _, c := range crowd {
		c.expect("CONNACK 00", "SUBACK 1 00 00")
	}
	p := s.connect("p", 4, "clean")
	p.send("PUBLISH t 'news' qos=1 id=1")
	p.expect("PUBACK 1") // not everybody has it yet
	s.stop(syscall.SIGTERM)
	for _, c := range crowd {
		c.expect("PUBLISH t 'news'")
		for i := 0; i < n; i += 40 {
			c.expect(fmt.Sprintf("PUBLISH w '%03d'", i))
		}
		c.expect("DISCONNECT 8B", "close")
	}
}
