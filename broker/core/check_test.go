package core

import (
	"errors"
	"fmt"

	"midge/broker/topic"
	"midge/persist"
)

// check recounts the broker's state and compares it with its counters, and looks
// for what must never be.
func (b *Broker) check() error {
	var k checker
	k.sessions(b)
	k.subscriptions(b)
	k.shares(b)
	k.retained(b)
	k.timers(b)
	k.outputs(b)
	k.messages(b)
	k.account(b)
	return errors.Join(k.errs...)
}

func (t *target) check() error {
	if t.stopped {
		return nil
	}
	return t.b.check()
}

// checker collects what is wrong.
type checker struct {
	errs   []error
	queued int
	bytes  int64
	online int
	subs   int // subscriptions
	shared int // shared ones among them
}

func (k *checker) same(what string, got, want any) {
	if got != want {
		k.errs = append(k.errs, fmt.Errorf("%s is %v, not %v", what, got, want))
	}
}

func (k *checker) not(wrong bool, format string, args ...any) {
	if wrong {
		k.errs = append(k.errs, fmt.Errorf(format, args...))
	}
}

func (k *checker) sessions(b *Broker) {
	for id, s := range b.sessions {
		k.same("the id of session "+id, s.id, id)
		if c := s.client; c != nil {
			k.online++
			k.not(c.session != s, "%s: its client has another session", id)
			k.not(c.state != connected, "%s: its client is not connected", id)
			k.not(s.absence != nil, "%s: absent while connected", id)
		} else {
			k.not(!s.durable(), "%s: gone, and does not outlive its connection", id)
			ends := s.absence.endsAt
			k.not(ends == persist.Never != (s.expiry == noExpiry), "%s: expiry %d, ends at %d", id, s.expiry, ends)
		}
		k.window(s)
		k.waiting(b, s)
		for _, in := range s.incoming {
			k.not(in.msg == nil || in.msg.QoS != 2, "%s: not a QoS 2 message in its incoming", id)
		}
	}
	k.same("Queued", b.stats.Queued, k.queued)
	k.same("QueuedBytes", b.stats.QueuedBytes, k.bytes)
	k.same("sessions online", b.online, k.online)
	k.not(b.sockets < k.online, "%d sockets for %d sessions online", b.sockets, k.online)
}

// window: nothing twice, nothing above the client's receive maximum.
func (k *checker) window(s *Session) {
	w := s.window
	if w == nil {
		return
	}
	n, again, bytes := 0, 0, 0
	nums := map[uint64]bool{}
	for i := range w.slots {
		d := &w.slots[i]
		if d.id == 0 {
			k.not(d.msg != nil, "%s: a free slot has a message", s.id)
			continue
		}
		n++
		bytes += len(d.msg.Payload)
		k.not(int(d.id)&(len(w.slots)-1) != i, "%s: identifier %d is in slot %d", s.id, d.id, i)
		k.not(nums[d.num], "%s: delivery %d is in the window twice", s.id, d.num)
		nums[d.num] = true
		k.not(d.qos == 0 || d.qos > 2, "%s: QoS %d in the window", s.id, d.qos)
		k.not(d.released() && d.qos != 2, "%s: released at QoS %d", s.id, d.qos)
		if d.flags&deliverAgain != 0 {
			again++
		}
	}
	k.same(s.id+": window", w.n, n)
	k.same(s.id+": window bytes", w.bytes, bytes)
	k.same(s.id+": window again", w.again, again)
	k.not(n == 0, "%s: an empty window is kept", s.id)
	if s.client != nil {
		k.not(w.open() > int(s.client.window), "%s: %d open, its window is %d", s.id, w.open(), s.client.window)
	}
	k.queued += n
	k.bytes += int64(bytes)
}

func (k *checker) waiting(b *Broker, s *Session) {
	if s.waiting == nil {
		return
	}
	k.not(s.waiting.len() == 0, "%s: an empty backlog is kept", s.id)
	for name, q := range map[string]*queue{"acked": &s.waiting.acked, "plain": &s.waiting.plain} {
		n, bytes, last := 0, 0, uint64(0)
		for c, i := q.head, q.first; n < q.n; n++ {
			d := &c.d[i]
			bytes += len(d.msg.Payload)
			k.not(d.num <= last, "%s: %s is out of order", s.id, name)
			k.not(d.id != 0, "%s: %s has an identifier", s.id, name)
			k.not((d.qos == 0) != (name == "plain"), "%s: QoS %d in %s", s.id, d.qos, name)
			last = d.num
			if i++; i == chunkLen {
				c, i = c.next, 0
			}
		}
		k.same(s.id+": bytes of "+name, q.bytes, bytes)
		k.queued += n
		k.bytes += int64(bytes)
	}
}

