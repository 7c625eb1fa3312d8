package core

import (
	"slices"
	"testing"

	"midge/packet"
	"midge/persist"
)

// What one client, or one moment, may ask for and is much: it is done in parts, and
// others have their turn in between.

// filtersOf is a SUBSCRIBE or UNSUBSCRIBE of n filters.
func filtersOf(t packet.Type, n int) *packet.Packet {
	p := packet.Packet{Type: t, ID: 7}
	for i := range n {
		if t == packet.Subscribe {
			p.Filters.Raw = packet.AppendSubscription(p.Filters.Raw, "f/"+itoa(i), byte(i%3))
		} else {
			p.Filters.Raw = packet.AppendFilter(p.Filters.Raw, "f/"+itoa(i))
		}
	}
	p.Filters.Options = t == packet.Subscribe
	return &p
}

// TestFloodOfFilters: a SUBSCRIBE or UNSUBSCRIBE of thousands of filters does not
// keep others waiting, and has one answer, with all codes, when all is done.
func TestFloodOfFilters(t *testing.T) {
	const n = 9000
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		r := newRig(t, plain())
		c, other := r.connect(v, "c"), r.connect(v, "other")
		r.settle()
		c.got = nil
		for _, kind := range []packet.Type{packet.Subscribe, packet.Unsubscribe} {
			data := filtersOf(kind, n).Append(nil, v)
			received, parts := r.stats.MessagesReceived, 0
			for whole := len(data); len(data) > 0; parts++ {
				used, need := r.Receive(&c.c, data, whole, r.now)
				if data = data[used:]; len(data) > 0 && (!c.c.More() || need != 0 || used != 0) {
					t.Fatalf("part %d: %d bytes used, %d needed, more: %v", parts, used, need, c.c.More())
				}
				if r.work > workMax+workSubscribe {
					t.Fatalf("one part is %d of work", r.work)
				}
				if used, _ := r.Receive(&other.c, []byte{0xC0, 0}, 2, r.now); used != 2 {
					t.Fatal("the other one has to wait")
				}
			}
			if want := n * workSubscribe / (workMax + workSubscribe); parts < want {
				t.Errorf("%v: %d parts, not %d", kind, parts, want)
			}
			if got := int(r.stats.MessagesReceived-received) - parts; got != 1 {
				t.Errorf("%v: counted as %d packets", kind, got)
			}
			var want string
			for i := range n {
				switch {
				case kind == packet.Subscribe:
					want += string(rune(i % 3))
				case v == packet.V5:
					want += "\x00"
				}
			}
			c.settle()
			if len(c.got) != 1 || c.got[0].id != 7 || c.got[0].codes != want {
				t.Errorf("%v: %d answers, or wrong codes", kind, len(c.got))
			}
			c.got = nil
			if want := map[packet.Type]int{packet.Subscribe: n}[kind]; r.stats.Subscriptions != want {
				t.Errorf("%v: %d subscriptions", kind, r.stats.Subscriptions)
			}
		}
		r.bare()
	}
}

// TestPartsDecodedOnce: a packet that is done in parts is decoded and checked in the
// first only, which is counted as work; what is done in the others is what is left.
func TestPartsDecodedOnce(t *testing.T) {
	const n = 9000
	r := newRig(t, plain())
	c := r.connect(packet.V5, "c")
	p := filtersOf(packet.Subscribe, n)
	p.Props.Raw = packet.AppendVarintProperty(nil, packet.SubscriptionID, 9)
	data := p.Append(nil, packet.V5)
	r.Receive(&c.c, data, len(data), r.now)
	if r.work < n/workChecks {
		t.Errorf("the check of all is %d of work", r.work)
	}
	for used, before := 0, -1; used == 0; before = len(r.packet.Filters.Raw) {
		used, _ = r.Receive(&c.c, data, 0, r.now)
		if left := len(r.packet.Filters.Raw); before >= 0 && left >= before {
			t.Fatalf("%d bytes of filters were looked at after %d", left, before)
		}
	}
	for i := range n {
		sub, ok := r.subs.Get(&persist.Subscription{ClientID: "c", Filter: "f/" + itoa(i)})
		if !ok || sub.ID != 9 || sub.Options != byte(i%3) {
			t.Fatalf("subscription %d is %v", i, sub)
		}
	}
	r.bare()
}

