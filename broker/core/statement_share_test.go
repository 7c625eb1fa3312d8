package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"midge/packet"
)

// TestShareTurns publishes 300 messages for two groups and one ordinary
// subscriber: each group and the subscriber get them all, and the members of a
// group, who are equally fast, as many each.
func TestShareTurns(t *testing.T) {
	const messages = 300
	groups := [][]string{{"a1", "a2"}, {"b1", "b2", "b3"}, {"c"}}
	filters := []string{"$share/a/t", "$share/b/t", "t"}
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("v%d/qos %d", v, qos), func(t *testing.T) {
				k := &talk{target: newTarget(), t: t}
				k.mustOpen("pub", v)
				for g, members := range groups {
					for _, name := range members {
						k.mustOpen(name, v)
						k.subscribe(name, v, filters[g], qos)
					}
				}
				seen := map[string][]int{}
				for n := range messages {
					k.publishNumber(v, qos, n)
					for _, members := range groups {
						for _, name := range members {
							seen[name] = append(seen[name], k.take(name, v)...)
						}
					}
				}
				for _, members := range groups {
					var all []int
					for _, name := range members {
						if got, want := len(seen[name]), messages/len(members); got != want {
							t.Errorf("%s received %d, want %d", name, got, want)
						}
						all = append(all, seen[name]...)
					}
					if slices.Sort(all); !slices.Equal(all, upTo(messages)) {
						t.Errorf("the group of %s received %v", members[0], all)
					}
				}
			})
		}
	}
}

// TestShareQoS publishes 100 messages at QoS 1 for a member who subscribed at
// QoS 0 and one at QoS 1 (v5 [MQTT-4.8.2-3]).
func TestShareQoS(t *testing.T) {
	const messages = 100
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		k := &talk{target: newTarget(), t: t}
		k.mustOpen("pub", v)
		count := 0
		for qos, name := range []string{"q0", "q1"} {
			k.mustOpen(name, v)
			k.subscribe(name, v, "$share/g/t", byte(qos))
		}
		for n := range messages {
			k.publishNumber(v, 1, n)
			for qos, name := range []string{"q0", "q1"} {
				for _, p := range k.published(name, v) {
					count++
					if int(p.QoS) != qos {
						t.Errorf("v%d: %s received QoS %d", v, name, p.QoS)
					}
					k.complete(name, v, &p)
				}
			}
		}
		if count != messages {
			t.Errorf("v%d: %d came, want %d", v, count, messages)
		}
	}
}

// TestShareLosesNothing lets members of a group come and go at random, with
// sessions that last and messages they have not acknowledged. In the end every
// QoS 1 message was received, and every QoS 2 message by one member
// (v5 [MQTT-4.8.2-4]).
func TestShareLosesNothing(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		for seed := range uint64(30) {
			t.Run(fmt.Sprintf("qos %d/%d", qos, seed), func(t *testing.T) {
				shareLosesNothing(t, qos, rand.New(rand.NewPCG(seed, uint64(qos))))
			})
		}
	}
}