// subscriptions: the index and the ordered tree hold the same.
func (k *checker) subscriptions(b *Broker) {
	found := map[*persist.Subscription]bool{}
	b.index.Walk(func(filter string, e []topic.Entry[*Session, *persist.Subscription]) bool {
		for i := range e {
			k.not(e[i].Value.Filter != filter || e[i].Value.ClientID != e[i].Key.id, "a subscription in the wrong place: %s", filter)
			found[e[i].Value] = true
		}
		return true
	})
	for _, sh := range b.groups {
		for _, m := range sh.members {
			found[m.sub] = true
			k.shared++
		}
	}
	perSession := map[string]int32{}
	b.subs.Scan(func(sub *persist.Subscription) bool {
		k.not(!found[sub], "%s has %s, and it is not found", sub.ClientID, sub.Filter)
		k.not(b.sessions[sub.ClientID] == nil && !b.remaining[sub.ClientID], "%s is subscribed to %s and has no session", sub.ClientID, sub.Filter)
		perSession[sub.ClientID]++
		k.subs++
		return true
	})
	k.same("subscriptions found", len(found), k.subs)
	k.same("Subscriptions and shared ones", b.stats.Subscriptions+b.stats.SharedSubscriptions, k.subs)
	k.same("SharedSubscriptions", b.stats.SharedSubscriptions, k.shared)
	for id, s := range b.sessions {
		k.same(id+": subscriptions", s.subs, perSession[id])
	}
}

func (k *checker) shares(b *Broker) {
	for filter, sh := range b.groups {
		k.same("the filter of group "+filter, sh.filter, filter)
		k.not(len(sh.members) == 0, "an empty group: %s", filter)
		k.not(sh.next < 0 || sh.next > len(sh.members), "%s: turn %d of %d", filter, sh.next, len(sh.members))
		for _, m := range sh.members {
			k.not(b.sessions[m.session.id] != m.session && !b.remaining[m.session.id], "%s: a member whose session is gone: %s", filter, m.session.id)
		}
	}
}

func (k *checker) retained(b *Broker) {
	var bytes int64
	kept := 0
	b.retained.Walk(func(name string, m *message) bool {
		if countsAsRetained(name) {
			kept++
		}
		k.same("the topic retained as "+name, m.Topic, name)
		k.not(m.Payload == "", "an empty retained message: %s", name)
		bytes += int64(len(m.Payload))
		return true
	})
	k.same("retained messages of clients", b.kept, kept)
	k.same("RetainedBytes", b.stats.RetainedBytes, bytes)
}

// timers: each is its owner's, and none is of what is gone.
func (k *checker) timers(b *Broker) {
	b.timers.Scan(func(d due) bool {
		switch o := d.what.(type) {
		case *vigil:
			k.same("the timer of a vigil", timer{d.at, d.num}, o.timer)
			k.vigil(o)
		case *Session:
			k.same("the timer of session "+o.id, timer{d.at, d.num}, o.absence.timer)
			k.not(b.sessions[o.id] != o, "a timer of a session that is gone: %s", o.id)
			k.not(o.client != nil, "a timer of a session online: %s", o.id)
		case *retrier:
			k.same("a retry timer", timer{d.at, d.num}, (*Client)(o).resend().timer)
		}
		return true
	})
}

// messages: each has the users it counts, and what is in the stock has none.
func (k *checker) messages(b *Broker) {
	users := map[*message]int32{}
	for _, s := range b.sessions {
		each(s, func(d *delivery) { users[d.msg]++ })
		for _, in := range s.incoming {
			users[in.msg]++
		}
		if c := s.client; c != nil && c.out.cuts != nil {
			for _, cut := range c.out.cuts.list {
				k.not(cut.msg == nil || cut.data == "", "%s: a payload on loan, or written", s.id)
				users[cut.msg]++
			}
		}
	}
	for m, n := range users { // closed clients may be users too
		k.not(m.Uses < n, "%d users of a message to %s that counts %d", n, m.Topic, m.Uses)
	}
	b.retained.Walk(func(name string, m *message) bool {
		k.not(m.Uses < users[m]+1, "%d users of the message retained as %s", m.Uses, name)
		k.not(m.Room > 0, "the message retained as %s may be used again", name)
		return true
	})
	bytes := 0
	for _, shelf := range b.free.messages.shelves {
		for _, m := range shelf {
			k.not(m.Room == 0 || m.Uses != 0 || users[m] != 0, "a message in the stock has users: %s", m.Topic)
			bytes += int(m.Room)
		}
	}
	k.same("bytes in stock", b.free.messages.bytes, bytes)
}

