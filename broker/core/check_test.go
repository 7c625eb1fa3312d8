package core

import (
	"errors"
	"fmt"

	"midge/broker/topic"
	"midge/persist"
)

// check recounts the broker's state and compares it with its counters, and looks
// for what must never be. The simulation does it after every step, so that nothing
// is allocated for what is right.
func (b *Broker) check() error {
	k := checker{users: map[*message]int32{}, clients: map[*Client]bool{}, nums: map[uint64]bool{}}
	k.sessions(b)
	k.subscriptions(b)
	k.shares(b)
	k.outputs(b)
	k.retained(b)
	k.timers(b)
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
	errs    []error
	of      string // whose the state is that is being looked at
	queued  int
	bytes   int64
	online  int
	subs    int // subscriptions
	shared  int // shared ones among them
	users   map[*message]int32
	clients map[*Client]bool // those that may hold something
	nums    map[uint64]bool
}

func (k *checker) not(wrong bool, what string) {
	if wrong {
		k.errs = append(k.errs, fmt.Errorf("%s: %s", k.of, what))
	}
}

func same[T comparable](k *checker, what string, got, want T) {
	if got != want {
		k.errs = append(k.errs, fmt.Errorf("%s: %s is %v, not %v", k.of, what, got, want))
	}
}

func (k *checker) sessions(b *Broker) {
	for id, s := range b.sessions {
		k.of = id
		same(k, "the id", s.id, id)
		if c := s.client; c != nil {
			k.online++
			k.clients[c] = true
			k.not(c.session != s, "its client has another session")
			k.not(c.state != connected, "its client is not connected")
			k.not(s.absence != nil, "absent while connected")
		} else {
			k.not(!s.durable(), "gone, and does not outlive its connection")
			k.not(s.absence.endsAt == persist.Never != (s.expiry == noExpiry), "its end is not that of its expiry")
		}
		k.window(s)
		k.waiting(s)
		for _, in := range s.incoming {
			k.not(in.msg == nil || in.msg.QoS != 2, "not a QoS 2 message in its incoming")
			k.users[in.msg]++
		}
	}
	for _, e := range b.estates {
		k.of = "what is left of " + e.session.id
		k.window(e.session)
		k.waiting(e.session)
	}
	k.of = "stats"
	same(k, "Queued", b.stats.Queued, k.queued)
	same(k, "QueuedBytes", b.stats.QueuedBytes, k.bytes)
	same(k, "sessions online", b.online, k.online)
	k.not(b.sockets < k.online, "fewer sockets than sessions online")
}

// window: nothing twice, nothing above the client's receive maximum.
func (k *checker) window(s *Session) {
	w := s.window
	if w == nil {
		return
	}
	n, again, bytes := 0, 0, 0
	clear(k.nums)
	for i := range w.slots {
		d := &w.slots[i]
		if d.id == 0 {
			k.not(d.msg != nil, "a free slot has a message")
			continue
		}
		n++
		bytes += len(d.msg.Payload)
		k.users[d.msg]++
		same(k, "the slot of an identifier", i, int(d.id)&(len(w.slots)-1))
		k.not(k.nums[d.num], "a delivery is in the window twice")
		k.nums[d.num] = true
		k.not(d.qos == 0 || d.qos > 2, "neither QoS 1 nor 2 in the window")
		k.not(d.released() && d.qos != 2, "released without QoS 2")
		if d.flags&deliverAgain != 0 {
			again++
		}
	}
	same(k, "window", w.n, n)
	same(k, "window bytes", w.bytes, bytes)
	same(k, "window again", w.again, again)
	k.not(n == 0, "an empty window is kept")
	if s.client != nil {
		k.not(w.open() > int(s.client.window), "more is open than its window")
	}
	k.queued += n
	k.bytes += int64(bytes)
}

func (k *checker) waiting(s *Session) {
	if s.waiting == nil {
		return
	}
	k.not(s.waiting.len() == 0, "an empty backlog is kept")
	k.queue(&s.waiting.acked, false)
	k.queue(&s.waiting.plain, true)
}

