package broker_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"midge/broker/loop"
)

// result is what a program that ended left behind.
type result struct {
	status         int
	stdout, stderr string
}

// command runs a program to its end.
func command(t *testing.T, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || ctx.Err() != nil {
		t.Fatalf("%s: %v %v", name, err, ctx.Err())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// stamped is a line that begins with the time.
var stamped = regexp.MustCompile(`^[1-9][0-9]{9,10}: `)

// unstamp takes the time from the front of every line, which must have it.
func unstamp(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !stamped.MatchString(line) {
			t.Fatalf("no time in front of: %s", line)
		}
		out.WriteString(stamped.ReplaceAllString(line, ""))
	}
	return out.String()
}

func TestCommandLineMisuse(t *testing.T) {
	t.Parallel()
	eleven := slices.Repeat([]string{"-p", "1999"}, 11)
	for _, tt := range []struct {
		name  string
		args  []string
		line  string
		plain bool // no time in front
		usage bool // the usage follows on stdout
	}{
		{"unknown option", []string{"-x"}, "Error: Unknown option '-x'.", true, true},
		{"clustered options", []string{"-dv"}, "Error: Unknown option '-dv'.", true, true},
		{"glued value", []string{"-p1883"}, "Error: Unknown option '-p1883'.", true, true},
		{"positional argument", []string{"file"}, "Error: Unknown option 'file'.", true, true},
		{"end of options", []string{"--"}, "Error: Unknown option '--'.", true, true},
		{"no file", []string{"-c"}, "Error: -c argument given, but no config file specified.", false, false},
		{"no file, long", []string{"--config-file"}, "Error: -c argument given, but no config file specified.", false, false},
		{"no port", []string{"-v", "-p"}, "Error: -p argument given, but no port specified.", false, false},
		{"port 0", []string{"-p", "0"}, "Error: Invalid port specified (0).", false, false},
		{"port abc", []string{"--port", "abc"}, "Error: Invalid port specified (0).", false, false},
		{"port too large", []string{"-p", "65536"}, "Error: Invalid port specified (65536).", false, false},
		{"negative port", []string{"-p", "-1"}, "Error: Invalid port specified (-1).", false, false},
		{"eleven ports", eleven, "Error: Only 10 ports can be specified on the command line.", false, false},
		{"test of nothing", []string{"--test-config"}, "Please provide a configuration file to test.", true, false},
		{"no key log", []string{"--tls-keylog"}, "Error: --tls-keylog argument given, but no file specified.", false, false},
		{"file missing", []string{"-c", "/nonexistent.conf"}, "Error: Unable to open config file '/nonexistent.conf'.", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := command(t, midge(t), tt.args...)
			if r.status != 3 {
				t.Errorf("status %d", r.status)
			}
			if !tt.plain {
				r.stderr = unstamp(t, r.stderr)
			}
			if r.stderr != tt.line+"\n" {
				t.Errorf("stderr: %q", r.stderr)
			}
			usage := ""
			if tt.usage {
				usage = command(t, midge(t), "-h").stdout
			}
			if r.stdout != usage {
				t.Errorf("stdout: %q", r.stdout)
			}
		})
	}
}

