package broker_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// aclFile writes an ACL file and gives its name.
func aclFile(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// may lists which of topics a client may publish to and read.
func (c *client) may(topics ...string) (can []string) {
	c.s.t.Helper()
	c.send("SUBSCRIBE 1 #")
	c.expect("SUBACK 1 00")
	for i, topic := range topics {
		c.send(fmt.Sprintf("PUBLISH %s 'x' qos=1 id=%d", topic, i+1))
	}
	acked := 0
	for acked < len(topics) {
		if p := c.next(); p.Type == packet.Publish {
			can = append(can, string(p.Topic))
		} else if p.Type == packet.Puback {
			acked++
		}
	}
	return can
}

// TestACLFor: a file is for the clients of the listeners it is given to, whatever
// they listen at and however it is given.
func TestACLFor(t *testing.T) {
	t.Parallel()
	a, b := aclFile(t, "topic a"), aclFile(t, "topic b")
	const (
		tcp  = "listener {port} 127.0.0.1\nallow_anonymous true\n"
		unix = "listener 0 {dir}/s\n"
		any  = "a b"
	)
	for _, r := range []struct{ name, conf, tcp, unix string }{
		{"none", tcp + unix, any, any},
		{"global", tcp + unix + "acl_file A\n", "a", "a"},
		{"above all", "acl_file A\n" + tcp + unix, "a", "a"},
		{"own", "per_listener_settings true\n" + tcp + "acl_file A\n" + unix + "allow_anonymous true\nacl_file B\n", "a", "b"},
		{"own of the first", "per_listener_settings true\n" + tcp + "acl_file A\n" + unix + "allow_anonymous true\n", "a", any},
		{"own of the second", "per_listener_settings true\n" + tcp + unix + "allow_anonymous true\nacl_file B\n", any, "b"},
		{"plugin", tcp + unix + "plugin /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file A\n", "a", "a"},
		{"own plugin", "per_listener_settings true\n" + tcp + unix + "allow_anonymous true\nplugin /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file B\n", any, "b"},
		{"global plugin", "per_listener_settings true\n" + tcp + unix + "allow_anonymous true\nglobal_plugin /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file B\n", "b", "b"},
		{"plugin used", "plugin_load acl /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file A\n" + tcp + "plugin_use acl\n" + unix, "a", any},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, strings.NewReplacer("file A", "file "+a, "file B", "file "+b).Replace(r.conf))
			first, second := s.dial("c", 5), s.dialTo("d", 4, "unix", filepath.Join(s.dir, "s"))
			for c, want := range map[*client]string{first: r.tcp, second: r.unix} {
				c.send("CONNECT clean")
				c.expect("CONNACK 00")
				if got := strings.Join(c.may("a", "b"), " "); got != want {
					t.Errorf("%s: %q, not %q", c.name, got, want)
				}
				c.conn.Close()
			}
		})
	}
	t.Run("local only", func(t *testing.T) {
		t.Parallel()
		s := start(t, (*server).running, "log_timestamp false\nacl_file "+a+"\n", "-c", "{conf}", "-p", "{port}")
		c := s.connect("c", 4, "clean")
		if got := c.may("a", "b"); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestACLRefused: without its ACL file a broker does not start.
func TestACLRefused(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		name, text string
		status     int
		want       []string
	}{
		{"missing", "", 13, []string{`Error: Unable to open acl_file "{dir}/acl".`, "Error: open {dir}/acl: no such file or directory.",
			`Error opening acl file "{dir}/acl".`}},
		{"malformed", "topic a\n\ntopic maybe b\n", 3, []string{`Error: Invalid topic access type "maybe" in acl_file "{dir}/acl".`,
			`Error opening acl file "{dir}/acl".`, "Error found at {dir}/acl:3."}},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if r.text != "" {
				if err := os.WriteFile(filepath.Join(dir, "acl"), []byte(r.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := launch(t, "log_timestamp false\nlistener {port} 127.0.0.1\nacl_file "+dir+"/acl\n", "-c", "{conf}")
			if status := s.exit(); status != r.status {
				t.Errorf("status %d, not %d", status, r.status)
			}
			var got []string
			for _, line := range s.log.all() {
				if strings.HasPrefix(line, "Error") {
					got = append(got, strings.ReplaceAll(line, dir, "{dir}"))
				}
			}
			if !slices.Equal(got, r.want) {
				t.Errorf("got %q\nwant %q", got, r.want)
			}
		})
	}
}

// TestACLReload: what a file says counts for connected clients, subscriptions and
// queues as soon as it was read again; a file that is no good changes nothing.
func TestACLReload(t *testing.T) {
	t.Parallel()
	file := aclFile(t, "topic write #", "user u", "topic read #")
	conf := "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file " + file + "\n"
	s := serve(t, conf)
	rules := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		s.reload(conf)
	}
	p := s.connect("p", 5, "clean")
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		rules("topic write #", "user u", "topic read #")
		s.await(loaded)
		id := fmt.Sprint("s", v)
		c, away := s.connect(id, v, "clean user=u"), s.connect(id+"-away", v, "user=u {session-expiry=60}")
		for _, c := range []*client{c, away} {
			c.send("SUBSCRIBE 1 # qos=1")
			c.expect("SUBACK 1 01")
		}
		away.conn.Close()
		s.await("Client " + id + "-away [" + away.peer() + "] disconnected: connection closed by client.")
		p.send("PUBLISH a '0' qos=1 id=1 + PUBLISH b '1' qos=1 id=2")
		p.expect("PUBACK 1", "PUBACK 2")
		c.expect("PUBLISH a '0' qos=1 id=1", "PUBLISH b '1' qos=1 id=2")

		rules("topic write #", "topic maybe x")
		s.await("Error: The configuration stays as it was.")
		p.send("PUBLISH a '2' qos=1 id=1")
		p.expect("PUBACK 1")
		c.expect("PUBLISH a '2' qos=1 id=3")

		rules("topic write b", "user u", "topic read b")
		s.await(loaded)
		p.send("PUBLISH a '3' qos=1 id=1 + PUBLISH b '4' qos=1 id=2")
		p.expect("PUBACK 1 rc=87", "PUBACK 2")
		c.expect("PUBLISH b '4' qos=1 id=4")
		again := s.dial(id+"-away", v)
		again.send("CONNECT user=u {session-expiry=60}")
		again.expect("CONNACK 00 present", "PUBLISH b '1' qos=1 id=1", "PUBLISH b '4' qos=1 id=2")
		c.lives()
		again.lives()
	}
}

