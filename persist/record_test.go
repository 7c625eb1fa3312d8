package persist

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRecordTwin: what a batch was told, written as records and read again, is the
// state that its changes make.
func TestRecordTwin(t *testing.T) {
	for seed := range uint64(6) {
		var b batch
		tw, enc := newTwin(), &encoder{image: NewImage()}
		r := &random{rnd: rand.New(rand.NewPCG(seed, 2)), to: []Recorder{tw, &b}}
		read := decoder{image: NewImage()}
		for p := range Position(300) {
			for range r.rnd.IntN(8) {
				r.change()
			}
			b.Commit(p + 1)
			if r.rnd.IntN(3) > 0 {
				continue
			}
			enc.buf = enc.buf[:0]
			b.tell(enc)
			b.reset()
			for rest := enc.buf; len(rest) > 0; {
				body, ok := cutRecord(rest)
				if !ok || body[0] != recordChanges || !read.changes(body[1:]) {
					t.Fatalf("seed %d, record %d: %x", seed, p+1, body)
				}
				rest = rest[recordHead+len(body):]
			}
			same(t, fmt.Sprintf("seed %d at %d, image", seed, p), enc.image.lines(), tw.lines())
			same(t, fmt.Sprintf("seed %d at %d, read", seed, p), read.image.lines(), tw.lines())
		}
		if read.lost != 0 || read.image.Number() != enc.image.Number() {
			t.Errorf("seed %d: %d lost, number %d of %d", seed, read.lost, read.image.Number(), enc.image.Number())
		}
	}
}

// TestRecordShort: every record cut short, and every one with a bit changed, is
// known to be bad, and changes nothing.
func TestRecordShort(t *testing.T) {
	enc := &encoder{image: NewImage()}
	r := &random{rnd: rand.New(rand.NewPCG(1, 3)), to: []Recorder{enc}}
	for range 40 {
		r.change()
	}
	enc.Commit(1)
	whole := enc.buf
	for n := range whole {
		if _, ok := cutRecord(whole[:n]); ok {
			t.Fatalf("the first %d of %d bytes are taken for a record", n, len(whole))
		}
	}
	body, _ := cutRecord(whole)
	read := decoder{image: NewImage()}
	for n := range len(body) - 1 {
		before := len(read.image.lines())
		if read.changes(body[1:1+n]) && before == len(read.image.lines()) && n > 0 {
			continue // it ended between two changes
		} else if len(read.image.lines()) != before {
			read.image = NewImage()
		}
	}
	for i := range whole {
		for bit := range 8 {
			bent := append([]byte(nil), whole...)
			bent[i] ^= 1 << bit
			if _, ok := cutRecord(bent); ok {
				t.Fatalf("bit %d of byte %d is changed, and not missed", bit, i)
			}
		}
	}
}

// TestRecordOnce: a message for many sessions, and one that moves on, is written once.
func TestRecordOnce(t *testing.T) {
	enc := &encoder{image: NewImage()}
	m := &Message{Topic: "t", Payload: string(make([]byte, 10_000)), Expires: Never, Stored: 1}
	enc.Retain(m)
	for i := range 100 {
		enc.Deliver(fmt.Sprint("c", i), Delivery{Message: m, Number: uint64(i) + 2, QoS: 1})
	}
	enc.Commit(1)
	for i := range 100 {
		enc.Deliver(fmt.Sprint("c", i), Delivery{Message: m, Number: uint64(i) + 2, QoS: 1, ID: 7, State: Sent})
	}
	enc.Commit(2)
	kept := &Message{Topic: "t", Payload: string(make([]byte, 10_000)), Expires: Never, Stored: 300, QoS: 2}
	enc.Receive("c", 5, kept)
	enc.Commit(3)
	enc.Received("c", 5)
	enc.Deliver("c1", Delivery{Message: kept, Number: 301, QoS: 2})
	enc.Commit(4)
	if n := len(enc.buf); n > 30_000 {
		t.Errorf("two messages of 10,000 bytes took %d", n)
	}
}

// TestRecordAllocs: what repeats allocates nothing.
func TestRecordAllocs(t *testing.T) {
	var b batch
	enc := &encoder{image: NewImage()}
	origin := &Origin{ClientID: "p"}
	m := &Message{Topic: "t", Payload: "x", Origin: origin, Expires: Never, Stored: 1}
	n := uint64(0)
	step := func() {
		for range 100 {
			n++
			b.Deliver("c", Delivery{Message: m, Number: n, ID: uint16(n), State: Sent, QoS: 1})
			b.Commit(Position(2 * n))
			b.Delivered("c", n)
			b.Commit(Position(2*n + 1))
		}
		enc.buf = enc.buf[:0]
		b.tell(enc)
		b.reset()
	}
	step()
	if allocs := testing.AllocsPerRun(100, step); allocs > 5 { // the B-tree makes its root anew
		t.Errorf("%v allocations for 200 records", allocs)
	}
}

// cutRecord gives the type and what follows it of the record that data begins with.
func cutRecord(data []byte) (body []byte, ok bool) {
	if len(data) < recordHead+1 {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(data)
	if n == 0 || uint64(n) > uint64(len(data)-recordHead) {
		return nil, false
	}
	body = data[recordHead : recordHead+int(n)]
	return body, recordSum(data[:4], body) == binary.LittleEndian.Uint32(data[4:])
}
