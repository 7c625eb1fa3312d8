package broker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"midge/packet"
)

// The sample configurations that conf parses, started: each does what its comments
// say. The one with bridges waits for them.

// sampleServer is midge with a sample whose folders and ports were replaced.
type sampleServer struct {
	*server
	at    string         // the folder that stands for all of them
	ports map[string]int // by those of the sample
	ca    *authority
}

var listenerLine = regexp.MustCompile(`(?m)^listener ([1-9]\d*).*$`)

// startSample starts midge with a sample. ann and bob have the password "secret"; acl
// is what stands in every ACL file.
func startSample(t *testing.T, name, acl string) *sampleServer {
	t.Helper()
	text, err := os.ReadFile("../conf/testdata/samples/" + name + ".conf")
	if err != nil {
		t.Fatal(err)
	}
	f := &sampleServer{at: t.TempDir()}
	f.fill(t, acl)
	conf := strings.NewReplacer("/etc/mosquitto/", f.at+"/", "/var/lib/mosquitto/", f.at+"/", "/var/log/mosquitto/", f.at+"/",
		"/run/mosquitto/", f.at+"/", "/tmp/", f.at+"/", "user mosquitto", "user root", "log_dest syslog\n", "").Replace(string(text))
	for range 20 {
		f.ports = make(map[string]int)
		var free []int
		here := listenerLine.ReplaceAllStringFunc(conf, func(line string) string {
			old := listenerLine.FindStringSubmatch(line)[1]
			if len(free) == 0 {
				a, b := freePorts(t)
				free = []int{a, b}
			}
			f.ports[old], free = free[0], free[1:]
			return fmt.Sprintf("listener %d 127.0.0.1", f.ports[old])
		})
		f.server = launch(t, here, "-c", "{conf}")
		if f.open() {
			return f
		}
	}
	t.Fatalf("midge does not start:\n%s", strings.Join(f.log.all(), "\n"))
	return nil
}

