package core

import (
	"testing"

	"midge/packet"
)

// TestCheckFinds: what the recount is there to find, put in by hand.
func TestCheckFinds(t *testing.T) {
	r := newRig(t, plain())
	p := r.connect(packet.V5, "p")
	s := r.connect(packet.V5, "s", receiveMaximum(2))
	s.subscribe("t", 2)
	r.member("m", 1)
	gone := r.connect(packet.V5, "gone", lasting(100))
	gone.drop()
	for range 5 {
		p.say("t", "x", 1)
	}
	p.retain("kept", "x", 0)
	r.settle()
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	ss := s.c.session
	slot := &ss.window.slots[1]
	kept, _ := r.retained.Load("kept")
	absent := r.sessions["gone"]
	sub, _ := r.subs.Min()
	for what, wrong := range map[string]struct{ put, back func() }{
		"messages counted":               {func() { r.stats.Queued++ }, func() { r.stats.Queued-- }},
		"bytes counted":                  {func() { r.stats.QueuedBytes-- }, func() { r.stats.QueuedBytes++ }},
		"sessions online":                {func() { r.online++ }, func() { r.online-- }},
		"sockets":                        {func() { r.sockets-- }, func() { r.sockets++ }},
		"account":                        {func() { r.acct.bytes++ }, func() { r.acct.bytes-- }},
		"subscriptions counted":          {func() { r.stats.Subscriptions-- }, func() { r.stats.Subscriptions++ }},
		"subscriptions of a session":     {func() { ss.subs++ }, func() { ss.subs-- }},
		"subscriptions of one with none": {func() { p.c.session.subs++ }, func() { p.c.session.subs-- }},
		"subscription forgotten":         {func() { r.subs.Delete(sub) }, func() { r.subs.Set(sub) }},
		"retained counted":               {func() { r.kept++ }, func() { r.kept-- }},
		"retained bytes":                 {func() { r.stats.RetainedBytes++ }, func() { r.stats.RetainedBytes-- }},
		"users of a retained one":        {func() { kept.Uses-- }, func() { kept.Uses++ }},
		"users of a queued one":          {func() { slot.msg.Uses -= 9 }, func() { slot.msg.Uses += 9 }},
		"window counted":                 {func() { ss.window.n++ }, func() { ss.window.n-- }},
		"window too large":               {func() { s.c.window = 1 }, func() { s.c.window = 2 }},
		"identifier in its slot":         {func() { slot.id++ }, func() { slot.id-- }},
		"order of the queue":             {func() { ss.waiting.acked.head.d[1].num = 0 }, func() { ss.waiting.acked.head.d[1].num = ss.waiting.acked.head.d[0].num + 1 }},
		"bytes of the queue":             {func() { ss.waiting.acked.bytes++ }, func() { ss.waiting.acked.bytes-- }},
		"session online and absent":      {func() { ss.absence = absent.absence }, func() { ss.absence = nil }},
		"end of a session":               {func() { absent.expiry = noExpiry }, func() { absent.expiry = 100 }},
		"timer of a session":             {func() { absent.absence.timer.num++ }, func() { absent.absence.timer.num-- }},
		"turn of a group":                {func() { r.groups["$share/g/t"].next = 2 }, func() { r.groups["$share/g/t"].next = 0 }},
		"not marked dirty":               {func() { r.dirty = append(r.dirty, &s.c) }, func() { r.dirty = r.dirty[:len(r.dirty)-1] }},
		"not marked busy":                {func() { r.busy = append(r.busy, &s.c) }, func() { r.busy = r.busy[:len(r.busy)-1] }},
	} {
		wrong.put()
		if r.check() == nil {
			t.Errorf("%s: nothing is found", what)
		}
		wrong.back()
		if err := r.check(); err != nil {
			t.Fatalf("%s, back as it was: %v", what, err)
		}
	}
}
