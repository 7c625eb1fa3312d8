package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"midge/auth"
	"midge/packet"
)

// hashed makes lines of a password file, quick to verify, of "user:password".
func hashed(t testing.TB, cost int, users ...string) string {
	t.Helper()
	var b strings.Builder
	for _, u := range users {
		user, password, _ := strings.Cut(u, ":")
		kind := auth.PBKDF2
		if cost >= 4 {
			kind = auth.Bcrypt
		}
		h, err := auth.MakeHash(kind, []byte(password), cost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:%s\n", user, h)
	}
	return b.String()
}

// passwordFile writes a password file of "user:password".
func passwordFile(t testing.TB, users ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, hashed(t, 1, users...))
	return name
}

func replacePasswords(t testing.TB, name, text string) {
	t.Helper()
	next := name + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, name); err != nil {
		t.Fatal(err)
	}
}

// knock connects with the words of a CONNECT and tells whether it was let in.
func (s *server) knock(v packet.Version, port int, words string) bool {
	s.t.Helper()
	c := s.dialTo("c", v, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	defer c.conn.Close()
	c.send("CONNECT clean " + words)
	got, err := c.receive()
	if err != nil {
		s.t.Fatal(err)
	}
	refused := map[packet.Version]string{3: "CONNACK 05", 4: "CONNACK 05", 5: "CONNACK 87"}[v]
	if got == refused {
		c.expect("close")
	} else if got != "CONNACK 00" {
		s.t.Fatalf("%q: %s", words, got)
	}
	return got != refused
}

// TestWhoMayConnect: passwords and allow_anonymous, in all their combinations.
func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	file := "password_file " + passwordFile(t, "joe:secret", "ann:other", "dave:") + "\n"
	empty := "password_file " + passwordFile(t) + "\n"
	words := []string{"", "user=joe password=secret", "user=joe password=wrong", "user=joe", "user=joe password=''",
		"user=max password=secret", "user=max", "user='' password=secret", `user=joe password='secret\x00junk'`,
		"user=dave password=''", "user=JOE password=secret", "user=ann password=secret"}
	for _, tt := range []struct{ conf, in string }{ // y: in, n: refused, of the words
		{file + "allow_anonymous true", "yynnnnnnynnn"},
		{file + "allow_anonymous false", "nynnnnnnynnn"},
		{file, "nynnnnnnynnn"},
		{empty + "allow_anonymous true", "ynnnnnnnnnnn"},
		{empty, "nnnnnnnnnnnn"},
		{"allow_anonymous true", "yyyyyyyyyyyy"},
		{"allow_anonymous false", "nnnnnnnnnnnn"},
		{"", "nnnnnnnnnnnn"},
	} {
		s := serve(t, tt.conf+"\nlistener {port} 127.0.0.1\n")
		for i, w := range words {
			for _, v := range []packet.Version{3, 4, 5} {
				if in := s.knock(v, s.port, w); in != (tt.in[i] == 'y') {
					t.Errorf("%q, v%d: %q is let in: %v", tt.conf, v, w, in)
				}
			}
		}
		s.stop(syscall.SIGTERM)
	}
}

// TestPasswordsByListener: listeners with files of their own, and without.
func TestPasswordsByListener(t *testing.T) {
	t.Parallel()
	one, two := passwordFile(t, "joe:secret"), passwordFile(t, "joe:other", "ann:secret")
	joe, ann, other := "user=joe password=secret", "user=ann password=secret", "user=joe password=other"
	for _, tt := range []struct{ conf, first, second string }{ // of nobody, joe, ann, other
		{"per_listener_settings true\nlistener {port} 127.0.0.1\npassword_file " + one + "\nlistener {second} 127.0.0.1\npassword_file " + two + "\nallow_anonymous true", "nynn", "ynyy"},
		{"per_listener_settings true\nlistener {port} 127.0.0.1\nlistener {second} 127.0.0.1\npassword_file " + one, "nnnn", "nynn"},
		{"password_file " + one + "\nlistener {port} 127.0.0.1\nlistener {second} 127.0.0.1\nlistener_allow_anonymous true", "nynn", "yynn"},
		{"listener {port} 127.0.0.1\nlistener {second} 127.0.0.1\npassword_file " + two, "nnyy", "nnyy"},
	} {
		s := serve(t, tt.conf)
		for i, w := range []string{"", joe, ann, other} {
			if in := s.knock(5, s.port, w); in != (tt.first[i] == 'y') {
				t.Errorf("%q: %q is let in by the first: %v", tt.conf, w, in)
			}
			if in := s.knock(4, s.second, w); in != (tt.second[i] == 'y') {
				t.Errorf("%q: %q is let in by the second: %v", tt.conf, w, in)
			}
		}
		s.stop(syscall.SIGTERM)
	}
}