// fill makes the files that samples name.
func (f *sampleServer) fill(t *testing.T, acl string) {
	t.Helper()
	for _, dir := range []string{"certs", "conf.d"} {
		if err := os.Mkdir(filepath.Join(f.at, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f.ca = newAuthority(t, filepath.Join(f.at, "certs"), "clients-ca")
	own := f.ca.issue("own", nil)
	for from, to := range map[string]string{own.certFile: "certs/fullchain.pem", own.keyFile: "certs/privkey.pem"} {
		if err := os.Rename(from, filepath.Join(f.at, to)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"passwd", "meters.passwd"} {
		file := filepath.Join(f.at, name)
		for i, user := range []string{"ann", "bob"} {
			args := []string{"passwd", "-b", file, user, "secret"}
			if i == 0 {
				args = []string{"passwd", "-c", "-b", file, user, "secret"}
			}
			if r := command(t, midge(t), args...); r.status != 0 {
				t.Fatalf("midge passwd: %+v", r)
			}
		}
	}
	for _, name := range []string{"home.acl", "meters.acl", "public.acl", "web.acl"} {
		if err := os.WriteFile(filepath.Join(f.at, name), []byte(acl), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// open waits until all ports are; false when midge ended.
func (f *sampleServer) open() bool {
	for _, port := range f.ports {
		for {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-f.exited:
				return false
			default:
				runtime.Gosched()
			}
		}
	}
	return true
}

// to is a client of the listener with that port in the sample.
func (f *sampleServer) to(port, name string, v packet.Version) *client {
	f.t.Helper()
	return f.dialTo(name, v, "tcp", fmt.Sprintf("127.0.0.1:%d", f.ports[port]))
}

// web has a client speak WebSocket.
func (c *client) web() *client {
	c.s.t.Helper()
	w, err := speakWeb(c.conn, "")
	if err != nil {
		c.s.t.Fatal(err)
	}
	c.conn = w
	return c
}

// in has the client connect.
func (c *client) in(connect string) *client {
	c.s.t.Helper()
	c.send("CONNECT " + connect)
	if p := c.next(); p.Type != packet.Connack || p.Reason != packet.Success {
		c.s.t.Fatalf("%s: %v %v", connect, p.Type, p.Reason)
	}
	return c
}

// out says that a v4 client is not let in.
func (c *client) out(connect string) {
	c.s.t.Helper()
	c.send("CONNECT " + connect)
	c.expect("CONNACK 05", "close")
}

const annMay = "user ann\ntopic readwrite home/#\nuser bob\ntopic read home/#\n"

func TestSampleHomeAutomation(t *testing.T) {
	t.Parallel()
	f := startSample(t, "home-automation", annMay)
	const ann, bob = "clean user=ann password=secret", "clean user=bob password=secret"
	// One password file and one ACL file serve every listener.
	f.to("1883", "x", 4).out("clean")
	f.to("9001", "x", 4).web().out("clean user=ann password=wrong")
	phone := f.to("9001", "phone", 4).web().in(bob)
	phone.send("SUBSCRIBE 1 #")
	phone.expect("SUBACK 1 00")
	hub := f.to("1883", "hub", 4).in(ann)
	hub.send("PUBLISH home/light 'on' + PUBLISH garden/light 'on' + PUBLISH home/door 'open'")
	phone.expect("PUBLISH home/light 'on'", "PUBLISH home/door 'open'")
	phone.send("PUBLISH home/light 'off'")
	// A backlog for sensors that sleep, QoS 0 too, and at most 500 messages.
	sensor := f.to("1883", "sensor", 4).in("user=ann password=secret")
	sensor.send("SUBSCRIBE 1 home/set qos=1")
	sensor.expect("SUBACK 1 01")
	sensor.conn.Close()
	hub.lives()
	for i := range 600 {
		hub.send(fmt.Sprintf("PUBLISH home/set '%d'", i))
	}
	hub.lives()
	sensor = f.to("1883", "sensor", 4).in("user=ann password=secret")
	for i := range 500 {
		sensor.expect(fmt.Sprintf("PUBLISH home/set '%d'", i))
	}
	sensor.lives()
	if _, err := os.Stat(filepath.Join(f.at, "mosquitto.pid")); err != nil {
		t.Error(err)
	}
	f.stop(syscall.SIGTERM)
	log, err := os.ReadFile(filepath.Join(f.at, "mosquitto.log"))
	if err != nil || !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: New client connected from`).Match(log) {
		t.Errorf("%v; %s", err, log)
	}
	if info, err := os.Stat(filepath.Join(f.at, "mosquitto.db")); err != nil || info.Size() == 0 {
		t.Errorf("nothing is kept: %v", err)
	}
}

func TestSampleTestDev(t *testing.T) {
	t.Parallel()
	f := startSample(t, "test-dev", "")
	plain := f.to("1883", "plain", 5).in("clean")
	plain.send("SUBSCRIBE 1 # + SUBSCRIBE 2 $SYS/broker/uptime")
	plain.expect("SUBACK 1 00", "SUBACK 2 00")
	seen := map[string]bool{}
	for len(seen) < 2 { // $SYS every second
		seen[string(plain.next().Payload)] = true
	}
	plain.send("UNSUBSCRIBE 3 $SYS/broker/uptime")
	for plain.next().Type != packet.Unsuback {
	}
	tenant := f.to("1884", "tenant", 5)
	tenant.send("CONNECT clean")
	tenant.expect("CONNACK 00 {max-qos=1 -alias-max -receive-max}")
	tenant.send("PUBLISH a 'b'")
	plain.expect("PUBLISH tenant1/a 'b'")
	f.dialTo("unix", 4, "unix", filepath.Join(f.at, "mosquitto-dev.sock")).in("clean").lives()
	f.stop(syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(f.at, "mosquitto.db")); err == nil {
		t.Error("something is kept")
	}
	all := strings.Join(f.stdout.all(), "\n")
	if !regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d: Received PUBLISH from tenant \(d0, q0, r0, m0, 'tenant1/a'`).MatchString(all) {
		t.Errorf("not everything is logged:\n%s", all)
	}
}

func TestSampleVPS(t *testing.T) {
	t.Parallel()
	// A keep alive is asked of everybody, for there is a limit.
	f := startSample(t, "vps-tls", "user ann\ntopic readwrite news/#\nuser machine\ntopic read news/#\n")
	// Services of this host come without a password.
	local := f.to("1883", "local", 4).in("clean keepalive=60")
	local.send("SUBSCRIBE 1 #")
	local.expect("SUBACK 1 00")
	over := func(port, name string, show ...*issued) *client {
		c := f.to(port, name, 4)
		c.overTLS(f.ca.clientConfig(show...))
		return c
	}
	over("8883", "x").out("clean keepalive=60")
	empty := over("8883", "x")
	empty.send("CONNECT clean keepalive=60 id= user=ann password=secret")
	empty.expect("CONNACK 02", "close")
	ann := over("8883", "ann").in("clean keepalive=60 user=ann password=secret")
	// Machines are whom their certificate says.
	machine := over("8884", "m", f.ca.issue("machine", nil)).in("clean keepalive=60")
	machine.send("SUBSCRIBE 1 #")
	machine.expect("SUBACK 1 00")
	ann.send("PUBLISH news/1 'x' + PUBLISH other 'x'")
	machine.expect("PUBLISH news/1 'x'")
	local.expect("PUBLISH news/1 'x'")
	machine.send("PUBLISH news/2 'x'")
	machine.lives()
	local.lives()
	if got := over("8884", "n").shake("clean keepalive=60"); got != "" {
		t.Errorf("without a certificate the answer is %s", got)
	}
}

func TestSampleBrowser(t *testing.T) {
	t.Parallel()
	f := startSample(t, "websockets-browser", "user ann\ntopic readwrite ann/#\nuser bob\ntopic readwrite #\n")
	backend := f.to("1883", "backend", 4).in("clean user=bob password=secret")
	backend.send("SUBSCRIBE 1 #")
	backend.expect("SUBACK 1 00")
	proxied := f.to("9001", "", 5).web()
	proxied.send("CONNECT clean id= user=ann password=secret")
	if p := proxied.next(); !strings.HasPrefix(string(p.Props.AssignedClientID), "web-") {
		t.Errorf("the id is %q", p.Props.AssignedClientID)
	}
	direct := f.to("8443", "direct", 4)
	direct.overTLS(f.ca.clientConfig())
	direct.web().in("clean user=ann password=secret")
	direct.send("SUBSCRIBE 1 #")
	direct.expect("SUBACK 1 00")
	// Browser users see their own part only.
	backend.send("PUBLISH bob/x '1' + PUBLISH ann/x '2'")
	direct.expect("PUBLISH ann/x '2'")
	proxied.send("PUBLISH bob/y '3' + PUBLISH ann/y '4'")
	direct.expect("PUBLISH ann/y '4'")
	backend.expect("PUBLISH bob/x '1'", "PUBLISH ann/x '2'", "PUBLISH ann/y '4'")
	f.to("9001", "x", 4).web().out("clean")
}

func TestSampleTelemetry(t *testing.T) {
	t.Parallel()
	f := startSample(t, "high-volume-telemetry", "pattern write meters/%u/#\nuser bob\ntopic read meters/#\n")
	meter := f.to("1883", "whatever", 5)
	meter.send("CONNECT keepalive=5000 user=ann password=secret {session-expiry=60}")
	p := meter.next()
	if p.Props.MaximumQoS != 1 || p.Props.ServerKeepAlive != 1200 || p.Props.TopicAliasMaximum != 50 || p.Props.MaximumPacketSize != 16384 {
		t.Errorf("%+v", p.Props)
	}
	var consumers []*client
	for i := range 2 {
		c := f.to("1893", fmt.Sprintf("c%d", i), 4).in("clean keepalive=60 user=bob password=secret")
		c.send("SUBSCRIBE 1 $share/readers/meters/# qos=1")
		c.expect("SUBACK 1 01")
		consumers = append(consumers, c)
	}
	meter.send("PUBLISH meters/ann/1 'x' qos=1 id=1 + PUBLISH meters/bob/1 'x' qos=1 id=2 + PUBLISH meters/ann/2 'y' qos=1 id=3")
	consumers[0].expect("PUBLISH meters/ann/1 'x' qos=1 id=1")
	consumers[1].expect("PUBLISH meters/ann/2 'y' qos=1 id=1")
	meter.expect("PUBACK 1", "PUBACK 2 rc=87", "PUBACK 3")
	meter.send("PUBLISH meters/ann/3 '" + strings.Repeat("x", 17000) + "'")
	meter.expect("DISCONNECT 95", "close")
	f.stop(syscall.SIGTERM)
	if info, err := os.Stat(filepath.Join(f.at, "telemetry.db")); err != nil || info.Size() == 0 {
		t.Errorf("nothing is kept: %v", err)
	}
	if log, _ := os.ReadFile(filepath.Join(f.at, "telemetry.log")); strings.Contains(string(log), "connect") {
		t.Errorf("the log says\n%s", log)
	}
}
