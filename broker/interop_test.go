package broker_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
)

// Clients that others wrote. make test-tools installs them.

// library runs a client's script against a broker for each protocol version. It
// prints a line for each thing that works.
func library(t *testing.T, interpreter string, args ...string) {
	for _, v := range allVersions {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "")
			r := command(t, interpreter, append(args[:len(args):len(args)], strconv.Itoa(s.port), strconv.Itoa(int(v)))...)
			want := []string{"ok qos", "ok many", "ok large", "ok retained", "ok will", "ok session"}
			if v == 5 {
				want = append(want, "ok request")
			}
			if got := strings.TrimSpace(r.stdout); got != strings.Join(want, "\n") || r.status != 0 {
				t.Errorf("status %d, it says\n%s\n%s", r.status, got, r.stderr)
			}
		})
	}
}

func TestPaho(t *testing.T) {
	t.Parallel()
	for _, python := range []string{"python3", "/usr/bin/python3"} { // Debian's package is for Debian's Python
		if exec.Command(python, "-c", "import paho.mqtt.client").Run() == nil {
			library(t, python, "../testdata/interop/paho_client.py")
			return
		}
	}
	missing(t, "Paho for Python")
}

func TestMQTTjs(t *testing.T) {
	t.Parallel()
	library(t, "node", interopScript(t, "mqttjs_client.js"))
}

// mosquitto's own clients.

// levels are the protocol versions as mosquitto's clients call them.
var levels = map[packet.Version]string{3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}

// perVersion runs f with a broker for each protocol version, if mosquitto's clients
// are installed.
func perVersion(t *testing.T, f func(t *testing.T, s *server, v packet.Version)) {
	t.Helper()
	t.Parallel()
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub", "mosquitto_rr"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
	for _, v := range allVersions {
		t.Run(levels[v], func(t *testing.T) { f(t, serve(t, "", "-v"), v) })
	}
}

// tool is a command of mosquitto's clients with the arguments they share.
func (s *server) tool(program string, v packet.Version, args ...string) []string {
	return append([]string{program, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-V", levels[v]}, args...)
}

// pub publishes by mosquitto_pub.
func (s *server) pub(t *testing.T, v packet.Version, args ...string) {
	t.Helper()
	words := s.tool("mosquitto_pub", v, args...)
	if r := command(t, words[0], words[1:]...); r.status != 0 || r.stderr != "" {
		t.Fatalf("%s: status %d, %s", strings.Join(words, " "), r.status, r.stderr)
	}
}

// running is a client in the background.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *lines
	done chan struct{}
}

// sub starts mosquitto_sub as client id, and waits until it has subscribed. It
// prints topic, QoS, retain flag and payload of messages.
func (s *server) sub(t *testing.T, v packet.Version, id string, args ...string) *running {
	t.Helper()
	r := background(t, s.tool("mosquitto_sub", v, append([]string{"-i", id, "-F", "%t %q %r %p"}, args...)...))
	s.await("Sending SUBACK to " + id)
	return r
}

func background(t *testing.T, words []string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r := &running{t: t, cmd: exec.CommandContext(ctx, words[0], words[1:]...), out: newLines(), done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	if err := r.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		r.out.end()
		close(r.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

// prints waits until it ends by itself and compares all it said.
func (r *running) prints(want ...string) {
	r.t.Helper()
	<-r.done
	if got := r.out.all(); !slices.Equal(got, want) || r.cmd.ProcessState.ExitCode() != 0 {
		r.t.Errorf("%s\nstatus %d, it prints %q\nnot %q", strings.Join(r.cmd.Args, " "), r.cmd.ProcessState.ExitCode(), got, want)
	}
}

func TestMosquittoClientsQoS(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		for granted := range 3 {
			id := fmt.Sprintf("sub%d", granted)
			sub := s.sub(t, v, id, "-t", "t/#", "-q", strconv.Itoa(granted), "-C", "3")
			for sent := range 3 {
				s.pub(t, v, "-t", fmt.Sprintf("t/%d", sent), "-q", strconv.Itoa(sent), "-m", "hello")
			}
			var want []string
			for sent := range 3 {
				want = append(want, fmt.Sprintf("t/%d %d 0 hello", sent, min(sent, granted)))
			}
			sub.prints(want...)
		}
	})
}

func TestMosquittoClientsRetained(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		for sent := range 3 {
			s.pub(t, v, "-t", fmt.Sprintf("kept/%d", sent), "-q", strconv.Itoa(sent), "-m", "x", "-r")
		}
		s.pub(t, v, "-t", "kept/1", "-n", "-r", "-q", "1")
		sub := s.sub(t, v, "sub", "-t", "kept/#", "-q", "2", "-C", "2")
		sub.prints("kept/0 0 1 x", "kept/2 2 1 x")
	})
}

func TestMosquittoClientsWill(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		sub := s.sub(t, v, "sub", "-t", "will/#", "-q", "1", "-C", "1")
		will := func(id string) *running {
			return s.sub(t, v, id, "-t", "t/"+id, "-C", "1", "--will-topic", "will/"+id, "--will-payload", "gone", "--will-qos", "1")
		}
		polite, rude := will("polite"), will("rude")
		s.pub(t, v, "-t", "t/polite", "-m", "bye")
		polite.prints("t/polite 0 0 bye")
		rude.cmd.Process.Kill()
		sub.prints("will/rude 1 0 gone")
	})
}

func TestMosquittoClientsSession(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		durable := []string{"-c", "-t", "t/#", "-q", "2"}
		if v == 5 {
			durable = append(durable, "-x", "60")
		}
		s.sub(t, v, "durable", append(durable, "-E")...).prints()
		for sent := range 3 {
			s.pub(t, v, "-t", fmt.Sprintf("t/%d", sent), "-q", strconv.Itoa(sent), "-m", "waits")
		}
		s.sub(t, v, "durable", append(durable, "-C", "2")...).prints("t/1 1 0 waits", "t/2 2 0 waits")
	})
}

// TestMosquittoClientsLines: one publisher that sends line by line.
func TestMosquittoClientsLines(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("t 2 0 line %d", i))
		}
		sub := s.sub(t, v, "sub", "-t", "t", "-q", "2", "-C", "200")
		words := s.tool("mosquitto_pub", v, "-t", "t", "-q", "2", "-l")
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(strings.Join(want, "\n"), "t 2 0 ", "") + "\n")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v %s", err, out)
		}
		sub.prints(want...)
	})
}

// TestMosquittoRR asks, and a client of ours answers.
func TestMosquittoRR(t *testing.T) {
	perVersion(t, func(t *testing.T, s *server, v packet.Version) {
		c := s.connect("answers", v, "clean")
		c.send("SUBSCRIBE 1 request qos=1")
		c.expect("SUBACK 1 01")
		args := []string{"-i", "asks", "-t", "request", "-e", "answer", "-q", "1", "-m", "question"}
		request, reply := "PUBLISH request 'question' qos=1 id=1", "PUBLISH answer 'reply'"
		if v == 5 {
			args = append(args, "-D", "PUBLISH", "correlation-data", "c1", "-D", "PUBLISH", "user-property", "k", "v")
			request += " {correlation=c1 user=k:v response-topic=answer}"
			reply += " {correlation=c1 user=k:v}"
		}
		asks := background(t, s.tool("mosquitto_rr", v, args...))
		c.expect(request)
		c.send("PUBACK 1 + " + reply)
		asks.prints("reply")
	})
}
