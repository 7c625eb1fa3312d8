package broker_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// serveGuarded is serve with hosts.allow and hosts.deny in the broker's folder.
func serveGuarded(t *testing.T, allow, deny, conf string) *server {
	t.Helper()
	return serveBy(t, "printf '"+allow+"' > hosts.allow; printf '"+deny+`' > hosts.deny; exec "$0" "$@"`, conf)
}

// serveBy is serve by a shell script, which finds the command in its arguments.
func serveBy(t *testing.T, script, conf string) *server {
	t.Helper()
	for range 20 {
		s := launchBy(t, []string{"/bin/sh", "-c", script}, "log_timestamp false\n"+ownListener(conf), "-c", "{conf}")
		if s.running() {
			return s
		}
		if s.count("Address already in use") == 0 {
			t.Fatalf("midge does not start: %q", s.log.all())
		}
	}
	t.Fatal("no free port")
	return nil
}

// from is a client that connects from another address of this machine.
func (s *server) from(address string) *client {
	s.t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return s.dialBy(d, "c"+address, 4, "tcp", s.expand("127.0.0.1:{port}"))
}

// keptOut says that the broker closes a connection from the address, and logs it.
func (s *server) keptOut(address string) {
	s.t.Helper()
	s.from(address).expect("close")
	s.await("Client connection from " + address + " denied access by tcpd.")
}

// hangUp has the broker look at its files.
func (s *server) hangUp() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
}

// letIn says that a client from the address gets its CONNACK.
func (s *server) letIn(address string) {
	s.t.Helper()
	c := s.from(address)
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
}

// TestHostsFiles: who is kept out, and that Unix sockets are nobody's business.
func TestHostsFiles(t *testing.T) {
	t.Parallel()
	s := serveGuarded(t, `mosquitto: 127.0.0.1\n`, `sshd: 127.0.0.4\nmidge: 127.0.0.2\nALL: 127.0.0.3 : twist x\n`, `allow_anonymous true
listener {port} 127.0.0.1
listener 0 {dir}/socket`)
	if s.count("hosts.allow and hosts.deny have 3 lines about this broker.") != 1 ||
		s.count(`Warning: hosts.deny:3: the option "twist x" cannot be carried out, so the line keeps out whom it matches.`) != 1 {
		t.Errorf("%q", s.log.all())
	}
	s.letIn("127.0.0.1")
	s.keptOut("127.0.0.2")
	s.keptOut("127.0.0.3")
	s.letIn("127.0.0.4")
	if s.count("New connection from 127.0.0.2") > 0 {
		t.Error("it was logged as a connection")
	}
	c := s.dialTo("u", 4, "unix", filepath.Join(s.dir, "socket"))
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
}

// TestHostsFilesChange: they are read again, and what cannot be read changes nothing.
func TestHostsFilesChange(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	deny := filepath.Join(s.dir, "hosts.deny")
	if s.count("hosts.deny") > 0 {
		t.Errorf("%q", s.log.all())
	}
	s.letIn("127.0.0.2")
	if err := os.WriteFile(deny+".new", []byte("mosquitto: 127.0.0.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(deny+".new", deny); err != nil {
		t.Fatal(err)
	}
	s.hangUp()
	s.await("hosts.allow and hosts.deny have 1 lines about this broker.")
	s.keptOut("127.0.0.2")
	s.letIn("127.0.0.1")
	if err := os.Remove(deny); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(deny, 0o700); err != nil {
		t.Fatal(err)
	}
	s.hangUp()
	s.await("Error: unable to read hosts.deny: it is not a regular file.")
	s.keptOut("127.0.0.2")
	if err := os.Remove(deny); err != nil {
		t.Fatal(err)
	}
	s.await("hosts.allow and hosts.deny have 0 lines about this broker.")
	s.letIn("127.0.0.2")
}

// TestHostsFilesUnreadable: without the files nobody knows who is to be kept out.
func TestHostsFilesUnreadable(t *testing.T) {
	t.Parallel()
	s := serveBy(t, `mkdir hosts.deny; exec "$0" "$@"`, "")
	s.keptOut("127.0.0.1")
	if err := os.Remove(filepath.Join(s.dir, "hosts.deny")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "hosts.allow"), []byte("ALL: ALL\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.await("hosts.allow and hosts.deny have 1 lines about this broker.")
	s.letIn("127.0.0.1")
}

// TestHostsFilesNames: names are looked up beside the loop.
func TestHostsFilesNames(t *testing.T) {
	t.Parallel()
	s := serveGuarded(t, `midge: 127.0.0.2\n`, `midge: KNOWN, UNKNOWN, PARANOID\n`, "")
	s.letIn("127.0.0.2")
	var out []*client
	for range 300 { // more than may be under way; 127.0.0.1 is in /etc/hosts
		out = append(out, s.from("127.0.0.1"))
	}
	s.letIn("127.0.0.2")
	for _, c := range out {
		c.expect("close")
	}
	for range out { // the log is written beside the loop
		s.await("Client connection from 127.0.0.1 denied access by tcpd.")
	}
}
