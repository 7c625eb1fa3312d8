package broker_test

import (
	"testing"

	"midge/packet"
)

// The lines of -v about packets, byte for byte.

func TestPacketLines(t *testing.T) {
	t.Parallel()
	for _, v := range []packet.Version{3, 4, 5} {
		s := serve(t, "", "-v")
		c := s.dial("a", v)
		all := []*client{c}
		level := string('0' + rune(v))

		c.send("CONNECT clean keepalive=9 will={w/1 'gone' qos=1 retain}")
		c.expect("CONNACK 00")
		s.logs(all, newConnection, "New client connected from {peer} as a (p"+level+", c1, k9).",
			"Will message specified (4 bytes) (r1, q1).", "\tw/1", "Sending CONNACK to a (0, 0)")

		c.send("SUBSCRIBE 1 t/# qos=2 u")
		c.expect("SUBACK 1 02 00")
		s.logs(all, "Received SUBSCRIBE from a", "\tt/# (QoS 2)", "a 2 t/#", "\tu (QoS 0)", "a 0 u", "Sending SUBACK to a")

		c.send("PUBLISH u 'xyz'")
		c.expect("PUBLISH u 'xyz'")
		s.logs(all, "Received PUBLISH from a (d0, q0, r0, m0, 'u', ... (3 bytes))", "Sending PUBLISH to a (d0, q0, r0, m0, 'u', ... (3 bytes))")

		c.send("PUBLISH t/1 'x' qos=1 id=7 retain")
		c.expect("PUBLISH t/1 'x' qos=1 id=1", "PUBACK 7")
		c.send("PUBACK 1")
		s.logs(all, "Received PUBLISH from a (d0, q1, r1, m7, 't/1', ... (1 bytes))",
			"Sending PUBLISH to a (d0, q1, r0, m1, 't/1', ... (1 bytes))", "Sending PUBACK to a (m7, rc0)", "Received PUBACK from a (Mid: 1, RC:0)")

		c.send("PUBLISH t/2 qos=2 id=8 dup")
		c.expect("PUBREC 8")
		c.send("PUBREL 8")
		c.expect("PUBLISH t/2 '' qos=2 id=2", "PUBCOMP 8")
		c.send("PUBREC 2")
		c.expect("PUBREL 2")
		c.send("PUBCOMP 2")
		s.logs(all, "Received PUBLISH from a (d1, q2, r0, m8, 't/2', ... (0 bytes))", "Sending PUBREC to a (m8, rc0)",
			"Received PUBREL from a (Mid: 8)", "Sending PUBLISH to a (d0, q2, r0, m2, 't/2', ... (0 bytes))", "Sending PUBCOMP to a (m8)",
			"Received PUBREC from a (Mid: 2)", "Sending PUBREL to a (m2)", "Received PUBCOMP from a (Mid: 2, RC:0)")

		c.send("PUBREC 99")
		c.expect("PUBREL 99")
		s.logs(all, "Received PUBREC from a (Mid: 99)",
			"Warning: Received PUBREC from a for an unknown packet identifier 99.", "Sending PUBREL to a (m99)")

		c.send("PINGREQ")
		c.expect("PINGRESP")
		s.logs(all, "Received PINGREQ from a", "Sending PINGRESP to a")

		c.send("UNSUBSCRIBE 3 t/#")
		if v == 5 {
			c.expect("UNSUBACK 3 00")
		} else {
			c.expect("UNSUBACK 3")
		}
		s.logs(all, "Received UNSUBSCRIBE from a", "\tt/#", "a t/#", "Sending UNSUBACK to a")

		c.send("DISCONNECT")
		c.expect("close")
		s.logs(all, "Received DISCONNECT from a", "Client a [{peer}] disconnected.")
	}
}

// TestRefusedPublishLines: what happens to messages that are not passed on.
func TestRefusedPublishLines(t *testing.T) {
	t.Parallel()
	s := serve(t, "message_size_limit 5", "-v")
	c := s.connect("a", 5, "clean")
	all := []*client{c}
	s.logs(all, newConnection, "New client connected from {peer} as a (p5, c1, k0).", "No will message specified.", "Sending CONNACK to a (0, 0)")
	c.send("PUBLISH $SYS/x 'x' qos=1 id=1")
	c.expect("PUBACK 1 rc=87")
	s.logs(all, "Denied PUBLISH from a (d0, q1, r0, m1, '$SYS/x', ... (1 bytes))", "Sending PUBACK to a (m1, rc135)")
	c.send("PUBLISH t '123456' qos=1 id=2")
	c.expect("PUBACK 2 rc=97")
	s.logs(all, "Dropped too large PUBLISH from a (d0, q1, r0, m2, 't', ... (6 bytes))", "Sending PUBACK to a (m2, rc151)")
}