// TestEndOfManySubscriptions: they match nothing any more at once, go in many turns,
// and the client's next session has its own only.
func TestEndOfManySubscriptions(t *testing.T) {
	const n = 5*remainsTurn + 10
	for name, options := range map[string][]option{"lost": nil, "taken over": {durably}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, plain())
			c, p := r.connect(packet.V311, "c", options...), r.connect(packet.V5, "p")
			for i := range n {
				c.subscribe("f/"+itoa(i), 1)
			}
			c.subscribe("$share/g/f/1", 1)
			r.settle()
			if len(options) == 0 {
				r.Lost(&c.c, nil, r.now)
			}
			again := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: 5, ClientID: []byte("c"), CleanStart: true}}
			d := r.open(packet.V5)
			data := again.Append(nil, packet.V5)
			turns := 0
			for ; ; turns++ {
				if used, _ := r.Receive(&d.c, data, 0, r.now); used > 0 {
					break
				}
				p.say("f/1", "x", 1)
				before := r.stats.Subscriptions
				r.turn()
				if gone := before - r.stats.Subscriptions; gone > remainsTurn {
					t.Fatalf("%d went in one turn", gone)
				}
			}
			if turns < n/remainsTurn {
				t.Errorf("they went in %d turns", turns)
			}
			if r.stats.PublishSent != 0 || r.stats.Queued != 0 {
				t.Errorf("%d messages were sent, %d wait", r.stats.PublishSent, r.stats.Queued)
			}
			if r.stats.Subscriptions+r.stats.SharedSubscriptions != 0 {
				t.Errorf("%d subscriptions are left", r.stats.Subscriptions)
			}
			d.subscribe("f/1", 0)
			p.say("f/1", "y", 0)
			r.settle()
			if got := d.payloads(); len(got) != 1 {
				t.Errorf("%q came", got)
			}
			r.bare()
		})
	}
}

// TestEndOfManySessions: what is taken away in one turn is bounded for all that end in
// it, by themselves or because their client begins anew, and no new session gets what
// an old one had.
func TestEndOfManySessions(t *testing.T) {
	const clients, each = 10, remainsMin/2 - 100
	for name, taken := range map[string]bool{"lost": false, "taken over": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, plain())
			var all []*peer
			for i := range clients {
				c := r.connect(packet.V311, "c"+itoa(i))
				for j := range each {
					c.subscribe("f/"+itoa(j), 0)
				}
				all = append(all, c)
			}
			p := r.connect(packet.V5, "p")
			r.settle()
			begin := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: 4, CleanStart: true}}
			for i, c := range all {
				if !taken {
					r.Lost(&c.c, nil, r.now)
					continue
				}
				begin.Connect.ClientID = []byte("c" + itoa(i))
				data := begin.Append(nil, packet.V311)
				r.Receive(&r.open(packet.V311).c, data, len(data), r.now)
			}
			if gone := clients*each - r.stats.Subscriptions; gone > remainsMin {
				t.Errorf("%d went in one turn", gone)
			}
			for r.stats.Subscriptions > 0 {
				before := r.stats.Subscriptions
				r.turn()
				if gone := before - r.stats.Subscriptions; gone > remainsTurn || gone == 0 {
					t.Fatalf("%d went in one turn", gone)
				}
				if err := r.check(); err != nil {
					t.Fatal(err)
				}
				p.say("f/1", "x", 0)
			}
			if r.stats.PublishSent != 0 {
				t.Errorf("%d messages were sent", r.stats.PublishSent)
			}
			r.bare()
		})
	}
}

// TestEndOfManyKeepsPlace: who waits for an old session of its own to be gone is not
// refused for a stranger who came meanwhile; when it gives up, the place is free.
func TestEndOfManyKeepsPlace(t *testing.T) {
	for name, stays := range map[string]bool{"stays": true, "gives up": false} {
		t.Run(name, func(t *testing.T) {
			cfg := plain()
			cfg.MaxClients = 2
			r := newRig(t, cfg)
			c := r.connect(packet.V5, "c")
			r.connect(packet.V5, "p")
			for i := range remainsMin + 10 {
				c.subscribe("f/"+itoa(i), 1)
			}
			r.settle()
			begin := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: 5, ClientID: []byte("c"), CleanStart: true}}
			data := begin.Append(nil, packet.V5)
			d := r.open(packet.V5)
			if used, _ := r.Receive(&d.c, data, len(data), r.now); used != 0 {
				t.Fatal("it does not wait")
			}
			want := "CONNACK 89"
			if !stays {
				r.Lost(&d.c, nil, r.now)
				want = "CONNACK"
			}
			r.dial(packet.V5, "early").expect(want)
			r.settle()
			if !stays {
				r.bare()
				return
			}
			r.dial(packet.V5, "late").expect(want)
			r.Receive(&d.c, data, 0, r.now)
			d.expect("CONNACK")
			if r.expected != 0 {
				t.Errorf("%d are expected", r.expected)
			}
			r.bare()
		})
	}
}

