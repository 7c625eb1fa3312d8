package persist

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A record is
//
//	+------------+-------------+----------+--------------+
//	| length (4) | CRC-32C (4) | type (1) | length-1 (n) |
//	+------------+-------------+----------+--------------+
//
// with fixed numbers in little-endian order. The checksum is that of the length
// and of what follows the checksum, so a record counts whole or not at all. The
// types are
//
//	1  changes   all effects of one packet, one timer or one will: change, change, ...
//	2  clock     now (8), wall (8): the broker's clock and the machine's, in milliseconds
//
// A change is its kind in one byte and its fields. Numbers (n) are unsigned
// varints, instants (t) signed ones, as encoding/binary has them; a string (s) is
// its length, n, and its bytes.
//
//	 1 retain       message
//	 2 unretain     topic s
//	 3 session      client s, user s, port n, expiry n, gone t, last packet identifier n
//	 4 forget       client s
//	 5 subscribe    client s, filter s, identifier n, options (1)
//	 6 unsubscribe  client s, filter s
//	 7 deliver      client s, number n, bits (1), packet identifier n, subscription n, share s, message
//	 8 move         client s, number n, bits (1), packet identifier n
//	 9 delivered    client s, number n
//	10 receive      client s, packet identifier n, message
//	11 received     client s, packet identifier n
//	12 will         client s, delay n, expires (1), expiry n, due t, message
//	13 no will      client s
//	14 cursor       client s, number n, filter s, next s, until n, subscription n, options (1),
//	                how many early topics to keep of those it has n, how many are new n, s, s, ...
//	15 cursor done  client s, number n
//
// bits are QoS, RETAIN 1<<2, state 1<<3. A delivery that was told before is moved:
// its message is not said again.
//
// A message is a number: 0, and then
//
//	bits (1), stored n, lengths of topic, properties and payload n n n, these three,
//	[expires t], [client s, user s, port n]    where bits, beside QoS and RETAIN 1<<2, has 1<<3, 1<<4
//
// or i > 0 for the i-th message of the same record. Those are the messages that were
// said, and those that receive kept and received gives back, in their order.
const (
	recordHead    = 4 + 4
	recordChanges = 1
	recordClock   = 2

	bitRetain  = 1 << 2
	bitState   = 3 // shift
	bitExpires = 1 << 3
	bitOrigin  = 1 << 4
)

// encoder is a Recorder that appends records to a buffer, and has the image take
// each change after that: what the image knows need not be said.
type encoder struct {
	image *Image
	buf   []byte
	start int        // of the record being made
	open  bool       // there is one
	said  []*Message // in it
}

// saidMax is how many messages back one is looked for before it is said again.
const saidMax = 16

func (e *encoder) begin(typ byte) {
	e.start = len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0, typ)
	e.open = true
}

func (e *encoder) end() {
	r := e.buf[e.start:]
	binary.LittleEndian.PutUint32(r, uint32(len(r)-recordHead))
	binary.LittleEndian.PutUint32(r[4:], recordSum(r[:4], r[recordHead:]))
	clear(e.said)
	e.said, e.open = e.said[:0], false
}

func recordSum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// clock appends a record of its own.
func (e *encoder) clock(now Time, wall int64) {
	e.begin(recordClock)
	e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(now))
	e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(wall))
	e.end()
}

func (e *encoder) Commit(p Position) {
	if !e.open { // nothing, but it has a position
		e.begin(recordChanges)
	}
	e.end()
	e.image.Commit(p)
}

func (e *encoder) kind(k changeKind) {
	if !e.open {
		e.begin(recordChanges)
	}
	e.byte(byte(k))
}

// about begins a change of a client's.
func (e *encoder) about(k changeKind, clientID string) {
	e.kind(k)
	e.text(clientID)
}

