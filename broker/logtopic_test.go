package broker_test

import (
	"strings"
	"syscall"
	"testing"
)

// TestLogTopics: each class goes to its topic, QoS 2, not retained, with an
// expiry of 20 seconds; debug lines go nowhere.
func TestLogTopics(t *testing.T) {
	t.Parallel()
	s := serve(t, "log_dest stderr\nlog_dest topic\nlog_type all")
	w := s.dial("w", 5)
	w.send("CONNECT clean")
	w.expect("CONNACK 00")
	w.send("SUBSCRIBE 1 $SYS/broker/log/# qos=2")
	w.expect("SUBACK 1 02", "PUBLISH $SYS/broker/log/M/subscribe 'w 2 $SYS/broker/log/#' qos=2 id=1 {expiry=20}")
	c := s.connect("c", 4, "clean")
	w.expect("PUBLISH $SYS/broker/log/N 'New connection from "+c.peer()+s.expand(" on port {port}.' qos=2 id=2 {expiry=20}"),
		"PUBLISH $SYS/broker/log/N 'New client connected from "+c.peer()+" as c (p4, c1, k0).' qos=2 id=3 {expiry=20}")
	c.send("SUBSCRIBE 1 x y qos=1 + UNSUBSCRIBE 2 x")
	c.expect("SUBACK 1 00 01", "UNSUBACK 2")
	w.expect("PUBLISH $SYS/broker/log/M/subscribe 'c 0 x' qos=2 id=4 {expiry=20}",
		"PUBLISH $SYS/broker/log/M/subscribe 'c 1 y' qos=2 id=5 {expiry=20}",
		"PUBLISH $SYS/broker/log/M/unsubscribe 'c x' qos=2 id=6 {expiry=20}")
	c.send("PUBREC 9")
	c.expect("PUBREL 9")
	w.expect("PUBLISH $SYS/broker/log/W 'Warning: Received PUBREC from c for an unknown packet identifier 9.' qos=2 id=7 {expiry=20}")
	c.send("hex C0 01 00")
	c.expect("close")
	w.expect("PUBLISH $SYS/broker/log/N 'Client c [" + c.peer() + "] disconnected: malformed packet.' qos=2 id=8 {expiry=20}")
	w.lives()
	if n := s.count("New connection from"); n != 2 {
		t.Errorf("stderr has %d connections", n)
	}
	w.send("UNSUBSCRIBE 3 $SYS/broker/log/#")
	w.expect("UNSUBACK 3 00")
	w.send("SUBSCRIBE 4 $SYS/broker/log/+")
	w.expect("SUBACK 4 00") // nothing is retained, and a line of class subscribe does not match
	w.lives()
}

// TestLogTopicOnly: with nothing else to write to, and a time in front.
func TestLogTopicOnly(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).reachable, "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest topic\nlog_timestamp_format midge\n", "-c", "{conf}")
	w := s.connect("w", 4, "clean")
	w.send("SUBSCRIBE 1 $share/g/$SYS/broker/log/N")
	w.expect("SUBACK 1 00")
	c := s.connect("c", 4, "clean")
	w.expect("PUBLISH $SYS/broker/log/N 'midge: New connection from "+c.peer()+s.expand(" on port {port}.'"),
		"PUBLISH $SYS/broker/log/N 'midge: New client connected from "+c.peer()+" as c (p4, c1, k0).'")
	if all := s.log.all(); len(all) > 0 {
		t.Errorf("stderr has %q", all)
	}
}

// TestLogTopicOfItself: a line that is logged because a line is delivered is not
// delivered.
func TestLogTopicOfItself(t *testing.T) {
	t.Parallel()
	s := serve(t, "log_dest stderr\nlog_dest topic")
	small := s.dial("small", 5)
	small.send("CONNECT clean {max-packet=60}")
	small.expect("CONNACK 00")
	small.send("SUBSCRIBE 1 $SYS/broker/log/N")
	small.expect("SUBACK 1 00")
	c := s.dial("c", 4) // the lines of which are too large
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	const dropping = "Dropping too large outgoing PUBLISH for small "
	s.log.find(func(line string) bool { return strings.HasPrefix(line, dropping) })
	small.lives()
	s.stop(syscall.SIGTERM)
	if n := s.count(dropping); n != 1 {
		t.Errorf("said %d times", n)
	}
}