// TestUsage checks the layout that mosquitto's usage text has.
func TestUsage(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "mosquitto")
	if err := os.Symlink(midge(t), link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"midge": midge(t), "mosquitto": link} {
		short, long := command(t, path, "-h"), command(t, path, "--help")
		if short != long || short.status != 0 || short.stderr != "" {
			t.Errorf("-h: %+v, --help: %+v", short, long)
		}
		head := "mosquitto version " + version + "\n\n" + name + " is an MQTT v5.0/v3.1.1/v3.1 broker.\n\n" +
			"Usage: " + name + " [-c config_file] [-d] [-h] [-p port] [-q] [-v]\n"
		if !strings.HasPrefix(short.stdout, head) {
			t.Errorf("as %s: %s", name, short.stdout)
		}
		if !strings.HasSuffix(short.stdout, "\n\nSee https://mosquitto.org/ for more information.\n\n") {
			t.Errorf("as %s it ends: %s", name, short.stdout)
		}
		for _, option := range []string{"-c", "-d", "-h", "-p", "-q", "-v", "--test-config", "--version"} {
			if !strings.Contains(short.stdout, "\n "+option+" : ") {
				t.Errorf("%s has no entry:\n%s", option, short.stdout)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	r := command(t, midge(t), "-v", "--version", "-x")
	want := "mosquitto version " + version + "\nCopyright © 2026 the midge authors.\nLicense MIT.\n"
	if r != (result{0, want, ""}) {
		t.Errorf("%+v", r)
	}
}

func TestTestConfig(t *testing.T) {
	t.Parallel()
	good, bad := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "bad")
	os.WriteFile(good, []byte("listener 1883\npid_file /nonexistent/pid\nlog_dest file /nonexistent/log\n"), 0o600)
	os.WriteFile(bad, []byte("# a comment\nlistener 1884\nmax_qos 3\n"), 0o600)
	if r := command(t, midge(t), "-c", good, "--test-config"); r != (result{0, "Configuration file is OK.\n", ""}) {
		t.Errorf("a good file: %+v", r)
	}
	r := command(t, midge(t), "--test-config", "-c", good, "-c", bad)
	r.stderr = unstamp(t, r.stderr)
	if r != (result{3, "", "Error: 'max_qos' must be between 0 and 2 inclusive.\nError found at " + bad + ":3.\n"}) {
		t.Errorf("a bad file: %+v", r)
	}
}

// TestSeveralFiles: their settings add up; the log names the last.
func TestSeveralFiles(t *testing.T) {
	t.Parallel()
	more := filepath.Join(t.TempDir(), "more.conf")
	if err := os.WriteFile(more, []byte("max_inflight_messages 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, (*server).running, "log_timestamp false\nlistener {port} 127.0.0.1\nallow_anonymous true\n", "-c", "{conf}", "--config-file", more)
	if s.count("Config loaded from "+more+".") != 1 {
		t.Errorf("%q", s.log.all())
	}
	c := s.dial("a", 5)
	c.send("CONNECT clean")
	c.expect("CONNACK 00 {receive-max=9}")
}

// TestLogRotation: SIGHUP opens the log file anew, and so does SIGRTMIN.
func TestLogRotation(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, loop.SIGRTMIN} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			testLogRotation(t, sig)
		})
	}
}

func testLogRotation(t *testing.T, sig os.Signal) {
	s := start(t, (*server).reachable, "log_timestamp false\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest file {dir}/log\n", "-c", "{conf}")
	log, old := filepath.Join(s.dir, "log"), filepath.Join(s.dir, "old")
	first := s.connect("first", 4, "clean")
	if err := os.Rename(log, old); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	for missing := true; missing; { // the signal may come after any number of turns
		first.lives()
		_, err := os.Stat(log)
		missing = err != nil
	}
	s.connect("second", 4, "clean")
	s.stop(syscall.SIGTERM)
	for name, want := range map[string][2]bool{old: {true, false}, log: {false, true}} {
		b, err := os.ReadFile(name)
		has := [2]bool{bytes.Contains(b, []byte(" as first ")), bytes.Contains(b, []byte(" as second "))}
		if err != nil || has != want {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	if info, err := os.Stat(log); err != nil || info.Mode() != 0o600 {
		t.Errorf("the log's mode is %v, %v", info.Mode(), err)
	}
}

// TestManyRotations: a thousand SIGRTMIN in the midst of traffic do no harm.
func TestManyRotations(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).reachable, "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest file {dir}/log\n", "-c", "{conf}", "-v")
	c := s.connect("a", 4, "clean")
	c.send("SUBSCRIBE 1 t qos=1")
	c.expect("SUBACK 1 01")
	for i := range 1000 {
		if err := s.cmd.Process.Signal(loop.SIGRTMIN); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			c.send("PUBLISH t 'x'")
			c.expect("PUBLISH t 'x'")
		}
	}
	c.lives()
	s.stop(syscall.SIGTERM)
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if n := bytes.Count(b, []byte("Received PUBLISH from a ")); n != 50 || err != nil {
		t.Errorf("%d of 50 messages are in the log, %v", n, err)
	}
}

