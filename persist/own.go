package persist

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// midge's own chunk. It is the last of a file and says what the chunks before it
// cannot. Numbers are varints as encoding/binary has them (u unsigned, v signed),
// a string (s) is its length (u) and its bytes, a list [] begins with its length
// (u), what stands in () is there when the flag in front of it is set. Instants
// (t) are Times as the image has them: a byte 0 for Never, or 1 and v.
//
//	+----------------+------------+--------+-------------+---------+----------+
//	| CRC before (4) | format (1) | id (8) | segment (8) | now (8) | wall (8) |
//	+----------------+------------+--------+-------------+---------+----------+
//	+----------+--------------+--------------+---------+
//	| number u | [ messages ] | [ sessions ] | CRC (4) |
//	+----------+--------------+--------------+---------+
//
//	message   flags (1), id u, more than that of the one before, (expires t), (properties s)
//	session   flags (1), client s, gone t, last id u, listener v, [ deliveries ], [ cursors ], (will)
//	delivery  flags (1), number v, more than that of the one before, message u, mid u, (share)
//	cursor    number u, filter s, next s, until u, subscription id u, options (1), [ early s ]
//	will      topic s, properties s, payload s, flags (1), (source s, user s, listener v), expires t, stored u, QoS (1),
//	          delay u, expiry u, due t
//	share     its number among the shares of the session, u; if it is a new one, s
//
// Numbers in the head are big-endian. The CRCs are CRC-32C: the first of all that
// is before the chunk, the last of the chunk from its head on. A message is
// listed when there is something to say of it. A delivery is found by message and
// mid among those of its client, which are in the same order in both lists.
const (
	ownFormat   = 1
	ownHeadSize = 4 + 1 + 4*8
	ownSumSize  = 4
)

// Flags within midge's chunk.
const (
	ownExpires    = 1 << 0 // of a message
	ownProperties = 1 << 1
	ownHasWill    = 1 << 0 // of a session
	ownShare      = 1 << 0 // of a delivery
	ownIDInside   = 1 << 1 // the Subscription Identifier is among the message's properties
	ownOrigin     = 1 << 0 // of a will
	ownRetain     = 1 << 1
	ownExpiry     = 1 << 2
)

// own is midge's chunk, read and found whole.
type own struct {
	stamp  Stamp
	before uint32 // CRC-32C
	number uint64
	rest   fields // the lists
}

func incompatible(size byte) error {
	return &FormatError{fmt.Sprintf("Incompatible database configuration (dbid size is %d bytes, expected %d)", size, idSize)}
}

// decodeOwn gives nil for a chunk that is not whole. One that a newer midge wrote
// is an error: what it says must not be lost.
func decodeOwn(c *chunks) (*own, error) {
	b := c.body.b
	if len(b) < ownHeadSize+ownSumSize {
		return nil, nil
	}
	end := len(b) - ownSumSize
	sum := crc32.Update(crc32.Checksum(c.head[:], castagnoli), castagnoli, b[:end])
	if sum != binary.BigEndian.Uint32(b[end:]) {
		return nil, nil
	}
	o := &own{rest: fields{b: b[:end]}}
	f := &o.rest
	o.before = f.uint32()
	if format := f.byte(); format != ownFormat {
		return nil, &FormatError{fmt.Sprintf("The database is of a newer midge (format %d, need format %d).", format, ownFormat)}
	}
	o.stamp = Stamp{ID: f.uint64(), Segment: f.uint64(), Now: Time(f.uint64()), Wall: int64(f.uint64())}
	o.number = f.uvarint()
	return o, nil
}

// apply adds what the chunk says to what was read before it.
func (o *own) apply(r *restore) bool {
	f := &o.rest
	r.number = max(r.number, o.number)
	r.exactMessages(f)
	for range f.count(1) {
		if f.short {
			return false
		}
		r.exactSession(f)
	}
	return f.done()
}

