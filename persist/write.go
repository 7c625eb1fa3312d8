package persist

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math"
	"slices"
)

// optionsBesideQoS are the options that a subscription's chunk has in a byte of their own.
const optionsBesideQoS = OptionNoLocal | OptionRetainAsPublished | 3<<4

// errOwnSize: a chunk is at most 4 GiB long.
var errOwnSize = errors.New("wills and retained deliveries under way are more than 4 GiB")

// snapshotWriter writes an image.
type snapshotWriter struct {
	out      *sink
	image    *Image
	stamp    Stamp
	messages []*Message // all that anything refers to, in the order of their numbers
	inflight []uint64   // a bit for each packet identifier that is under way
}

// writeSnapshot writes a frozen image and gives the number of bytes. w need not
// have a buffer. Beside the image it needs 8 bytes of memory for each message.
func writeSnapshot(w io.Writer, im *Image, stamp Stamp, stopped bool) (int64, error) {
	s := &snapshotWriter{out: newSink(w), image: im, stamp: stamp, inflight: make([]uint64, (math.MaxUint16+1)/64)}
	s.collect()
	s.header(stopped)
	for _, m := range s.messages {
		s.message(m)
	}
	for one := range im.Sessions() {
		s.session(one)
	}
	for sub := range im.Subscriptions() {
		c := subscriptionChunk{sub.ID, sub.ClientID, sub.Filter, sub.QoS(), sub.Options & optionsBesideQoS}
		s.out.buf = c.append(s.out.room())
	}
	for m := range im.Retained() {
		c := retainedChunk{m.Stored}
		s.out.buf = c.append(s.out.room())
	}
	s.ending()
	return s.out.n, s.out.err
}

// collect finds the messages. One that waits for many is one: its number is its own.
func (s *snapshotWriter) collect() {
	im := s.image
	all := make([]*Message, 0, im.RetainedLen()+im.DeliveriesLen()+im.IncomingLen())
	for m := range im.Retained() {
		all = append(all, m)
	}
	for one := range im.Sessions() {
		for d := range im.Deliveries(one.ClientID) {
			all = append(all, d.Message)
		}
		for _, m := range im.Incoming(one.ClientID) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *Message) int { return cmp.Compare(a.Stored, b.Stored) })
	s.messages = slices.CompactFunc(all, func(a, b *Message) bool { return a.Stored == b.Stored })
}

func (s *snapshotWriter) header(stopped bool) {
	b := append(s.out.buf, magic...)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, versionNow)
	c := configChunk{s.image.Number(), stopped, idSize, true}
	s.out.buf = c.append(b)
}

// unix is an instant in seconds of wall time, not before it; never 0, which has a meaning.
func (s *snapshotWriter) unix(t Time) int64 {
	ms := t - s.stamp.Now + s.stamp.Wall
	return max(1, (ms+999)/1000)
}

func (s *snapshotWriter) message(m *Message) {
	c := messageChunk{
		id: m.Stored, topic: m.Topic, payload: m.Payload, properties: m.Properties,
		qos: m.QoS, retain: flag(m.Retain),
	}
	if m.Expires != Never {
		c.expires = s.unix(m.Expires)
	}
	if m.Origin != nil {
		c.source, c.user, c.port = m.Origin.ClientID, m.Origin.Username, uint16(m.Origin.Listener)
	}
	if !plainProperties(c.properties) {
		c.properties = withoutIdentifiers(c.properties)
	}
	s.out.buf = c.append(s.out.room())
	s.out.bytes(c.payload)
	s.out.buf = c.appendSection(s.out.buf)
}

func withoutIdentifiers(list string) string {
	out := make([]byte, 0, len(list))
	eachProperty(list, func(id byte, all string) {
		if id != propSubscriptionID {
			out = append(out, all...)
		}
	})
	return string(out)
}

