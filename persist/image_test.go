package persist

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// twin is the durable state as maps: slow, and obvious.
type twin struct {
	retained map[string]*Message
	sessions map[string]*twinned
}

type twinned struct {
	self     Session
	subs     map[string]*Subscription
	queue    map[uint64]Delivery
	incoming map[uint16]*Message
	will     *Will
	cursors  map[uint64]Cursor
}

func newTwin() *twin { return &twin{map[string]*Message{}, map[string]*twinned{}} }

func (t *twin) of(id string) *twinned {
	s := t.sessions[id]
	if s == nil {
		s = &twinned{
			self: Session{ClientID: id, Expiry: 0xFFFFFFFF, Gone: Never},
			subs: map[string]*Subscription{}, queue: map[uint64]Delivery{},
			incoming: map[uint16]*Message{}, cursors: map[uint64]Cursor{},
		}
		t.sessions[id] = s
	}
	return s
}

func (t *twin) Retain(m *Message)             { t.retained[m.Topic] = m }
func (t *twin) Unretain(topic string)         { delete(t.retained, topic) }
func (t *twin) Session(s Session)             { t.of(s.ClientID).self = s }
func (t *twin) Forget(id string)              { delete(t.sessions, id) }
func (t *twin) Subscribe(s *Subscription)     { t.of(s.ClientID).subs[s.Filter] = s }
func (t *twin) Deliver(id string, d Delivery) { t.of(id).queue[d.Number] = d }
func (t *twin) Commit(Position)               {}
func (t *twin) Unsubscribe(id, filter string) {
	t.known(id, func(s *twinned) { delete(s.subs, filter) })
}
func (t *twin) Delivered(id string, n uint64) { t.known(id, func(s *twinned) { delete(s.queue, n) }) }
func (t *twin) Received(id string, mid uint16) {
	t.known(id, func(s *twinned) { delete(s.incoming, mid) })
}
func (t *twin) CursorDone(id string, n uint64) {
	t.known(id, func(s *twinned) { delete(s.cursors, n) })
}
func (t *twin) Receive(id string, mid uint16, m *Message) {
	t.of(id).incoming[mid] = m
}
func (t *twin) Cursor(id string, n uint64, c Cursor) { t.of(id).cursors[n] = c }
func (t *twin) Will(id string, w *Will) {
	if w != nil {
		t.of(id).will = w
		return
	}
	t.known(id, func(s *twinned) { s.will = nil })
}

func (t *twin) known(id string, change func(*twinned)) {
	if s := t.sessions[id]; s != nil {
		change(s)
	}
}

// lines is all there is, sorted.
func (t *twin) lines() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, m := range t.retained {
		say("retained %v", told(m))
	}
	for id, s := range t.sessions {
		say("session %+v", s.self)
		for _, sub := range s.subs {
			say("%s subscription %+v", id, *sub)
		}
		for _, d := range s.queue {
			say("%s delivery %s", id, toldDelivery(d))
		}
		for mid, m := range s.incoming {
			say("%s incoming %d %s", id, mid, told(m))
		}
		if s.will != nil {
			say("%s will %s", id, toldWill(s.will))
		}
		for n, c := range s.cursors {
			say("%s cursor %d %+v", id, n, c)
		}
	}
	slices.Sort(out)
	return out
}

func told(m *Message) string {
	v := *m
	v.Origin = nil
	from := Origin{}
	if m.Origin != nil {
		from = *m.Origin
	}
	return fmt.Sprintf("%+v by %t %+v", v, m.Origin != nil, from)
}

func toldDelivery(d Delivery) string {
	m := d.Message
	d.Message = nil
	return fmt.Sprintf("%+v %s", d, told(m))
}

func toldWill(w *Will) string {
	v := *w
	v.Message = nil
	return fmt.Sprintf("%+v %s", v, told(w.Message))
}

// lines is all there is to an image, sorted.
func (im *Image) lines() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for m := range im.Retained() {
		say("retained %v", told(m))
	}
	n := 0
	for s := range im.Sessions() {
		id := s.ClientID
		say("session %+v", *s)
		for sub := range im.SubscriptionsOf(id) {
			say("%s subscription %+v", id, *sub)
			n++
		}
		last := uint64(0)
		for d := range im.Deliveries(id) {
			if d.Number <= last {
				say("%s: delivery %d after %d", id, d.Number, last)
			}
			last = d.Number
			say("%s delivery %s", id, toldDelivery(d))
		}
		for mid, m := range im.Incoming(id) {
			say("%s incoming %d %s", id, mid, told(m))
		}
		if w := im.WillOf(id); w != nil {
			say("%s will %s", id, toldWill(w))
		}
		for num, c := range im.Cursors(id) {
			say("%s cursor %d %+v", id, num, *c)
		}
	}
	if n != im.SubscriptionsLen() {
		say("%d subscriptions of no session", im.SubscriptionsLen()-n)
	}
	slices.Sort(out)
	return out
}

