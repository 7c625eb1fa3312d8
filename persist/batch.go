package persist

import "runtime"

// batch is a Recorder that remembers what it is told, for another to be told
// later, on another goroutine: the loop fills it, and the journal writes it.
type batch struct {
	changes       []change
	deliveries    []Delivery
	sessions      []Session
	subscriptions []*Subscription
	wills         []*Will
	cursors       []Cursor

	now  Time  // when it was handed over
	wall int64 // the same instant in Unix milliseconds

	size     int // about what it takes in the journal, in bytes
	records  int
	saves    int // of what autosave_on_changes counts
	newest   Position
	message  *Message // the last that was counted in size
	subjects bool     // subscriptions changed in the record being made
}

// change is one call; what does not fit is in the slice of its kind, in order.
type change struct {
	client  string
	text    string // a topic or filter
	message *Message
	number  uint64
	id      uint16
	kind    changeKind
}

// changeKind says what a change is. In a journal it is a byte, so they are never
// given other numbers.
type changeKind byte

const (
	didRetain      changeKind = 1
	didUnretain    changeKind = 2
	didSession     changeKind = 3
	didForget      changeKind = 4
	didSubscribe   changeKind = 5
	didUnsubscribe changeKind = 6
	didDeliver     changeKind = 7 // a delivery that is new
	didMove        changeKind = 8 // one that is known, in another state
	didDelivered   changeKind = 9
	didReceive     changeKind = 10
	didReceived    changeKind = 11
	didWill        changeKind = 12
	didNoWill      changeKind = 13
	didCursor      changeKind = 14
	didCursorDone  changeKind = 15
	didCommit      changeKind = 0 // the end of a record; in a journal it has none
)

// changeSize is about what a change takes beside its strings.
const changeSize = 24

// batchKept is how many changes a batch keeps room for from one use to the next.
const batchKept = 1 << 14

func (b *batch) add(c change) {
	b.size += changeSize + len(c.client) + len(c.text)
	b.changes = append(b.changes, c)
}

// carry counts a message, once if it is told of again and again.
func (b *batch) carry(m *Message) {
	if m != b.message {
		b.message = m
		b.size += len(m.Topic) + len(m.Properties) + len(m.Payload)
	}
}

func (b *batch) Retain(m *Message) {
	b.carry(m)
	b.saves++
	b.add(change{kind: didRetain, message: m})
}

func (b *batch) Unretain(topic string) {
	b.saves++
	b.add(change{kind: didUnretain, text: topic})
}

func (b *batch) Session(s Session) {
	if s.Gone == Never {
		b.saves++
	}
	b.sessions = append(b.sessions, s)
	b.add(change{kind: didSession, client: s.ClientID})
}

func (b *batch) Forget(clientID string) { b.add(change{kind: didForget, client: clientID}) }

func (b *batch) Subscribe(s *Subscription) {
	b.subjects = true
	b.subscriptions = append(b.subscriptions, s)
	b.add(change{kind: didSubscribe, client: s.ClientID, text: s.Filter})
}

func (b *batch) Unsubscribe(clientID, filter string) {
	b.subjects = true
	b.add(change{kind: didUnsubscribe, client: clientID, text: filter})
}

func (b *batch) Deliver(clientID string, d Delivery) {
	b.carry(d.Message)
	if d.State == Queued {
		b.saves++
	}
	b.deliveries = append(b.deliveries, d)
	b.add(change{kind: didDeliver, client: clientID})
}

func (b *batch) Delivered(clientID string, number uint64) {
	b.saves++
	b.add(change{kind: didDelivered, client: clientID, number: number})
}

func (b *batch) Receive(clientID string, id uint16, m *Message) {
	b.carry(m)
	b.add(change{kind: didReceive, client: clientID, id: id, message: m})
}

func (b *batch) Received(clientID string, id uint16) {
	b.add(change{kind: didReceived, client: clientID, id: id})
}

func (b *batch) Will(clientID string, w *Will) {
	if w != nil {
		b.carry(w.Message)
	}
	b.wills = append(b.wills, w)
	b.add(change{kind: didWill, client: clientID})
}

func (b *batch) Cursor(clientID string, number uint64, c Cursor) {
	b.cursors = append(b.cursors, c)
	b.add(change{kind: didCursor, client: clientID, number: number, text: c.Next})
}

func (b *batch) CursorDone(clientID string, number uint64) {
	b.add(change{kind: didCursorDone, client: clientID, number: number})
}

func (b *batch) Commit(p Position) {
	if b.subjects { // one for each packet
		b.subjects = false
		b.saves++
	}
	b.newest = p
	b.records++
	b.changes = append(b.changes, change{kind: didCommit, number: uint64(p)})
}

// tell tells it all to another.
func (b *batch) tell(to Recorder) {
	rest := *b
	for i := range b.changes {
		rest.tellOne(&b.changes[i], to)
		if i%tellStep == tellStep-1 {
			runtime.Gosched() // lets the loop in, see sink.flush
		}
	}
}

// tellStep is how many changes are told in a go: about half a millisecond's worth.
const tellStep = 512

// tellOne takes what c has in the slice of its kind from its front.
func (b *batch) tellOne(c *change, to Recorder) {
	switch c.kind {
	case didRetain:
		to.Retain(c.message)
	case didUnretain:
		to.Unretain(c.text)
	case didSession:
		to.Session(pop(&b.sessions))
	case didForget:
		to.Forget(c.client)
	case didSubscribe:
		to.Subscribe(pop(&b.subscriptions))
	case didUnsubscribe:
		to.Unsubscribe(c.client, c.text)
	case didDeliver:
		to.Deliver(c.client, pop(&b.deliveries))
	case didDelivered:
		to.Delivered(c.client, c.number)
	case didReceive:
		to.Receive(c.client, c.id, c.message)
	case didReceived:
		to.Received(c.client, c.id)
	case didWill:
		to.Will(c.client, pop(&b.wills))
	case didCursor:
		to.Cursor(c.client, c.number, pop(&b.cursors))
	case didCursorDone:
		to.CursorDone(c.client, c.number)
	case didCommit:
		to.Commit(Position(c.number))
	}
}

func pop[T any](s *[]T) T {
	first := (*s)[0]
	*s = (*s)[1:]
	return first
}

// empty says that it was told nothing.
func (b *batch) empty() bool { return len(b.changes) == 0 }

// reset forgets everything, and keeps some room.
func (b *batch) reset() {
	if len(b.changes) > batchKept {
		*b = batch{}
		return
	}
	*b = batch{
		changes: emptied(b.changes), deliveries: emptied(b.deliveries), sessions: emptied(b.sessions),
		subscriptions: emptied(b.subscriptions), wills: emptied(b.wills), cursors: emptied(b.cursors),
	}
}

// emptied is s without its values, which the collector may have.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}
