package persist

import (
	"iter"
	"math"
)

// Image is the durable state of a broker: what its Recorder was told, in B-trees
// of immutable values. It is a Recorder itself, so to replay a record is to call
// its methods; they take what they are told at once, before Commit.
//
//	retained      by topic
//	sessions      by client id; each has a seat, a small number
//	subscriptions by client id and filter
//	deliveries    by seat and number: in the order of the session's queue
//	incoming      QoS 2 messages from clients, by seat and packet identifier
//	wills         by seat
//	cursors       by seat and number
//
// Copy freezes all of it in constant time. The methods that read may be called on
// a copy while the other is being changed on another goroutine.
//
// A session that something is told of before Session was has what mosquitto gives
// to such: it never ends, and has no user name.
type Image struct {
	retained      tree[*Message]
	sessions      tree[*seated]
	subscriptions tree[*Subscription]
	deliveries    tree[queued]
	incoming      tree[received]
	wills         tree[left]
	cursors       tree[reading]

	last   *seated // the session that was looked up last; the next is often the same
	seats  uint32  // that were ever given out
	free   []uint32
	vias   map[via]*via
	number uint64
	at     Position
}

// seated is a session with its seat, by which everything of its finds it.
type seated struct {
	Session
	seat uint32
}

// queued is a Delivery in the shape of which there may be millions.
type queued struct {
	message *Message
	number  uint64
	via     *via // nil for a plain subscription without identifier
	seat    uint32
	id      uint16
	bits    uint8 // see Delivery.bits
}

// via is how a delivery came to its session, shared by all that came so.
type via struct {
	subscription uint32
	share        string
}

type received struct {
	message *Message
	seat    uint32
	id      uint16
}

type left struct {
	will *Will
	seat uint32
}

type reading struct {
	cursor *Cursor
	number uint64
	seat   uint32
}

// viasMax bounds the table of shared vias; those in use live on without it.
const viasMax = 4096

// NewImage is the state of a broker that has never run.
func NewImage() *Image {
	im := &Image{
		retained: newTree(func(a, b *Message) bool { return a.Topic < b.Topic }),
		sessions: newTree(func(a, b *seated) bool { return a.ClientID < b.ClientID }),
		subscriptions: newTree(func(a, b *Subscription) bool {
			return a.ClientID < b.ClientID || a.ClientID == b.ClientID && a.Filter < b.Filter
		}),
		deliveries: newTree(func(a, b queued) bool { return a.seat < b.seat || a.seat == b.seat && a.number < b.number }),
		incoming:   newTree(func(a, b received) bool { return a.seat < b.seat || a.seat == b.seat && a.id < b.id }),
		wills:      newTree(func(a, b left) bool { return a.seat < b.seat }),
		cursors:    newTree(func(a, b reading) bool { return a.seat < b.seat || a.seat == b.seat && a.number < b.number }),
	}
	im.deliveries.set(queued{}) // nobody's: what comes and goes does not find the trees empty,
	im.incoming.set(received{}) // for which they would have to be made anew each time
	return im
}

// copy is a frozen image, which is to be read only.
func (im *Image) copy() *Image {
	return &Image{
		retained:      im.retained.copy(),
		sessions:      im.sessions.copy(),
		subscriptions: im.subscriptions.copy(),
		deliveries:    im.deliveries.copy(),
		incoming:      im.incoming.copy(),
		wills:         im.wills.copy(),
		cursors:       im.cursors.copy(),
		number:        im.number,
		at:            im.at,
	}
}

// seatOf is the session's seat; one that is not known gets one.
func (im *Image) seatOf(clientID string) uint32 {
	if s := im.find(clientID); s != nil {
		return s.seat
	}
	im.Session(Session{ClientID: clientID, Expiry: math.MaxUint32, Gone: Never})
	return im.last.seat
}

// find looks a session up for a change; nil when it is not known.
func (im *Image) find(clientID string) *seated {
	if im.last != nil && im.last.ClientID == clientID {
		return im.last
	}
	s := im.session(clientID)
	if s != nil {
		im.last = s
	}
	return s
}

// session looks a session up, and changes nothing.
func (im *Image) session(clientID string) *seated {
	s, _ := im.sessions.b.Get(&seated{Session: Session{ClientID: clientID}})
	return s
}

// takeSeat gives out a seat that nobody has.
func (im *Image) takeSeat() uint32 {
	if n := len(im.free); n > 0 {
		seat := im.free[n-1]
		im.free = im.free[:n-1]
		return seat
	}
	im.seats++
	return im.seats
}

// viaOf shares vias among deliveries.
func (im *Image) viaOf(d *Delivery) *via {
	v := via{d.SubscriptionID, d.Share}
	if v == (via{}) {
		return nil
	}
	if shared := im.vias[v]; shared != nil {
		return shared
	}
	if im.vias == nil || len(im.vias) >= viasMax {
		im.vias = make(map[via]*via)
	}
	shared := new(via)
	*shared = v
	im.vias[v] = shared
	return shared
}