// account: it is what a count of everything comes to.
func (k *checker) account(b *Broker) {
	n := int64(b.sockets) * costClient
	messages := map[*message]bool{}
	clients := map[*Client]bool{}
	for _, c := range b.dirty {
		clients[c] = true // even one that is closed
	}
	for _, s := range b.sessions {
		n += s.cost() + int64(len(s.incoming))*costIncoming + s.cursors.cost()
		each(s, func(d *delivery) { messages[d.msg] = true })
		for _, in := range s.incoming {
			messages[in.msg] = true
		}
		if s.client != nil {
			clients[s.client] = true
		} else {
			n += costAbsence
		}
		if s.will != nil {
			n += costOfWill(s.will)
		}
		if s.window != nil {
			n += s.window.cost()
		}
		n += chunksOf(s) * costChunk
	}
	for c := range clients {
		n += int64(c.charged)
		if c.extra != nil {
			n += c.extra.aliases.cost
			want := int64(len(c.extra.aliases.in)+len(c.extra.aliases.out)) * costAlias
			for _, name := range c.extra.aliases.in {
				want += int64(len(name))
			}
			for name := range c.extra.aliases.out {
				want += int64(len(name))
			}
			k.same("the cost of "+c.name()+"'s aliases", c.extra.aliases.cost, want)
		}
		if c.out.cuts != nil {
			for _, cut := range c.out.cuts.list {
				messages[cut.msg] = true
			}
		}
	}
	b.retained.Walk(func(_ string, m *message) bool {
		messages[m] = true
		n += costRetained
		return true
	})
	for m := range messages {
		n += m.cost()
	}
	b.subs.Scan(func(sub *persist.Subscription) bool {
		n += costOfSubscription(sub)
		return true
	})
	for _, sh := range b.groups {
		n += sh.cost()
	}
	k.same("the account", b.acct.bytes, n)
	k.not(b.acct.most < b.acct.bytes, "the most the account ever was is %d", b.acct.most)
}

// chunksOf counts the chunks of a session's queues.
func chunksOf(s *Session) (n int64) {
	if s.waiting == nil {
		return 0
	}
	for _, q := range []*queue{&s.waiting.acked, &s.waiting.plain} {
		for c := q.head; c != nil; c = c.next {
			n++
		}
	}
	return n
}

// spoil writes over a message that nobody uses any more, for those who still do
// to be noticed.
func spoil(m *message) {
	room := m.buffer()
	for i := range room[:m.Room] {
		room[:m.Room][i] = '!'
	}
	m.QoS, m.Expires, m.Stored = 9, 0, 0
}

// vigil: its list is whole, and nobody in it is gone or has longer.
func (k *checker) vigil(v *vigil) {
	for link := &v.first; *link != nil; link = &(*link).next {
		c := *link
		k.not(c.link != link, "what points to %s in its vigil is another", c.name())
		k.not(c.state == closed, "a vigil for a closed client: %s", c.name())
		k.not(c.state == connected && c.keepAlive == 0, "a vigil for %s, without a keep alive", c.name())
		k.not(v.timer.at > c.deadline(), "a vigil for %s is late", c.name())
	}
}

// outputs: clients are on the lists that their flags say, once.
func (k *checker) outputs(b *Broker) {
	seen := map[*Client]bool{}
	for _, c := range b.dirty {
		k.not(seen[c] || c.flags&flagDirty == 0, "%s is dirty twice, or not marked", c.name())
		seen[c] = true
	}
	clear(seen)
	for _, c := range b.busy {
		k.not(seen[c] || c.flags&flagBusy == 0, "%s is busy twice, or not marked", c.name())
		seen[c] = true
	}
}

// checkEmpty says what is left of a broker after all clients and sessions are gone.
func (t *target) checkEmpty() error {
	b := t.b
	var k checker
	k.same("sessions", len(b.sessions), 0)
	k.same("sockets", b.sockets, 0)
	k.same("online", b.online, 0)
	k.same("groups", len(b.groups), 0)
	k.same("subscriptions", b.subs.Len(), 0)
	k.same("filters in the index", b.index.Len(), 0)
	k.same("filters of groups", b.shared.Len(), 0)
	k.same("Queued", b.stats.Queued, 0)
	k.same("QueuedBytes", b.stats.QueuedBytes, int64(0))
	k.same("Subscriptions", b.stats.Subscriptions, 0)
	k.same("SharedSubscriptions", b.stats.SharedSubscriptions, 0)
	k.same("holding", len(b.holding), 0)
	b.timers.Scan(func(d due) bool {
		switch o := d.what.(type) {
		case *sysTree, *sweeper:
		case *vigil:
			k.not(o.first != nil, "a vigil is left")
		default:
			k.not(true, "a timer is left: %T", d.what)
		}
		return true
	})
	return errors.Join(k.errs...)
}