func shareLosesNothing(t *testing.T, qos byte, rnd *rand.Rand) {
	const v = packet.V311
	k := &talk{target: newTarget(), t: t}
	k.mustOpen("pub", v)
	names := []string{"a", "b", "c"}
	online := map[string]bool{}
	open := map[string][]packet.Packet{} // received on this connection, not acknowledged
	got := map[int]map[string]bool{}     // who received which
	read := func(name string) {
		for _, p := range k.published(name, v) {
			n, err := strconv.Atoi(string(p.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if got[n] == nil {
				got[n] = map[string]bool{}
			}
			got[n][name] = true
			open[name] = append(open[name], p)
		}
	}
	finish := func(name string) {
		p := open[name][0]
		open[name] = open[name][1:]
		k.complete(name, v, &p)
		read(name)
	}
	connect := func(name string) {
		k.resume(name)
		online[name] = true
		read(name)
	}
	for _, name := range names {
		connect(name)
		k.subscribe(name, v, "$share/g/t", qos)
	}
	sent := 0
	for range 300 {
		name := names[rnd.IntN(len(names))]
		switch rnd.IntN(5) {
		case 0, 1:
			k.publishNumber(v, qos, sent)
			sent++
		case 2: // it acknowledges some
			for len(open[name]) > 0 && rnd.IntN(4) > 0 {
				finish(name)
			}
		case 3:
			if online[name] {
				if err := k.Drop(name, true); err != nil {
					t.Fatal(err)
				}
				online[name], open[name] = false, nil
			}
		case 4:
			if !online[name] {
				connect(name)
			}
		}
		k.flush()
		for _, name := range names {
			if online[name] {
				read(name)
			}
		}
	}
	for _, name := range names {
		if !online[name] {
			connect(name)
		}
	}
	for again := true; again; {
		again = false
		for _, name := range names {
			for len(open[name]) > 0 {
				again = true
				finish(name)
			}
		}
	}
	for n := range sent {
		if len(got[n]) == 0 {
			t.Errorf("message %d of %d never came", n, sent)
		}
		if qos == 2 && len(got[n]) > 1 {
			t.Errorf("message %d came to %d members", n, len(got[n]))
		}
	}
	if err := k.check(); err != nil {
		t.Error(err)
	}
}

// TestShareCountsLoss fills the windows and queues of all members. No message is
// lost while one of them has room, and the one that is then counts once.
func TestShareCountsLoss(t *testing.T) {
	const v = packet.V311
	k := &talk{target: newTarget(), t: t}
	k.cfg.MaxInflightMessages, k.cfg.MaxQueuedMessages = 1, 2
	k.b.Configure(k.cfg, k.now)
	names := []string{"a", "b", "c"}
	k.mustOpen("pub", v)
	for _, name := range names {
		k.mustOpen(name, v)
		k.subscribe(name, v, "$share/g/t", 1)
	}
	for n := range 9 { // one in each window, two in each queue
		k.publishNumber(v, 1, n)
	}
	// a has room again; the turn is not always its own
	p := k.published("a", v)[0]
	k.complete("a", v, &p)
	k.publishNumber(v, 1, 9)
	if n := k.b.stats.PublishDropped; n != 0 {
		t.Errorf("%d messages were dropped with room left", n)
	}
	k.publishNumber(v, 1, 10)
	if n := k.b.stats.PublishDropped; n != 1 {
		t.Errorf("%d messages were dropped, not 1", n)
	}
	for _, name := range names {
		if n := k.b.sessions[name].waiting.len(); n != 2 {
			t.Errorf("%s has %d waiting, not 2", name, n)
		}
	}
}

// TestShareTooLarge has a member that takes packets of 20 bytes at most. What
// another member gets in its place is not lost, and not counted so; what nobody
// takes counts once.
func TestShareTooLarge(t *testing.T) {
	const v = packet.V5
	k := &talk{target: newTarget(), t: t}
	k.mustOpen("pub", v)
	if err := k.Open("small"); err != nil {
		t.Fatal(err)
	}
	k.exchange("small", connect5([]byte{0x27, 0, 0, 0, 20}, nil))
	k.receivedBy("small")
	k.subscribe("small", v, "$share/g/t", 1)
	k.mustOpen("large", v)
	k.subscribe("large", v, "$share/g/t", 1)
	large := packet.Packet{Type: packet.Publish, QoS: 1, ID: 1, Topic: []byte("t"), Payload: make([]byte, 30)}
	for range 4 {
		k.exchange("pub", large.Append(nil, v))
	}
	if n := len(k.published("large", v)); n != 4 {
		t.Errorf("the member that can take them received %d, not 4", n)
	}
	if n := k.b.stats.PublishDropped; n != 0 {
		t.Errorf("%d messages were dropped that were delivered", n)
	}
	if err := k.Drop("large", true); err != nil {
		t.Fatal(err)
	}
	before := k.b.stats.PublishDropped
	k.exchange("pub", large.Append(nil, v))
	if n := k.b.stats.PublishDropped - before; n != 1 {
		t.Errorf("%d messages were dropped, not 1", n)
	}
	if b := k.receivedBy("small"); len(b) > 0 {
		t.Errorf("% x came", b)
	}
}

// publishNumber publishes n to t as a whole: a QoS 2 message is released, too.
func (k *talk) publishNumber(v packet.Version, qos byte, n int) {
	k.t.Helper()
	p := packet.Packet{Type: packet.Publish, QoS: qos, ID: 1, Topic: []byte("t"), Payload: strconv.AppendInt(nil, int64(n), 10)}
	b := p.Append(nil, v)
	if qos == 2 {
		b = packet.AppendAck(b, v, packet.Pubrel, 1, 0)
	}
	k.exchange("pub", b)
	k.receivedBy("pub")
}

// take reads the numbers that came for a client, and completes their exchanges.
func (k *talk) take(name string, v packet.Version) (numbers []int) {
	k.t.Helper()
	for _, p := range k.published(name, v) {
		n, err := strconv.Atoi(string(p.Payload))
		if err != nil {
			k.t.Fatal(err)
		}
		numbers = append(numbers, n)
		k.complete(name, v, &p)
	}
	return numbers
}

// complete is the receiver's part of a message's exchange. A PUBREL is taken
// from what came.
func (k *talk) complete(name string, v packet.Version, p *packet.Packet) {
	k.t.Helper()
	switch p.QoS {
	case 1:
		k.exchange(name, packet.AppendAck(nil, v, packet.Puback, p.ID, 0))
	case 2:
		k.exchange(name, packet.AppendAck(nil, v, packet.Pubrec, p.ID, 0))
		if b := k.receivedBy(name); len(b) != 4 || b[0] != 0x62 {
			k.t.Fatalf("%s: % x is no PUBREL", name, b)
		}
		k.exchange(name, packet.AppendAck(nil, v, packet.Pubcomp, p.ID, 0))
	}
}

// resume connects a 3.1.1 client to its session, which never ends.
func (k *talk) resume(name string) {
	k.t.Helper()
	if err := k.Open(name); err != nil {
		k.t.Fatal(err)
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: packet.V311, ClientID: []byte(name)}}
	k.exchange(name, p.Append(nil, packet.V311))
	c := k.conns[name]
	if len(c.got) < 4 || c.got[0] != 0x20 || c.got[3] != 0 {
		k.t.Fatalf("%s is not connected: % x", name, c.got)
	}
	c.got = c.got[4:]
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}
