package broker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"midge/broker/logging"
	"midge/conf"
)

// planned is a server in a folder, whose loop the test turns.
type planned struct {
	*Server
	t   *testing.T
	dir string
}

func newPlanned(t *testing.T) *planned {
	dir := t.TempDir()
	log := logging.New(logging.Options{}, time.Now)
	t.Cleanup(log.Close)
	c, _, err := conf.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(c, Options{HostsDir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.shut)
	s.guardDoors()
	return &planned{s, t, dir}
}

// put has a configuration come into force.
func (s *planned) put(text string) {
	s.t.Helper()
	name := filepath.Join(s.dir, "conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c, _, err := conf.Load([]string{name})
	if err != nil {
		s.t.Fatal(err)
	}
	p := s.plan(c)
	err = p.prepare()
	s.reloaded(p, nil, err)
	s.poll.Post(func() {}) // not to wait in the turn
	if err := s.turn(); err != nil {
		s.t.Fatal(err)
	}
}

// TestPlansLeaveNothing: after many reloads the server knows of no listener but those
// that are open, nor of what clients were under who are gone.
func TestPlansLeaveNothing(t *testing.T) {
	s := newPlanned(t)
	dir, put := s.dir, s.put
	stays := fmt.Sprintf("log_dest none\nlistener 0 %s/stays\n", dir)
	for i := range 5 {
		put(stays + fmt.Sprintf("listener 0 %s/goes%d\n", dir, i))
		var guests []net.Conn
		for _, name := range []string{"stays", fmt.Sprintf("goes%d", i)} {
			guest, err := net.Dial("unix", filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			guests = append(guests, guest)
		}
		for s.sockets < 2 {
			s.turn()
		}
		put(stays)
		if s.sockets != 1 || len(s.homes) != 2 || s.listeners[0].open != 1 {
			t.Fatalf("%d connections, %d things to be under", s.sockets, len(s.homes))
		}
		for _, guest := range guests {
			guest.Close()
		}
		for s.sockets > 0 {
			s.turn()
		}
		if l := s.listeners[0]; len(s.listeners) != 1 || len(s.doors) != 1 || len(s.homes) != 1 || len(l.guests) != 1 || l.open != 0 {
			t.Fatalf("%d listeners, %d doors, %d homes, %v", len(s.listeners), len(s.doors), len(s.homes), l.guests)
		}
	}
	if left, _ := filepath.Glob(dir + "/goes*"); left != nil {
		t.Errorf("left: %q", left)
	}
}

// TestPlansCloseFolders: of the folders that plans open for HTTP those are closed at once
// that nobody has any more.
func TestPlansCloseFolders(t *testing.T) {
	s := newPlanned(t)
	opened := func() (n int) {
		all, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range all {
			if to, err := os.Readlink(fd); err == nil && to == s.dir {
				n++
			}
		}
		return n
	}
	expect := func(what string, want int) {
		t.Helper()
		if n := opened(); n != want {
			t.Fatalf("%s: the folder is open %d times, not %d", what, n, want)
		}
	}
	web := fmt.Sprintf("log_dest none\nlistener 0 %s/web\nprotocol websockets\nhttp_dir %[1]s\n", s.dir)
	s.put(web)
	guest, err := net.Dial("unix", filepath.Join(s.dir, "web"))
	if err != nil {
		t.Fatal(err)
	}
	for s.sockets < 1 {
		s.turn()
	}
	s.put(web)
	expect("who came before still has the old one", 2)
	s.put(web)
	expect("nobody has the one in between", 2)
	guest.Close()
	for s.sockets > 0 {
		s.turn()
	}
	expect("there is nobody", 1)
	s.put(web + "listener 0 " + s.dir + "/none/other\n")
	expect("a plan that failed", 1)
	if p := s.plan(s.conf); p.prepare() == nil {
		s.reloading = true
		s.refreshed(p, nil)
	}
	expect("files were read again", 1)
	s.put(fmt.Sprintf("log_dest none\nlistener 0 %s/other\n", s.dir))
	expect("the listener is gone", 0)
}