// see notes a number in use.
func (im *Image) see(number uint64) { im.number = max(im.number, number) }

func (im *Image) seeMessage(m *Message) {
	if m != nil {
		im.see(m.Stored)
	}
}

// Retain is a Recorder's, as are those that follow.
func (im *Image) Retain(m *Message) {
	im.seeMessage(m)
	im.retained.set(m)
}

func (im *Image) Unretain(topic string) { im.retained.delete(&Message{Topic: topic}) }

func (im *Image) Session(s Session) {
	was := im.find(s.ClientID)
	is := &seated{Session: s}
	if was != nil {
		is.seat = was.seat
	} else {
		is.seat = im.takeSeat()
	}
	im.sessions.set(is)
	im.last = is
}

func (im *Image) Forget(clientID string) {
	s := im.find(clientID)
	if s == nil {
		return
	}
	im.last = nil
	im.sessions.delete(s)
	im.subscriptions.deleteFrom(&Subscription{ClientID: clientID}, func(o *Subscription) bool { return o.ClientID == clientID })
	im.deliveries.deleteFrom(queued{seat: s.seat}, func(o queued) bool { return o.seat == s.seat })
	im.incoming.deleteFrom(received{seat: s.seat}, func(o received) bool { return o.seat == s.seat })
	im.wills.delete(left{seat: s.seat})
	im.cursors.deleteFrom(reading{seat: s.seat}, func(o reading) bool { return o.seat == s.seat })
	im.free = append(im.free, s.seat)
}

func (im *Image) Subscribe(s *Subscription) {
	im.seatOf(s.ClientID)
	im.subscriptions.set(s)
}

func (im *Image) Unsubscribe(clientID, filter string) {
	im.subscriptions.delete(&Subscription{ClientID: clientID, Filter: filter})
}

func (im *Image) Deliver(clientID string, d Delivery) {
	im.see(d.Number)
	im.seeMessage(d.Message)
	im.deliveries.set(queued{
		message: d.Message, number: d.Number, via: im.viaOf(&d), seat: im.seatOf(clientID), id: d.ID, bits: d.bits(),
	})
}

// bits is QoS, RETAIN and State in one byte.
func (d *Delivery) bits() byte {
	bits := d.QoS&3 | byte(d.State)<<bitState
	if d.Retain {
		bits |= bitRetain
	}
	return bits
}

func (im *Image) Delivered(clientID string, number uint64) {
	if s := im.find(clientID); s != nil {
		im.deliveries.delete(queued{seat: s.seat, number: number})
	}
}

func (im *Image) Receive(clientID string, id uint16, m *Message) {
	im.seeMessage(m)
	im.incoming.set(received{message: m, seat: im.seatOf(clientID), id: id})
}

func (im *Image) Received(clientID string, id uint16) {
	if s := im.find(clientID); s != nil {
		im.incoming.delete(received{seat: s.seat, id: id})
	}
}

func (im *Image) Will(clientID string, w *Will) {
	if w != nil {
		im.seeMessage(w.Message)
		im.wills.set(left{will: w, seat: im.seatOf(clientID)})
	} else if s := im.find(clientID); s != nil {
		im.wills.delete(left{seat: s.seat})
	}
}

func (im *Image) Cursor(clientID string, number uint64, c Cursor) {
	im.see(number)
	im.see(c.Until)
	im.cursors.set(reading{cursor: &c, number: number, seat: im.seatOf(clientID)})
}

func (im *Image) CursorDone(clientID string, number uint64) {
	if s := im.find(clientID); s != nil {
		im.cursors.delete(reading{seat: s.seat, number: number})
	}
}

func (im *Image) Commit(p Position) { im.at = p }

// Position is that of the last record.
func (im *Image) Position() Position { return im.at }

// Number is the highest number that was ever given to a message, a delivery or a
// cursor; the next is above it.
func (im *Image) Number() uint64 { return im.number }

// numbered tells of a number given to what is not in the image any more.
func (im *Image) numbered(n uint64) { im.see(n) }

// Retained lists the retained messages, by topic.
func (im *Image) Retained() iter.Seq[*Message] { return im.retained.b.Scan }

// RetainedLen is how many there are.
func (im *Image) RetainedLen() int { return im.retained.b.Len() }

// RetainedAt is the retained message of a topic, or nil.
func (im *Image) RetainedAt(topic string) *Message {
	m, _ := im.retained.b.Get(&Message{Topic: topic})
	return m
}

// Sessions lists the sessions, by client id.
func (im *Image) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		im.sessions.b.Scan(func(s *seated) bool { return yield(&s.Session) })
	}
}

