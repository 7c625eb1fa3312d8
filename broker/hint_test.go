package broker_test

import (
	"strconv"
	"testing"
)

// TestHint: a listener that nobody can use, for want of any option about it, says so
// when the first client is refused, and once.
func TestHint(t *testing.T) {
	t.Parallel()
	s := serve(t, "listener {port} 127.0.0.1\nlistener {second} 127.0.0.1\nlistener_allow_anonymous false")
	refused := func(c *client) {
		t.Helper()
		c.send("CONNECT clean")
		c.expect("CONNACK 05", "close")
	}
	const hint = "Nobody can connect to listener {port}, for no option says who may. One of these two lines in the configuration lets clients in:"
	refused(s.dial("a", 4))
	s.await(hint)
	s.logs(nil, "    password_file /path/to/file (which 'midge passwd' makes)", "    allow_anonymous true (everybody, without a password)")
	refused(s.dial("b", 4))
	refused(s.dialTo("c", 4, "tcp", "127.0.0.1:"+strconv.Itoa(s.second)))
	if n := s.count("for no option says who may"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestHintPerListener: with per_listener_settings the lines have their place.
func TestHintPerListener(t *testing.T) {
	t.Parallel()
	s := serve(t, "per_listener_settings true\nlistener {port} 127.0.0.1\nconnection_messages false")
	c := s.dial("a", 5)
	c.send("CONNECT clean user=u password=p")
	c.expect("CONNACK 87", "close")
	s.await("Nobody can connect to listener {port}, for no option says who may. One of these two lines in the configuration, below its 'listener' line, lets clients in:")
}