func (r *restore) exactMessages(f *fields) {
	id := uint64(0)
	for range f.count(2) {
		flags := f.byte()
		id += f.uvarint()
		m := r.messages.find(id)
		if m == nil {
			m = new(Message) // it was lost
		}
		if flags&ownExpires != 0 {
			m.Expires = f.time()
		}
		if flags&ownProperties != 0 {
			m.Properties = f.properties()
		}
	}
}

func (r *restore) exactSession(f *fields) {
	flags, client := f.byte(), f.string()
	if client == "" {
		f.short = true
		return
	}
	s := r.sessionOf(client)
	s.Gone, s.LastID, s.Listener = f.time(), uint16(f.uvarint()), int(f.varint())
	s.exactDeliveries(f)
	for range f.count(6) {
		s.cursors = append(s.cursors, f.cursor())
	}
	if flags&ownHasWill != 0 {
		s.will = f.will()
	}
}

// ahead is how many deliveries that the chunk does not know are passed over in
// search of one that it does.
const ahead = 16

func (s *restored) exactDeliveries(f *fields) {
	rest := s.deliveries
	number := uint64(0)
	var shares []string
	for range f.count(4) {
		flags := f.byte()
		number += uint64(f.varint())
		id, mid, share := f.uvarint(), uint16(f.uvarint()), ""
		if flags&ownShare != 0 {
			share = f.share(&shares)
		}
		for i := range min(ahead, len(rest)) {
			if d := &rest[i]; d.Message.Stored == id && d.mid == mid {
				d.Number, d.Share = number, share
				if flags&ownIDInside != 0 {
					d.SubscriptionID = 0
				}
				rest = rest[i+1:]
				break
			}
		}
	}
}

// share is a string, or the number of one that came before in the same session.
func (f *fields) share(before *[]string) string {
	i := f.uvarint()
	switch {
	case i < uint64(len(*before)):
		return (*before)[i]
	case i > uint64(len(*before)):
		f.short = true
		return ""
	}
	s := strings.Clone(f.string())
	*before = append(*before, s)
	return s
}

func (f *fields) properties() string {
	s := f.string()
	if !eachProperty(s, func(byte, string) {}) {
		f.short = true
		return ""
	}
	return strings.Clone(s)
}

func (f *fields) cursor() ownCursor {
	c := ownCursor{number: f.uvarint(), Cursor: Cursor{Filter: strings.Clone(f.string()), Next: strings.Clone(f.string())}}
	c.Until, c.SubscriptionID, c.Options = f.uvarint(), uint32(f.uvarint()), f.byte()
	for range f.count(1) {
		c.Early = append(c.Early, strings.Clone(f.string()))
	}
	return c
}

func (f *fields) will() *Will {
	m := &Message{Topic: strings.Clone(f.string()), Properties: f.properties(), Payload: strings.Clone(f.string())}
	flags := f.byte()
	if flags&ownOrigin != 0 {
		m.Origin = &Origin{strings.Clone(f.string()), strings.Clone(f.string()), int(f.varint())}
	}
	m.Expires, m.Stored, m.QoS, m.Retain = f.time(), f.uvarint(), f.byte(), flags&ownRetain != 0
	return &Will{
		Message: m, Delay: uint32(f.uvarint()), Expiry: uint32(f.uvarint()),
		Expires: flags&ownExpiry != 0, Due: f.time(),
	}
}

// appendOwn writes the lists of midge's chunk.
func (w *snapshotWriter) own() {
	w.out.buf = binary.AppendUvarint(w.out.buf, w.image.Number())
	w.ownMessages()
	w.out.buf = binary.AppendUvarint(w.out.buf, uint64(w.image.SessionsLen()))
	for s := range w.image.Sessions() {
		w.ownSession(s)
	}
}

func (w *snapshotWriter) ownMessages() {
	n, id := 0, uint64(0)
	for _, m := range w.messages {
		if ownMessage(m) != 0 {
			n++
		}
	}
	w.out.buf = binary.AppendUvarint(w.out.buf, uint64(n))
	for _, m := range w.messages {
		flags := ownMessage(m)
		if flags == 0 {
			continue
		}
		b := append(w.out.room(), flags)
		b = binary.AppendUvarint(b, m.Stored-id)
		if flags&ownExpires != 0 {
			b = appendTime(b, m.Expires)
		}
		w.out.buf = b
		if flags&ownProperties != 0 {
			w.out.string(m.Properties)
		}
		id = m.Stored
	}
}

