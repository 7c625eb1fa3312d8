package broker_test

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestLineClasses: the lines that are not the protocol's come with their log_type, and
// no others do.
func TestLineClasses(t *testing.T) {
	t.Parallel()
	const listener = "listener {port} 127.0.0.1\nallow_anonymous true\nmax_connections 1\n"
	for _, tt := range []struct {
		word, conf string
		args       []string
		want       []string // expressions for whole lines
	}{
		{"information", listener, nil, []string{`Info: running mosquitto as user.*`, `mosquitto version .* starting`, `Config loaded from .*\.`,
			`.* support (NOT )?available\.`, `Opening ipv4 listen socket on port \d+\.`, `mosquitto version .* running`, `mosquitto version .* terminating`}},
		{"notice", listener, nil, []string{`New connection from 127\.0\.0\.1:\d+ on port \d+\.`, `New client connected from .*`,
			`Client connection from 127\.0\.0\.1 denied: max_connections exceeded\.`, `Client .* \[127\.0\.0\.1:\d+\] disconnected.*\.`}},
		{"warning", "", []string{"-p", "{port}"}, []string{`Starting in local only mode\. .*`, `Create a configuration file which defines a listener to allow remote access\.`,
			`For more details see https://mosquitto\.org/documentation/authentication-methods/`, `    listener 1883`, `    password_file .*`, `These two lines, for example, .*`}},
	} {
		t.Run(tt.word, func(t *testing.T) {
			t.Parallel()
			conf := "log_timestamp false\nlog_type " + tt.word + "\nsys_interval 0\n" + tt.conf
			s := start(t, (*server).reachable, conf, append([]string{"-c", "{conf}"}, tt.args...)...)
			s.talk(tt.conf != "")
			s.stop(syscall.SIGTERM)
			lines := s.log.all()
			if tt.word == "warning" { // the machine may give reason for more
				lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Warning: ") })
			}
			expectLines(t, lines, tt.want)
		})
	}
	t.Run("error", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		taken := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		s := launch(t, "log_timestamp false\nlog_type error\nlistener "+taken+" 127.0.0.1\n", "-c", "{conf}")
		if status := s.exit(); status != 1 {
			t.Errorf("status %d", status)
		}
		expectLines(t, s.log.all(), []string{`Error: Address already in use`})
	})
}

// talk connects a client, and one too many if there is a limit.
func (s *server) talk(limited bool) {
	s.t.Helper()
	for { // the one that was let in to see whether midge runs may be there still
		c := s.dial("a", 4)
		if c.tryWrite(c.encode("CONNECT clean")) != nil {
			continue
		}
		if got, err := c.receive(); err != nil || got != "CONNACK 00" {
			continue
		}
		if limited {
			s.dial("b", 4).expect("close")
		}
		c.send("DISCONNECT")
		c.expect("close")
		return
	}
}

// expectLines sees that each line is one of those, and each of those is there.
func expectLines(t *testing.T, lines, want []string) {
	t.Helper()
	met := map[string]bool{}
	for _, line := range lines {
		fits := false
		for _, w := range want {
			if regexp.MustCompile("^" + w + "$").MatchString(line) {
				met[w], fits = true, true
			}
		}
		if !fits {
			t.Errorf("of another class: %s", line)
		}
	}
	for _, w := range want {
		if !met[w] {
			t.Errorf("missing: %s", w)
		}
	}
}