func (e *encoder) byte(b byte)     { e.buf = append(e.buf, b) }
func (e *encoder) number(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }
func (e *encoder) time(t Time)     { e.buf = binary.AppendVarint(e.buf, t) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) message(m *Message) {
	for i := len(e.said) - 1; i >= max(0, len(e.said)-saidMax); i-- {
		if e.said[i] == m {
			e.number(uint64(i) + 1)
			return
		}
	}
	e.said = append(e.said, m)
	bits := m.QoS & 3
	if m.Retain {
		bits |= bitRetain
	}
	if m.Expires != Never {
		bits |= bitExpires
	}
	if m.Origin != nil {
		bits |= bitOrigin
	}
	e.number(0)
	e.byte(bits)
	e.number(m.Stored)
	e.number(uint64(len(m.Topic)))
	e.number(uint64(len(m.Properties)))
	e.number(uint64(len(m.Payload)))
	e.buf = append(append(append(e.buf, m.Topic...), m.Properties...), m.Payload...)
	if m.Expires != Never {
		e.time(m.Expires)
	}
	if m.Origin != nil {
		e.text(m.Origin.ClientID)
		e.text(m.Origin.Username)
		e.number(uint64(m.Origin.Listener))
	}
}

func (e *encoder) Retain(m *Message) {
	e.kind(didRetain)
	e.message(m)
	e.image.Retain(m)
}

func (e *encoder) Unretain(topic string) {
	e.kind(didUnretain)
	e.text(topic)
	e.image.Unretain(topic)
}

func (e *encoder) Session(s Session) {
	e.about(didSession, s.ClientID)
	e.text(s.Username)
	e.number(uint64(s.Listener))
	e.number(uint64(s.Expiry))
	e.time(s.Gone)
	e.number(uint64(s.LastID))
	e.image.Session(s)
}

func (e *encoder) Forget(clientID string) {
	e.about(didForget, clientID)
	e.image.Forget(clientID)
}

func (e *encoder) Subscribe(s *Subscription) {
	e.about(didSubscribe, s.ClientID)
	e.text(s.Filter)
	e.number(uint64(s.ID))
	e.byte(s.Options)
	e.image.Subscribe(s)
}

func (e *encoder) Unsubscribe(clientID, filter string) {
	e.about(didUnsubscribe, clientID)
	e.text(filter)
	e.image.Unsubscribe(clientID, filter)
}

func (e *encoder) Deliver(clientID string, d Delivery) {
	known := e.image.known(clientID, &d)
	k := didDeliver
	if known {
		k = didMove
	}
	e.about(k, clientID)
	e.number(d.Number)
	e.byte(d.bits())
	e.number(uint64(d.ID))
	if !known {
		e.number(uint64(d.SubscriptionID))
		e.text(d.Share)
		e.message(d.Message)
	}
	e.image.Deliver(clientID, d)
}

func (e *encoder) Delivered(clientID string, number uint64) {
	e.about(didDelivered, clientID)
	e.number(number)
	e.image.Delivered(clientID, number)
}

func (e *encoder) Receive(clientID string, id uint16, m *Message) {
	e.about(didReceive, clientID)
	e.number(uint64(id))
	e.message(m)
	e.image.Receive(clientID, id, m)
}

func (e *encoder) Received(clientID string, id uint16) {
	e.about(didReceived, clientID)
	e.number(uint64(id))
	e.said = append(e.said, e.image.incomingAt(clientID, id))
	e.image.Received(clientID, id)
}

func (e *encoder) Will(clientID string, w *Will) {
	if w == nil {
		e.about(didNoWill, clientID)
	} else {
		e.about(didWill, clientID)
		e.number(uint64(w.Delay))
		e.byte(flag(w.Expires))
		e.number(uint64(w.Expiry))
		e.time(w.Due)
		e.message(w.Message)
	}
	e.image.Will(clientID, w)
}

