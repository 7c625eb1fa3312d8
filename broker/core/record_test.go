package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"midge/persist"
)

// image is the durable state as a recorder knows it.
type image struct {
	retained map[string]*persist.Message
	sessions map[string]*imaged
}

// imaged is one session of an image.
type imaged struct {
	self     *persist.Session // nil before the session itself was reported
	subs     map[string]*persist.Subscription
	queue    map[uint64]persist.Delivery
	incoming map[uint16]*persist.Message
	will     *persist.Will
	cursors  map[uint64]persist.Cursor
}

func newImage() *image {
	return &image{map[string]*persist.Message{}, map[string]*imaged{}}
}

func (im *image) of(id string) *imaged {
	s := im.sessions[id]
	if s == nil {
		s = &imaged{
			subs: map[string]*persist.Subscription{}, queue: map[uint64]persist.Delivery{},
			incoming: map[uint16]*persist.Message{}, cursors: map[uint64]persist.Cursor{},
		}
		im.sessions[id] = s
	}
	return s
}

// lines says all there is, sorted. LastID is left out: it is as of the last
// report of the session, and what is in the queue tells the rest.
func (im *image) lines() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for name, m := range im.retained {
		say("retained %s: %s", name, told(m))
	}
	for id, s := range im.sessions {
		if s.self == nil {
			say("session %s was never reported", id)
		} else {
			self := *s.self
			self.LastID = 0
			if self.Expiry == noExpiry && self.Gone != persist.Never {
				self.Gone = 0 // core has no use for it
			}
			say("session %+v", self)
		}
		for filter, sub := range s.subs {
			say("%s: subscription %s: %+v", id, filter, *sub)
		}
		for num, d := range s.queue {
			say("%s: delivery %08d: %d sub%d id%d q%d retain=%t state%d share=%q %s",
				id, num, d.Number, d.SubscriptionID, d.ID, d.QoS, d.Retain, d.State, d.Share, told(d.Message))
		}
		for mid, m := range s.incoming {
			say("%s: incoming %d: %s", id, mid, told(m))
		}
		if w := s.will; w != nil {
			say("%s: will %d %d %t %d: %s", id, w.Delay, w.Expiry, w.Expires, w.Due, told(w.Message))
		}
		for num, c := range s.cursors {
			say("%s: cursor %d: %+v", id, num, c)
		}
	}
	slices.Sort(out)
	return out
}

// told is a message in words, with its identity.
func told(m *persist.Message) string {
	return fmt.Sprintf("%p %q by %v at %d till %d q%d r%t, %d bytes",
		m, m.Topic, m.Origin, m.Stored, m.Expires, m.QoS, m.Retain, len(m.Payload))
}

// durableState is the image as it should be, read from the broker itself.
func (b *Broker) durableState() *image {
	im := newImage()
	b.retained.Walk(func(name string, m *message) bool {
		if !isSys(name) {
			im.retained[name] = (*persist.Message)(m)
		}
		return true
	})
	for id, s := range b.sessions {
		if s.durable() {
			im.keep(b, id, s)
		}
	}
	return im
}

func (im *image) keep(b *Broker, id string, s *Session) {
	to := im.of(id)
	gone := persist.Never
	if s.client == nil && s.expiry == noExpiry {
		gone = 0
	} else if s.client == nil {
		gone = s.absence.endsAt - Time(s.expiry)*1000
	}
	to.self = &persist.Session{ClientID: id, Username: s.username(), Listener: s.port(), Expiry: s.expiry, Gone: gone}
	b.subs.Ascend(&persist.Subscription{ClientID: id}, func(sub *persist.Subscription) bool {
		if sub.ClientID == id {
			to.subs[sub.Filter] = sub
		}
		return sub.ClientID == id
	})
	each(s, func(d *delivery) {
		if d.qos > 0 || d.flags&deliverRecorded != 0 {
			to.queue[d.num] = d.record()
		}
	})
	for mid, in := range s.incoming {
		to.incoming[mid] = (*persist.Message)(in.msg)
	}
	to.will = s.will
	for _, c := range s.cursors.all() {
		to.cursors[c.num] = persist.Cursor{Filter: c.sub.Filter, Next: c.pos.Next, Until: c.until, Early: c.early,
			SubscriptionID: c.sub.ID, Options: c.sub.Options}
	}
}

