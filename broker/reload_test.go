package broker_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rewrite replaces the configuration file, with {port} and such as in serve.
func (s *server) rewrite(conf string) {
	s.t.Helper()
	if err := os.WriteFile(s.conf, []byte("log_timestamp false\n"+s.expand(conf)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// reload replaces the configuration file and has midge read it. lines are what it
// says then.
func (s *server) reload(conf string, lines ...string) {
	s.t.Helper()
	s.rewrite(conf)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.await("Reloading config.")
	s.logs(nil, lines...)
}

// The last line of a reload, of one that succeeds and of one that fails.
const (
	loaded = "Config loaded from {conf}."
	stays  = "Error: The configuration stays as it was."
)

// on connects a client to another port than the first.
func (s *server) on(port int, name string) *client {
	s.t.Helper()
	return s.dialTo(name, 5, "tcp", "127.0.0.1:"+strconv.Itoa(port))
}

const loopbackListener = "allow_anonymous true\nlistener {port} 127.0.0.1\n"

// TestReloadLimits: what the file says now holds at once, also for clients that
// are connected, who stay.
func TestReloadLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	a.send("SUBSCRIBE 1 t qos=2")
	a.expect("SUBACK 1 02")
	s.reload(loopbackListener+"max_connections 1\nmax_qos 1\nmax_packet_size 100\n", loaded)
	s.dial("b", 5).expect("close")
	s.await("Client connection from 127.0.0.1 denied: max_connections exceeded.")
	a.send("PUBLISH t 'x' qos=2 id=1") // it was told that it may
	a.expect("PUBREC 1")
	a.send("DISCONNECT")
	a.expect("close")
	b := s.dial("b", 5)
	b.send("CONNECT clean")
	b.expect("CONNACK 00 {max-packet=100 max-qos=1}")
}

// TestReloadBadFile: a file that has an error changes nothing.
func TestReloadBadFile(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	s.reload(loopbackListener+"max_connections 1\nlistener {second} 127.0.0.1\nmax_qos 7\n",
		"Error: 'max_qos' must be between 0 and 2 inclusive.", "Error found at {dir}/mosquitto.conf:6.",
		stays)
	a.lives()
	s.connect("b", 5, "clean").lives()
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.second)); err == nil {
		c.Close()
		t.Error("the new listener is open")
	}
}

// TestReloadListeners: new ones open, those that are gone close and tell their
// clients, and those that stay keep theirs.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	s.reload(loopbackListener+"listener {second} 127.0.0.1", "Opening ipv4 listen socket on port {second}.", loaded)
	b := s.on(s.second, "b")
	b.send("CONNECT clean will={gone 'b'}")
	b.expect("CONNACK 00")
	old := s.dialTo("c", 4, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	old.send("CONNECT clean")
	old.expect("CONNACK 00")
	a.send("SUBSCRIBE 1 gone")
	a.expect("SUBACK 1 00")
	s.reload(loopbackListener)
	b.expect("DISCONNECT 98", "close")
	old.expect("close")
	a.expect("PUBLISH gone 'b'")
	a.lives()
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.second)); err == nil {
		c.Close()
		t.Error("the old listener is open")
	}
}

// TestReloadMoves: a listener's address can become wider or narrower at the same port,
// which midge itself holds, and nothing is lost when that fails.
func TestReloadMoves(t *testing.T) {
	t.Parallel()
	const anonymous = "allow_anonymous true\n"
	s := serve(t, anonymous+"listener {port} 127.0.0.1\nsocket_domain ipv4")
	open4 := "Opening ipv4 listen socket on port {port}."
	a := s.connect("a", 5, "clean")
	for _, conf := range []string{
		"listener {port}\nsocket_domain ipv4", "listener {port} 127.0.0.1", "listener {port} localhost\nsocket_domain ipv4",
	} {
		s.reload(anonymous+conf, open4, "Client a ["+a.peer()+"] disconnected: administrative action.", loaded)
		a.expect("DISCONNECT 98", "close")
		a = s.connect("a", 5, "clean")
		s.await("New client connected from " + a.peer() + " as a (p5, c1, k0).")
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	s.reload(anonymous+"listener {port}\nsocket_domain ipv4\nlistener "+port+" 127.0.0.1", open4,
		"Opening ipv4 listen socket on port "+port+".", "Error: Address already in use", stays)
	s.reload(anonymous+"listener {port} localhost\nsocket_domain ipv4\nlistener {port} localhost\nsocket_domain ipv4", open4,
		"Error: Address already in use", stays)
	a.lives()
	s.connect("b", 5, "clean").lives()
}

// TestReloadLocalOnly: from local-only mode to a listener and back.
func TestReloadLocalOnly(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).running, "log_timestamp false\n", "-c", "{conf}", "-p", "{port}")
	a := s.connect("a", 5, "clean")
	s.await("New client connected from " + a.peer() + " as a (p5, c1, k0).")
	s.reload("listener {port} 127.0.0.1\nlistener_allow_anonymous true\nmax_qos 1\n", loaded) // the same one: it is kept
	a.lives()
	if haveIPv6() {
		if c, err := net.Dial("tcp", "[::1]:"+strconv.Itoa(s.port)); err == nil {
			c.Close()
			t.Error("the other one is open")
		}
	}
	b := s.dial("b", 5)
	b.send("CONNECT clean")
	b.expect("CONNACK 00 {max-qos=1}")
	s.await("New client connected from " + b.peer() + " as b (p5, c1, k0).")
	back := append([]string{}, localOnly...)
	if haveIPv6() {
		back = append([]string{"Opening ipv6 listen socket on port {port}."}, back...)
	}
	s.reload("", append(back, loaded)...)
	a.lives()
	s.connect("c", 5, "clean").lives()
}