// TestSubscriptionDump: SIGUSR2 prints the subscriptions to stdout.
func TestSubscriptionDump(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	a, b := s.connect("a", 4, "clean"), s.connect("b", 4, "clean")
	a.send("SUBSCRIBE 1 a/b qos=1 a/c/d $SYS/# $share/g/x/y qos=2 /empty")
	a.expect("SUBACK 1 01 00 00 02 00")
	b.send("SUBSCRIBE 1 a/b qos=2 $other a/+ qos=1")
	b.expect("SUBACK 1 02 00 01")
	if err := s.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"    ",
		"      ",
		"        ",
		"          empty (a, 0)",
		"        a",
		"          + (b, 1)",
		"          b (a, 1) (b, 2)",
		"          c",
		"            d (a, 0)",
		"    $SYS",
		"      $SYS",
		"        # (a, 0)",
		"    $other",
		"      $other (b, 0)",
		"    ",
		"      ",
		"        x",
		"          y (a, 2)",
	} {
		if got, ok := s.stdout.at(i); !ok || got != want {
			t.Fatalf("line %d is %q, not %q", i+1, got, want)
		}
	}
}

// started are the lines of a start before the listeners.
func started(config string) []string {
	return []string{
		runningAs(),
		"mosquitto version " + version + " starting", config,
		"Bridge support NOT available.", "Persistence support available.", "TLS support available.",
		"TLS-PSK support NOT available.", "Websockets support available.",
	}
}

// runningAs is the line that says who runs midge: the same as the tests.
func runningAs() string {
	u, err := user.Current()
	if err != nil {
		return "Info: running mosquitto as user id: " + strconv.Itoa(os.Geteuid()) + "."
	}
	return "Info: running mosquitto as user: " + u.Username + "."
}

// localOnly are the warnings of local-only mode.
var localOnly = []string{
	"Starting in local only mode. Connections will only be possible from clients running on this machine.",
	"Create a configuration file which defines a listener to allow remote access.",
	"For more details see https://mosquitto.org/documentation/authentication-methods/",
	"These two lines, for example, let clients with a password in from everywhere ('midge passwd' makes the file):",
	"    listener 1883",
	"    password_file /path/to/file",
}

// opening are the lines of the sockets of local-only mode; the machine may be
// without IPv6.
func opening(port string) []string {
	list := []string{"Opening ipv4 listen socket on port " + port + ".", "Opening ipv6 listen socket on port " + port + "."}
	if !haveIPv6() {
		list = append(list, "Error: Cannot assign requested address")
	}
	return list
}

func haveIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

// stampless are the lines of a log without the time in front.
func stampless(t *testing.T, log *lines) []string {
	t.Helper()
	text := unstamp(t, strings.Join(log.all(), "\n")+"\n")
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func equalLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the log is\n\t%s\nnot\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// local starts midge in local-only mode on both ports.
func local(t *testing.T) *server {
	t.Helper()
	return start(t, (*server).running, "", "-p", "{port}", "-p", "{second}")
}

func TestLocalOnly(t *testing.T) {
	t.Parallel()
	s := local(t)
	s.connect("a", 4, "clean").lives() // anonymous
	other := s.dialTo("b", 5, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	other.send("CONNECT clean")
	other.expect("CONNACK 00")
	if haveIPv6() {
		six := s.dialTo("c", 4, "tcp", "[::1]:"+strconv.Itoa(s.port))
		six.send("CONNECT clean")
		six.expect("CONNACK 00")
	}
	if got := outward(t); got != "" {
		if c, err := net.Dial("tcp", net.JoinHostPort(got, strconv.Itoa(s.port))); err == nil {
			c.Close()
			t.Errorf("it can be reached at %s", got)
		}
	}
	s.stop(syscall.SIGTERM)
	var quiet []string
	for _, line := range stampless(t, s.log) {
		if !strings.Contains(line, "connect") || strings.Contains(line, "Connections") {
			quiet = append(quiet, line)
		}
	}
	want := slices.Concat(started("Using default config."), localOnly,
		opening(strconv.Itoa(s.port)), opening(strconv.Itoa(s.second)),
		[]string{"mosquitto version " + version + " running", "mosquitto version " + version + " terminating"})
	equalLines(t, quiet, want)
}

// outward is an address of this machine that is not of the loopback, or "".
func outward(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	return ""
}

// TestPortsBesideListeners: -p counts in local-only mode only.
func TestPortsBesideListeners(t *testing.T) {
	t.Parallel()
	s := serve(t, "", "-p", "{second}")
	s.connect("a", 4, "clean").lives()
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.second)); err == nil {
		c.Close()
		t.Error("it listens on the port of -p")
	}
}

