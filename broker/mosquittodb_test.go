package broker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"midge/packet"
	"midge/persist"
)

// mosquitto starts Debian's mosquitto in a folder of its own, with the files it
// shall find there and one more line of configuration each.
func mosquitto(t *testing.T, prepare func(dir string), conf ...string) *server {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
		if _, err := os.Stat(path); err != nil {
			missing(t, "mosquitto")
		}
	}
	dir := t.TempDir()
	prepare(dir)
	for range 20 {
		s := &server{t: t, dir: dir, log: newLines(), stdout: newLines(), exited: make(chan struct{})}
		s.port, s.second = freePorts(t)
		s.conf = filepath.Join(s.dir, "mosquitto.conf")
		lines := append([]string{
			"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "log_timestamp false",
			"persistence true", "persistence_location {dir}/",
		}, conf...)
		if err := os.WriteFile(s.conf, []byte(s.expand(strings.Join(lines, "\n")+"\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		s.cmd = exec.Command(path, "-v", "-c", s.conf)
		s.cmd.Dir = dir
		s.run()
		switch up := s.running(); {
		case up:
			t.Cleanup(s.cleanup)
			return s
		case s.count("Address already in use") == 0:
			t.Fatalf("mosquitto does not start:\n%s", strings.Join(s.log.all(), "\n"))
		}
	}
	t.Fatal("no free port")
	return nil
}

// mosquittoImage is what a broker may have when it stops.
func mosquittoImage() *persist.Image {
	im := persist.NewImage()
	from := &persist.Origin{ClientID: "pub", Username: "alice"}
	message := func(n uint64, topic, payload string, qos byte) *persist.Message {
		return &persist.Message{Topic: topic, Payload: payload, Origin: from, Expires: persist.Never, Stored: n, QoS: qos}
	}
	kept := func(n uint64, topic, payload, props string, expires persist.Time) {
		m := message(n, topic, payload, 1)
		m.Retain, m.Properties, m.Expires = true, props, expires
		im.Retain(m)
	}
	kept(1, "kept/plain", "one", "", persist.Never)
	kept(2, "kept/props", "two", "\x03\x00\x0atext/plain&\x00\x01k\x00\x01v", persist.Never)
	kept(3, "kept/expires", "three", "", 3_600_500)
	kept(4, "kept/expired", "four", "", -5000)

	im.Session(persist.Session{ClientID: "old", Expiry: 0xFFFFFFFF, Gone: 900, LastID: 3})
	im.Subscribe(&persist.Subscription{ClientID: "old", Filter: "in/#", Options: 2})
	for i, d := range []persist.Delivery{
		{Message: message(10, "in/a", "A1", 1), QoS: 1, ID: 1, State: persist.Sent},
		{Message: message(11, "in/b", "A2", 2), QoS: 2, ID: 2, State: persist.Sent},
		{Message: message(12, "in/c", "A3", 2), QoS: 2, ID: 3, State: persist.Released},
		{Message: message(13, "in/d", "A4", 1), QoS: 1},
		{Message: message(14, "in/e", "A5", 2), QoS: 2},
	} {
		d.Number = uint64(20 + i)
		im.Deliver("old", d)
	}
	im.Receive("old", 77, message(15, "up/x", "U1", 2))

	im.Session(persist.Session{ClientID: "new", Expiry: 1_000_000, Gone: 900})
	im.Subscribe(&persist.Subscription{ClientID: "new", Filter: "opt/#", ID: 300, Options: 1})
	im.Subscribe(&persist.Subscription{ClientID: "new", Filter: "$share/group/sh/t", Options: 1})
	im.Subscribe(&persist.Subscription{ClientID: "new", Filter: "up/+", Options: 2 | persist.OptionRetainAsPublished})
	several := message(16, "opt/x", "B1", 1)
	several.Properties = "&\x00\x01k\x00\x01v\x0B\x07\x0B\xAC\x02"
	im.Deliver("new", persist.Delivery{Message: several, Number: 30, QoS: 1})
	im.Deliver("new", persist.Delivery{Message: message(17, "opt/y", "B2", 2), Number: 31, QoS: 1, SubscriptionID: 300})
	im.Deliver("new", persist.Delivery{Message: im.RetainedAt("kept/plain"), Number: 32, QoS: 1, Retain: true})
	im.Deliver("new", persist.Delivery{Message: message(18, "sh/t", "B3", 1), Number: 33, QoS: 1, Share: "$share/group/sh/t"})
	im.Will("new", &persist.Will{Message: message(19, "will", "W", 0), Delay: 1_000_000, Due: 2_000_000_000})
	return im
}

// TestMosquittoOnMidgesFile: mosquitto goes on where midge stopped.
func TestMosquittoOnMidgesFile(t *testing.T) {
	t.Parallel()
	s := mosquitto(t, func(dir string) {
		stamp := persist.Stamp{ID: 1, Segment: 1, Now: 1000, Wall: time.Now().UnixMilli()}
		if _, err := persist.SaveSnapshot(persist.Folder(dir), "mosquitto.db", mosquittoImage(), stamp, true); err != nil {
			t.Fatal(err)
		}
	})
	if n := s.count("Unsupported chunk"); n != 1 || s.count("Error") > 0 {
		t.Errorf("mosquitto says\n%s", strings.Join(s.log.all(), "\n"))
	}

	old := s.dial("old", packet.V311)
	old.send("CONNECT")
	old.expect("CONNACK 00 present", "PUBLISH in/a 'A1' qos=1 id=1 dup", "PUBLISH in/b 'A2' qos=2 id=2 dup", "PUBREL 3",
		"PUBLISH in/d 'A4' qos=1 id=4", "PUBLISH in/e 'A5' qos=2 id=5")
	old.send("PUBACK 1 + PUBREC 2 + PUBCOMP 3 + PUBACK 4 + PUBREC 5")
	old.expect("PUBREL 2", "PUBREL 5")
	old.send("PUBCOMP 2 + PUBCOMP 5")

	fresh := s.dial("new", packet.V5)
	fresh.send("CONNECT {session-expiry=never}")
	fresh.expect("CONNACK 00 present {*}", "PUBLISH opt/x 'B1' qos=1 id=1 {sub-id=7 user=k:v}",
		"PUBLISH opt/y 'B2' qos=1 id=2 {sub-id=300}", "PUBLISH kept/plain 'one' qos=1 id=3 retain", "PUBLISH sh/t 'B3' qos=1 id=4")
	fresh.send("PUBACK 1 + PUBACK 2 + PUBACK 3 + PUBACK 4")

	old.send("PUBREL 77")
	fresh.expect("PUBLISH up/x 'U1' qos=2 id=5") // what old sent before
	fresh.send("PUBREC 5")
	fresh.expect("PUBREL 5")
	old.expect("PUBCOMP 77")
	old.send("PUBLISH sh/t 'S' + PUBLISH opt/z 'Z' qos=1 id=6 + PUBLISH in/z 'I' qos=1 id=7")
	fresh.expect("PUBLISH sh/t 'S'", "PUBLISH opt/z 'Z' qos=1 id=6 {sub-id=300}")
	old.expect("PUBACK 6", "PUBLISH in/z 'I' qos=1 id=6", "PUBACK 7")

	sub := s.dial("sub", packet.V5)
	sub.send("CONNECT clean")
	sub.expect("CONNACK 00 {*}")
	for topic, message := range map[string]string{
		"kept/plain": "'one' retain", "kept/props": "'two' retain {content-type=text/plain user=k:v}", "kept/expires": "'three' retain {*}",
	} {
		sub.send("SUBSCRIBE 1 " + topic + " qos=0")
		sub.expect("SUBACK 1 00", "PUBLISH "+topic+" "+message)
	}
	sub.send("SUBSCRIBE 1 kept/expired qos=0")
	sub.expect("SUBACK 1 00")
	sub.lives()
}

// TestMidgeOnMosquittosFile: midge goes on where mosquitto stopped.
func TestMidgeOnMosquittosFile(t *testing.T) {
	t.Parallel()
	m := mosquitto(t, func(string) {}, "max_inflight_messages 2")
	old := m.connect("old", packet.V311, "")
	old.send("SUBSCRIBE 1 in/# qos=2")
	old.expect("SUBACK 1 02")
	fresh := m.dial("new", packet.V5)
	fresh.send("CONNECT {session-expiry=never}")
	fresh.expect("CONNACK 00 {*}")
	fresh.send("SUBSCRIBE 1 opt/# qos=1 {sub-id=300}")
	fresh.expect("SUBACK 1 01")
	fresh.send("SUBSCRIBE 2 up/+ qos=2 rap")
	fresh.expect("SUBACK 2 02")
	fresh.send("DISCONNECT")
	fresh.expect("close")

	pub := m.dial("pub", packet.V5)
	pub.send("CONNECT clean")
	pub.expect("CONNACK 00 {*}")
	pub.send("PUBLISH kept/plain 'one' retain qos=1 id=1 + PUBLISH kept/props 'two' qos=1 id=2 retain {content-type=text/plain user=k:v}")
	pub.expect("PUBACK 1 rc=10", "PUBACK 2 rc=10")
	pub.send("PUBLISH opt/a 'B1' qos=1 id=3 {user=k:v} + PUBLISH opt/b 'B2' qos=2 id=4")
	pub.expect("PUBACK 3", "PUBREC 4")
	pub.send("PUBREL 4")
	pub.expect("PUBCOMP 4")
	pub.send("PUBLISH in/a 'A1' qos=1 id=5")
	old.expect("PUBLISH in/a 'A1' qos=1 id=1")
	pub.expect("PUBACK 5")
	pub.send("PUBLISH in/b 'A2' qos=2 id=6 + PUBREL 6")
	old.expect("PUBLISH in/b 'A2' qos=2 id=2")
	old.send("PUBREC 2")
	old.expect("PUBREL 2")
	pub.expect("PUBREC 6", "PUBCOMP 6")
	pub.send("PUBLISH in/c 'A3' qos=1 id=7") // beyond the window
	pub.expect("PUBACK 7")
	old.send("PUBLISH up/x 'U1' qos=2 id=77")
	old.expect("PUBREC 77")
	m.stop(syscall.SIGTERM)

	s := serveOn(t, filepath.Join(m.dir, "mosquitto.db"), "")
	old = s.dial("old", packet.V311)
	old.send("CONNECT")
	old.expect("CONNACK 00 present", "PUBLISH in/a 'A1' qos=1 id=1 dup", "PUBREL 2", "PUBLISH in/c 'A3' qos=1 id=3")
	old.send("PUBACK 1 + PUBCOMP 2 + PUBACK 3")
	fresh = s.dial("new", packet.V5)
	fresh.send("CONNECT {session-expiry=never}")
	fresh.expect("CONNACK 00 present", "PUBLISH opt/a 'B1' qos=1 id=3 {user=k:v sub-id=300}", "PUBLISH opt/b 'B2' qos=1 id=4 {sub-id=300}")
	fresh.send("PUBACK 3 + PUBACK 4")
	old.send("PUBREL 77")
	old.expect("PUBCOMP 77")
	fresh.expect("PUBLISH up/x 'U1' qos=2 id=5")
	sub := s.dial("sub", packet.V5)
	sub.send("CONNECT clean")
	sub.expect("CONNACK 00")
	sub.send("SUBSCRIBE 1 kept/# qos=0")
	sub.expect("SUBACK 1 00", "PUBLISH kept/plain 'one' retain", "PUBLISH kept/props 'two' retain {content-type=text/plain user=k:v}")
	sub.lives()
}

// serveOn starts midge with a copy of a database.
func serveOn(t *testing.T, db, conf string) *server {
	t.Helper()
	b, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mosquitto.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, "persistence true\npersistence_location "+dir+"/\n"+conf)
}

// TestMidgeOnOldFiles: what clients of the brokers that wrote the files are owed.
func TestMidgeOnOldFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sessions-2.0.11", "sessions-2.1.2", "legacy-v5-1.6.9", "legacy-v4-1.5.9", "legacy-v3-1.5.5"} {
		t.Run(name, func(t *testing.T) {
			s := serveOn(t, "../persist/testdata/"+name+".db", "")
			a := s.dial("sess-v4", packet.V311)
			a.send("CONNECT")
			a.expect("CONNACK 00 present", "PUBLISH in/q1 'A1' qos=1 id=1 dup", "PUBLISH in/q2 'A2' qos=2 id=2 dup", "PUBREL 3",
				"PUBLISH in/q1 'A4' qos=1 id=4", "PUBLISH in/q2 'A5' qos=2 id=5")
			b := s.dial("sess-v31", packet.V31)
			b.send("CONNECT")
			b.expect("CONNACK 00", "PUBLISH old/x 'O1' qos=1 id=3", "PUBLISH old/z 'O3' qos=1 id=4")
			sub := s.connect("sub", packet.V311, "clean")
			sub.send("SUBSCRIBE 1 up/# qos=0 + SUBSCRIBE 2 keep/# qos=0")
			sub.expect("SUBACK 1 00", "SUBACK 2 00", "PUBLISH keep/retained 'R' retain")
			a.send("PUBREL 77")
			a.expect("PUBCOMP 77")
			sub.expect("PUBLISH up/q2 'U1'")
			sub.lives()
			if name[0] == 'l' && name != "legacy-v5-1.6.9" {
				return // before v5
			}
			newSessions(s)
		})
	}
}

// newSessions comes back with the sessions of v5.
func newSessions(s *server) {
	s.t.Helper()
	c := s.dial("sess-v5", packet.V5)
	c.send("CONNECT {session-expiry=never}")
	c.expect("CONNACK 00 present", "PUBLISH opt/nl 'B1' qos=1 id=7 {content-type=text/plain user=a:b sub-id=5}",
		"PUBLISH opt/rap 'B2' qos=2 id=8 retain {*}", "PUBLISH opt/rh1 'B3' qos=1 id=9 {sub-id=128}",
		"PUBLISH opt/all/x 'B4' qos=2 id=10 {sub-id=268435455}", "PUBLISH sh/t 'S1' qos=1 id=11")
	d := s.dial("sess-v5-exp", packet.V5)
	d.send("CONNECT {session-expiry=4000000000}")
	d.expect("CONNACK 00 present", "PUBLISH opt/rap 'B2' qos=1 id=1 dup {*}")
	d.lives()
	z := s.dial("sess-v5-zero", packet.V5)
	z.send("CONNECT")
	z.expect("CONNACK 00")
	z.lives()
}