func (e *encoder) Cursor(clientID string, number uint64, c Cursor) {
	e.about(didCursor, clientID)
	e.number(number)
	e.text(c.Filter)
	e.text(c.Next)
	e.number(c.Until)
	e.number(uint64(c.SubscriptionID))
	e.byte(c.Options)
	kept := 0
	if was := e.image.cursorAt(clientID, number); was != nil {
		kept = min(len(was.Early), len(c.Early))
	}
	e.number(uint64(kept))
	e.number(uint64(len(c.Early) - kept))
	for _, topic := range c.Early[kept:] {
		e.text(topic)
	}
	e.image.Cursor(clientID, number, c)
}

func (e *encoder) CursorDone(clientID string, number uint64) {
	e.about(didCursorDone, clientID)
	e.number(number)
	e.image.CursorDone(clientID, number)
}

// decoder has an image take the changes of records. What refers to something that
// the image does not have, for the snapshot it was in is lost or damaged, is
// passed over and counted.
type decoder struct {
	fields
	image   *Image // nil: nothing is taken, only looked at
	said    []*Message
	origins map[Origin]*Origin // shared by the messages of a client
	lost    int
}

// originsMax bounds the table of shared origins; those in use live on without it.
const originsMax = 1 << 16

// changes takes all of a record, or, where it makes no sense, nothing.
func (d *decoder) changes(body []byte) bool {
	try := decoder{fields: fields{b: body}}
	try.all()
	if try.short {
		return false
	}
	d.b = body
	d.all()
	return true
}

func (d *decoder) all() {
	for len(d.b) > 0 && !d.short {
		d.change()
	}
	clear(d.said)
	d.said = d.said[:0]
}

