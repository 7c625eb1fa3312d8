package core

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"midge/auth"
	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// listed is an ACL file as core asks it.
type listed struct {
	*auth.ACL
	asked *int // how often it was
}

func (l listed) May(who *persist.Origin, do Action, topic string) (ok bool, notice string) {
	if l.asked != nil {
		*l.asked++
	}
	action := auth.Read
	if do == ActionWrite {
		action = auth.Write
	}
	v := l.ACL.May(who.ClientID, who.Username, action, topic)
	if v == auth.DeniedName {
		notice = "dangerous " + who.ClientID
	}
	return v == auth.Allowed, notice
}

// compile reads the text of an ACL file.
func compile(text string) (listed, error) {
	f, err := os.CreateTemp("", "acl")
	if err != nil {
		return listed{}, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := cmpErr(err, f.Close()); err != nil {
		return listed{}, err
	}
	a, _, err := auth.LoadACL(f.Name())
	return listed{ACL: a}, err
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// rules puts an ACL file in force, for all.
func (r *rig) rules(lines ...string) (asked *int) {
	r.Helper()
	a, err := compile(strings.Join(lines, "\n"))
	if err != nil {
		r.Fatal(err)
	}
	a.asked = new(int)
	cfg := r.cfg
	cfg.Access, r.listener.Access = a, a
	r.Configure(cfg, r.now)
	r.Recheck(r.now)
	return a.asked
}

func user(name string) option {
	return func(p *packet.Packet) {
		p.Connect.HasUsername, p.Connect.Username = true, []byte(name)
	}
}

// TestRevoked: rights that go with a reload go for subscriptions that there are, for
// what waits, and for what is under way to be sent again.
func TestRevoked(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		cfg := plain()
		cfg.MaxInflightMessages = 2
		r := newRig(t, cfg)
		r.rules("topic write #", "user u", "topic read #")
		p := r.connect(packet.V5, "p")
		p.auto = true
		s := r.connect(packet.V5, "s", user("u"), durably)
		s.subscribe("#", qos)
		s.expect("SUBACK id1 [0" + itoa(int(qos)) + "]")
		for i, topic := range []string{"a", "b", "a", "b", "a", "b"} {
			p.say(topic, itoa(i), qos)
		}
		if got := s.payloads(); !slices.Equal(got, []string{"0", "1"}) {
			t.Fatal(got)
		}
		s.drop()
		r.rules("topic write #", "user u", "topic read #", "topic deny b")
		p.say("b", "6", qos)
		p.say("a", "7", qos)
		s = r.dial(packet.V5, "s", user("u"), durably)
		s.auto = true
		if got := s.payloads(); !slices.Equal(got, []string{"0", "2", "4", "7"}) {
			t.Errorf("QoS %d: %q", qos, got)
		}
		s.say("x", "no right to", 1)
		s.expect("PUBACK id1 87")
		r.rules("topic write #", "user u", "topic read b")
		p.say("a", "8", qos)
		p.say("b", "9", qos)
		if got := s.payloads(); !slices.Equal(got, []string{"9"}) {
			t.Errorf("QoS %d: %q", qos, got)
		}
		r.rules()
		p.say("b", "10", 0)
		s.expect()
		r.bare()
	}
}

// TestReleasedWithoutRight: a QoS 2 message whose right went between PUBLISH and
// PUBREL goes nowhere; the exchange ends as ever.
func TestReleasedWithoutRight(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic #")
	p := r.connect(packet.V5, "p")
	p.subscribe("#", 0)
	p.say("t", "x", 2)
	p.expect("SUBACK id1 [00]", "PUBREC id2")
	r.rules("topic read #")
	p.ack(packet.Pubrel, 2)
	p.expect("PUBCOMP id2")
	r.bare()
}

// TestWillNeedsRight: to be sent, at the time it is sent; to be left nothing is needed.
func TestWillNeedsRight(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic read #", "topic write w/ok")
	s := r.connect(packet.V5, "s")
	s.subscribe("#", 0)
	s.expect("SUBACK id1 [00]")
	for _, delay := range []uint32{0, 5} {
		r.connect(packet.V5, "a", withWill("w/no", "x", 0, delay), durably).drop()
		r.connect(packet.V5, "b", withWill("w/ok", "x", 0, delay), durably).drop()
		r.wait(6000)
		s.expect("PUBLISH w/ok x q0")
	}
	a := r.connect(packet.V5, "a", withWill("w/no", "x", 0, 5), durably)
	b := r.connect(packet.V5, "b", withWill("w/ok", "x", 0, 5), durably)
	a.drop()
	b.drop()
	r.rules("topic read #", "topic write w/no")
	r.wait(6000)
	s.expect("PUBLISH w/no x q0")
	r.bare()
}

// TestRestoredWillNeedsRight: that of a client without a user name, of whom the broker that
// was killed had nothing but the will, when its session ends before the will is due.
func TestRestoredWillNeedsRight(t *testing.T) {
	for _, end := range []struct {
		name string
		how  func(*rig)
	}{
		{"in its time", func(r *rig) { r.wait(10_000) }},
		{"for a clean start", func(r *rig) { r.dial(packet.V5, "w") }},
	} {
		t.Run(end.name, func(t *testing.T) {
			im := persist.NewImage()
			r := newRig(t, plain(), im)
			r.dial(packet.V5, "w", lasting(10), withWill("w/ok", "gone", 0, 60))
			later := newRig(t, plain())
			later.rules("topic read #", "topic write w/ok")
			later.Restore(im, later.now)
			s := later.connect(packet.V5, "s")
			s.subscribe("#", 0)
			s.expect("SUBACK id1 [00]")
			end.how(later)
			later.settle()
			s.expect("PUBLISH w/ok gone q0")
		})
	}
}

// TestCheckRetainSource: a retained message is for others as long as its publisher
// may write it, by the name it had then.
func TestCheckRetainSource(t *testing.T) {
	for _, check := range []bool{false, true} {
		cfg := plain()
		cfg.CheckRetainSource = check
		r := newRig(t, cfg)
		r.rules("topic read #", "user u", "topic write #", "user v", "topic write #")
		for _, name := range []string{"u", "v"} {
			p := r.connect(packet.V311, name, user(name))
			p.retain("of/"+name, "x", 0)
			p.leave()
		}
		read := func(want ...string) {
			t.Helper()
			s := r.connect(packet.V311, "s")
			s.subscribe("of/#", 0)
			s.expect(append([]string{"SUBACK id1 [00]"}, want...)...)
			s.leave()
		}
		read("PUBLISH of/u x q0 retain", "PUBLISH of/v x q0 retain")
		r.rules("topic read #", "user v", "topic write #")
		if check {
			read("PUBLISH of/v x q0 retain")
		} else {
			read("PUBLISH of/u x q0 retain", "PUBLISH of/v x q0 retain")
		}
		r.rules("topic read of/v", "user v", "topic write of/v")
		read("PUBLISH of/v x q0 retain")
		r.bare()
	}
}

// TestRetainedFirstNeedsRight: the retained message that is sent before its turn
// needs the same rights.
func TestRetainedFirstNeedsRight(t *testing.T) {
	cfg := plain()
	cfg.CheckRetainSource = true
	r := newRig(t, cfg)
	r.rules("topic read #", "user u", "topic write #", "user v", "topic write #")
	p := r.connect(packet.V5, "p", user("u"))
	p.auto = true
	p.retainMany(200, 1)
	s := r.connect(packet.V5, "s", receiveMaximum(1))
	s.subscribe("r/#", 1)
	s.expect("SUBACK id1 [01]", "PUBLISH r/0 0 q1 id1 retain")
	r.rules("topic read #", "user v", "topic write #")
	q := r.connect(packet.V5, "q", user("v"))
	q.say("r/99", "live", 1)
	s.auto = true
	s.ack(packet.Puback, 1)
	if got := s.payloads(); !slices.Equal(got, []string{"live"}) {
		t.Errorf("%q", got)
	}
	r.bare()
}

// TestGroupsNeedRight: a message of a group goes to a member that may read it, also
// one that another left behind.
func TestGroupsNeedRight(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic write #", "user u", "topic read #", "user v", "topic read open", "user w")
	p := r.connect(packet.V5, "p")
	p.auto = true
	var members []*peer
	for _, name := range []string{"u", "v", "w"} {
		m := r.connect(packet.V5, name, user(name), receiveMaximum(3))
		m.subscribe("$share/g/#", 1)
		m.expect("SUBACK id1 [01]")
		members = append(members, m)
	}
	for i := range 4 {
		p.say("shut", itoa(i), 1)
	}
	p.say("open", "4", 1)
	r.settle()
	u, v, w := members[0], members[1], members[2]
	if got := u.payloads(); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("u got %q", got)
	}
	if got := v.payloads(); !slices.Equal(got, []string{"4"}) {
		t.Errorf("v got %q", got)
	}
	r.rules("topic write #", "user v", "topic read open", "user w", "topic read shut")
	p.say("large", strings.Repeat("x", 100), 1)
	u.drop()
	w.auto = true
	if got := w.payloads(); !slices.Equal(got, []string{"0", "1", "2"}) && !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("w got %q", got)
	}
	r.bare()
}