// session writes a session and, behind it, its deliveries.
func (s *snapshotWriter) session(one *Session) {
	c := sessionChunk{expiry: one.Expiry, client: one.ClientID, user: one.Username, last: one.LastID, port: uint16(one.Listener)}
	if one.Expiry != neverEnds {
		from := one.Gone
		if from == Never {
			from = s.stamp.Now // as if it were cut off now
		}
		c.expires = s.unix(from + Time(one.Expiry)*1000)
	}
	for mid, d := range s.placed(one) {
		if d.State == Queued && mid != 0 {
			c.last = mid
		}
	}
	s.out.buf = c.append(s.out.room())
	for mid, m := range s.image.Incoming(one.ClientID) {
		d := deliveryChunk{message: m.Stored, client: one.ClientID, mid: mid, qos: 2, state: stateAwaitPubrel}
		s.out.buf = d.append(s.out.room())
	}
	for mid, d := range s.placed(one) {
		c := deliveryChunk{
			message: d.Message.Stored, client: one.ClientID, mid: mid, qos: d.QoS, state: d.inFile(),
			retain: d.Retain, dup: d.State != Queued, outgoing: true,
		}
		c.subscriptionID, _ = d.identifier()
		s.out.buf = c.append(s.out.room())
	}
}

// identifier is the Subscription Identifier that the file can have, or 0, and
// whether it is the first of those that are among the message's properties.
func (d *Delivery) identifier() (id uint32, inside bool) {
	if d.SubscriptionID != 0 || plainProperties(d.Message.Properties) {
		return d.SubscriptionID, false
	}
	eachProperty(d.Message.Properties, func(kind byte, all string) {
		if kind == propSubscriptionID && id == 0 {
			f := fields{b: raw(all[1:])}
			id = uint32(f.mqttVarint())
		}
	})
	return id, id != 0
}

// inFile is mosquitto's name for the state of a delivery.
func (d *Delivery) inFile() byte {
	switch {
	case d.State == Sent && d.QoS == 1:
		return stateAwaitPuback
	case d.State == Sent:
		return stateAwaitPubrec
	case d.State == Released:
		return stateAwaitPubcmp
	}
	return stateQueued
}

// placed lists the deliveries of a session as mosquitto has them, first those
// under way and then those that wait, each with its packet identifier: mosquitto
// gives one also to what waits, and would send a 0.
func (s *snapshotWriter) placed(one *Session) iter.Seq2[uint16, Delivery] {
	return func(yield func(uint16, Delivery) bool) {
		clear(s.inflight)
		n := 0
		for d := range s.image.Deliveries(one.ClientID) {
			if d.State == Queued {
				continue
			}
			s.inflight[d.ID/64] |= 1 << (d.ID % 64)
			n++
			if !yield(d.ID, d) {
				return
			}
		}
		next := one.LastID
		for d := range s.image.Deliveries(one.ClientID) {
			if d.State != Queued {
				continue
			}
			mid := uint16(0)
			if d.QoS > 0 {
				next = s.free(next, n)
				mid = next
			}
			if !yield(mid, d) {
				return
			}
		}
	}
}

// free is the next packet identifier behind id that none of the n under way has.
func (s *snapshotWriter) free(id uint16, n int) uint16 {
	for {
		id++
		if id != 0 && (s.inflight[id/64]>>(id%64)&1 == 0 || n >= math.MaxUint16) {
			return id
		}
	}
}

// ending writes midge's own chunk, whose length is found by writing it dry.
func (s *snapshotWriter) ending() {
	s.out.flush()
	before := s.out.sum
	file := s.out
	s.out = newSink(nil)
	s.out.dry = true
	s.own()
	s.out.flush()
	length := ownHeadSize + s.out.n + ownSumSize
	s.out = file
	if length > math.MaxUint32 {
		if s.out.err == nil {
			s.out.err = errOwnSize
		}
		return
	}
	s.out.sum = 0
	b := binary.BigEndian.AppendUint32(s.out.buf, kindOwn)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint32(b, before)
	b = append(b, ownFormat)
	for _, v := range [...]uint64{s.stamp.ID, s.stamp.Segment, uint64(s.stamp.Now), uint64(s.stamp.Wall)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	s.out.buf = b
	s.own()
	s.out.flush()
	s.out.buf = binary.BigEndian.AppendUint32(s.out.buf, s.out.sum)
	s.out.flush()
}
