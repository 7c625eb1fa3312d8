package persist

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// FuzzReadSnapshot: no file brings midge down, and what was read is the same
// after it was written and read again.
func FuzzReadSnapshot(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.db")
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(written(f, legal(rand.New(rand.NewPCG(1, 1)), 30), Stamp{ID: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
		if err != nil {
			return
		}
		same(t, "image", rewrite(t, s.image, s.stamp).image.lines(), s.image.lines())
	})
}

// FuzzOwnChunk: the same of midge's own chunk, whose checksum is right.
func FuzzOwnChunk(f *testing.F) {
	im := legal(rand.New(rand.NewPCG(2, 2)), 30)
	b := written(f, im, Stamp{ID: 1})
	at := chunkAt(f, b, kindOwn, 0)
	f.Add(b[at+headSize+ownHeadSize : len(b)-ownSumSize])
	before := b[:at]
	f.Fuzz(func(t *testing.T, lists []byte) {
		r := newRestore(new(snapshot))
		c, err := newChunks(newSource(bytes.NewReader(before), int64(len(before)), nil), r.found)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.read(c); err != nil {
			t.Fatal(err)
		}
		o := own{rest: fields{b: lists}}
		r.own = true
		r.numberMessages()
		o.number = o.rest.uvarint()
		o.apply(r)
		r.finish()
	})
}
