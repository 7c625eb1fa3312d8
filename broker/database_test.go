package broker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"midge/packet"
)

const durable = "persistence true\npersistence_location {dir}\n"

// again starts midge anew, with the same files and ports, after it has ended.
func (s *server) again() {
	s.t.Helper()
	words := s.cmd.Args
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Dir = s.dir
	s.log, s.stdout, s.exited, s.ended = newLines(), newLines(), make(chan struct{}), false
	s.run()
	if !s.running() {
		s.t.Fatalf("midge does not start again:\n%s", strings.Join(s.log.all(), "\n"))
	}
}

// kill ends it without a chance to do anything.
func (s *server) kill() {
	s.t.Helper()
	s.cmd.Process.Kill()
	s.exit()
}

// files are the names of what the database has in its folder.
func (s *server) files() (names []string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "mosquitto.db") {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestDurable: sessions, queues, windows, QoS 2 exchanges, retained messages and wills
// outlive the process, whether it was stopped or killed.
func TestDurable(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name string
		end  func(s *server)
		left []string
	}{
		{"stopped", func(s *server) { s.stop(syscall.SIGTERM) }, []string{"mosquitto.db"}},
		{"killed", (*server).kill, []string{"mosquitto.db.journal.1", "mosquitto.db.lock"}},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, durable)
			d := s.connect("d", packet.V5, "{session-expiry=never receive-max=2}")
			d.send("SUBSCRIBE 1 t/# qos=2 {sub-id=7} + SUBSCRIBE 2 w qos=1")
			d.expect("SUBACK 1 02", "SUBACK 2 01")
			p := s.connect("p", packet.V5, "{session-expiry=never}")
			p.send("PUBLISH t/1 'one' qos=1 id=1 retain {user=k:v} + PUBLISH t/2 'two' qos=2 id=2 + PUBREL 2 + PUBLISH t/3 'three' qos=1 id=3")
			p.expect("PUBACK 1", "PUBREC 2", "PUBCOMP 2", "PUBACK 3")
			d.expect("PUBLISH t/1 'one' qos=1 id=1 {user=k:v sub-id=7}", "PUBLISH t/2 'two' qos=2 id=2 {sub-id=7}")
			d.send("PUBREC 2")
			d.expect("PUBREL 2")
			p.send("PUBLISH t/4 'four' qos=2 id=9")
			p.expect("PUBREC 9")
			w := s.connect("w", packet.V5, "will={w 'bye' qos=1} {session-expiry=never}")
			if end.name == "stopped" { // which is a reason for wills
				w.send("DISCONNECT")
				w.expect("close")
			}
			end.end(s)
			if left := s.files(); !slices.Equal(left, end.left) {
				t.Errorf("left: %q, not %q", left, end.left)
			}
			s.again()
			d = s.dial("d", packet.V5)
			d.send("CONNECT {session-expiry=never receive-max=2}")
			d.expect("CONNACK 00 present", "PUBLISH t/1 'one' qos=1 id=1 dup {user=k:v sub-id=7}", "PUBREL 2")
			d.send("PUBACK 1 + PUBCOMP 2")
			d.expect("PUBLISH t/3 'three' qos=1 id=3 {sub-id=7}")
			d.send("PUBACK 3")
			if end.name == "killed" {
				d.expect("PUBLISH w 'bye' qos=1 id=4")
				d.send("PUBACK 4")
			}
			d.lives()
			p = s.dial("p", packet.V5)
			p.send("CONNECT {session-expiry=never}")
			p.expect("CONNACK 00 present")
			p.send("PUBLISH t/4 'four' qos=2 id=9 dup + PUBREL 9")
			p.expect("PUBREC 9", "PUBCOMP 9")
			got := d.next()
			if string(got.Topic) != "t/4" || got.QoS != 2 {
				t.Errorf("received %v", got)
			}
			d.lives()
			late := s.connect("late", packet.V311, "clean")
			late.send("SUBSCRIBE 1 # qos=0")
			late.expect("SUBACK 1 00", "PUBLISH t/1 'one' retain")
			late.lives()
		})
	}
}