// TestOpenTopic: that all receivers of a topic may read it is remembered as long as
// they are the same: a new one is asked about, one by another connection, and one that
// was passed over for its No Local.
func TestOpenTopic(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic #", "user u", "topic write #")
	p, q := r.connect(packet.V5, "p"), r.connect(packet.V5, "q", user("u"), durably)
	p.subscribe("#", 0)
	p.expect("SUBACK id1 [00]")
	q.subscribe("own", persist.OptionNoLocal)
	q.expect("SUBACK id1 [00]")
	both := func(topic string) {
		t.Helper()
		for range 2 {
			q.say(topic, "x", 0)
			p.expect("PUBLISH " + topic + " x q0")
			q.expect()
		}
		p.say(topic, "y", 0)
		p.expect("PUBLISH " + topic + " y q0")
		q.expect()
	}
	both("own")
	both("t")
	q.subscribe("t", 0)
	q.expect("SUBACK id2 [00]")
	both("t")
	q.leave()
	q = r.connect(packet.V5, "q", durably)
	p.say("t", "z", 0)
	p.expect("PUBLISH t z q0")
	q.expect("PUBLISH t z q0")
	q.leave()
	q = r.connect(packet.V5, "q", user("u"), durably)
	both("t")
	r.bare()
}

// TestRemembersRightly: whatever is remembered, each of many clients is sent what the
// rules of the moment let it read, from those that they let write, and nothing else.
func TestRemembersRightly(t *testing.T) {
	for _, duplicates := range []bool{true, false} {
		t.Run(fmt.Sprintf("duplicates=%t", duplicates), func(t *testing.T) { remembersRightly(t, duplicates) })
	}
}

