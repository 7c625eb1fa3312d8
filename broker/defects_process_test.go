package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReloadWithoutDescriptors: a reload that can open no file leaves in force what
// was: it does not fall back to defaults that let everybody in.
func TestReloadWithoutDescriptors(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, hashed(t, 4, "joe:secret"))
	sh := []string{"/bin/sh", "-c", `ulimit -n 40 && exec "$0" "$@"`}
	conf := "log_timestamp false\nwatch_files_interval 0\npassword_file " + name + "\nlistener {port} 127.0.0.1\n"
	s := launchBy(t, sh, conf, "-c", "{conf}")
	for range 20 {
		if s.running() {
			break
		}
		s.cleanup() // its port was taken after all
		s = launchBy(t, sh, conf, "-c", "{conf}")
	}
	joe := s.connect("joe", 5, "clean user=joe password=secret")
	var all []*client
	for range 60 { // some of which are sent away
		all = append(all, s.dial("silent", 4))
	}
	s.log.find(func(line string) bool { return strings.HasPrefix(line, "Unable to accept new connection") })
	all[len(all)-1].ended() // each of them has for a moment left a descriptor to others
	joe.lives()
	for range 3 {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await("Error: The configuration stays as it was.")
		joe.lives()
	}
	for _, c := range all {
		c.conn.Close()
	}
	for s.descriptors() > 30 {
		joe.lives()
	}
	for words, in := range map[string]bool{"": false, " user=joe password=wrong": false, " user=joe password=secret": true} {
		if got := s.knock(5, s.port, "id=new"+words); got != in {
			t.Errorf("%q is let in: %v", words, got)
		}
	}
	joe.lives()
}

// ticks is the processor time that the process has taken, in units of 10 ms.
func (s *server) ticks() int {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):]))
	user, _ := strconv.Atoi(f[12])
	system, _ := strconv.Atoi(f[13])
	return user + system
}

// TestBusyLoop: connections of which nothing comes, of which a part has come, that do
// not read what waits for them, and that have cost much before, take no time.
func TestBusyLoop(t *testing.T) {
	t.Parallel()
	a, secure := secured(t)
	s := serve(t, "connection_messages false\n"+secure+"listener {second} 127.0.0.1\nallow_anonymous true\n")
	plain := func(name string) *client {
		return s.dialTo(name, 4, "tcp", fmt.Sprintf("127.0.0.1:%d", s.second))
	}
	first := hello()
	for i := range 50 {
		plain("silent")
		plain("part").write([]byte{0x10})
		s.dial("tls", 4).write(first[:1+i])
		s.dial("whole", 4).write(first)
	}
	deaf := plain("deaf")
	deaf.send("CONNECT clean")
	deaf.expect("CONNACK 00")
	pings := []byte(strings.Repeat("\xC0\x00", 64<<10))
	for stuck := false; !stuck; {
		deaf.conn.SetWriteDeadline(time.Now().Add(250 * time.Millisecond))
		n, _ := deaf.conn.Write(pings)
		stuck = n == 0
	}
	watch := s.connectTLS("watch", 4, a.clientConfig())
	watch.lives()
	took, tries := 100, 0
	for ; took > 15 && tries < 20; tries++ { // at first there are handshakes to answer
		before := s.ticks()
		time.Sleep(400 * time.Millisecond)
		took = s.ticks() - before
	}
	if took > 15 {
		t.Errorf("it takes %d ms of 400, %d times", took*10, tries)
	}
	watch.lives()
}
