package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package run the real binary and talk to it over real
// sockets. Nothing in them waits for time to pass: they wait for an event, a
// log line or a packet, and fail when it does not come.

// patience is how long an event may take that is going to happen.
const patience = 30 * time.Second

// version is what the binary under test was linked to be.
const version = "2.1.2 (midge test)"

// underRace says that the tests, and so the binary, run with the race detector.
var underRace bool

var buildDir string // of the binary, removed at the end

func TestMain(m *testing.M) {
	if text := os.Getenv(crowdOrders); text != "" {
		runCrowd(text)
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the binaries: each would linger for a second
	os.Setenv("SNAP_NAME", "mosquitto")      // which has root stay root: the tests' files are its own
	status := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(status)
}

// binary builds midge for the platform the tests run on, once, when the first
// test wants it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "midge-test-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	out := filepath.Join(dir, "midge")
	args := []string{"build", "-buildvcs=false", "-ldflags", "-X main.version=test -X main.hostsDir=.", "-o", out}
	cgo := "0"
	if underRace {
		args, cgo = append(args, "-race"), "1"
	}
	cmd := exec.Command("go", append(args, "midge")...)
	cmd.Env = append(os.Environ(), "GOARCH="+runtime.GOARCH, "CGO_ENABLED="+cgo)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return out, nil
})

// midge is the path of the binary.
func midge(t testing.TB) string {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// missing skips a test that this machine cannot run, or fails it in CI.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// lines gathers the lines a process writes.
type lines struct {
	mu    sync.Mutex
	text  []string
	part  []byte        // the beginning of the next line
	more  chan struct{} // closed at the next change
	ended bool

	next int // what the test has not looked at yet; the test's own
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			break
		}
		l.text, l.part = append(l.text, string(line)), rest
	}
	l.changed()
	return len(b), nil
}

func (l *lines) changed() {
	close(l.more)
	l.more = make(chan struct{})
}

// end tells that no line follows.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if len(l.part) > 0 {
		l.text, l.part = append(l.text, string(l.part)), nil
	}
	l.changed()
}

// at is line i; it waits for it. ok is false when there is none, and when it
// took too long.
func (l *lines) at(i int) (line string, ok bool) {
	late := time.After(patience)
	for {
		l.mu.Lock()
		more, ended := l.more, l.ended
		if i < len(l.text) {
			line, ok = l.text[i], true
		}
		l.mu.Unlock()
		if ok || ended {
			return line, ok
		}
		select {
		case <-more:
		case <-late:
			return "", false
		}
	}
}

// all are the lines so far.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}

// find passes over lines up to the first one that fits, which it returns.
func (l *lines) find(fits func(string) bool) (string, bool) {
	for {
		line, ok := l.at(l.next)
		if !ok {
			return "", false
		}
		l.next++
		if fits(line) {
			return line, true
		}
	}
}

// server is a midge that runs.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string // of its files
	port   int
	second int    // another port
	conf   string // the configuration file
	log    *lines // stderr
	stdout *lines
	exited chan struct{} // closed when it ended
	ended  bool          // by the test, which has seen the exit status
}

// serve starts midge with a configuration and waits until it runs. {port},
// {second} and {dir} stand for two ports that are free and a folder of the test's
// own. What names no listener gets one on 127.0.0.1 for everybody. Lines have no
// time in front. At the test's end midge is stopped and must end well.
func serve(t testing.TB, conf string, args ...string) *server {
	t.Helper()
	conf = "log_timestamp false\n" + ownListener(conf)
	return start(t, (*server).running, conf, append([]string{"-c", "{conf}"}, args...)...)
}

// start starts midge, on other ports when these are taken after all, and waits
// until it is ready.
func start(t testing.TB, ready func(*server) bool, conf string, args ...string) *server {
	t.Helper()
	for range 20 {
		s := launch(t, conf, args...)
		up := ready(s)
		switch {
		case s.count("Address already in use") > 0:
			s.cleanup()
		case up:
			return s
		default:
			t.Fatalf("midge does not start:\n%s", strings.Join(s.log.all(), "\n"))
		}
	}
	t.Fatal("no free port")
	return nil
}

func ownListener(conf string) string {
	for _, line := range strings.Split(conf, "\n") {
		if strings.HasPrefix(line, "listener ") {
			return conf
		}
	}
	return "listener {port} 127.0.0.1\nallow_anonymous true\n" + conf
}

// launch starts midge, with {conf} in its arguments for the file.
func launch(t testing.TB, conf string, args ...string) *server {
	t.Helper()
	return launchBy(t, nil, conf, args...)
}

