package persist

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// throughMosquitto has mosquitto load the database of a folder and save it. It
// gives what mosquitto said.
func throughMosquitto(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mosquitto is missing")
		}
		t.Skip("mosquitto is missing")
	}
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		said, ok := onceMosquitto(t, path, dir, port)
		if ok || !strings.Contains(said, "Address already in use") {
			return said
		}
	}
	t.Fatal("no free port")
	return ""
}

func onceMosquitto(t *testing.T, path, dir string, port int) (said string, ok bool) {
	t.Helper()
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nuser root\npersistence true\npersistence_location %s/\nmax_inflight_messages 0\n"+
		"max_queued_messages 0\nqueue_qos0_messages true\n", port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.HasSuffix(lines.Text(), " running") {
			ok = true
			served(t, port)
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	cmd.Wait()
	return said, ok
}

// served waits until mosquitto looks after clients: a signal before that is lost.
func served(t *testing.T, port int) {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	c.Write([]byte("nonsense"))
	c.Read(make([]byte, 1)) // it hangs up
}

// essence is what survives mosquitto 2.0.11: it forgets retain handling,
// shared subscriptions, listeners it does not have, and when a connection ended.
// It gives clients without a user name those of others. wall is what makes Unix time of the image's, in milliseconds.
func essence(im *Image, wall int64) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for m := range im.Retained() {
		say("retained %s", essential(m, wall))
	}
	for s := range im.Sessions() {
		id := s.ClientID
		if s.Expiry == 0 {
			continue // it ended
		}
		say("session %s, %d s", id, s.Expiry)
		for sub := range im.SubscriptionsOf(id) {
			if strings.HasPrefix(sub.Filter, "$share/") {
				continue
			}
			say("%s subscription %s %02x %d", id, sub.Filter, sub.Options&^0x30, sub.ID)
		}
		for _, waits := range []bool{false, true} {
			i := 0
			for d := range im.Deliveries(id) {
				if waits == (d.State == Queued) {
					sub, _ := d.identifier()
					say("%s %t %d: id %d q%d state %d r%t, subscription %d: %s", id, waits, i, d.ID, d.QoS, d.State, d.Retain, sub, essential(d.Message, wall))
					i++
				}
			}
		}
		for mid, m := range im.Incoming(id) {
			say("%s incoming %d: %s", id, mid, essential(m, wall))
		}
	}
	slices.Sort(out)
	return out
}

func essential(m *Message, wall int64) string {
	v := *m
	if m.Expires != Never {
		v.Expires = (m.Expires + wall + 999) / 1000 * 1000
	}
	if m.Origin != nil {
		v.Origin = &Origin{m.Origin.ClientID, m.Origin.Username, 0}
	}
	v.Properties = withoutIdentifiers(m.Properties)
	return messageLine(&v)
}

// TestMosquittoBetween: what mosquitto makes of midge's files, midge takes back.
func TestMosquittoBetween(t *testing.T) {
	wall := time.Now().UnixMilli() + 100_000
	for seed := range uint64(4) {
		dir := t.TempDir()
		im := legal(rand.New(rand.NewPCG(seed, 4)), 300)
		if _, err := SaveSnapshot(Folder(dir), "mosquitto.db", im, Stamp{ID: 1, Wall: wall}, true); err != nil {
			t.Fatal(err)
		}
		said := throughMosquitto(t, dir)
		if strings.Contains(said, "Error") || strings.Count(said, "Warning: Unsupported chunk") != 1 {
			t.Errorf("mosquitto says\n%s", said)
		}
		s, err := loadSnapshot(Folder(dir), "mosquitto.db", nil)
		if err != nil || s.own || s.damage != nil || s.stamp != (Stamp{}) {
			t.Fatalf("%v, %+v", err, s)
		}
		same(t, fmt.Sprint("seed ", seed), essence(s.image, 0), essence(im, wall))
	}
}