func (k *checker) queue(q *queue, plain bool) {
	n, bytes, last := 0, 0, uint64(0)
	for c, i := q.head, q.first; n < q.n; n++ {
		d := &c.d[i]
		bytes += len(d.msg.Payload)
		k.users[d.msg]++
		k.not(d.num <= last, "a queue is out of order")
		k.not(d.id != 0, "a queue has an identifier")
		k.not((d.qos == 0) != plain, "a QoS in the wrong queue")
		last = d.num
		if i++; i == chunkLen {
			c, i = c.next, 0
		}
	}
	same(k, "bytes of a queue", q.bytes, bytes)
	k.queued += n
	k.bytes += int64(bytes)
}

// subscriptions: the index and the ordered tree hold the same.
func (k *checker) subscriptions(b *Broker) {
	found := make(map[*persist.Subscription]bool, b.subs.Len())
	b.index.Walk(func(filter string, e []topic.Entry[*Session, *persist.Subscription]) bool {
		k.of = filter
		for i := range e {
			k.not(e[i].Value.Filter != filter || e[i].Value.ClientID != e[i].Key.id, "a subscription in the wrong place")
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
	var last string
	n, sessions := int32(0), 0
	of := func(id string, n int32) {
		if s := b.sessions[id]; s != nil && n > 0 {
			k.of = id
			same(k, "subscriptions", s.subs, n)
			sessions++
		}
	}
	b.subs.Scan(func(sub *persist.Subscription) bool { // client by client
		if sub.ClientID != last {
			of(last, n)
			last, n = sub.ClientID, 0
		}
		k.of = sub.Filter
		k.not(!found[sub], "a subscription is not found")
		k.not(b.sessions[sub.ClientID] == nil && !b.remaining[sub.ClientID], "its subscriber has no session")
		n++
		k.subs++
		return true
	})
	of(last, n)
	for _, s := range b.sessions {
		if s.subs != 0 {
			sessions--
		}
	}
	k.of = "subscriptions"
	same(k, "sessions that have none and count some", -sessions, 0)
	same(k, "those found", len(found), k.subs)
	same(k, "Subscriptions and shared ones", b.stats.Subscriptions+b.stats.SharedSubscriptions, k.subs)
	same(k, "SharedSubscriptions", b.stats.SharedSubscriptions, k.shared)
}

func (k *checker) shares(b *Broker) {
	for filter, sh := range b.groups {
		k.of = filter
		same(k, "the filter of the group", sh.filter, filter)
		k.not(len(sh.members) == 0, "an empty group")
		k.not(sh.next < 0 || sh.next > len(sh.members), "the turn is nobody's")
		for _, m := range sh.members {
			k.not(b.sessions[m.session.id] != m.session && !b.remaining[m.session.id], "a member whose session is gone")
		}
	}
}

func (k *checker) retained(b *Broker) {
	var bytes int64
	kept := 0
	b.retained.Walk(func(name string, m *message) bool {
		k.of = name
		if countsAsRetained(name) {
			kept++
		}
		same(k, "the topic of what is retained here", m.Topic, name)
		k.not(m.Payload == "", "an empty retained message")
		k.not(m.Room > 0, "a retained message may be used again")
		k.users[m]++
		bytes += int64(len(m.Payload))
		return true
	})
	k.of = "retained"
	same(k, "messages of clients", b.kept, kept)
	same(k, "RetainedBytes", b.stats.RetainedBytes, bytes)
}

// timers: each is its owner's, and none is of what is gone.
func (k *checker) timers(b *Broker) {
	b.timers.Scan(func(d due) bool {
		switch o := d.what.(type) {
		case *vigil:
			k.of = "vigil"
			same(k, "the timer", timer{d.at, d.num}, o.timer)
			k.vigil(o)
		case *Session:
			k.of = o.id
			same(k, "the timer", timer{d.at, d.num}, o.absence.timer)
			k.not(b.sessions[o.id] != o, "a timer of a session that is gone")
			k.not(o.client != nil, "a timer of a session online")
		case *retrier:
			k.of = "retry"
			same(k, "the timer", timer{d.at, d.num}, (*Client)(o).resend().timer)
		}
		return true
	})
}

// messages: each has the users it counts, and what is in the stock has none.
func (k *checker) messages(b *Broker) {
	for m, n := range k.users { // closed clients may be users too
		k.of = m.Topic
		k.not(m.Uses < n, "a message has more users than it counts")
	}
	k.of = "stock"
	bytes := 0
	for _, shelf := range b.free.messages.shelves {
		for _, m := range shelf {
			k.not(m.Room == 0 || m.Uses != 0 || k.users[m] != 0, "a message has users")
			bytes += int(m.Room)
		}
	}
	same(k, "bytes", b.free.messages.bytes, bytes)
}

// account: it is what a count of everything comes to.
func (k *checker) account(b *Broker) {
	n := int64(b.sockets) * costClient
	for _, s := range b.sessions {
		n += s.cost() + int64(len(s.incoming))*costIncoming + s.cursors.cost()
		if s.client == nil {
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
	for _, e := range b.estates {
		n += chunksOf(e.session) * costChunk
		if w := e.session.window; w != nil {
			n += w.cost()
		}
	}
	for c := range k.clients {
		n += int64(c.charged)
		if c.extra != nil {
			n += c.extra.aliases.cost
			k.aliases(c)
		}
	}
	n += int64(b.retained.Len()) * costRetained
	for m := range k.users {
		n += m.cost()
	}
	b.subs.Scan(func(sub *persist.Subscription) bool {
		n += costOfSubscription(sub)
		return true
	})
	for _, sh := range b.groups {
		n += sh.cost()
	}
	k.of = "account"
	same(k, "it", b.acct.bytes, n)
	k.not(b.acct.most < b.acct.bytes, "it is more than the most it ever was")
}

func (k *checker) aliases(c *Client) {
	all := &c.extra.aliases
	want := int64(len(all.in)+len(all.out)) * costAlias
	for _, name := range all.in {
		want += int64(len(name))
	}
	for name := range all.out {
		want += int64(len(name))
	}
	k.of = c.name()
	same(k, "the cost of the aliases", all.cost, want)
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
		k.of = c.name()
		k.not(c.link != link, "what points to it in its vigil is another")
		k.not(c.state == closed, "a vigil for a closed client")
		k.not(c.state == connected && c.keepAlive == 0, "a vigil without a keep alive")
		k.not(v.timer.at > c.deadline(), "a vigil is late")
	}
}

// outputs: clients are on the lists that their flags say, once, and what they hold
// is used.
func (k *checker) outputs(b *Broker) {
	k.marked(b.dirty, flagDirty)
	k.marked(b.busy, flagBusy)
	for _, c := range b.dirty {
		k.clients[c] = true // even one that is closed
	}
	for c := range k.clients {
		if c.out.cuts == nil {
			continue
		}
		for _, cut := range c.out.cuts.list {
			k.of = c.name()
			k.not(cut.msg == nil || cut.data == "", "a payload on loan, or written")
			k.users[cut.msg]++
		}
	}
}

func (k *checker) marked(list []*Client, flag clientFlags) {
	seen := make(map[*Client]bool, len(list))
	for _, c := range list {
		k.of = c.name()
		k.not(seen[c] || c.flags&flag == 0, "listed twice, or not marked")
		seen[c] = true
	}
}

// checkEmpty says what is left of a broker after all clients and sessions are gone.
func (t *target) checkEmpty() error {
	b := t.b
	k := checker{of: "the end"}
	same(&k, "sessions", len(b.sessions), 0)
	same(&k, "sockets", b.sockets, 0)
	same(&k, "online", b.online, 0)
	same(&k, "groups", len(b.groups), 0)
	same(&k, "subscriptions", b.subs.Len(), 0)
	same(&k, "filters in the index", b.index.Len(), 0)
	same(&k, "filters of groups", b.shared.Len(), 0)
	same(&k, "Queued", b.stats.Queued, 0)
	same(&k, "QueuedBytes", b.stats.QueuedBytes, int64(0))
	same(&k, "Subscriptions", b.stats.Subscriptions, 0)
	same(&k, "SharedSubscriptions", b.stats.SharedSubscriptions, 0)
	same(&k, "holding", len(b.holding), 0)
	b.timers.Scan(func(d due) bool {
		switch o := d.what.(type) {
		case *sysTree, *sweeper:
		case *vigil:
			k.not(o.first != nil, "a vigil is left")
		default:
			k.not(true, fmt.Sprintf("a timer is left: %T", d.what))
		}
		return true
	})
	return errors.Join(k.errs...)
}
