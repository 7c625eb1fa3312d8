package broker_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// storm is many logins at once, and what somebody else notices of them.
type storm struct {
	in, out int             // let in and turned away
	wrong   []string        // answers that should have been others
	took    time.Duration   // until the last was answered
	pings   []time.Duration // from PINGREQ to PINGRESP of another client meanwhile, in order
}

// Those of a storm: users who log in at once, each for the first time, and more of
// them with a wrong password.
const (
	stormUsers = 200
	stormWrong = 50
)

// runStorm has all of them log in where a password takes bcrypt of that cost.
func runStorm(t testing.TB, cost int) storm {
	t.Helper()
	line := hashed(t, cost, "u:secret") // a hash for all: midge does not know what it has not verified for a user
	var all strings.Builder
	for i := range stormUsers {
		fmt.Fprintf(&all, "u%d%s", i, line[1:])
	}
	name := filepath.Join(t.TempDir(), "passwd")
	replacePasswords(t, name, all.String())
	s := serve(t, "connection_messages false\nallow_anonymous true\npassword_file "+name+"\nlistener {port} 127.0.0.1")
	bystander := s.connect("bystander", 5, "clean")
	clients := make([]*client, stormUsers+stormWrong)
	for i := range clients {
		clients[i] = s.dial(fmt.Sprint("c", i), 4)
	}
	answers := make(chan string, len(clients))
	begin := time.Now()
	for i, c := range clients {
		word, want := "secret", "CONNACK 00"
		if i%5 == 4 {
			word, want = "wrong", "CONNACK 05"
		}
		c.send(fmt.Sprintf("CONNECT clean user=u%d password=%s", i%stormUsers, word))
		go func() {
			got, err := c.receive()
			if err != nil || got != want {
				got = fmt.Sprintf("%s, %v for %s", got, err, word)
			}
			answers <- got
		}()
	}
	return s.weather(bystander, answers, len(clients), begin)
}

// weather has a bystander ping until all have their answers.
func (s *server) weather(bystander *client, answers <-chan string, n int, begin time.Time) (st storm) {
	for range n {
		for waiting := true; waiting; {
			sent := time.Now()
			bystander.lives()
			st.pings = append(st.pings, time.Since(sent))
			select {
			case got := <-answers:
				st.count(got)
				waiting = false
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	st.took = time.Since(begin)
	slices.Sort(st.pings)
	return st
}

func (st *storm) count(answer string) {
	switch answer {
	case "CONNACK 00":
		st.in++
	case "CONNACK 05":
		st.out++
	default:
		st.wrong = append(st.wrong, answer)
	}
}

// ping is the time that a part of the pings took at most.
func (st *storm) ping(part float64) time.Duration {
	return st.pings[min(len(st.pings)-1, int(part*float64(len(st.pings))))]
}

// TestLoginStorm: nobody with the right password is turned away.
func TestLoginStorm(t *testing.T) {
	t.Parallel()
	st := runStorm(t, 4)
	if st.in != stormUsers || st.out != stormWrong || len(st.wrong) > 0 {
		t.Errorf("%d let in, %d turned away, %q", st.in, st.out, st.wrong)
	}
}

// BenchmarkLoginStorm is the same at bcrypt's usual cost, with the pings of another
// client.
func BenchmarkLoginStorm(b *testing.B) {
	for b.Loop() {
		st := runStorm(b, 10)
		if st.in != stormUsers || st.out != stormWrong {
			b.Errorf("%d let in, %d turned away, %q", st.in, st.out, st.wrong)
		}
		b.ReportMetric(st.took.Seconds(), "s")
		b.ReportMetric(ms(st.ping(0.5)), "p50-ms")
		b.ReportMetric(ms(st.ping(0.99)), "p99-ms")
		b.ReportMetric(ms(st.ping(1)), "max-ms")
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