// random reports changes to all of its recorders, such as a broker would.
type random struct {
	rnd    *rand.Rand
	number uint64
	given  map[string][]Delivery // to each client, over or not
	to     []Recorder
}

func (r *random) each(report func(Recorder)) {
	for _, rec := range r.to {
		report(rec)
	}
}

func (r *random) pick(n int) string { return fmt.Sprint(r.rnd.IntN(n)) }

func (r *random) flip() bool { return r.rnd.IntN(2) == 0 }

// next is a number that was not given out before.
func (r *random) next() uint64 {
	r.number++
	return r.number
}

func (r *random) message(qos byte) *Message {
	m := &Message{
		Topic: "t/" + r.pick(20), Payload: strings.Repeat("x", 1+r.rnd.IntN(50)),
		Stored: r.next(), Expires: Never, QoS: qos, Retain: r.flip(),
	}
	if r.flip() {
		m.Properties = "\x01\x01"
	}
	if r.flip() {
		m.Expires = Time(1_000_000 + r.rnd.IntN(1000))
	}
	if r.rnd.IntN(3) > 0 {
		m.Origin = &Origin{ClientID: "c" + r.pick(5), Username: "u" + r.pick(2), Listener: r.rnd.IntN(1 << 16)}
	}
	return m
}

func (r *random) delivery(id string) Delivery {
	d := Delivery{Message: r.message(2), Number: r.next(), QoS: byte(1 + r.rnd.IntN(2)), Retain: r.flip()}
	if r.rnd.IntN(3) == 0 {
		d.SubscriptionID = 1 + r.rnd.Uint32N(1<<28-1)
	}
	if r.rnd.IntN(3) == 0 {
		d.Share = "$share/g" + r.pick(3) + "/#"
	}
	r.move(&d)
	if r.given == nil {
		r.given = map[string][]Delivery{}
	}
	r.given[id] = append(r.given[id], d)
	return d
}

// move has a delivery go on, or stay.
func (r *random) move(d *Delivery) {
	if d.State == Queued && r.flip() {
		d.State, d.ID = Sent, uint16(d.Number)
	}
	if d.State == Sent && d.QoS == 2 && r.flip() {
		d.State = Released
	}
}

// change reports one change.
func (r *random) change() {
	id, mid := "c"+r.pick(8), uint16(r.rnd.IntN(10))+1
	switch r.rnd.IntN(17) {
	case 0, 1:
		m := r.message(byte(r.rnd.IntN(3)))
		r.each(func(rec Recorder) { rec.Retain(m) })
	case 2:
		topic := "t/" + r.pick(20)
		r.each(func(rec Recorder) { rec.Unretain(topic) })
	case 3:
		s := Session{ClientID: id, Username: "u" + r.pick(3), Listener: r.rnd.IntN(1 << 16), Expiry: 1 + r.rnd.Uint32N(1<<20), Gone: Never, LastID: mid}
		if r.flip() {
			s.Gone = Time(r.number)
		}
		r.each(func(rec Recorder) { rec.Session(s) })
	case 4:
		if r.rnd.IntN(4) == 0 {
			r.each(func(rec Recorder) { rec.Forget(id) })
		}
	case 5, 6:
		s := &Subscription{ClientID: id, Filter: "f" + r.pick(6), ID: uint32(r.rnd.IntN(3)), Options: byte(r.rnd.IntN(3) | r.rnd.IntN(4)<<2)}
		r.each(func(rec Recorder) { rec.Subscribe(s) })
	case 7:
		filter := "f" + r.pick(6)
		r.each(func(rec Recorder) { rec.Unsubscribe(id, filter) })
	case 8, 9:
		d := r.delivery(id)
		r.each(func(rec Recorder) { rec.Deliver(id, d) })
	case 10, 11:
		all := r.given[id]
		if len(all) == 0 {
			return
		}
		i := r.rnd.IntN(len(all))
		d := &all[i]
		if r.flip() {
			r.move(d)
			r.each(func(rec Recorder) { rec.Deliver(id, *d) })
			return
		}
		num := d.Number
		r.given[id] = slices.Delete(all, i, i+1)
		r.each(func(rec Recorder) { rec.Delivered(id, num) })
	case 12:
		m := r.message(2)
		r.each(func(rec Recorder) { rec.Receive(id, mid, m) })
	case 13:
		r.each(func(rec Recorder) { rec.Received(id, mid) })
	case 14:
		var w *Will
		if r.flip() {
			w = &Will{Message: r.message(1), Delay: 5, Expiry: 6, Expires: r.flip(), Due: Time(r.number)}
		}
		r.each(func(rec Recorder) { rec.Will(id, w) })
	case 15:
		num := uint64(r.rnd.IntN(5))
		c := Cursor{Filter: "f" + r.pick(6), Next: "n", Until: num, Early: []string{"a", "b", "c"}[:r.rnd.IntN(4)], SubscriptionID: 7, Options: 1}
		r.each(func(rec Recorder) { rec.Cursor(id, num, c) })
	case 16:
		num := uint64(r.rnd.IntN(5))
		r.each(func(rec Recorder) { rec.CursorDone(id, num) })
	}
}

