package broker_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"midge/packet"
)

// TestSeveralListeners: clients of all listeners share one broker, each under the
// limits of its own.
func TestSeveralListeners(t *testing.T) {
	t.Parallel()
	s := serve(t, `listener {port} 127.0.0.1
allow_anonymous true
listener {second} 127.0.0.1
max_qos 1
max_topic_alias 3`)
	a := s.connect("a", 5, "clean")
	b := s.dialTo("b", 5, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	b.send("CONNECT clean")
	b.expect("CONNACK 00 {alias-max=3 max-qos=1}")
	s.logs([]*client{a, b}, newConnection, "New client connected from {peer} as a (p5, c1, k0).",
		"New connection from {peer2} on port {second}.", "New client connected from {peer2} as b (p5, c1, k0).")
	a.send("SUBSCRIBE 1 t qos=2")
	a.expect("SUBACK 1 02")
	b.send("SUBSCRIBE 1 t qos=2")
	b.expect("SUBACK 1 01")
	a.send("PUBLISH t 'x' qos=1 id=1")
	a.expect("PUBLISH t 'x' qos=1 id=1", "PUBACK 1")
	b.expect("PUBLISH t 'x' qos=1 id=1")
}

// TestBothFamilies: a listener without an address has a socket for each family.
func TestBothFamilies(t *testing.T) {
	t.Parallel()
	if !haveIPv6() {
		missing(t, "IPv6")
	}
	s := serve(t, "listener {port}\nallow_anonymous true\nmax_connections 2")
	equalLines(t, s.log.all()[8:10], []string{s.expand("Opening ipv4 listen socket on port {port}."), s.expand("Opening ipv6 listen socket on port {port}.")})
	four := s.connect("a", 4, "clean")
	six := s.dialTo("b", 4, "tcp", "[::1]:"+strconv.Itoa(s.port))
	six.send("CONNECT clean")
	six.expect("CONNACK 00")
	s.logs([]*client{four, six}, newConnection, "New client connected from {peer} as a (p4, c1, k0).",
		"New connection from {peer2} on port {port}.", "New client connected from {peer2} as b (p4, c1, k0).")
	if !strings.HasPrefix(six.peer(), "::1:") {
		t.Errorf("the peer is %s", six.peer())
	}
	// max_connections is for both sockets together.
	third := s.dialTo("c", 4, "tcp", "[::1]:"+strconv.Itoa(s.port))
	third.expect("close")
	s.logs(nil, "Client connection from ::1 denied: max_connections exceeded.")
}

func TestOneFamily(t *testing.T) {
	t.Parallel()
	if !haveIPv6() {
		missing(t, "IPv6")
	}
	for domain, address := range map[string]string{"ipv4": "::1", "ipv6": "127.0.0.1"} {
		s := serve(t, "listener {port}\nsocket_domain "+domain)
		if c, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(s.port))); err == nil {
			c.Close()
			t.Errorf("%s: it answers at %s", domain, address)
		}
		if n := s.count("Opening"); n != 1 || s.count("Opening "+domain) != 1 {
			t.Errorf("%s: %q", domain, s.log.all())
		}
	}
}

// TestAbsentAddress: an address that this machine has not got is listened at all the
// same, for it may come.
func TestAbsentAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, "allow_anonymous true\nlistener {port} 127.0.0.1\nlistener {port} 203.0.113.77")
	s.log.next = 0
	s.await("Opening ipv4 listen socket on port {port}.")
	s.logs(nil, "Opening ipv4 listen socket on port {port}.",
		"Warning: This machine does not have the address 203.0.113.77 yet; listening at it all the same.")
	s.connect("a", 4, "clean").lives()
}