// TestBadPasswordFile: what keeps midge from starting, and how it says so.
func TestBadPasswordFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("\njoe:secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file   string
		status int
		lines  []string
	}{
		{bad, 3, []string{"password-file: Error: Unable to decode line in password file '" + bad + "'.", "Error found at " + bad + ":2."}},
		{dir + "/none", 13, []string{`password-file: Error: Unable to open pwfile "` + dir + `/none".`, "Error: open " + dir + "/none: no such file or directory."}},
	} {
		s := launch(t, "log_timestamp false\nlistener {port} 127.0.0.1\npassword_file "+tt.file+"\n", "-c", "{conf}")
		if status := s.exit(); status != tt.status {
			t.Errorf("%s: exit status %d", tt.file, status)
		}
		for _, want := range tt.lines {
			if s.count(want) != 1 {
				t.Errorf("not in the log: %s\n%s", want, strings.Join(s.log.all(), "\n"))
			}
		}
	}
}

// slow is a cost of bcrypt that leaves time to look at a client that waits.
const slow = 11

// TestLoginBeside: a login takes time, and nobody else waits for it. What its client
// sent meanwhile follows.
func TestLoginBeside(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, hashed(t, slow, "joe:secret"))
	s := serve(t, "password_file "+name+"\nallow_anonymous true\nlistener {port} 127.0.0.1")
	a := s.connect("a", 5, "clean")
	a.send("SUBSCRIBE 1 #")
	a.expect("SUBACK 1 00")
	joe := s.dial("joe", 5)
	joe.write(append(joe.encode("CONNECT clean user=joe password=secret"), joe.encode("PUBLISH t 'x'")...))
	a.lives()
	if s.count(" as joe ") != 0 {
		t.Log("the login was over first: this run shows the order only")
	}
	joe.expect("CONNACK 00")
	joe.send("PUBLISH t 'y'")
	a.expect("PUBLISH t 'x'", "PUBLISH t 'y'")
}

// TestLoginsLeft: clients that go while they wait are not verified any more, but for
// those that have sent more than their CONNECT.
func TestLoginsLeft(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, hashed(t, slow, "joe:secret"))
	s := serve(t, "password_file "+name+"\nallow_anonymous true\nlistener {port} 127.0.0.1")
	a := s.connect("a", 5, "clean")
	a.send("SUBSCRIBE 1 #")
	a.expect("SUBACK 1 00")
	for i := range 20 {
		c := s.dial(fmt.Sprint("gone", i), 4)
		c.send("CONNECT clean user=joe password=wrong")
		if i%2 == 1 {
			c.reset()
		}
		c.conn.Close()
	}
	quick := s.dial("quick", 4)
	quick.write(append(quick.encode("CONNECT clean user=joe password=secret"), quick.encode("PUBLISH t 'x' + DISCONNECT")...))
	quick.conn.Close()
	a.expect("PUBLISH t 'x'")
	if n := s.count("not authorised"); n > 5 {
		t.Errorf("%d of 20 that were gone were verified", n)
	}
}

// TestReloadPasswords: those whose hashes changed, or are gone, are sent away.
func TestReloadPasswords(t *testing.T) {
	t.Parallel()
	name := passwordFile(t, "joe:secret")
	joe, ann, max := hashed(t, 1, "joe:secret"), hashed(t, 1, "ann:secret"), hashed(t, 1, "max:secret")
	replacePasswords(t, name, joe+ann+max)
	conf := "password_file " + name + "\nallow_anonymous true\nlistener {port} 127.0.0.1\n"
	s := serve(t, conf)
	a := s.connect("a", 5, "clean")
	j := s.connect("j", 5, "clean user=joe password=secret")
	n := s.connect("n", 5, "clean user=ann password=secret")
	m := s.connect("m", 4, "clean user=max password=secret")
	replacePasswords(t, name, joe+"ann:secret\n")
	s.reload(conf, "password-file: Error: Unable to decode line in password file '"+name+"'.", "Error found at "+name+":2.", stays)
	replacePasswords(t, name, joe+hashed(t, 1, "ann:new"))
	s.reload(conf, "Client m ["+m.peer()+"] disconnected.", "Client n ["+n.peer()+"] disconnected.", loaded)
	n.expect("DISCONNECT 87", "close")
	m.expect("close")
	a.lives()
	j.lives()
	for words, want := range map[string]bool{"user=joe password=secret": true, "user=ann password=secret": false, "user=ann password=new": true, "user=max password=secret": false} {
		if s.knock(5, s.port, words) != want {
			t.Errorf("%s: %v", words, !want)
		}
	}
	s.reload(strings.Replace(conf, "true", "false", 1), "Client a ["+a.peer()+"] disconnected.", loaded)
	j.lives()
	other := passwordFile(t, "joe:secret")
	conf = "password_file " + other + "\nlistener {port} 127.0.0.1\n"
	s.reload(conf, "Client j ["+j.peer()+"] disconnected.", loaded)
}