// TestACLToAndFro: rules may come and go with a reload.
func TestACLToAndFro(t *testing.T) {
	t.Parallel()
	file := aclFile(t, "topic a")
	const conf = "listener {port} 127.0.0.1\nallow_anonymous true\n"
	s := serve(t, conf)
	c := s.connect("c", 5, "clean")
	for _, r := range []struct{ conf, want string }{
		{conf, "a b"}, {conf + "acl_file " + file + "\n", "a"}, {conf + "plugin mosquitto_acl_file.so\nplugin_opt_acl_file " + file + "\n", "a"}, {conf, "a b"},
	} {
		s.reload(r.conf)
		s.await(loaded)
		if got := strings.Join(c.may("a", "b"), " "); got != r.want {
			t.Errorf("%q: %q", r.conf, got)
		}
	}
}

// TestACLLog: the lines about what is not allowed are mosquitto's.
func TestACLLog(t *testing.T) {
	t.Parallel()
	file := aclFile(t, "pattern write ok/%c", "pattern a")
	s := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nlog_type all\nacl_file "+file+"\n")
	if s.count("Warning: ACL pattern 'a' does not contain '%c' or '%u'.") != 1 {
		t.Error("no warning")
	}
	c := s.connect("c", 5, "clean")
	c.send("PUBLISH no 'xyz' qos=1 id=7 retain")
	c.expect("PUBACK 7 rc=87")
	s.await("Denied PUBLISH from c (d0, q1, r1, m7, 'no', ... (3 bytes))")
	s.await("Sending PUBACK to c (m7, rc135)")
	for _, r := range []struct{ id, user, want string }{
		{"c#", "", `ACL denying access to client with dangerous client id "c#"`},
		{"d", "a+b", `ACL denying access to client with dangerous username "a+b"`},
	} {
		options := "clean id=" + r.id
		if r.user != "" {
			options += " user=" + r.user
		}
		c := s.connect("x", 4, options)
		c.send("PUBLISH a 'x' + PUBLISH b 'x'")
		c.lives()
		s.await(r.want)
		if s.count("dangerous") != s.count(r.want)+1 && r.user != "" || s.count(r.want) != 1 {
			t.Errorf("%s: said %d times", r.want, s.count(r.want))
		}
	}
}

