package core

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
	"midge/persist"
)

// sysRig is a broker that updates $SYS every 10 seconds.
func sysRig(t *testing.T) *rig {
	cfg := plain()
	cfg.SysInterval = 10_000
	return newRig(t, cfg)
}

// sysValues are the values of the tree, by what follows $SYS/broker/.
func (r *rig) sysValues() map[string]string {
	out := map[string]string{}
	r.retained.Walk(func(name string, m *message) bool {
		if rest, ok := strings.CutPrefix(name, sysRoot); ok {
			out[rest] = m.Payload
		}
		return true
	})
	return out
}

// TestSysValues compares the tree with what clients counted.
func TestSysValues(t *testing.T) {
	cfg := plain()
	cfg.SysInterval, cfg.MaxQueuedMessages, cfg.MaxInflightMessages = 10_000, 2, 2
	r := newRig(t, cfg)
	p := r.connect(packet.V311, "p")
	s := r.connect(packet.V5, "s")
	s.subscribe("t/#", 1)
	s.subscribe("$share/g/u", 0)
	gone := r.connect(packet.V311, "gone", durably)
	gone.subscribe("t/2", 1)
	r.settle()
	gone.drop()
	brief := r.connect(packet.V5, "brief", lasting(1))
	brief.drop()
	r.open(packet.V311) // sends nothing
	for i := range 5 {
		p.retain("t/"+itoa(i), strings.Repeat("x", 10+i), 1)
		p.say("t/2", "abc", 1)
		p.say("u", "abcd", 0)
	}
	p.retain("$other", "1234567", 0)
	s.ack(packet.Pingreq, 0)
	r.wait(9_999)
	r.settle()
	heap := r.acct.bytes
	r.wait(1)
	retained := 5 + 1 + int(sysTopics(r))
	queued := 2 + 2 + 2 // of s: open and waiting; of gone
	bytes := 10 + 11 + 12 + 13 + 14 + 7 + sysBytes(r, t)
	want := map[string]any{
		"version":                    "test",
		"uptime":                     "10 seconds",
		"clients/total":              3,
		"clients/maximum":            4,
		"clients/connected":          3,
		"clients/active":             3,
		"clients/disconnected":       1,
		"clients/inactive":           1,
		"clients/expired":            1,
		"connections/socket/count":   5,
		"subscriptions/count":        2,
		"shared_subscriptions/count": 1,
		"messages/received":          r.in.packets,
		"messages/sent":              r.out.packets,
		"bytes/received":             r.in.bytes,
		"bytes/sent":                 r.out.bytes,
		"publish/messages/received":  r.in.publishes,
		"publish/messages/sent":      r.out.publishes,
		"publish/bytes/received":     r.in.payloads,
		"publish/bytes/sent":         r.out.payloads,
		"publish/messages/dropped":   r.stats.PublishDropped,
		"retained messages/count":    retained,
		"messages/stored":            retained + queued,
		"store/messages/count":       retained + queued,
		"store/messages/bytes":       nil, // see below
		"packet/out/count":           2,
		"packet/out/bytes":           0,
		"heap/current":               nil, // see below
		"heap/maximum":               nil,
	}
	got := r.sysValues()
	for name, v := range want {
		if v != nil && got[name] != fmt.Sprint(v) {
			t.Errorf("%s is %q, not %v", name, got[name], v)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !strings.HasPrefix(name, "load/") {
			t.Errorf("there is a %s", name)
		}
	}
	// s was owed 10 of QoS 1 and holds 4; gone was owed 6 and holds 2
	if n := r.stats.PublishDropped; n != 6+4 {
		t.Errorf("%d were dropped", n)
	}
	// What the tree itself takes changes while it is brought up to date.
	for name, most := range map[string]int64{"heap/current": r.acct.bytes, "heap/maximum": r.acct.most} {
		if n, _ := strconv.ParseInt(got[name], 10, 64); n < heap || n > most {
			t.Errorf("%s is %d, not between %d and %d", name, n, heap, most)
		}
	}
	// The value is of the moment it was made in, while the tree itself changed.
	if n, _ := strconv.Atoi(got["store/messages/bytes"]); n < bytes-200 || n > bytes+200 {
		t.Errorf("store/messages/bytes is %d, not about %d", n, bytes)
	}
	r.bare()
}

// sysTopics and sysBytes are the number of topics of the tree, and their payloads and
// the queues', in bytes.
func sysTopics(r *rig) int { return len(r.sysValues()) }

func sysBytes(r *rig, t *testing.T) (n int) {
	for _, v := range r.sysValues() {
		n += len(v)
	}
	for _, s := range r.sessions {
		each(s, func(d *delivery) { n += len(d.msg.Payload) })
	}
	return n
}

// TestSysLoads compares the averages with the formula, over busy and idle times: with
// d the increase and dt the seconds since the last update, rate = d*60/dt and
// new = rate + e^(-dt/T)*(old-rate).
func TestSysLoads(t *testing.T) {
	r := sysRig(t)
	p := r.connect(packet.V311, "p")
	spans := map[string]float64{"1min": 60, "5min": 300, "15min": 900}
	averages := map[string]float64{}
	said := map[string]string{}
	counters := map[string]func() uint64{
		"bytes/received":   func() uint64 { return r.in.bytes },
		"messages/sent":    func() uint64 { return r.out.packets },
		"publish/received": func() uint64 { return r.in.publishes },
		"sockets":          func() uint64 { return r.stats.Sockets },
		"connections":      func() uint64 { return r.stats.Connections },
		"publish/dropped":  func() uint64 { return 0 },
	}
	last := map[string]uint64{}
	for c := range counters {
		for span := range spans {
			said[c+"/"+span] = "0.00"
		}
	}
	update := func(dt float64) {
		for c, count := range counters {
			rate := float64(count()-last[c]) * 60 / dt
			last[c] = count()
			for span, seconds := range spans {
				name := c + "/" + span
				old := averages[name]
				averages[name] = rate + math.Exp(-dt/seconds)*(old-rate)
				if math.Abs(averages[name]-old) >= 0.01 {
					said[name] = strconv.FormatFloat(averages[name], 'f', 2, 64)
				}
			}
		}
	}
	for round, messages := range []int{100, 3, 0, 0, 1000, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0} {
		for range messages {
			p.say("t", "x", 1)
		}
		if round == 6 { // a broker that was stopped for a while
			r.now += 60_000
			r.settle()
			update(60)
		}
		r.wait(10_000)
		update(10)
		got := r.sysValues()
		for name, v := range said {
			if got["load/"+name] != v {
				t.Errorf("round %d: load/%s is %s, not %s", round, name, got["load/"+name], v)
			}
		}
	}
}

// TestSysUnchanged: a value goes out when it has changed, at every multiple of
// sys_interval; to a subscriber too, at QoS 2 at most.
func TestSysUnchanged(t *testing.T) {
	r := sysRig(t)
	r.wait(25_000)
	stored := map[string]uint64{}
	r.retained.Walk(func(name string, m *message) bool {
		stored[name] = m.Stored
		return true
	})
	r.wait(4999)
	changed := func() (out []string) {
		r.retained.Walk(func(name string, m *message) bool {
			if m.Stored != stored[name] {
				out = append(out, name)
			}
			stored[name] = m.Stored
			return true
		})
		return out
	}
	if got := changed(); len(got) != 0 {
		t.Errorf("between the updates came %v", got)
	}
	r.wait(1)
	if got := changed(); fmt.Sprint(got) != "[$SYS/broker/uptime]" {
		t.Errorf("with nothing going on came %v", got)
	}
	s := r.connect(packet.V311, "s")
	s.subscribe("$SYS/broker/clients/total", 2)
	s.subscribe("$SYS/broker/uptime", 1)
	s.auto = true
	s.expect("SUBACK id1 [02]", "PUBLISH $SYS/broker/clients/total 0 q2 id1 retain", "SUBACK id2 [01]",
		"PUBLISH $SYS/broker/uptime 30 seconds q1 id2 retain", "PUBREL id1")
	r.wait(10_000)
	s.expect("PUBLISH $SYS/broker/uptime 40 seconds q1 id3", "PUBLISH $SYS/broker/clients/total 1 q2 id4", "PUBREL id4")
	r.bare()
}

// TestSysFigure: a number that somebody else has goes out like the broker's own,
// until it is taken back.
func TestSysFigure(t *testing.T) {
	r := sysRig(t)
	n := int64(1)
	r.Figure("tls/days", func() int64 { return n })
	r.wait(10_000)
	n = 2
	if got := r.sysValues()["tls/days"]; got != "1" {
		t.Errorf("it is %q", got)
	}
	r.wait(10_000)
	if got := r.sysValues()["tls/days"]; got != "2" {
		t.Errorf("it is %q", got)
	}
	r.Figure("tls/days", func() int64 { return 7 })
	r.wait(10_000)
	if got := r.sysValues()["tls/days"]; got != "7" {
		t.Errorf("it is %q, and should be another's", got)
	}
	r.Figure("tls/days", nil)
	r.wait(10_000)
	if got, there := r.sysValues()["tls/days"]; there {
		t.Errorf("it is still %q", got)
	}
	r.bare()
}

// TestSysNone: without sys_interval there is no tree and no deadline.
func TestSysNone(t *testing.T) {
	r := newRig(t, plain())
	if n := len(r.sysValues()); n != 0 {
		t.Errorf("there are %d topics", n)
	}
	if next := r.Next(); next != persist.Never {
		t.Errorf("the next deadline is %d", next)
	}
	r = sysRig(t)
	r.wait(10_000)
	r.Configure(plain(), r.now) // switched off: what is there stays
	r.wait(100_000)
	if got := r.sysValues()["uptime"]; got != "10 seconds" {
		t.Errorf("uptime is %s", got)
	}
	r.bare()
}