// TestReloadAnonymous: who would not be let in any more is not let stay.
func TestReloadAnonymous(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a, b := s.connect("a", 5, "clean"), s.connect("b", 4, "clean")
	s.reload("listener {port} 127.0.0.1\n")
	a.expect("DISCONNECT 87", "close")
	b.expect("close")
	s.await("Client a [" + a.peer() + "] disconnected.")
	s.await("Client b [" + b.peer() + "] disconnected.")
	c := s.dial("c", 4)
	c.send("CONNECT clean")
	c.expect("CONNACK 05", "close")
}

// TestReloadLog: the log goes where the file says now, with the types it says; -v wins.
func TestReloadLog(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-v"}} {
		s := serve(t, loopbackListener, args...)
		s.reload(loopbackListener + "log_dest stdout\nlog_type debug\nlog_type information\n")
		out := s.in(t)
		out.log = s.stdout
		out.await(loaded)
		s.connect("a", 4, "clean").lives()
		out.await("Received PINGREQ from a")
		connected := false
		for _, line := range s.stdout.all() {
			connected = connected || strings.Contains(line, "New client connected")
		}
		if connected != (args != nil) {
			t.Errorf("%q: notices logged: %v", args, connected)
		}
	}
}

// TestReloadRestartOnly: what cannot change says so, again until it is as it was.
func TestReloadRestartOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener+"pid_file {dir}/pid")
	const line = "Warning: Only a restart will change: "
	s.reload(loopbackListener+"pid_file {dir}/other\nuser nobody\n", line+"user, pid_file.", loaded)
	s.reload(loopbackListener+"user nobody\npid_file {dir}/pid\n", line+"user.", loaded)
	s.reload(loopbackListener+"pid_file {dir}/pid\n", loaded)
	if _, err := os.Stat(s.dir + "/pid"); err != nil {
		t.Error(err)
	}
	s.stop(syscall.SIGTERM)
	if _, err := os.Stat(s.dir + "/pid"); err == nil {
		t.Error("the pid file is left")
	}
}

// TestReloadAllFiles: every file of the command line is read again, and what it includes.
func TestReloadAllFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("second", "sys_interval 1\n")
	if err := os.Mkdir(dir+"/d", 0o700); err != nil {
		t.Fatal(err)
	}
	s := serve(t, loopbackListener+"include_dir "+dir+"/d", "-c", dir+"/second")
	write("second", "max_packet_size 300\n")
	write("d/a.conf", "retain_available false\n")
	s.reload(loopbackListener+"include_dir "+dir+"/d", "Loading config file '"+dir+"/d/a.conf'", "Config loaded from "+dir+"/second.")
	a := s.dial("a", 5)
	a.send("CONNECT clean")
	a.expect("CONNACK 00 {retain-available=0 max-packet=300}")
	write("second", "nonsense\n")
	s.reload(loopbackListener+"max_connections 1\n", "Error: Unknown configuration variable 'nonsense'.",
		"Error found at "+dir+"/second:1.", stays)
	s.connect("b", 4, "clean").lives()
}

