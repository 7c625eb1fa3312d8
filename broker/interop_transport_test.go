package broker_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Clients that others wrote, over the other transports.

// TestMosquittoClientsTLS: mosquitto's clients over TLS, with and without a certificate.
func TestMosquittoClientsTLS(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
	a, conf := secured(t)
	anna := a.issue("anna", nil)
	ca := filepath.Join(a.dir, "authority.crt")
	for _, mutual := range []bool{false, true} {
		lines, options := conf, []string{"--cafile", ca}
		if mutual {
			lines = strings.Replace(conf, "allow_anonymous true\n", "", 1) + "cafile " + ca + "\nrequire_certificate true\nuse_identity_as_username true\n"
			options = append(options, "--cert", anna.certFile, "--key", anna.keyFile)
		}
		for _, version := range []string{"tlsv1.2", "tlsv1.3"} {
			s := serve(t, lines, "-v")
			tool := func(program string, args ...string) []string {
				words := append([]string{program, "-h", "localhost", "-p", strconv.Itoa(s.port), "-V", "mqttv5", "--tls-version", version}, options...)
				return append(words, args...)
			}
			sub := background(t, tool("mosquitto_sub", "-i", "sub", "-t", "t/#", "-q", "2", "-F", "%t %q %r %p", "-C", "2"))
			s.await("Sending SUBACK to sub")
			for qos := 1; qos <= 2; qos++ {
				words := tool("mosquitto_pub", "-i", "pub", "-t", "t/x", "-q", strconv.Itoa(qos), "-m", "hello")
				if r := command(t, words[0], words[1:]...); r.status != 0 || r.stderr != "" {
					t.Fatalf("%s: status %d, %s", strings.Join(words, " "), r.status, r.stderr)
				}
			}
			sub.prints("t/x 1 0 hello", "t/x 2 0 hello")
			s.await("Sending PUBREL to sub (m2)") // and with it all lines before
			if mutual != (s.count("u'anna').") == 3) {
				t.Errorf("mutual %v: %q", mutual, s.log.all())
			}
		}
		if !mutual {
			continue
		}
		s := serve(t, lines)
		if r := command(t, "mosquitto_pub", "-h", "localhost", "-p", strconv.Itoa(s.port), "--cafile", ca, "-t", "t", "-m", "x"); r.status == 0 {
			t.Error("a client without a certificate may publish")
		}
	}
}

// interopScript is the path of a script in testdata/interop for node.
func interopScript(t *testing.T, name string) string {
	t.Helper()
	script, err := filepath.Abs("../testdata/interop/" + name)
	if err != nil {
		t.Fatal(err)
	}
	find := exec.Command("node", "-e", "require('mqtt')")
	find.Dir = filepath.Dir(script)
	if find.Run() != nil {
		missing(t, "MQTT.js")
	}
	return script
}

// TestMQTTjsTransports: MQTT.js over TLS, WebSocket, and both.
func TestMQTTjsTransports(t *testing.T) {
	t.Parallel()
	script := interopScript(t, "mqttjs_client.js")
	a, conf := secured(t)
	for scheme, lines := range map[string]string{"mqtts": conf, "ws": webListener, "wss": conf + "protocol websockets\n"} {
		for _, v := range allVersions {
			t.Run(fmt.Sprintf("%s/v%d", scheme, v), func(t *testing.T) {
				t.Parallel()
				s := serve(t, lines)
				cmd := exec.Command("node", script, fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.port), strconv.Itoa(int(v)))
				cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+filepath.Join(a.dir, "authority.crt"))
				out, err := cmd.CombinedOutput()
				if err != nil || strings.Count(string(out), "ok ") < 6 {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// page talks to the broker that it came from, and tells what it has heard.
const page = `<!doctype html><title>midge</title><script src="mqtt.min.js"></script><script>
const client = mqtt.connect('ws://' + location.host + '/mqtt', { protocolVersion: 5, clientId: 'browser', reconnectPeriod: 0 })
client.on('connect', () => client.subscribe('to/browser', { qos: 1 }, () => client.publish('from/browser', 'here', { qos: 1, retain: true })))
client.on('message', (topic, payload) => client.publish('heard', topic + ' ' + payload, { qos: 1, retain: true }))
</script>`

// TestBrowser: a page served by midge talks to midge.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	if browser == "" {
		missing(t, "Chromium")
	}
	library, err := os.ReadFile(filepath.Join(filepath.Dir(interopScript(t, "mqttjs_client.js")), "node_modules/mqtt/dist/mqtt.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	www := t.TempDir()
	for name, text := range map[string][]byte{"index.html": []byte(page), "mqtt.min.js": library} {
		if err := os.WriteFile(filepath.Join(www, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, webListener+"http_dir "+www+"\nwebsockets_origin http://127.0.0.1:{port}\nlistener {second} 127.0.0.1\n")
	c := s.dialTo("c", 5, "tcp", s.expand("127.0.0.1:{second}"))
	c.send("CONNECT clean + SUBSCRIBE 1 from/browser qos=1 + SUBSCRIBE 2 heard qos=1")
	c.expect("CONNACK 00", "SUBACK 1 01", "SUBACK 2 01")
	profile, err := os.MkdirTemp("", "midge-browser-") // its processes may write to it till the end
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+profile, "--remote-debugging-port=0", s.expand("http://127.0.0.1:{port}/"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := newLines()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait()
	}()
	expect := func(want string) {
		t.Helper()
		p, err := c.tryNext()
		if err != nil {
			t.Fatalf("%v; Chromium says\n%s", err, strings.Join(out.all(), "\n"))
		}
		if got := string(p.Topic) + " " + string(p.Payload); got != want {
			t.Fatalf("%s, not %s", got, want)
		}
		c.send(fmt.Sprintf("PUBACK %d", p.ID))
	}
	expect("from/browser here")
	c.send("PUBLISH to/browser 'hello' qos=1 id=1")
	c.expect("PUBACK 1")
	expect("heard to/browser hello")
}
