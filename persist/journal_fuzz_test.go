package persist

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// FuzzJournal: any bytes in the place of a segment give a state, or the first part of
// one, in bounded memory.
func FuzzJournal(f *testing.F) {
	enc := &encoder{image: NewImage()}
	r := &random{rnd: rand.New(rand.NewPCG(1, 5)), to: []Recorder{enc}}
	for p := range Position(50) {
		r.change()
		r.change()
		enc.Commit(p + 1)
		enc.clock(Time(p), int64(p))
	}
	head := segment{number: 1, first: 1, clock: clock{1, 2}}
	f.Add(append(head.append(nil), enc.buf...))
	f.Add(head.append(nil))
	for _, at := range []int{10, 200, 900} {
		f.Add(append(head.append(nil), enc.buf[:at]...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := openSegment(bytes.NewReader(data), "x", int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.replay(&decoder{image: NewImage()}, nil); err != nil {
			t.Fatal(err)
		}
		if s.good > int64(len(data)) {
			t.Fatalf("%d of %d bytes are good", s.good, len(data))
		}
	})
}

// FuzzChanges: the same for what a record says, which no checksum guards here.
func FuzzChanges(f *testing.F) {
	enc := &encoder{image: NewImage()}
	r := &random{rnd: rand.New(rand.NewPCG(1, 6)), to: []Recorder{enc}}
	for p := range Position(60) {
		enc.buf = enc.buf[:0]
		r.change()
		r.change()
		enc.Commit(p + 1)
		f.Add(enc.buf[recordHead+1:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &decoder{image: NewImage()}
		before := d.image.lines()
		if !d.changes(data) {
			same(t, "a record that makes no sense", d.image.lines(), before)
			return
		}
		enc := &encoder{image: NewImage()}
		d.image.tellAll(enc)
		again := &decoder{image: NewImage()}
		enc.Commit(1)
		body, ok := cutRecord(enc.buf)
		if !ok || !again.changes(body[1:]) {
			t.Fatal("what was read cannot be written and read again")
		}
		same(t, "read again", again.image.lines(), d.image.lines())
	})
}
