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

// TestPlansLeaveNothing: after many reloads the server knows of no listener but those
// that are open, nor of what clients were under who are gone.
func TestPlansLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	log := logging.New(logging.Options{}, time.Now)
	defer log.Close()
	c, _, err := conf.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(c, Options{HostsDir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.shut()
	s.guardDoors()
	put := func(text string) {
		t.Helper()
		name := filepath.Join(dir, "conf")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := conf.Load([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		p := s.plan(c)
		if err := p.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := s.bind(p); err != nil {
			t.Fatal(err)
		}
		s.apply(p, s.now())
		s.poll.Post(func() {}) // not to wait in the turn
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
	}
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