// ownMessage says what is to be said of a message, in flags.
func ownMessage(m *Message) (flags byte) {
	if m.Expires != Never {
		flags |= ownExpires
	}
	if !plainProperties(m.Properties) {
		flags |= ownProperties
	}
	return flags
}

func (w *snapshotWriter) ownSession(s *Session) {
	will := w.image.WillOf(s.ClientID)
	w.out.buf = append(w.out.room(), flag(will != nil)*ownHasWill)
	w.out.string(s.ClientID)
	b := appendTime(w.out.buf, s.Gone)
	b = binary.AppendUvarint(b, uint64(s.LastID))
	w.out.buf = binary.AppendVarint(b, int64(s.Listener))
	w.ownDeliveries(s)
	n := 0
	for range w.image.Cursors(s.ClientID) {
		n++
	}
	w.out.buf = binary.AppendUvarint(w.out.buf, uint64(n))
	for number, c := range w.image.Cursors(s.ClientID) {
		w.out.buf = binary.AppendUvarint(w.out.room(), number)
		w.out.cursor(c)
	}
	if will != nil {
		w.out.will(will)
	}
}

func (w *snapshotWriter) ownDeliveries(s *Session) {
	n, number := 0, uint64(0)
	for range w.placed(s) {
		n++
	}
	w.out.buf = binary.AppendUvarint(w.out.buf, uint64(n))
	shares := map[string]uint64{}
	for mid, d := range w.placed(s) {
		_, inside := d.identifier()
		b := append(w.out.room(), flag(d.Share != "")*ownShare|flag(inside)*ownIDInside)
		b = binary.AppendVarint(b, int64(d.Number-number))
		b = binary.AppendUvarint(b, d.Message.Stored)
		w.out.buf = binary.AppendUvarint(b, uint64(mid))
		number = d.Number
		if d.Share != "" {
			w.out.share(d.Share, shares)
		}
	}
}

func (o *sink) share(s string, before map[string]uint64) {
	i, ok := before[s]
	if !ok {
		i = uint64(len(before))
		before[s] = i
	}
	o.buf = binary.AppendUvarint(o.buf, i)
	if !ok {
		o.string(s)
	}
}

func (o *sink) cursor(c *Cursor) {
	o.string(c.Filter)
	o.string(c.Next)
	b := binary.AppendUvarint(o.buf, c.Until)
	b = binary.AppendUvarint(b, uint64(c.SubscriptionID))
	b = append(b, c.Options)
	o.buf = binary.AppendUvarint(b, uint64(len(c.Early)))
	for _, topic := range c.Early {
		o.room()
		o.string(topic)
	}
}

func (o *sink) will(w *Will) {
	m := w.Message
	o.string(m.Topic)
	o.string(m.Properties)
	o.string(m.Payload)
	o.buf = append(o.buf, flag(m.Origin != nil)*ownOrigin|flag(m.Retain)*ownRetain|flag(w.Expires)*ownExpiry)
	if m.Origin != nil {
		o.string(m.Origin.ClientID)
		o.string(m.Origin.Username)
		o.buf = binary.AppendVarint(o.buf, int64(m.Origin.Listener))
	}
	b := appendTime(o.buf, m.Expires)
	b = binary.AppendUvarint(b, m.Stored)
	b = append(b, m.QoS)
	b = binary.AppendUvarint(b, uint64(w.Delay))
	b = binary.AppendUvarint(b, uint64(w.Expiry))
	o.buf = appendTime(b, w.Due)
}

func appendTime(b []byte, t Time) []byte {
	if t == Never {
		return append(b, 0)
	}
	return binary.AppendVarint(append(b, 1), t)
}

func (f *fields) time() Time {
	if f.byte() == 0 {
		return Never
	}
	return f.varint()
}