// each visits the deliveries of a session.
func each(s *Session, visit func(*delivery)) {
	for _, d := range s.window.inOrder() {
		visit(d)
	}
	if s.waiting == nil {
		return
	}
	for _, q := range []*queue{&s.waiting.acked, &s.waiting.plain} {
		for c, i, n := q.head, q.first, q.n; n > 0; n-- {
			visit(&c.d[i])
			if i++; i == chunkLen {
				c, i = c.next, 0
			}
		}
	}
}

// all lists those that are not over, in their order.
func (all *cursors) all() (out []*cursor) {
	if all == nil {
		return nil
	}
	for _, cur := range all.order {
		if !cur.over {
			out = append(out, cur)
		}
	}
	return out
}

// journal is a recorder that keeps an image. A change counts from its Commit on.
type journal struct {
	tb     testing.TB
	safe   *image              // all that was committed
	open   []func(*image)      // since the last Commit
	newest persist.Position    // of the last record
	counts []int               // of changes, by record
	kinds  map[string]struct{} // what was ever reported
}

func newJournal(tb testing.TB) *journal {
	return &journal{tb: tb, safe: newImage(), kinds: map[string]struct{}{}}
}

func (j *journal) note(kind string, change func(*image)) {
	j.kinds[kind] = struct{}{}
	j.open = append(j.open, change)
}

func (j *journal) Retain(m *persist.Message) {
	j.note("Retain", func(im *image) { im.retained[m.Topic] = m })
}

func (j *journal) Unretain(topic string) {
	j.note("Unretain", func(im *image) { delete(im.retained, topic) })
}

func (j *journal) Session(s persist.Session) {
	j.note("Session", func(im *image) { im.of(s.ClientID).self = &s })
}

func (j *journal) Forget(id string) {
	j.note("Forget", func(im *image) { delete(im.sessions, id) })
}

func (j *journal) Subscribe(s *persist.Subscription) {
	j.note("Subscribe", func(im *image) { im.of(s.ClientID).subs[s.Filter] = s })
}

func (j *journal) Unsubscribe(id, filter string) {
	j.note("Unsubscribe", func(im *image) { delete(im.of(id).subs, filter) })
}

func (j *journal) Deliver(id string, d persist.Delivery) {
	j.note("Deliver", func(im *image) { im.of(id).queue[d.Number] = d })
}

func (j *journal) Delivered(id string, number uint64) {
	j.note("Delivered", func(im *image) {
		if _, ok := im.of(id).queue[number]; !ok {
			j.tb.Errorf("delivery %d of %s was never reported, and is over", number, id)
		}
		delete(im.of(id).queue, number)
	})
}

func (j *journal) Receive(id string, mid uint16, m *persist.Message) {
	j.note("Receive", func(im *image) { im.of(id).incoming[mid] = m })
}

func (j *journal) Received(id string, mid uint16) {
	j.note("Received", func(im *image) { delete(im.of(id).incoming, mid) })
}

func (j *journal) Will(id string, w *persist.Will) {
	j.note("Will", func(im *image) { im.of(id).will = w })
}

func (j *journal) Cursor(id string, number uint64, c persist.Cursor) {
	j.note("Cursor", func(im *image) { im.of(id).cursors[number] = c })
}

func (j *journal) CursorDone(id string, number uint64) {
	j.note("CursorDone", func(im *image) { delete(im.of(id).cursors, number) })
}

func (j *journal) Commit(p persist.Position) {
	if p != j.newest+1 {
		j.tb.Errorf("record %d follows %d", p, j.newest)
	}
	if len(j.open) == 0 {
		j.tb.Errorf("record %d is empty", p)
	}
	for _, change := range j.open {
		change(j.safe)
	}
	j.counts = append(j.counts, len(j.open))
	j.newest, j.open = p, j.open[:0]
}

// differs says where the image is not what the broker's state is.
func (j *journal) differs(b *Broker) string {
	if len(j.open) > 0 || b.changed {
		return fmt.Sprintf("%d changes are in no record", len(j.open))
	}
	have, want := j.safe.lines(), b.durableState().lines()
	var out []string
	for _, l := range want {
		if _, ok := slices.BinarySearch(have, l); !ok {
			out = append(out, "not recorded: "+l)
		}
	}
	for _, l := range have {
		if _, ok := slices.BinarySearch(want, l); !ok {
			out = append(out, "recorded:     "+l)
		}
	}
	return strings.Join(out, "\n")
}