// number is one of at most so many bits.
func (d *decoder) number(bits int) uint64 {
	v := d.uvarint()
	if bits < 64 && v>>bits != 0 {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) time() Time { return d.varint() }

// bytes are a string's, not copied.
func (d *decoder) bytes() []byte { return d.take(d.count(1)) }

// text is a string of its own, where something is taken.
func (d *decoder) text() string {
	b := d.bytes()
	if d.image == nil {
		return ""
	}
	return string(b)
}

// client is a client id: the string its session has, if there is one.
func (d *decoder) client() string {
	b := d.bytes()
	if d.image == nil {
		return ""
	}
	if last := d.image.last; last != nil && last.ClientID == string(b) {
		return last.ClientID
	}
	id := string(b)
	if s := d.image.find(id); s != nil {
		return s.ClientID
	}
	return id
}

// message gives nil for one that is lost.
func (d *decoder) message() *Message {
	if i := d.number(63); i > 0 {
		if i > uint64(len(d.said)) {
			d.fail()
			return nil
		}
		return d.said[i-1]
	}
	m := d.newMessage()
	d.said = append(d.said, m)
	return m
}

func (d *decoder) newMessage() *Message {
	bits, stored := d.byte(), d.number(64)
	t, p, n := d.number(32), d.number(32), d.number(32)
	b := d.take(int(min(t+p+n, math.MaxInt32))) // no record is so long
	d.short = d.short || bits&3 == 3
	expires := Never
	if bits&bitExpires != 0 {
		expires = d.time()
	}
	var from *Origin
	if bits&bitOrigin != 0 {
		from = d.origin()
	}
	if d.image == nil || d.short {
		return nil
	}
	all := string(b)
	return &Message{
		Topic: all[:t], Properties: all[t : t+p], Payload: all[t+p:],
		Origin: from, Expires: expires, Stored: stored, QoS: bits & 3, Retain: bits&bitRetain != 0,
	}
}

func (d *decoder) origin() *Origin {
	o := Origin{ClientID: d.client(), Username: d.text(), Listener: int(d.number(16))}
	if d.image == nil {
		return nil
	}
	if shared := d.origins[o]; shared != nil {
		return shared
	}
	if d.origins == nil || len(d.origins) >= originsMax {
		d.origins = make(map[Origin]*Origin)
	}
	d.origins[o] = &o
	return &o
}

// change reads one change and has it taken.
func (d *decoder) change() {
	take := d.image != nil
	switch k := changeKind(d.byte()); k {
	case didRetain:
		if m := d.message(); take && d.found(m) {
			d.image.Retain(m)
		}
	case didUnretain:
		if topic := d.text(); take {
			d.image.Unretain(topic)
		}
	case didSession:
		s := Session{
			ClientID: d.client(), Username: d.text(), Listener: int(d.number(16)),
			Expiry: uint32(d.number(32)), Gone: d.time(), LastID: uint16(d.number(16)),
		}
		if take {
			d.image.Session(s)
		}
	case didForget:
		if id := d.client(); take {
			d.image.Forget(id)
		}
	case didSubscribe:
		s := &Subscription{ClientID: d.client(), Filter: d.text(), ID: uint32(d.number(32)), Options: d.byte()}
		if take {
			d.image.Subscribe(s)
		}
	case didUnsubscribe:
		if id, filter := d.client(), d.text(); take {
			d.image.Unsubscribe(id, filter)
		}
	case didDeliver, didMove:
		d.deliver(k == didMove)
	case didDelivered:
		if id, n := d.client(), d.number(64); take {
			d.image.Delivered(id, n)
		}
	case didReceive:
		id, mid := d.client(), uint16(d.number(16))
		if m := d.message(); take && d.found(m) {
			d.image.Receive(id, mid, m)
		}
	case didReceived:
		d.received()
	case didWill:
		d.will()
	case didNoWill:
		if id := d.client(); take {
			d.image.Will(id, nil)
		}
	case didCursor:
		d.cursor()
	case didCursorDone:
		if id, n := d.client(), d.number(64); take {
			d.image.CursorDone(id, n)
		}
	default:
		d.short = true
	}
}

// found counts a message that is lost.
func (d *decoder) found(m *Message) bool {
	if m == nil {
		d.lost++
	}
	return m != nil
}

func (d *decoder) deliver(known bool) {
	id, number, bits, mid := d.client(), d.number(64), d.byte(), uint16(d.number(16))
	v := Delivery{Number: number, ID: mid, QoS: bits & 3, Retain: bits&bitRetain != 0, State: State(bits >> bitState)}
	if bits&3 == 3 || v.State > Released {
		d.short = true
		return
	}
	if !known {
		v.SubscriptionID, v.Share = uint32(d.number(32)), d.text()
		v.Message = d.message()
	}
	if d.image == nil {
		return
	}
	if known {
		was := d.image.deliveryAt(id, number)
		v.Message, v.SubscriptionID, v.Share = was.Message, was.SubscriptionID, was.Share
	}
	if d.found(v.Message) {
		d.image.Deliver(id, v)
	}
}

func (d *decoder) received() {
	id, mid := d.client(), uint16(d.number(16))
	if d.image == nil {
		d.said = append(d.said, nil)
		return
	}
	d.said = append(d.said, d.image.incomingAt(id, mid))
	d.image.Received(id, mid)
}

func (d *decoder) will() {
	id := d.client()
	w := &Will{Delay: uint32(d.number(32)), Expires: d.byte() != 0, Expiry: uint32(d.number(32)), Due: d.time()}
	w.Message = d.message()
	if d.image != nil && d.found(w.Message) {
		d.image.Will(id, w)
	}
}

func (d *decoder) cursor() {
	id, number := d.client(), d.number(64)
	c := Cursor{
		Filter: d.text(), Next: d.text(), Until: d.number(64),
		SubscriptionID: uint32(d.number(32)), Options: d.byte(),
	}
	kept, added := d.number(32), d.number(32)
	if d.image != nil {
		if was := d.image.cursorAt(id, number); was != nil {
			c.Early = was.Early[:min(kept, uint64(len(was.Early)))]
		}
	}
	for ; added > 0 && !d.short; added-- {
		if topic := d.text(); d.image != nil {
			c.Early = append(c.Early, topic)
		}
	}
	if d.image != nil {
		d.image.Cursor(id, number, c)
	}
}