// same fails where two states differ.
func same(t *testing.T, what string, have, want []string) {
	t.Helper()
	if slices.Equal(have, want) {
		return
	}
	for _, l := range want {
		if _, ok := slices.BinarySearch(have, l); !ok {
			t.Errorf("%s: missing %s", what, l)
		}
	}
	for _, l := range have {
		if _, ok := slices.BinarySearch(want, l); !ok {
			t.Errorf("%s: too much: %s", what, l)
		}
	}
	t.FailNow()
}

// TestImageTwin: an image holds what maps hold, and a copy what it held then.
func TestImageTwin(t *testing.T) {
	for seed := range uint64(6) {
		im, tw := NewImage(), newTwin()
		r := &random{rnd: rand.New(rand.NewPCG(seed, 1)), to: []Recorder{im, tw}}
		type frozen struct {
			im   *Image
			want []string
		}
		var copies []frozen
		for i := range 3000 {
			r.change()
			if i%500 == 250 {
				copies = append(copies, frozen{im.copy(), tw.lines()})
			}
		}
		same(t, fmt.Sprint("seed ", seed), im.lines(), tw.lines())
		for i, c := range copies {
			same(t, fmt.Sprintf("seed %d, copy %d", seed, i), c.im.lines(), c.want)
		}
		if im.Number() < r.number {
			t.Errorf("seed %d: the highest number is %d, not %d", seed, im.Number(), r.number)
		}
	}
}

// TestImageLetsGo: what was replaced or deleted is held by nothing.
func TestImageLetsGo(t *testing.T) {
	const n, size = 10_000, 1000
	im := NewImage()
	fill := func() {
		for i := range n {
			im.Retain(&Message{Topic: fmt.Sprintf("t/%06d", i), Payload: string(make([]byte, size))})
			im.Deliver(fmt.Sprint("c", i%100), Delivery{Message: &Message{Payload: string(make([]byte, size))}, Number: uint64(i)})
		}
	}
	fill()
	before := heap()
	for range 3 {
		fill()
	}
	if grown := heap() - before; grown > n*size/10 {
		t.Errorf("after all was replaced the heap is %d KiB larger", grown>>10)
	}
	for i := range 100 {
		im.Forget(fmt.Sprint("c", i))
	}
	for i := range n {
		im.Unretain(fmt.Sprintf("t/%06d", i))
	}
	if left := heap() - before; left > -n*size {
		t.Errorf("after all was deleted the heap is %d KiB larger than with half of it", left>>10)
	}
	if len(im.lines()) != 0 {
		t.Errorf("left: %q", im.lines())
	}
	runtime.KeepAlive(im)
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestImageSmall: a queued delivery costs little beside its message.
func TestImageSmall(t *testing.T) {
	const n = 100_000
	im := NewImage()
	m := &Message{}
	before := heap()
	for i := range n {
		im.Deliver("c", Delivery{Message: m, Number: uint64(i), SubscriptionID: 5})
	}
	each := (heap() - before) / n
	t.Log(each, "bytes for each delivery")
	if each > 72 {
		t.Errorf("a delivery costs %d bytes", each)
	}
	runtime.KeepAlive(im)
}
