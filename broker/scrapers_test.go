package broker_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// What people have that reads the log: written anew for these tests, in the way of
// the filters and parsers in use.

// banned matches log lines with an expression for fail2ban, which first takes the
// time away, and gives the hosts with how often each came. Of expressions with
// several lines all must follow each other, with others between.
func banned(t *testing.T, log []string, failregex ...string) map[string]int {
	t.Helper()
	const host = `(?:::f{4,6}:)?(?P<host>[\w\-.:]*\w)`
	var all []*regexp.Regexp
	for _, f := range failregex {
		all = append(all, regexp.MustCompile(strings.ReplaceAll(f, "<HOST>", host)))
	}
	stamp := regexp.MustCompile(`^\d{10}`)
	hosts := map[string]int{}
	step, who := 0, ""
	for _, line := range log {
		m := all[step].FindStringSubmatch(stamp.ReplaceAllString(line, ""))
		if m == nil {
			continue
		}
		if i := all[step].SubexpIndex("host"); i >= 0 {
			who = m[i]
		}
		if step++; step == len(all) {
			hosts[who]++
			step = 0
		}
	}
	return hosts
}

// readmeFailregex is the expression that the README has for fail2ban.
func readmeFailregex(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\nfailregex = ")
	if !ok {
		t.Fatal("the README has none")
	}
	expression, _, _ := strings.Cut(rest, "\n")
	return expression
}

// TestFail2ban: who is refused is found with its address, and nobody else is.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).running, "listener {port} 127.0.0.1\npassword_file "+passwordFile(t, "joe:secret")+"\n", "-c", "{conf}")
	guess := func(address, connect string, v packet.Version, answer string) {
		c := s.from(address)
		c.v = v
		c.send("CONNECT clean " + connect)
		c.expect(answer, "close")
	}
	for range 3 {
		guess("127.0.0.2", "user=joe password=wrong", 4, "CONNACK 05")
	}
	guess("127.0.0.2", "user=joe password=wrong", 5, "CONNACK 87")
	guess("127.0.0.3", "user=nobody password=secret", 5, "CONNACK 87")
	guess("127.0.0.4", "", 3, "CONNACK 05")
	good := s.from("127.0.0.5")
	good.send("CONNECT clean user=joe password=secret")
	good.expect("CONNACK 00")
	good.send("DISCONNECT")
	good.expect("close")
	bad := s.from("127.0.0.6")
	bad.send("CONNECT clean user=joe password=secret + hex C0 01 00")
	bad.expect("CONNACK 00", "close")
	s.log.find(func(line string) bool { return strings.HasSuffix(line, "disconnected: malformed packet.") })
	want := map[string]int{"127.0.0.2": 4, "127.0.0.3": 1, "127.0.0.4": 1}
	for _, filter := range [][]string{
		{readmeFailregex(t)},
		{`^: Client \S+ \[<HOST>:\d+\] disconnected: not authori[sz]ed\.$`},
		{`^.*: Client .* \[<HOST>:\d+\] disconnected: (?:not authori[sz]ed|bad user ?name or password)\.$`},
		{`New connection from <HOST>:\d+ on port \d+\.$`, `Client \S+ .*disconnected[,:] (?:due to )?not authori[sz]ed\.$`},
	} {
		got := banned(t, s.log.all(), filter...)
		if len(filter) == 2 { // it takes the last address for the culprit's, whoever was refused
			if got["127.0.0.5"]+got["127.0.0.6"] > 0 {
				t.Errorf("%q bans those who may connect: %v", filter, got)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q finds %v, not %v", filter, got, want)
		}
	}
}

// visit is what a parser makes of a client's connection.
type visit struct{ host, id, version, clean, keepalive, user, end string }

// visits parses the lines about connections, as a monitoring script does.
func visits(t *testing.T, log []string) []visit {
	t.Helper()
	came := regexp.MustCompile(`^\d+: New (?:client|bridge) connected from (\S+):(\d+) as (.+) \(p(\d), c([01]), k(\d+)(?:, u'(.*)')?\)\.$`)
	left := regexp.MustCompile(`^\d+: Client (.+) \[(\S+):(\d+)\] disconnected(?:: (.+))?\.$`)
	open := map[string]int{} // by address and port
	var all []visit
	for _, line := range log {
		if m := came.FindStringSubmatch(line); m != nil {
			open[m[1]+" "+m[2]+" "+m[3]] = len(all)
			all = append(all, visit{m[1], m[3], m[4], m[5], m[6], m[7], "-"})
		}
		if m := left.FindStringSubmatch(line); m != nil {
			i, ok := open[m[2]+" "+m[3]+" "+m[1]]
			if !ok {
				t.Errorf("the end of what did not begin: %s", line)
				continue
			}
			all[i].end = m[4]
		}
	}
	return all
}

// TestLogParser: each connection's beginning and end are told apart, however it ends
// and by whichever address.
func TestLogParser(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).running, "listener {port}\nallow_anonymous true\nlistener 0 {dir}/sock\nallow_anonymous true\n", "-c", "{conf}")
	polite := s.dial("polite", 5)
	polite.send("CONNECT clean keepalive=30 user=joe password=x + DISCONNECT")
	polite.expect("CONNACK 00", "close")
	six := s.dialTo("six", 4, "tcp", fmt.Sprintf("[::1]:%d", s.port))
	six.send("CONNECT")
	six.expect("CONNACK 00")
	six.conn.(*net.TCPConn).CloseWrite()
	six.expect("close")
	local := s.dialTo("local one", 3, "unix", s.dir+"/sock")
	local.send("CONNECT clean + hex F0 00")
	local.expect("CONNACK 00", "close")
	first := s.connect("twice", 4, "clean")
	second := s.connect("twice", 4, "clean")
	first.expect("close")
	second.reset()
	s.log.find(func(line string) bool { return strings.HasSuffix(line, "disconnected: Connection reset by peer.") })
	want := []visit{
		{"127.0.0.1", "polite", "5", "1", "30", "joe", ""},
		{"::1", "six", "4", "0", "0", "", "connection closed by client"},
		{s.dir + "/sock", "local one", "3", "1", "0", "", "protocol error"},
		{"127.0.0.1", "twice", "4", "1", "0", "", "session taken over"},
		{"127.0.0.1", "twice", "4", "1", "0", "", "Connection reset by peer"},
	}
	if got := visits(t, s.log.all()); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
