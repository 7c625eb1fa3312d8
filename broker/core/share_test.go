package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// grouped is a broker with a publisher.
func grouped(t *testing.T, cfg Config) (*rig, *peer) {
	r := newRig(t, cfg)
	return r, r.connect(packet.V5, "p")
}

// member makes a client that is in group g for t.
func (r *rig) member(id string, qos byte, opts ...option) *peer {
	r.Helper()
	p := r.connect(packet.V5, id, opts...)
	p.subscribe("$share/g/t", qos)
	p.expect("SUBACK id1 [0" + itoa(int(qos)) + "]")
	return p
}

// publishing n messages to t: their numbers from on.
func (p *peer) numbers(from, to int, qos byte) {
	for i := from; i < to; i++ {
		p.say("t", itoa(i), qos)
	}
	p.settle()
	p.got = nil
}

// TestGroupRoundRobin: members that can take a message get one each in turn, also when
// one comes or goes.
func TestGroupRoundRobin(t *testing.T) {
	r, p := grouped(t, plain())
	members := []*peer{r.member("a", 0), r.member("b", 1), r.member("c", 2)}
	for _, m := range members {
		m.auto = true
	}
	share := func(from int, want ...string) {
		t.Helper()
		p.numbers(from, from+2*len(want), 1)
		for i, m := range members {
			got := strings.Join(m.payloads(), " ")
			if i < len(want) && got != want[i] {
				t.Errorf("member %d got %q, not %q", i, got, want[i])
			}
		}
	}
	share(0, "0 3", "1 4", "2 5")
	members = append(members, r.member("d", 1))
	members[3].auto = true
	share(10, "11 15", "12 16", "13 17", "10 14")
	members[1].unsubscribe("$share/g/t")
	members[1].expect("UNSUBACK id2 [00]")
	members = slices.Delete(members, 1, 2)
	share(20, "21 24", "22 25", "20 23")
	members[0].drop()
	members = members[1:]
	share(30, "31 33", "30 32")
	r.bare()
}

// TestGroupCopies: each group gets one copy, beside the ordinary subscribers; a
// client may have both.
func TestGroupCopies(t *testing.T) {
	r, p := grouped(t, plain())
	var counts [4]int
	for i, filters := range [][]string{
		{"$share/g/t"}, {"$share/g/t", "$share/h/t"}, {"$share/h/t", "$share/h/+", "t"}, {"#", "$share/g/u"},
	} {
		m := r.connect(packet.V5, "m"+itoa(i))
		for _, f := range filters {
			m.subscribe(f, 0)
		}
		m.hook = func(*packet.Packet) { counts[i]++ }
	}
	const n = 300
	p.numbers(0, n, 0)
	// g: 0 and 1; h/t: 1 and 2; h/+: 2; t: 2; #: 3
	if got, want := fmt.Sprint(counts), fmt.Sprint([4]int{n / 2, n/2 + n/2, n/2 + n + n, n}); got != want {
		t.Errorf("got %s messages, want %s", got, want)
	}
	r.bare()
}

// TestGroupGrantedQoS: each member gets the message at the QoS it was granted.
func TestGroupGrantedQoS(t *testing.T) {
	r, p := grouped(t, plain())
	a, b := r.member("a", 0), r.member("b", 1)
	p.numbers(0, 2, 2)
	p.ack(packet.Pubrel, 1)
	p.ack(packet.Pubrel, 2)
	a.expect("PUBLISH t 0 q0")
	b.expect("PUBLISH t 1 q1 id1")
	r.bare()
}

// TestGroupPrefers: members that can be sent to at once come first, then connected
// ones that must queue it, then the others; QoS 0 waits for nobody offline.
func TestGroupPrefers(t *testing.T) {
	cfg := plain()
	cfg.MaxQueuedMessages = 2
	r, p := grouped(t, cfg)
	off := r.member("off", 1, durably)
	off.drop()
	full := r.member("full", 1, receiveMaximum(1))
	ok := r.member("ok", 1, receiveMaximum(3))
	p.numbers(0, 4, 1) // one and three open
	full.expect("PUBLISH t 0 q1 id1")
	ok.expect("PUBLISH t 1 q1 id1", "PUBLISH t 2 q1 id2", "PUBLISH t 3 q1 id3")
	held := func(want string) {
		t.Helper()
		got := ""
		for _, id := range []string{"off", "full", "ok"} {
			s := r.sessions[id]
			each(s, func(d *delivery) { got += d.msg.Payload })
			got += "|"
		}
		if got != want {
			t.Errorf("held are %s, not %s", got, want)
		}
	}
	held("|0|123|")
	p.numbers(4, 8, 1) // two wait for each
	held("|046|12357|")
	p.numbers(8, 10, 1)
	held("89|046|12357|")
	if n := r.stats.PublishDropped; n != 0 || r.logged("being dropped") != 0 {
		t.Errorf("%d are counted as dropped", n)
	}
	p.numbers(10, 12, 1) // there is no room anywhere
	held("89|046|12357|")
	if n := r.stats.PublishDropped; n != 2 {
		t.Errorf("%d are counted as dropped, not 2", n)
	}
	p.say("t", "x", 0)
	r.settle()
	if len(full.got)+len(ok.got) != 1 {
		t.Errorf("QoS 0 came %d times", len(full.got)+len(ok.got))
	}
	full.drop()
	ok.drop()
	p.say("t", "x", 0)
	if n := r.stats.PublishDropped; n != 2 {
		t.Errorf("QoS 0 to nobody is counted as dropped")
	}
	r.bare()
}

