package broker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