// TestBindInterface: a listener without an address has those of the interface.
func TestBindInterface(t *testing.T) {
	t.Parallel()
	s := serve(t, "listener {port}\nbind_interface LO\nallow_anonymous true")
	s.connect("a", 4, "clean").lives()
	if got := outward(t); got != "" {
		if c, err := net.Dial("tcp", net.JoinHostPort(got, strconv.Itoa(s.port))); err == nil {
			c.Close()
			t.Errorf("it can be reached at %s", got)
		}
	}
	if haveIPv6() {
		six := s.dialTo("b", 4, "tcp", "[::1]:"+strconv.Itoa(s.port))
		six.send("CONNECT clean")
		six.expect("CONNACK 00")
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close() // as a process that was killed leaves it
	s := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nlistener 0 "+path)
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o770 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c := s.dialTo("a", 5, "unix", path)
	c.send("CONNECT clean will={gone 'x'}")
	c.expect("CONNACK 00")
	s.logs([]*client{c}, "New connection from "+path+":0 on port 0.", "New client connected from "+path+":0 as a (p5, c1, k0).")
	tcp := s.connect("b", 4, "clean")
	tcp.send("SUBSCRIBE 1 #")
	tcp.expect("SUBACK 1 00")
	c.send("PUBLISH t 'hello'")
	tcp.expect("PUBLISH t 'hello'")
	c.conn.Close()
	tcp.expect("PUBLISH gone 'x'")
	s.await("Client a [" + path + ":0] disconnected: connection closed by client.")
	s.stop(syscall.SIGTERM)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestUnixSocketOverFile: what is no socket is not removed.
func TestUnixSocketOverFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := launch(t, "log_timestamp false\nlistener 0 "+path+"\n", "-c", "{conf}")
	if status := s.exit(); status != 1 {
		t.Errorf("status %d", status)
	}
	s.await("Opening unix listen socket on path " + path + ".")
	s.logs(nil, "Error: Address already in use", "mosquitto version "+version+" terminating")
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestMaxConnections: for one listener, and for all.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	const denied = "Client connection from 127.0.0.1 denied: max_connections exceeded."
	s := serve(t, `global_max_connections 3
allow_anonymous true
listener {port} 127.0.0.1
max_connections 2
listener {second} 127.0.0.1`)
	a, b := s.connect("a", 4, "clean"), s.dial("b", 4) // one that has not sent CONNECT counts too
	b.send("CONNECT clean")
	b.expect("CONNACK 00")
	s.dial("c", 4).expect("close")
	s.await(denied)
	other := s.dialTo("d", 4, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	other.send("CONNECT clean")
	other.expect("CONNACK 00")
	s.dialTo("e", 4, "tcp", "127.0.0.1:"+strconv.Itoa(s.second)).expect("close")
	s.await(denied)
	for _, c := range []*client{a, b, other} {
		c.lives()
	}
	a.send("DISCONNECT")
	a.expect("close")
	s.connect("f", 4, "clean").lives()
	s.dial("g", 4).expect("close")
	s.await(denied)
}

func TestAcceptProtocolVersions(t *testing.T) {
	t.Parallel()
	s := serve(t, `allow_anonymous true
listener {port} 127.0.0.1
accept_protocol_versions 5
listener {second} 127.0.0.1
accept_protocol_versions 3, 4`)
	for _, tt := range []struct {
		port   int
		v      packet.Version
		answer []string
	}{
		{s.port, 3, []string{"CONNACK 01", "close"}},
		{s.port, 4, []string{"CONNACK 01", "close"}},
		{s.port, 5, []string{"CONNACK 00"}},
		{s.second, 3, []string{"CONNACK 00"}},
		{s.second, 4, []string{"CONNACK 00"}},
		{s.second, 5, []string{"CONNACK 84", "close"}},
	} {
		c := s.dialTo("a", tt.v, "tcp", "127.0.0.1:"+strconv.Itoa(tt.port))
		c.send("CONNECT clean")
		c.expect(tt.answer...)
		c.conn.Close()
	}
}

// TestOwnClientIDs: whether a listener makes client ids up, and how they begin.
func TestOwnClientIDs(t *testing.T) {
	t.Parallel()
	s := serve(t, `per_listener_settings true
listener {port} 127.0.0.1
allow_anonymous true
auto_id_prefix hall-
listener {second} 127.0.0.1
allow_anonymous true
allow_zero_length_clientid false
listener 0 {dir}/socket
allow_anonymous true
listener_auto_id_prefix desk-`)
	unix := func() *client { return s.dialTo("u", 5, "unix", filepath.Join(s.dir, "socket")) }
	for _, tt := range []struct {
		c      *client
		prefix string
	}{{s.dial("a", 5), "hall-"}, {unix(), "desk-"}} {
		tt.c.send("CONNECT clean id=")
		if p := tt.c.next(); p.Reason != packet.Success || !strings.HasPrefix(string(p.Props.AssignedClientID), tt.prefix) {
			t.Errorf("%v %q, not %s", p.Reason, p.Props.AssignedClientID, tt.prefix)
		}
	}
	for v, answer := range map[packet.Version]string{4: "CONNACK 02", 5: "CONNACK 80"} {
		c := s.dialTo("b", v, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
		c.send("CONNECT clean id=")
		c.expect(answer, "close")
	}
}

// TestMountPoint: a listener's clients live below a topic of the others.
func TestMountPoint(t *testing.T) {
	t.Parallel()
	s := serve(t, `allow_anonymous true
log_type all
listener {port} 127.0.0.1
listener {second} 127.0.0.1
mount_point home/`)
	out := s.connect("out", 4, "clean")
	out.send("SUBSCRIBE 1 #")
	out.expect("SUBACK 1 00")
	in := s.dialTo("in", 5, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	in.send("CONNECT clean will={gone 'x'} + SUBSCRIBE 1 #")
	in.expect("CONNACK 00", "SUBACK 1 00")
	in.send("PUBLISH t 'up'")
	in.expect("PUBLISH t 'up'")
	out.expect("PUBLISH home/t 'up'")
	out.send("PUBLISH home/t 'down' + PUBLISH home 'out'")
	out.expect("PUBLISH home/t 'down'", "PUBLISH home 'out'")
	in.expect("PUBLISH t 'down'")
	in.lives()
	in.conn.Close()
	out.expect("PUBLISH home/gone 'x'")
	s.await("\thome/gone")
	s.await("\thome/# (QoS 0)")
	s.await("in 0 home/#")
	s.await("Received PUBLISH from in (d0, q0, r0, m0, 'home/t', ... (2 bytes))")
	s.await("Sending PUBLISH to in (d0, q0, r0, m0, 't', ... (2 bytes))")
}

// TestDescriptorsExhausted: without a descriptor left, those who come are sent
// away, which is said once; those who are there go on; and when some leave,
// others can come.
func TestDescriptorsExhausted(t *testing.T) {
	t.Parallel()
	sh := []string{"/bin/sh", "-c", `ulimit -n 40 && exec "$0" "$@"`}
	var s *server
	for s == nil {
		s = launchBy(t, sh, "log_timestamp false\nallow_anonymous true\nlistener {port} 127.0.0.1\n", "-c", "{conf}")
		if !s.running() {
			if s.count("Address already in use") == 0 {
				t.Fatalf("midge does not start: %q", s.log.all())
			}
			s = nil
		}
	}
	var in []*client
	fill := func() {
		t.Helper()
		for n := 0; ; n++ {
			c := s.dial(fmt.Sprintf("c%d", n+100*len(in)), 4)
			if c.tryWrite(c.encode("CONNECT clean")) != nil {
				return
			}
			if got, _ := c.receive(); got != "CONNACK 00" {
				return
			}
			if in = append(in, c); len(in) == 40 {
				t.Fatal("more connections than descriptors")
			}
		}
	}
	full := func() {
		t.Helper()
		fill()
		if len(in) < 10 {
			t.Fatalf("%d connections with 40 descriptors", len(in))
		}
		for range 20 { // each is sent away, none waits
			s.dial("z", 4).expect("close")
		}
		for _, c := range in {
			c.lives()
		}
	}
	full()
	for _, c := range in[:5] {
		c.send("DISCONNECT")
		c.expect("close")
	}
	in = in[5:]
	full()
	s.stop(syscall.SIGTERM)
	const line = `Unable to accept new connection, system socket count has been exceeded. Try increasing "ulimit -n" or equivalent.`
	if n := s.count(line); n != 2 {
		t.Errorf("said %d times in place of 2", n)
	}
}