// TestFileWithoutListener: local-only mode, whose options are in the file.
func TestFileWithoutListener(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).running, "log_timestamp false\nmax_inflight_messages 7\n", "-c", "{conf}", "-p", "{port}")
	equalLines(t, s.log.all(), slices.Concat(started("Config loaded from "+s.conf+"."), localOnly, opening(strconv.Itoa(s.port)),
		[]string{"mosquitto version " + version + " running"}))
	c := s.dial("a", 5)
	c.send("CONNECT clean")
	c.expect("CONNACK 00 {receive-max=7}")
}

func TestStartAndStopLines(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		// Without $SYS nothing but a client ends the broker's first wait.
		s := serve(t, "sys_interval 0\npid_file {dir}/pid\nlistener {second} 127.0.0.1\nlistener 0 {dir}/socket")
		pid, err := os.ReadFile(filepath.Join(s.dir, "pid"))
		if err != nil || string(pid) != strconv.Itoa(s.cmd.Process.Pid) {
			t.Errorf("the pid file: %q, %v", pid, err)
		}
		s.stop(sig)
		want := slices.Concat(started("Config loaded from "+s.conf+"."), []string{
			s.expand("Opening ipv4 listen socket on port {second}."), s.expand("Opening unix listen socket on path {dir}/socket."),
			"mosquitto version " + version + " running", "mosquitto version " + version + " terminating"})
		equalLines(t, s.log.all(), want)
		if left, _ := filepath.Glob(filepath.Join(s.dir, "[ps]*")); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// TestQuietAndVerbose: -q beats -v, and both beat the file.
func TestQuietAndVerbose(t *testing.T) {
	t.Parallel()
	s := launch(t, "log_type all\nlistener {port} 127.0.0.1\npid_file {dir}/missing/pid\n", "-c", "{conf}", "-v", "-q")
	if status := s.exit(); status != 14 || len(s.log.all()) != 0 {
		t.Errorf("-q: status %d, log %q", status, s.log.all())
	}
	s = serve(t, "log_type error", "-v")
	s.connect("a", 4, "clean").lives()
	s.await("Sending PINGRESP to a")
}

func TestPidFileFailure(t *testing.T) {
	t.Parallel()
	s := launch(t, "listener {port} 127.0.0.1\npid_file {dir}/missing/pid\n", "-c", "{conf}")
	if status := s.exit(); status != 14 {
		t.Errorf("status %d", status)
	}
	equalLines(t, stampless(t, s.log), []string{"Error: Unable to write pid file."})
}

// TestPidFileOfAnother: it is overwritten without a look.
func TestPidFileOfAnother(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, []byte("12345678901"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "pid_file "+file)
	if pid, err := os.ReadFile(file); err != nil || string(pid) != strconv.Itoa(s.cmd.Process.Pid) {
		t.Errorf("the pid file: %q, %v", pid, err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	port := strconv.Itoa(s.port)
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte("listener "+port+" 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := command(t, midge(t), "-c", file)
	want := strings.Join(append(started("Config loaded from "+file+"."), "Opening ipv4 listen socket on port "+port+".",
		"Error: Address already in use", "mosquitto version "+version+" terminating", ""), "\n")
	if got := unstamp(t, r.stderr); got != want || r.status != 1 || r.stdout != "" {
		t.Errorf("status %d, stdout %q, stderr\n%s\nnot\n%s", r.status, r.stdout, got, want)
	}
	s.connect("a", 4, "clean").lives()
}

// TestUmask: the environment's mask is for the files that are made; a bad one ends the start.
func TestUmask(t *testing.T) {
	t.Parallel()
	for mask, line := range map[string]string{
		"9":    "Error: UMASK_SET environment variable not a valid octal number.",
		"1000": "Error: UMASK_SET environment variable out of range.",
	} {
		r := command(t, "env", "UMASK_SET="+mask, midge(t))
		if got := unstamp(t, r.stderr); got != line+"\n" || r.status != 3 {
			t.Errorf("%s: status %d, %q", mask, r.status, got)
		}
	}
	for mask, mode := range map[string]fs.FileMode{"027": 0o640, "0": 0o644, "0177": 0o600} {
		s := launchBy(t, []string{"env", "UMASK_SET=" + mask}, "listener 0 {dir}/socket\npid_file {dir}/pid\n", "-c", "{conf}")
		if !s.running() {
			t.Fatal("it does not start")
		}
		if info, err := os.Stat(s.dir + "/pid"); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", mask, info.Mode(), err)
		}
		if info, err := os.Stat(s.dir + "/socket"); err != nil || info.Mode().Perm() != 0o770 {
			t.Errorf("%s: the socket: %v, %v", mask, info.Mode(), err)
		}
	}
}

// TestUnknownAddress: what a listener cannot be opened for.
func TestUnknownAddress(t *testing.T) {
	t.Parallel()
	for host, line := range map[string]string{
		"no..host":                                  "Error creating listener: Name or service not known.",
		"127.0.0.1\nsocket_domain ipv6":             "Error: No address to listen at.",
		"127.0.0.1\nbind_interface nosuch":          "Error: Interface nosuch does not exist.",
		"127.0.0.3\nbind_interface lo":              "Error: Interface address for lo does not match specified listener address (127.0.0.3).",
		"127.0.0.1\nlistener {port} 127.0.0.1":      "Error: Address already in use",
		"127.0.0.1\nlistener 0 /nonexistent/socket": "Error: No such file or directory",
	} {
		s := launch(t, "listener {port} "+host+"\n", "-c", "{conf}")
		if status := s.exit(); status != 1 {
			t.Errorf("%s: status %d", host, status)
		}
		log := stampless(t, s.log)
		if n := len(log); n < 2 || log[n-2] != line || log[n-1] != "mosquitto version "+version+" terminating" {
			t.Errorf("%s: %s", host, strings.Join(log, "\n"))
		}
	}
}

// TestBindAddressUnknown: the name is looked up with the configuration, in a test of it too.
func TestBindAddressUnknown(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-c", "{conf}"}, {"--test-config", "-c", "{conf}"}} {
		s := launch(t, "\nbind_address no..host\n", args...)
		if status := s.exit(); status != 3 {
			t.Errorf("status %d", status)
		}
		equalLines(t, stampless(t, s.log)[1:], []string{"Error: Error resolving bind_address: Name or service not known.",
			s.expand("Error found at {conf}:2.")})
	}
}

// TestLocalOnlyWithoutPort: no address of the loopback can be had.
func TestLocalOnlyWithoutPort(t *testing.T) {
	t.Parallel()
	s := local(t)
	port := strconv.Itoa(s.port)
	r := command(t, midge(t), "-p", port)
	want := slices.Concat(started("Using default config."), localOnly)
	for _, line := range opening(port) {
		if strings.HasPrefix(line, "Opening") {
			want = append(want, line, "Error: Address already in use")
		}
	}
	if !haveIPv6() {
		want[len(want)-1] = "Error: Cannot assign requested address"
	}
	want = append(want, "Error: Unable to start any listening sockets, exiting.", "mosquitto version "+version+" terminating", "")
	if got := unstamp(t, r.stderr); got != strings.Join(want, "\n") || r.status != 1 {
		t.Errorf("status %d, stderr\n%s", r.status, got)
	}
}

// TestSymlinkedLogFile: a log file that cannot be opened is not fatal; errors go
// to stderr from then on.
func TestSymlinkedLogFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "log")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	s := start(t, (*server).reachable, "log_timestamp false\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest file "+link+"\n", "-c", "{conf}")
	s.connect("a", 4, "clean").lives()
	s.stop(syscall.SIGTERM)
	equalLines(t, s.log.all(), []string{"Error: Unable to open log file " + link + " for writing.", "Error: " + link + " is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set."})
}