// TestGroupSlowMember: a member with a window of one that does not acknowledge gets
// one message, the fast one beside it the others.
func TestGroupSlowMember(t *testing.T) {
	r, p := grouped(t, plain())
	slow := r.member("slow", 1, receiveMaximum(1))
	fast := r.member("fast", 1, receiveMaximum(2))
	fast.auto = true
	for i := range 100 {
		p.numbers(i, i+1, 1)
	}
	slow.expect("PUBLISH t 0 q1 id1")
	if got := fast.payloads(); !slices.Equal(got, numbers(1, 100)) {
		t.Errorf("the fast one got %v", got)
	}
	r.bare()
}

// TestGroupPassesOn: when a member loses its connection, connected ones get what it
// did not acknowledge at QoS 1 and was not sent at QoS 2; what it was sent at QoS 2
// stays with it [MQTT-4.8.2-4].
func TestGroupPassesOn(t *testing.T) {
	for _, opts := range [][]option{{durably}, {}} {
		r, p := grouped(t, plain())
		p.auto = true
		a := r.member("a", 2, append(opts, receiveMaximum(3))...)
		a.subscribe("own", 1)
		a.expect("SUBACK id2 [01]")
		for i, qos := range []byte{1, 2, 2, 1, 2} {
			p.say("t", itoa(i), qos)
			r.settle()
		}
		a.ack(packet.Pubrec, 3)
		a.expect("PUBLISH t 0 q1 id1", "PUBLISH t 1 q2 id2", "PUBLISH t 2 q2 id3", "PUBREL id3")
		p.say("own", "x", 1)
		off := r.member("off", 2, durably)
		off.drop()
		b := r.member("b", 1)
		a.drop()
		b.expect("PUBLISH t 0 q1 id1", "PUBLISH t 3 q1 id2", "PUBLISH t 4 q1 id3")
		off = r.connect(packet.V5, "off", durably)
		off.expect()
		a = r.dial(packet.V5, "a", append(opts, receiveMaximum(10))...)
		if len(opts) > 0 {
			a.expect("CONNACK present", "PUBLISH t 1 q2 id2 dup", "PUBREL id3", "PUBLISH own x q1 id4")
		} else {
			a.expect("CONNACK")
		}
		r.bare()
	}
}

// TestGroupPassesOnToTheAbsent: the end of a session hands its messages to members
// that are not connected, where there are no others; one that only lost its
// connection keeps them.
func TestGroupPassesOnToTheAbsent(t *testing.T) {
	r, p := grouped(t, plain())
	a, b := r.member("a", 1, lasting(10)), r.member("b", 1, durably)
	b.drop()
	p.numbers(0, 3, 1)
	a.drop()
	r.wait(9000)
	b = r.connect(packet.V5, "b", durably)
	b.expect()
	b.drop()
	r.wait(1000)
	if r.sessions["a"] != nil {
		t.Fatal("the session did not end")
	}
	b = r.connect(packet.V5, "b", durably)
	b.expect("PUBLISH t 0 q1 id1", "PUBLISH t 1 q1 id2", "PUBLISH t 2 q1 id3")
	r.bare()
}

// TestGroupEnds: what was sent at QoS 2 goes to nobody else when its session ends
// [MQTT-4.8.2-5]; nor does what was refused [MQTT-4.8.2-6].
func TestGroupEnds(t *testing.T) {
	r, p := grouped(t, plain())
	p.auto = true
	a := r.member("a", 2)
	p.say("t", "x", 2)
	p.say("t", "y", 1)
	r.settle()
	if len(a.got) != 2 {
		t.Fatalf("got %v", a.got)
	}
	b := r.member("b", 2)
	b.auto = true
	a.send(&packet.Packet{Type: packet.Puback, ID: 1, Reason: packet.UnspecifiedError})
	a.drop()
	b.expect()
	if n := r.stats.Queued; n != 0 {
		t.Errorf("%d messages are held", n)
	}
	r.bare()
}