// TestNothingSecret: no log line has a password or a hash.
func TestNothingSecret(t *testing.T) {
	t.Parallel()
	const secret = "Xyzzy-4711"
	name := passwordFile(t, "joe:"+secret)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	conf := "password_file " + name + "\nlog_type all\nlistener {port} 127.0.0.1\n"
	s := serve(t, conf, "-v")
	for _, words := range []string{"user=joe password=" + secret, "user=joe password=" + secret + "x", "user=ann password=" + secret, "id='' user=joe password=" + secret + "y"} {
		s.knock(5, s.port, words)
		s.knock(4, s.port, words)
	}
	for _, bad := range []string{"joe:" + secret + "\n", ":" + secret + "\n", "joe:$7$1$" + secret + "\n", string(good) + string(good)} {
		replacePasswords(t, name, bad)
		s.reload(conf)
		s.await(stays)
	}
	s.stop(syscall.SIGTERM)
	hash := strings.TrimSpace(strings.Split(string(good), "$")[4])
	for _, line := range s.log.all() {
		if strings.Contains(line, secret) || strings.Contains(line, hash) {
			t.Errorf("the log tells a secret: %s", line)
		}
	}
	if s.count("Sending CONNACK") < 8 {
		t.Error("the log is not that of a run with everything on")
	}
}

// TestLongestPassword: one of 65,535 bytes of any kind but NUL.
func TestLongestPassword(t *testing.T) {
	t.Parallel()
	long := make([]byte, 65535)
	for i := range long {
		long[i] = byte(1 + i%255)
	}
	name := passwordFile(t, "joe:"+string(long))
	s := serve(t, "password_file "+name+"\nlistener {port} 127.0.0.1")
	for _, v := range []packet.Version{3, 4, 5} {
		for password, want := range map[string]string{string(long): "CONNACK 00", string(long[:65534]): map[packet.Version]string{3: "CONNACK 05", 4: "CONNACK 05", 5: "CONNACK 87"}[v]} {
			c := s.dial("c", v)
			p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: v, CleanStart: true, ClientID: []byte("c"),
				HasUsername: true, Username: []byte("joe"), HasPassword: true, Password: []byte(password)}}
			c.write(p.Append(nil, v))
			c.expect(want)
		}
	}
}

// TestTooManyLogins: who finds the queue full is told so at once.
func TestTooManyLogins(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, "joe:$2b$14$"+strings.Repeat("a", 53)+"\n") // of no matter which password
	s := serve(t, "connection_messages false\nfailed_logins_burst -1\nallow_anonymous true\npassword_file "+name+"\nlistener {port} 127.0.0.1")
	for range 1010 {
		s.dial("c", 4).send("CONNECT clean user=joe password=wrong")
	}
	bystander := s.connect("a", 5, "clean")
	old, young := s.dial("old", 4), s.dial("young", 5)
	old.send("CONNECT clean user=joe password=secret")
	old.expect("CONNACK 03", "close")
	young.send("CONNECT clean user=joe password=secret")
	young.expect("CONNACK 89", "close")
	bystander.lives()
}

// TestPasswordLink: a symbolic link is followed only where that is asked for.
func TestPasswordLink(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(passwordFile(t, "joe:secret"), link); err != nil {
		t.Fatal(err)
	}
	conf := "log_timestamp false\nlistener {port} 127.0.0.1\npassword_file " + link + "\n"
	s := launch(t, conf, "-c", "{conf}")
	if status := s.exit(); status != 13 || s.count("Error: it is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set.") != 1 {
		t.Errorf("status %d, %q", status, s.log.all())
	}
	s = launchBy(t, []string{"env", "MOSQUITTO_UNSAFE_ALLOW_SYMLINKS=1"}, conf, "-c", "{conf}")
	if !s.running() || !s.knock(4, s.port, "user=joe password=secret") || s.count("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is set: ") != 1 {
		t.Errorf("%q", s.log.all())
	}
}

// TestLoginByTransport: what a client sends while it waits follows whole, by TLS and
// WebSocket too; a wrong password is one there as well.
func TestLoginByTransport(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, hashed(t, 8, "joe:secret"))
	a, secure := secured(t)
	s := serve(t, secure+"password_file "+name+"\nlistener {second} 127.0.0.1\nprotocol websockets\n")
	watch := s.dialTLS("watch", 5, a.clientConfig())
	watch.send("CONNECT clean + SUBSCRIBE 1 # qos=0")
	watch.expect("CONNACK 00", "SUBACK 1 00")
	for _, dial := range [...]func() *client{
		func() *client { return s.dialTLS("c", 5, a.clientConfig()) },
		func() *client {
			c := s.dialTo("c", 5, "tcp", fmt.Sprintf("127.0.0.1:%d", s.second))
			w, err := speakWeb(c.conn, "")
			if err != nil {
				t.Fatal(err)
			}
			c.conn = w
			return c
		},
	} {
		bad := dial()
		bad.send("CONNECT clean user=joe password=wrong + PUBLISH bad 'x'")
		bad.expect("CONNACK 87", "close")
		c := dial()
		all := c.encode("CONNECT clean user=joe password=secret")
		for i := range 200 {
			all = append(all, c.encode(fmt.Sprintf("PUBLISH t%d 'x'*1000", i))...)
		}
		c.write(all)
		c.expect("CONNACK 00")
		for i := range 200 {
			watch.expect(fmt.Sprintf("PUBLISH t%d 'x'*1000", i))
		}
		c.lives()
		c.conn.Close()
	}
}