// TestEndOfManyGuarded: with an ACL nobody asks what a session may read that has ended,
// in whatever way it was subscribed.
func TestEndOfManyGuarded(t *testing.T) {
	const n = remainsMin + 10
	for _, duplicates := range []bool{true, false} {
		for name, options := range map[string][]option{"anonymous": nil, "user": {user("u")}} {
			t.Run(name, func(t *testing.T) {
				cfg := plain()
				cfg.AllowDuplicates = duplicates
				r := newRig(t, cfg)
				r.rules("topic #", "user u", "topic #")
				c, p := r.connect(packet.V5, "c", options...), r.connect(packet.V5, "p")
				for i := range n {
					c.subscribe("f/"+itoa(i), 1)
				}
				c.subscribe("$share/g/f/+", 1)
				c.subscribe("f/#", 1)
				r.settle()
				r.Lost(&c.c, nil, r.now)
				p.say("f/9", "x", 1)
				p.say("f/9", "x", 1)
				r.settle()
				if r.stats.PublishSent != 0 {
					t.Errorf("%d messages were sent", r.stats.PublishSent)
				}
				r.bare()
			})
		}
	}
}

// TestWillStorm: a great many clients are lost at the same moment, and all their wills
// go to many: all of them, but not in one turn.
func TestWillStorm(t *testing.T) {
	const clients, heirs = 300, 200
	for _, durable := range []bool{false, true} {
		r := newRig(t, plain())
		for i := range heirs {
			r.connect(packet.V311, "heir"+itoa(i)).subscribe("w", 0)
		}
		var all []*peer
		for i := range clients {
			options := []option{withWill("w", "gone", 0, 0)}
			if durable {
				options = append(options, durably)
			}
			all = append(all, r.connect(packet.V5, "c"+itoa(i), options...))
		}
		r.settle()
		before := r.stats.PublishSent
		sent := func() int { return int(r.stats.PublishSent - before) }
		for _, c := range all {
			r.Lost(&c.c, nil, r.now)
		}
		most := sent()
		for turn := 0; r.Next() <= r.now; turn++ {
			was := sent()
			r.turn()
			most = max(most, sent()-was)
		}
		if most > WorkTurn+heirs {
			t.Errorf("durable %v: %d messages in one turn", durable, most)
		}
		if sent() != clients*heirs {
			t.Errorf("durable %v: %d messages, not %d", durable, sent(), clients*heirs)
		}
		r.bare()
	}
}

// TestLateWillGuarded: to ask whether a will that had to wait may be sent leaves nothing.
func TestLateWillGuarded(t *testing.T) {
	r := newRig(t, plain())
	r.rules("topic #")
	heir := r.connect(packet.V311, "heir")
	heir.subscribe("w", 0)
	r.settle()
	heir.got = nil
	c := r.connect(packet.V311, "c", withWill("w", "gone", 0, 0))
	r.willWork = WorkTurn + 1
	r.Lost(&c.c, nil, r.now)
	if len(r.lateWills) != 1 {
		t.Fatalf("%d wills wait", len(r.lateWills))
	}
	heir.expect("PUBLISH w gone q0")
	r.bare()
}

// TestWillOfManySubscriptions: the will of a durable session that ends among a great
// many wills is not lost by a crash, however many subscriptions it had.
func TestWillOfManySubscriptions(t *testing.T) {
	for _, n := range []int{1, remainsMin + 10} {
		r := newDurableRig(t)
		r.reader(packet.V311, "heir", 1).drop()
		c := r.join(packet.V311, "c", durably, withWill("t/w", "gone", 1, 0))
		for i := range n {
			c.subscribe("f/"+itoa(i), 1)
		}
		r.sync()
		r.willWork = WorkTurn + 1
		d := r.rig.open(packet.V311)
		again := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: 4, ClientID: []byte("c"), CleanStart: true}}
		data := again.Append(nil, packet.V311)
		r.Broker.Receive(&d.c, data, len(data), r.now)
		if wills := len(r.journal.safe.sessions["heir"].queue); wills != 1 {
			t.Errorf("%d subscriptions: %d wills are in the journal", n, wills)
		}
	}
}