// SessionsLen is how many there are.
func (im *Image) SessionsLen() int { return im.sessions.b.Len() }

// Subscriptions lists the subscriptions of all sessions, by client id and filter.
func (im *Image) Subscriptions() iter.Seq[*Subscription] { return im.subscriptions.b.Scan }

// SubscriptionsLen is how many there are.
func (im *Image) SubscriptionsLen() int { return im.subscriptions.b.Len() }

// SubscriptionsOf lists those of one session, by filter.
func (im *Image) SubscriptionsOf(clientID string) iter.Seq[*Subscription] {
	return func(yield func(*Subscription) bool) {
		im.subscriptions.b.Ascend(&Subscription{ClientID: clientID}, func(s *Subscription) bool {
			return s.ClientID == clientID && yield(s)
		})
	}
}

// DeliveriesLen is how many deliveries wait or are under way, of all sessions.
func (im *Image) DeliveriesLen() int { return im.deliveries.b.Len() - 1 }

// Deliveries lists those of one session in its order, by number.
func (im *Image) Deliveries(clientID string) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		s := im.session(clientID)
		if s == nil {
			return
		}
		im.deliveries.b.Ascend(queued{seat: s.seat}, func(q queued) bool {
			return q.seat == s.seat && yield(q.delivery())
		})
	}
}

func (q queued) delivery() Delivery {
	d := Delivery{
		Message: q.message, Number: q.number, ID: q.id,
		QoS: q.bits & 3, Retain: q.bits&bitRetain != 0, State: State(q.bits >> bitState),
	}
	if q.via != nil {
		d.SubscriptionID, d.Share = q.via.subscription, q.via.share
	}
	return d
}

// deliveryAt is one delivery, or a zero one.
func (im *Image) deliveryAt(clientID string, number uint64) Delivery {
	if s := im.find(clientID); s != nil {
		if q, ok := im.deliveries.b.Get(queued{seat: s.seat, number: number}); ok {
			return q.delivery()
		}
	}
	return Delivery{}
}

// known says that d was told before, if in another state: all else is the same.
func (im *Image) known(clientID string, d *Delivery) bool {
	if d.State == Queued {
		return false
	}
	was := im.deliveryAt(clientID, d.Number)
	return was.Message == d.Message && was.SubscriptionID == d.SubscriptionID && was.Share == d.Share
}

// incomingAt is the message of a packet identifier, or nil.
func (im *Image) incomingAt(clientID string, id uint16) *Message {
	s := im.find(clientID)
	if s == nil {
		return nil
	}
	r, _ := im.incoming.b.Get(received{seat: s.seat, id: id})
	return r.message
}

// cursorAt is one cursor, or nil.
func (im *Image) cursorAt(clientID string, number uint64) *Cursor {
	s := im.find(clientID)
	if s == nil {
		return nil
	}
	r, _ := im.cursors.b.Get(reading{seat: s.seat, number: number})
	return r.cursor
}

// IncomingLen is how many QoS 2 messages wait for their PUBREL, of all sessions.
func (im *Image) IncomingLen() int { return im.incoming.b.Len() - 1 }

// Incoming lists those of one session, by packet identifier.
func (im *Image) Incoming(clientID string) iter.Seq2[uint16, *Message] {
	return func(yield func(uint16, *Message) bool) {
		s := im.session(clientID)
		if s == nil {
			return
		}
		im.incoming.b.Ascend(received{seat: s.seat}, func(r received) bool {
			return r.seat == s.seat && yield(r.id, r.message)
		})
	}
}

// WillOf is the will of a session, or nil.
func (im *Image) WillOf(clientID string) *Will {
	s := im.session(clientID)
	if s == nil {
		return nil
	}
	w, _ := im.wills.b.Get(left{seat: s.seat})
	return w.will
}

// Cursors lists a session's retained deliveries under way, by number.
func (im *Image) Cursors(clientID string) iter.Seq2[uint64, *Cursor] {
	return func(yield func(uint64, *Cursor) bool) {
		s := im.session(clientID)
		if s == nil {
			return
		}
		im.cursors.b.Ascend(reading{seat: s.seat}, func(r reading) bool {
			return r.seat == s.seat && yield(r.number, r.cursor)
		})
	}
}

// Stamp is what a snapshot says of itself beside the image. The Times of an image
// are on the broker's own clock, which never goes back; Now and Wall are the same
// instant on it and on the clock of the machine, so that whoever reads the image can
// tell one from the other: a Time t is t-Now+Wall in Unix milliseconds. For a
// snapshot of mosquitto's own, which has wall time only, both are 0.
type Stamp struct {
	ID      uint64 // of the snapshot, a random number; 0 for mosquitto's own
	Segment uint64 // the first segment of the journal that is not part of it
	Now     Time
	Wall    int64
}