// TestSaved: snapshots are written when they are asked for, and when they are due.
func TestSaved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, conf string
		ask        func(s *server)
	}{
		{"signal", "", func(s *server) { s.cmd.Process.Signal(syscall.SIGUSR1) }},
		{"interval", "autosave_interval 1\n", func(*server) {}},
		{"changes", "autosave_interval 3\nautosave_on_changes true\n", func(s *server) {
			p := s.connect("p", packet.V311, "clean")
			p.send("PUBLISH a 'x' qos=1 id=1 retain + PUBLISH b 'x' qos=1 id=2 retain")
			p.expect("PUBACK 1", "PUBACK 2")
			if s.count("Saving") > 0 {
				s.t.Error("saved after two changes")
			}
			p.send("PUBLISH a '' qos=1 id=3 retain")
			p.expect("PUBACK 3")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, durable+c.conf)
			c.ask(s)
			s.await("Saving in-memory database to {dir}/mosquitto.db.")
		})
	}
}

// TestDatabaseRefused: a file that is none is left as it is.
func TestDatabaseRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, durable)
	s.stop(syscall.SIGTERM)
	file := filepath.Join(s.dir, "mosquitto.db")
	if err := os.WriteFile(file, []byte("this is no database, but a file of some length"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(s.cmd.Args[0], s.cmd.Args[1:]...)
	s.cmd.Dir = s.dir
	s.log, s.stdout, s.exited = newLines(), newLines(), make(chan struct{})
	s.run()
	if status := s.exit(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	s.await("Error: Unable to restore persistent database. Unrecognised file format.")
	s.await("Error: Couldn't open database.")
	if data, _ := os.ReadFile(file); !strings.HasPrefix(string(data), "this is no") || len(s.files()) != 1 {
		t.Errorf("the file is now %q, among %q", data, s.files())
	}
}

// TestDatabaseInUse: a second broker does not touch the files of the first.
func TestDatabaseInUse(t *testing.T) {
	t.Parallel()
	s := serve(t, durable)
	other := launch(t, "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location "+s.dir, "-c", "{conf}")
	if status := other.exit(); status != 1 || other.count("another broker uses it") != 1 {
		t.Errorf("exit status %d:\n%s", status, strings.Join(other.log.all(), "\n"))
	}
}

// TestNoDatabase: without persistence nothing is written.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	s := serve(t, "persistence_location {dir}\nautosave_interval 1")
	p := s.connect("p", packet.V311, "clean")
	p.send("PUBLISH a 'x' qos=1 id=1 retain")
	p.expect("PUBACK 1")
	s.cmd.Process.Signal(syscall.SIGUSR1)
	p.lives()
	s.stop(syscall.SIGTERM)
	if files := s.files(); files != nil {
		t.Errorf("there are %q", files)
	}
}

// TestReloadDatabase: when snapshots are made, and when a record is safe, can change
// while midge runs; where it keeps them cannot.
func TestReloadDatabase(t *testing.T) {
	t.Parallel()
	s := serve(t, durable)
	s.rewrite(ownListener(durable + "autosave_interval 1\npersistence_sync 1\n"))
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("Saving in-memory database to {dir}/mosquitto.db.")
	p := s.connect("p", packet.V311, "")
	p.send("PUBLISH a 'x' qos=1 id=1 retain")
	p.expect("PUBACK 1")
	s.rewrite(ownListener("persistence true\npersistence_file other.db\n"))
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("Warning: Only a restart will change: persistence_file, persistence_location.")
	s.rewrite(ownListener(""))
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("Warning: Only a restart will change: persistence, persistence_file, persistence_location.")
	p.send("PUBLISH b 'x' qos=1 id=2 retain")
	p.expect("PUBACK 2")
	s.kill()
	s.rewrite(ownListener(durable))
	s.again()
	late := s.connect("late", packet.V311, "clean")
	late.send("SUBSCRIBE 1 # qos=0")
	late.expect("SUBACK 1 00", "PUBLISH a 'x' retain", "PUBLISH b 'x' retain")
}