// TestReloadStorm: signals that come while a reload is under way are not lost, and not
// all done one by one.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	for range 50 {
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
	name := s.conf
	s.conf += ".new" // a file that is being written would be read as it is
	s.rewrite(loopbackListener + "max_qos 0\n")
	if err := os.Rename(s.conf, name); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGHUP)
	for {
		a := s.dial("a", 5)
		a.send("CONNECT clean")
		got, err := a.receive()
		if err != nil {
			t.Fatal(err)
		}
		if got == "CONNACK 00 {max-qos=0}" {
			break
		}
	}
	s.connect("b", 4, "clean").lives()
}

// TestFilesTakenOver: password and ACL files that change are read again without a signal.
func TestFilesTakenOver(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes the time of two looks")
	}
	name := passwordFile(t, "joe:secret")
	acl := passwordFile(t)
	replacePasswords(t, acl, "user joe\ntopic a\n")
	s := serve(t, "watch_files_interval 1\npassword_file "+name+"\nacl_file "+acl+"\nlistener {port} 127.0.0.1\n")
	joe := s.connect("joe", 5, "clean user=joe password=secret")
	joe.send("PUBLISH a 'x' qos=1 id=1")
	joe.expect("PUBACK 1 rc=10")
	replacePasswords(t, acl, "user joe\ntopic b\n")
	s.await("Reading again what changed: " + acl + ".")
	for got, late := "", time.Now().Add(patience); got != "PUBACK 1 rc=87"; { // that it was read is not in the log
		joe.send("PUBLISH a 'x' qos=1 id=1")
		var err error
		if got, err = joe.receive(); err != nil || time.Now().After(late) {
			t.Fatalf("the rules stay as they were: %q, %v", got, err)
		}
	}
	replacePasswords(t, name, "joe:secret\n")
	s.await("Error: What the files said before stays in force.")
	joe.lives()
	if !s.knock(5, s.port, "user=joe password=secret") {
		t.Error("the old passwords are not in force")
	}
	replacePasswords(t, name, hashed(t, 1, "joe:new", "ann:secret"))
	s.await("Reading again what changed: " + name + ".")
	joe.expect("DISCONNECT 87", "close")
	for words, want := range map[string]bool{"user=joe password=secret": false, "user=joe password=new": true, "user=ann password=secret": true} {
		if s.knock(5, s.port, words) != want {
			t.Errorf("%s: %v", words, !want)
		}
	}
}

// TestReloadUnixSocket: a Unix socket that is new is made, one that is gone is removed,
// and one that is only written in another way is not taken away from the new listener.
func TestReloadUnixSocket(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	path := s.dir + "/socket"
	s.reload(loopbackListener+"listener 0 {dir}/socket", "Opening unix listen socket on path "+path+".", loaded)
	a := s.dialTo("a", 5, "unix", path)
	a.send("CONNECT clean")
	a.expect("CONNACK 00")
	s.await("New client connected from " + path + ":0 as a (p5, c1, k0).")
	s.reload(loopbackListener+"listener 0 {dir}/./socket", "Opening unix listen socket on path "+s.dir+"/./socket.",
		"Client a ["+path+":0] disconnected: administrative action.", loaded)
	a.expect("DISCONNECT 98", "close")
	b := s.dialTo("b", 5, "unix", path)
	b.send("CONNECT clean")
	b.expect("CONNACK 00")
	s.await("New client connected from " + s.dir + "/./socket:0 as b (p5, c1, k0).")
	s.reload(loopbackListener, "Client b ["+s.dir+"/./socket:0] disconnected: administrative action.", loaded)
	b.expect("DISCONNECT 98", "close")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
}

// TestReloadBesideTheLoop: a file that takes its time holds up nobody, and no second
// reload begins meanwhile; one is remembered. Nor does it hold up the end.
func TestReloadBesideTheLoop(t *testing.T) {
	t.Parallel()
	s := serve(t, loopbackListener)
	a := s.connect("a", 5, "clean")
	if err := os.Remove(s.conf); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(s.conf, 0o600); err != nil {
		t.Fatal(err)
	}
	hup := func() {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hup()
	s.await("Reloading config.")
	a.lives()
	hup()
	a.lives()
	hup()
	a.lives()
	if n := s.count("Reloading config."); n != 1 {
		t.Errorf("%d reloads began", n)
	}
	s.rewrite(loopbackListener + "max_qos 1\n") // waits for the reader
	s.await(loaded)
	s.await("Reloading config.")
	a.lives()
	b := s.dial("b", 5)
	b.send("CONNECT clean")
	b.expect("CONNACK 00 {max-qos=1}")
	s.stop(syscall.SIGTERM) // while the second one waits for its file
	if n := s.count("Reloading config."); n != 2 {
		t.Errorf("%d reloads began", n)
	}
}