func remembersRightly(t *testing.T, duplicates bool) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	topics := []string{"a/b", "a/c", "a", "u/x", "v/x", "c1", "c2"}
	for i := range 400 { // more than are remembered of one session
		topics = append(topics, "many/"+itoa(i%20)+"/"+itoa(i))
	}
	any := func() string {
		if rnd.IntN(3) > 0 {
			return topics[rnd.IntN(7)]
		}
		return topics[rnd.IntN(len(topics))]
	}
	cfg := plain()
	cfg.AllowDuplicates = duplicates
	r := newRig(t, cfg)
	rule := func() string {
		filter := pick("#", "a/#", "a/b", "many/#", "many/3/+", "+/x", "%u/x", "%c", "c1")
		return pick("topic ", "pattern ") + pick("read ", "write ", "readwrite ", "readwrite ", "deny ") + filter
	}
	var acl listed
	reload := func() {
		lines := []string{rule(), rule(), rule()}
		for _, u := range []string{"u", "v"} {
			lines = append(lines, "user "+u, rule(), rule(), rule())
		}
		r.rules(lines...)
		acl = r.listener.Access.(listed)
	}
	type wants struct {
		*peer
		who     persist.Origin
		filters map[string]bool
	}
	all := make([]*wants, 6)
	connect := func(i int) {
		if all[i] != nil {
			all[i].drop()
		}
		w := &wants{who: persist.Origin{ClientID: "c" + itoa(i), Username: pick("", "u", "v", "w")}, filters: map[string]bool{}}
		v := []packet.Version{packet.V311, packet.V5}[i%2]
		if w.who.Username == "" {
			w.peer = r.connect(v, w.who.ClientID)
		} else {
			w.peer = r.connect(v, w.who.ClientID, user(w.who.Username))
		}
		all[i] = w
	}
	reload()
	for i := range all {
		connect(i)
	}
	for step := range trim(t, 30_000, 6000) {
		w := all[rnd.IntN(len(all))]
		filter := pick("#", "a/+", "many/#", "many/3/+", "u/x")
		switch n := rnd.IntN(200); {
		case n == 0:
			reload()
		case n < 3:
			connect(rnd.IntN(len(all)))
		case n < 8:
			w.subscribe(filter, 0)
			w.filters[filter] = true
			w.expect("SUBACK id" + itoa(int(w.nextID)) + " [00]")
		case n < 10:
			w.unsubscribe(filter)
			delete(w.filters, filter)
			r.settle()
			w.got = nil
		default:
			name := any()
			w.say(name, itoa(step), 0)
			r.settle()
			may, _ := acl.May(&w.who, ActionWrite, name)
			for _, to := range all {
				want := 0
				if ok, _ := acl.May(&to.who, ActionRead, name); ok && may {
					for f := range to.filters {
						if topic.Match(f, name) {
							want++
						}
					}
				}
				if !duplicates {
					want = min(want, 1)
				}
				if got := len(to.payloads()); got != want {
					t.Fatalf("seed %d, step %d: %+v got %d of %s by %+v, not %d", seed, step, to.who, got, name, w.who, want)
				}
			}
		}
	}
	r.bare()
}