// TestWillStormKeepsTime: keep alives and $SYS do not wait for the wills of a great many,
// and these come in the order of their ends.
func TestWillStormKeepsTime(t *testing.T) {
	const clients, heirs = 300, 200
	cfg := plain()
	cfg.SysInterval = 10_000
	r := newRig(t, cfg)
	var last *peer
	for i := range heirs {
		last = r.connect(packet.V311, "heir"+itoa(i))
		last.subscribe("w", 0)
	}
	r.connect(packet.V311, "sys").subscribe("$SYS/broker/uptime", 0)
	r.connect(packet.V311, "silent", func(p *packet.Packet) { p.Connect.KeepAlive = 1 })
	var all []*peer
	for i := range clients {
		all = append(all, r.connect(packet.V5, "c"+itoa(i), withWill("w", itoa(i), 0, 0)))
	}
	last.payloads()
	for _, c := range all {
		r.Lost(&c.c, nil, r.now)
	}
	r.now += 10_000
	r.turn()
	r.turn()
	if len(r.lateWills) == 0 {
		t.Fatal("all wills are out")
	}
	if r.sessions["silent"] != nil {
		t.Error("who was silent is still there")
	}
	if r.Broker.sys.timer.at <= r.now {
		t.Error("$SYS waits")
	}
	if got := last.payloads(); !slices.Equal(got, numbers(0, clients)) {
		t.Errorf("%q came", got)
	}
	r.bare()
}

// TestWillStormAtStop: what was postponed is published when the broker stops.
func TestWillStormAtStop(t *testing.T) {
	const clients, heirs = 300, 200
	r := newRig(t, plain())
	for i := range heirs {
		r.connect(packet.V311, "heir"+itoa(i)).subscribe("w", 0)
	}
	var all []*peer
	for i := range clients {
		all = append(all, r.connect(packet.V5, "c"+itoa(i), withWill("w", "gone", 0, 0)))
	}
	r.settle()
	before := r.stats.PublishSent
	for _, c := range all {
		r.Lost(&c.c, nil, r.now)
	}
	if r.Stop(r.now); int(r.stats.PublishSent-before) != clients*heirs {
		t.Errorf("%d messages, not %d", r.stats.PublishSent-before, clients*heirs)
	}
}

// TestReuseSaidOnce: a client that uses its packet identifiers again too early cannot
// fill the log.
func TestReuseSaidOnce(t *testing.T) {
	r := newRig(t, plain())
	c := r.connect(packet.V311, "c")
	for i := range 100 {
		p := c.publishing("q", itoa(i), 2)
		p.ID = 1
		c.send(p)
	}
	if n := r.logged("Reused message ID 1 from c detected. Clearing from storage."); n != 1 {
		t.Errorf("said %d times", n)
	}
	if n := len(c.c.session.incoming); n != 1 {
		t.Errorf("%d messages are kept", n)
	}
	r.bare()
}

// TestEstateOfMember: what a member of a group leaves, tens of thousands of messages that
// may be offered to a great many others, does not make a turn long. When it has ended the
// others get all that they can take; when it is only away the rest stays with it.
func TestEstateOfMember(t *testing.T) {
	const messages, members = 3 * estateTurn, 100
	for _, durable := range []bool{false, true} {
		for _, small := range []bool{false, true} {
			cfg := plain()
			cfg.MaxQueuedMessages = 0
			r := newRig(t, cfg)
			p := r.connect(packet.V5, "p")
			p.auto = true
			opts := []option{receiveMaximum(65535)}
			if durable {
				opts = append(opts, durably)
			}
			c := r.connect(packet.V5, "c", opts...)
			c.subscribe("$share/g/t/#", 1)
			for i := range messages {
				p.say("t/"+itoa(i), "x", 1)
			}
			r.settle()
			heir := r.connect(packet.V5, "heir", receiveMaximum(65535))
			heir.subscribe("$share/g/t/#", 1)
			for i := range members {
				size := uint32(9) // too small for any of the messages
				if !small {
					size = 100
				}
				r.connect(packet.V5, "m"+itoa(i), receiveMaximum(1), maxPacketSize(size)).subscribe("$share/g/t/#", 1)
			}
			if small {
				heir.unsubscribe("$share/g/t/#")
			}
			r.settle()
			before, most := r.passed, 0
			r.passed = 0
			r.Lost(&c.c, nil, r.now)
			most = max(before, r.passed)
			for r.Next() <= r.now {
				r.turn()
				most = max(most, r.passed)
			}
			if most > estateTurn+3*(members+2)+1 {
				t.Errorf("durable %v, small %v: %d offers in one turn", durable, small, most)
			}
			queued := r.stats.Queued
			switch {
			case small && !durable && queued != 0:
				t.Errorf("%d messages are left of those that nobody could take", queued)
			case !(small && !durable) && queued != messages:
				t.Errorf("durable %v, small %v: %d messages are left, not %d", durable, small, queued, messages)
			case !small && durable && r.sessions["c"].window.n == messages:
				t.Error("nothing was handed on")
			}
			if durable { // ended by its clean start
				r.dial(packet.V5, "c")
				r.settle()
				if n := r.stats.Queued; small && n != 0 || !small && n != messages {
					t.Errorf("small %v: %d messages are left at its end", small, n)
				}
			}
			if err := r.check(); err != nil {
				t.Error(err)
			}
			r.bare()
		}
	}
}
