package broker_test

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// rewrite replaces the configuration file, with {port} and such as in serve.
func (s *server) rewrite(conf string) {
	s.t.Helper()
	if err := os.WriteFile(s.conf, []byte("log_timestamp false\n"+s.expand(conf)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// reload replaces the configuration file and has midge read it. lines are what it
// says then.
func (s *server) reload(conf string, lines ...string) {
	s.t.Helper()
	s.rewrite(conf)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.await("Reloading config.")
	s.logs(nil, lines...)
}

// The last line of a reload, of one that succeeds and of one that fails.
const (
	loaded = "Config loaded from {conf}."
	stays  = "Error: The configuration stays as it was."
)

// on connects a client to another port than the first.
func (s *server) on(port int, name string) *client {
	s.t.Helper()
	return s.dialTo(name, 5, "tcp", "127.0.0.1:"+strconv.Itoa(port))
}

const loopbackListener = "allow_anonymous true\nlistener {port} 127.0.0.1\n"

// TestReloadLimits: what the file says now holds at once, also for clients that
// are connected, who stay.
func TestReloadLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	a.send("SUBSCRIBE 1 t qos=2")
	a.expect("SUBACK 1 02")
	s.reload(loopbackListener+"max_connections 1\nmax_qos 1\nmax_packet_size 100\n", loaded)
	s.dial("b", 5).expect("close")
	s.await("Client connection from 127.0.0.1 denied: max_connections exceeded.")
	a.send("PUBLISH t 'x' qos=2 id=1") // it was told that it may
	a.expect("PUBREC 1")
	a.send("DISCONNECT")
	a.expect("close")
	b := s.dial("b", 5)
	b.send("CONNECT clean")
	b.expect("CONNACK 00 {max-packet=100 max-qos=1}")
}

// TestReloadBadFile: a file that has an error changes nothing.
func TestReloadBadFile(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	s.reload(loopbackListener+"max_connections 1\nlistener {second} 127.0.0.1\nmax_qos 7\n",
		"Error: 'max_qos' must be between 0 and 2 inclusive.", "Error found at {dir}/mosquitto.conf:6.",
		stays)
	a.lives()
	s.connect("b", 5, "clean").lives()
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.second)); err == nil {
		c.Close()
		t.Error("the new listener is open")
	}
}

// TestReloadListeners: new ones open, those that are gone close and tell their
// clients, and those that stay keep theirs.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	s.reload(loopbackListener+"listener {second} 127.0.0.1", "Opening ipv4 listen socket on port {second}.", loaded)
	b := s.on(s.second, "b")
	b.send("CONNECT clean will={gone 'b'}")
	b.expect("CONNACK 00")
	old := s.dialTo("c", 4, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	old.send("CONNECT clean")
	old.expect("CONNACK 00")
	a.send("SUBSCRIBE 1 gone")
	a.expect("SUBACK 1 00")
	s.reload(loopbackListener)
	b.expect("DISCONNECT 98", "close")
	old.expect("close")
	a.expect("PUBLISH gone 'b'")
	a.lives()
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.second)); err == nil {
		c.Close()
		t.Error("the old listener is open")
	}
}