// launchBy starts midge by a command that runs the one it is given.
func launchBy(t testing.TB, by []string, conf string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), log: newLines(), stdout: newLines(), exited: make(chan struct{})}
	s.port, s.second = freePorts(t)
	s.conf = filepath.Join(s.dir, "mosquitto.conf")
	if err := os.WriteFile(s.conf, []byte(s.expand(conf)), 0o600); err != nil {
		t.Fatal(err)
	}
	words := append(by[:len(by):len(by)], midge(t))
	for _, a := range args {
		words = append(words, s.expand(a))
	}
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Dir = s.dir
	s.run()
	t.Cleanup(s.cleanup)
	return s
}

// run starts the command.
func (s *server) run() {
	s.t.Helper()
	s.cmd.Stderr, s.cmd.Stdout = s.log, s.stdout
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		s.log.end()
		s.stdout.end()
		close(s.exited)
	}()
}

func (s *server) expand(text string) string {
	return strings.NewReplacer("{port}", strconv.Itoa(s.port), "{second}", strconv.Itoa(s.second),
		"{dir}", s.dir, "{conf}", s.conf).Replace(text)
}

// freePorts are two ports nobody listens on, at any address.
func freePorts(t testing.TB) (a, b int) {
	t.Helper()
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1]
}

// in is the same server as a subtest sees it.
func (s *server) in(t *testing.T) *server {
	other := *s
	other.t = t
	return &other
}

// running waits until it says that it runs; false when it ended.
func (s *server) running() bool {
	_, ok := s.log.find(func(line string) bool { return strings.HasSuffix(line, " running") })
	return ok
}

// reachable waits until a client can connect; for logs that do not say when.
func (s *server) reachable() bool {
	for {
		c, err := net.Dial("tcp", s.expand("127.0.0.1:{port}"))
		if err == nil {
			c.Close()
			return true
		}
		select {
		case <-s.exited:
			return false
		default:
			runtime.Gosched()
		}
	}
}

// exit waits for the end and gives the exit status.
func (s *server) exit() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.cmd.Process.Kill()
		s.t.Fatal("midge does not end")
	}
	s.ended = true
	return s.cmd.ProcessState.ExitCode()
}

// stop ends it by a signal. It must end with status 0 and say so last.
func (s *server) stop(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	if status := s.exit(); status != 0 {
		s.t.Fatalf("exit status %d; the log:\n%s", status, strings.Join(s.log.all(), "\n"))
	}
}

// cleanup ends it with the test, and shows the log of one that failed.
func (s *server) cleanup() {
	select {
	case <-s.exited:
		if !s.ended && s.cmd.ProcessState.ExitCode() != 0 && s.started() {
			s.t.Errorf("midge ended by itself with status %d", s.cmd.ProcessState.ExitCode())
		}
	default:
		s.stop(syscall.SIGTERM)
	}
	if s.t.Failed() {
		all := s.log.all()
		s.t.Logf("the log of midge:\n%s", strings.Join(all[max(0, len(all)-40):], "\n"))
	}
}

func (s *server) started() bool {
	for _, line := range s.log.all() {
		if strings.HasSuffix(line, " running") {
			return true
		}
	}
	return false
}

// logs compares the next lines of the log, byte for byte. {port} and such are
// replaced as in serve; {peer} and {host} by the clients: {peer} is the first,
// {peer2} the second.
func (s *server) logs(clients []*client, want ...string) {
	s.t.Helper()
	for _, w := range want {
		w = s.expand(w)
		for i, c := range clients {
			n := ""
			if i > 0 {
				n = strconv.Itoa(i + 1)
			}
			w = strings.NewReplacer("{peer"+n+"}", c.peer(), "{host"+n+"}", c.host()).Replace(w)
		}
		got, ok := s.log.at(s.log.next)
		if !ok {
			s.t.Fatalf("not in the log: %s", w)
		}
		if got != w {
			s.t.Fatalf("the log says\n\t%s\nnot\n\t%s", got, w)
		}
		s.log.next++
	}
}

// await passes over log lines up to one that is exactly text.
func (s *server) await(text string) {
	s.t.Helper()
	text = s.expand(text)
	if _, ok := s.log.find(func(line string) bool { return line == text }); !ok {
		s.t.Fatalf("not in the log: %s", text)
	}
}

// count is how many lines of the log so far contain text.
func (s *server) count(text string) (n int) {
	for _, line := range s.log.all() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// memory is what the process has in memory, in bytes. It is 0 under the race
// detector, whose own needs are large.
func (s *server) memory() int {
	s.t.Helper()
	if underRace {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
			if err != nil {
				s.t.Fatal(err)
			}
			return kib << 10
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}