// TestOtherListener: what a client may do is its listener's business; a session
// that is away keeps the rules of the last one, and after a reload has those of its port.
func TestOtherListener(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic #")
	open := r.listener
	shut, err := compile("topic read a")
	if err != nil {
		t.Fatal(err)
	}
	other := *open
	other.Port, other.Access = 1884, shut
	p := r.connect(packet.V5, "p")
	p.auto = true
	r.listener = &other
	s := r.connect(packet.V5, "s", durably)
	s.subscribe("#", 1)
	s.expect("SUBACK id1 [01]")
	p.say("a", "0", 1)
	p.say("b", "1", 1)
	s.expect("PUBLISH a 0 q1 id1")
	s.drop()
	p.say("b", "2", 1)
	p.say("a", "3", 1)
	r.Recheck(r.now)
	p.say("b", "4", 1) // the rig's Access, which stands for every port, lets it wait
	s = r.connect(packet.V5, "s", durably)
	s.expect("PUBLISH a 0 q1 id1 dup", "PUBLISH a 3 q1 id2")
	s.drop()
	r.listener = open
	s = r.connect(packet.V5, "s", durably)
	s.expect("PUBLISH a 0 q1 id1 dup", "PUBLISH a 3 q1 id2 dup")
	p.say("b", "5", 1)
	s.expect("PUBLISH b 5 q1 id3")
	r.bare()
}

// TestOriginOfListener: messages say by which listener they came.
func TestOriginOfListener(t *testing.T) {
	r := newRig(t, plain())
	for i, port := range []int{1883, 1884, 1884} {
		l := *r.listener
		l.Port = port
		r.listener = &l
		p := r.connect(packet.V311, "p", durably)
		p.retain("t", itoa(i), 0)
		if m, _ := r.retained.Load("t"); *m.Origin != (persist.Origin{ClientID: "p", Listener: port}) {
			t.Errorf("%+v", m.Origin)
		}
		p.drop()
	}
	r.bare()
}

// TestDangerousName is said once for a connection.
func TestDangerousName(t *testing.T) {
	r := newRig(t, plain())
	r.rules("pattern %c/#")
	p := r.connect(packet.V311, "a+")
	for i := range 5 {
		p.say("t/"+itoa(i), "x", 0)
	}
	if n := r.logged("dangerous a+"); n != 1 {
		t.Errorf("said %d times", n)
	}
	p.drop()
	r.connect(packet.V311, "a+").say("t", "x", 0)
	if n := r.logged("dangerous a+"); n != 2 {
		t.Errorf("said %d times in two connections", n)
	}
}