// TestRefusedConnackLine: before there is a client id, the address stands for it.
func TestRefusedConnackLine(t *testing.T) {
	t.Parallel()
	s := serve(t, "", "-v")
	c := s.dial("", 4)
	c.send("CONNECT id=''")
	c.expect("CONNACK 02", "close")
	s.logs([]*client{c}, newConnection, "Sending CONNACK to 127.0.0.1 (0, 2)", "Client 127.0.0.1 [{peer}] disconnected: client identifier not valid.")
	c = s.dial("a", 4)
	c.send("CONNECT")
	c.expect("CONNACK 00")
	c.send("DISCONNECT")
	c.expect("close")
	s.logs([]*client{c}, newConnection, "New client connected from {peer} as a (p4, c0, k0).", "No will message specified.",
		"Sending CONNACK to a (0, 0)", "Received DISCONNECT from a", "Client a [{peer}] disconnected.")
	c = s.dial("a", 4)
	c.send("CONNECT")
	c.expect("CONNACK 00 present")
	s.logs([]*client{c}, newConnection, "New client connected from {peer} as a (p4, c0, k0).", "No will message specified.", "Sending CONNACK to a (1, 0)")
}

// TestDroppingLine: said once for each connection, as are packets too large for
// the client each time.
func TestDroppingLine(t *testing.T) {
	t.Parallel()
	s := serve(t, "max_inflight_messages 1\nmax_queued_messages 1")
	c := s.connect("a", 4, "")
	c.send("SUBSCRIBE 1 t qos=1")
	c.expect("SUBACK 1 01")
	p := s.connect("p", 4, "clean")
	for range 5 {
		p.send("PUBLISH t 'x' qos=1 id=1")
		p.expect("PUBACK 1")
	}
	c.expect("PUBLISH t 'x' qos=1 id=1")
	c.send("PUBACK 1")
	c.expect("PUBLISH t 'x' qos=1 id=2")
	c.lives()
	small := s.dial("small", 5)
	small.send("CONNECT clean {max-packet=13}")
	small.expect("CONNACK 00 {*}")
	small.send("SUBSCRIBE 1 s")
	small.expect("SUBACK 1 00")
	p.send("PUBLISH s '1234567' + PUBLISH s '12345678' + PUBLISH s '1' + PINGREQ")
	p.expect("PINGRESP")
	small.expect("PUBLISH s '1234567'", "PUBLISH s '1'")
	s.await("Dropping too large outgoing PUBLISH for small (14 bytes)")
	if n := s.count("Outgoing messages are being dropped for client a."); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestWarningLines: clients that do what they should not, and may.
func TestWarningLines(t *testing.T) {
	t.Parallel()
	s := serve(t, "max_inflight_messages 1\nmessage_size_limit 3", "-v")
	c := s.dial("a", 5)
	c.send("CONNECT clean")
	c.expect("CONNACK 00 {receive-max=1}")
	c.send("PUBLISH t 'x' qos=2 id=1")
	c.expect("PUBREC 1")
	c.send("PUBLISH t 'y' qos=2 id=1")
	c.expect("PUBREC 1")
	s.await("Received PUBLISH from a (d0, q2, r0, m1, 't', ... (1 bytes))")
	s.await("Received PUBLISH from a (d0, q2, r0, m1, 't', ... (1 bytes))")
	s.logs(nil, "Reused message ID 1 from a detected. Clearing from storage.")
	c.send("PUBLISH t 'z' qos=2 id=2")
	c.expect("PUBREC 2")
	c.send("PUBLISH t 'z' qos=2 id=3")
	c.expect("PUBREC 3")
	c.send("DISCONNECT")
	c.expect("close")
	s.await("Received DISCONNECT from a")
	const flood = "Client a has exceeded its receive-maximum quota. This behaviour must be fixed on the client."
	if n := s.count(flood); n != 1 {
		t.Errorf("the receive maximum was mentioned %d times", n)
	}
	c = s.dial("b", 4)
	c.send("CONNECT clean will={t 'four'}")
	c.expect("CONNACK 05", "close")
	s.await("Client b connected with too large Will payload")
}