// TestACLAsMosquitto: random files allow what they allow with Debian's mosquitto, in
// either direction, by the verdict of a client that may do everything.
func TestACLAsMosquitto(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	var topics []string
	for _, a := range []string{"a", "b", "c1", "u", "$x"} {
		topics = append(topics, a)
		for _, b := range []string{"a", "c2", "v", ""} {
			topics = append(topics, a+"/"+b, a+"/"+b+"/a")
		}
	}
	rule := func(kind string) string {
		levels := []string{pick("a", "b", "c1", "+", "$x", "u")}
		if kind == "pattern" {
			levels[0] = pick("a", "+", "%c", "%u", "$x")
		}
		for range rnd.IntN(3) {
			levels = append(levels, pick("a", "+", "c2", "v", ""))
		}
		filter := strings.Join(levels, "/")
		if rnd.IntN(3) == 0 {
			filter += "/#"
		}
		return kind + " " + pick("read ", "write ", "readwrite ", "deny ") + filter
	}
	for range 2 {
		var lines []string
		for _, section := range []string{"", "user u", "user v"} {
			lines = append(lines, section)
			for range 1 + rnd.IntN(6) {
				lines = append(lines, rule("topic"))
			}
		}
		for range rnd.IntN(4) {
			lines = append(lines, rule("pattern"))
		}
		lines = append(lines, "user boss", "topic #", "topic $x/#", "")
		file := aclFile(t, lines...)
		theirs := mosquitto(t, func(string) {}, "acl_file "+file)
		ours := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file "+file+"\n")
		for _, options := range []string{"id=c1", "id=c2 user=u", "id=c1 user=v", "id=c3 user=nobody"} {
			read, write := ours.allowed(options, topics)
			theirRead, theirWrite := theirs.allowed(options, topics)
			if !slices.Equal(read, theirRead) || !slices.Equal(write, theirWrite) {
				t.Errorf("seed %d: %s reads %q, not %q, writes %q, not %q\n%s", seed, options,
					read, theirRead, write, theirWrite, strings.Join(lines, "\n"))
			}
		}
	}
}

// allowed lists the topics that a client may read and write.
func (s *server) allowed(options string, topics []string) (read, write []string) {
	s.t.Helper()
	boss := s.connect("boss", 4, "clean user=boss")
	c := s.connect("x", 4, "clean "+options)
	for _, each := range []*client{boss, c} {
		each.send("SUBSCRIBE 1 # $x/#")
		each.expect("SUBACK 1 00 00")
		defer each.conn.Close()
	}
	say := func(from, to *client) (heard []string) {
		for _, name := range topics {
			from.send("PUBLISH " + name + " '" + from.name + "'")
		}
		from.names(nil)
		return to.names([]byte(from.name))
	}
	return say(boss, c), say(c, boss)
}

// names are the topics of the messages with that payload that came so far.
func (c *client) names(payload []byte) (names []string) {
	c.s.t.Helper()
	c.send("PINGREQ")
	for {
		switch p := c.next(); {
		case p.Type == packet.Pingresp:
			return names
		case p.Type == packet.Publish && string(p.Payload) == string(payload):
			names = append(names, string(p.Topic))
		}
	}
}

// TestACLAfterRestart: what an earlier broker left, wills that are to be sent at once
// too, is under the rules that the listeners of its ports have now.
func TestACLAfterRestart(t *testing.T) {
	t.Parallel()
	one, two := aclFile(t, "topic read #", "topic write w"), aclFile(t, "topic write kept/#", "topic read #")
	s := serve(t, durable+"per_listener_settings true\ncheck_retain_source true\n"+
		"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file "+one+"\n"+
		"listener {second} 127.0.0.1\nallow_anonymous true\nacl_file "+two+"\n")
	by := func(port int, name, options string) *client {
		t.Helper()
		c := s.dialTo(name, packet.V5, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		c.send("CONNECT " + options)
		c.expect("CONNACK 00")
		return c
	}
	watcher := by(s.port, "watcher", "{session-expiry=never}")
	watcher.send("SUBSCRIBE 1 w qos=1")
	watcher.expect("SUBACK 1 01")
	by(s.port, "first", "{session-expiry=never} will={w 'may' qos=1}")
	by(s.second, "second", "{session-expiry=never} will={w 'may not' qos=1}")
	p := by(s.second, "p", "clean")
	p.send("PUBLISH kept/a 'x' qos=1 id=1 retain + PUBLISH kept/b 'x' qos=1 id=2 retain")
	p.expect("PUBACK 1 rc=10", "PUBACK 2 rc=10")
	s.kill()
	if err := os.WriteFile(two, []byte("topic write kept/b\ntopic read #"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.again()
	watcher = s.dial("watcher", packet.V5)
	watcher.send("CONNECT {session-expiry=never}")
	watcher.expect("CONNACK 00 present", "PUBLISH w 'may' qos=1 id=1")
	r := by(s.port, "r", "clean")
	r.send("SUBSCRIBE 1 kept/# qos=1")
	r.expect("SUBACK 1 01", "PUBLISH kept/b 'x' qos=1 id=1 retain")
	r.lives()
	watcher.lives()
}