// TestAnswersRemembered: who knows is asked once about a topic, in either direction,
// and again after a reload and for a new connection.
func TestAnswersRemembered(t *testing.T) {
	r := newRig(t, plain())
	asked := r.rules("topic #")
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("#", 0)
	r.settle()
	say := func(n int) {
		for range 3 {
			for i := range n {
				p.say("t/"+itoa(i), "x", 0)
			}
			r.settle()
			s.got = nil
		}
	}
	check := func(what string, want int) {
		t.Helper()
		if *asked != want {
			t.Errorf("%s: asked %d times, not %d", what, *asked, want)
		}
		*asked = 0
	}
	say(4)
	check("4 topics", 8)
	say(4)
	check("again", 0)
	asked = r.rules("topic #")
	say(4)
	check("after a reload", 8)
	p.drop()
	p = r.connect(packet.V311, "p")
	say(4)
	check("by a new connection", 4)
	for range 10 { // places grow
		say(200)
	}
	*asked = 0
	say(200)
	if *asked > 400 {
		t.Errorf("1200 questions about 200 topics met before: asked %d times", *asked)
	}
	long := strings.Repeat("l", nameMax+1)
	*asked = 0
	p.say(long, "x", 0)
	p.say(long, "x", 0)
	check("a long topic", 4)
}

// TestNames: a number is a topic's own, and stays while there are not many others.
func TestNames(t *testing.T) {
	var n names
	owner := map[uint64]string{}
	for round := range 3 {
		for i := range 20_000 {
			name := fmt.Sprint("topic/", i%(1000+9000*round))
			k := n.number(name)
			if k == 0 || owner[k] != "" && owner[k] != name {
				t.Fatalf("number %d is %q's and %q's", k, owner[k], name)
			}
			owner[k] = name
			if n.number(name) != k {
				t.Fatal("another number at once")
			}
		}
	}
	if len(n.slots) != namesMax {
		t.Errorf("%d slots", len(n.slots))
	}
	kept := 0
	for range 100 { // each has a seed of its own
		var few names
		first := few.number("a")
		for i := range 10 {
			few.number(itoa(i))
		}
		if few.number("a") == first {
			kept++
		}
	}
	if kept < 80 {
		t.Errorf("of 100 names, %d kept their number after ten others", kept)
	}
}

// TestAllocsGuarded: rights cost no allocation.
func TestAllocsGuarded(t *testing.T) {
	for _, qos := range []byte{0, 1, 2} {
		l := newLine(t, guard(plain()))
		l.pub = l.dial(packet.V311, "pub", true, nil)
		l.subscribe(packet.V311, 10, qos)
		l.aim(packet.V311, 16, qos, nil)
		data := l.load(packet.V311, 3, 16, qos, nil)
		before := l.stats.PublishSent
		pin(t, 0, func() { l.give(l.pub, data); l.answer(qos) })
		if l.stats.PublishSent == before {
			t.Error("nothing was sent")
		}
	}
}

// guard puts a few rules in force, which allow what benchmarks do.
func guard(cfg Config) Config {
	a, err := compile("topic read other/#\ntopic readwrite fleet/#\ntopic deny fleet/+/secret\npattern dev/%c/#")
	if err != nil {
		panic(err)
	}
	cfg.Access = a
	return cfg
}

// BenchmarkGuarded is BenchmarkFanOut with rules.
func BenchmarkGuarded(b *testing.B) {
	for _, subs := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(subs), func(b *testing.B) {
			for _, guarded := range []bool{false, true} {
				b.Run(fmt.Sprintf("guarded=%t", guarded), func(b *testing.B) {
					cfg := wide()
					if guarded {
						cfg = guard(cfg)
					}
					l := newLine(b, cfg)
					l.pub = l.dial(packet.V311, "pub", true, nil)
					l.subscribe(packet.V311, subs, 0)
					data := l.load(packet.V311, 16, 16, 0, nil)
					b.ReportAllocs()
					for b.Loop() {
						l.give(l.pub, data)
						l.flush()
					}
					perMessage(b, 16*subs)
				})
			}
		})
	}
}

// BenchmarkMay is the cost of one question.
func BenchmarkMay(b *testing.B) {
	l := newLine(b, guard(plain()))
	s := l.dial(packet.V311, "c", true, nil).session
	p := publication{topic: loadTopic}
	b.ReportAllocs()
	for b.Loop() {
		if !l.mayRead(s, &p) {
			b.Fatal("denied")
		}
	}
}