// TestGroupTooLarge: a message too large for the member whose turn it is goes to
// another, and is dropped when it is too large for all.
func TestGroupTooLarge(t *testing.T) {
	r, p := grouped(t, plain())
	small := r.member("small", 1, maxPacketSize(30))
	large := r.member("large", 1, durably)
	long := strings.Repeat("x", 50)
	for range 3 {
		p.say("t", long, 1)
	}
	large.expect("PUBLISH t "+long+" q1 id1", "PUBLISH t "+long+" q1 id2", "PUBLISH t "+long+" q1 id3")
	p.numbers(0, 2, 1)
	small.expect("PUBLISH t 0 q1 id1")
	large.expect("PUBLISH t 1 q1 id4")
	large.drop() // its messages would be too large for the other, all but one
	small.expect("PUBLISH t 1 q1 id2")
	if n := r.stats.PublishDropped; n != 0 {
		t.Errorf("%d are counted as dropped", n)
	}
	large = r.connect(packet.V5, "large", durably)
	if got := large.payloads(); len(got) != 3 {
		t.Errorf("the large one has %d of its 3", len(got))
	}
	large.unsubscribe("$share/g/t")
	p.say("t", long, 1)
	if n := r.stats.PublishDropped; n != 1 {
		t.Errorf("%d are counted as dropped, not 1", n)
	}
	r.bare()
}

// TestGroupKeepsNobody: a group has nothing of the members that have left.
func TestGroupKeepsNobody(t *testing.T) {
	r, _ := grouped(t, plain())
	var members []*peer
	for i := range 9 {
		members = append(members, r.member("m"+itoa(i), 1))
	}
	for i := 8; i > 0; i-- {
		members[i].drop()
	}
	all := r.groups["$share/g/t"].members
	for _, m := range all[len(all):cap(all)] {
		if m.session != nil {
			t.Fatalf("%s is kept", m.session.id)
		}
	}
	r.bare()
}

// TestGroupExpired: what has expired is handed to nobody.
func TestGroupExpired(t *testing.T) {
	r, p := grouped(t, plain())
	a := r.member("a", 1, receiveMaximum(1))
	for i, seconds := range []uint32{5, 5, 50} {
		pkt := p.publishing("t", itoa(i), 1)
		pkt.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, seconds)
		p.send(pkt)
	}
	b := r.member("b", 1)
	r.wait(5000)
	a.drop()
	b.expect("PUBLISH t 2 q1 id1")
	r.bare()
}

// TestGroupRandom: members come and go, acknowledge or not; no message is lost
// while there is one, and none of QoS 2 comes twice.
func TestGroupRandom(t *testing.T) {
	for seed := range uint64(trim(t, 60, 10)) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		cfg := plain()
		cfg.MaxQueuedMessages, cfg.MaxInflightMessages = 0, 3
		r, p := grouped(t, cfg)
		p.auto = true
		came := map[string]int{}
		note := func(pkt *packet.Packet) {
			if !pkt.Dup || pkt.QoS == 1 {
				came[string(pkt.Payload)]++
			}
		}
		peers := make([]*peer, 4)
		join := func(i int) {
			m := r.dial(packet.V5, "m"+itoa(i), durably)
			m.hook, m.auto = note, rnd.IntN(2) == 0
			m.subscribe("$share/g/t", 2)
			peers[i] = m
		}
		join(0)
		sent := 0
		for range 600 {
			i := rnd.IntN(len(peers))
			switch {
			case rnd.IntN(3) > 0:
				p.say("t", itoa(sent), byte(1+sent%2))
				sent++
			case peers[i] == nil:
				join(i)
			case i > 0 && rnd.IntN(2) == 0:
				peers[i].drop()
				peers[i] = nil
			default:
				peers[i].auto = true
				for _, d := range peers[i].c.session.window.inOrder() {
					if d.flags&deliverAgain == 0 && d.qos == 1 {
						peers[i].ack(packet.Puback, d.id)
					}
				}
			}
			r.settle()
			if err := r.check(); err != nil {
				t.Fatal(err)
			}
		}
		for i, m := range peers {
			if m != nil {
				m.drop()
			}
			peers[i] = r.dial(packet.V5, "m"+itoa(i), durably)
			peers[i].auto, peers[i].hook = true, note
		}
		r.settle()
		for i := range sent {
			n := came[itoa(i)]
			if n == 0 || n > 1 && i%2 == 1 {
				t.Errorf("seed %d: message %d of QoS %d came %d times", seed, i, 1+i%2, n)
			}
		}
		r.bare()
	}
}
