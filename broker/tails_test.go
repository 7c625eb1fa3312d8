package broker

import (
	"math/rand/v2"
	"testing"
)

// TestTails: there is room for what was asked for, not much more, and no buffer
// is given out twice.
func TestTails(t *testing.T) {
	var tails tails
	rnd := rand.New(rand.NewPCG(5, 5))
	out := map[*byte][]byte{}
	for step := range 50_000 {
		if step%5000 < 2500 {
			n := 1 + rnd.IntN(1<<rnd.IntN(18))
			buf := tails.take(n)
			if len(buf) != 0 || cap(buf) < n || cap(buf) > max(2*tailBlock, 4*n) {
				t.Fatalf("%d of %d bytes for %d", len(buf), cap(buf), n)
			}
			first := &buf[:1][0]
			if out[first] != nil {
				t.Fatal("a buffer was given out twice")
			}
			out[first] = buf
		} else {
			for first, buf := range out {
				delete(out, first)
				tails.put(buf[:cap(buf)][rnd.IntN(cap(buf)/2):]) // its beginning may have been used up
				break
			}
		}
		if tails.bytes > tailsMax || tails.bytes < 0 {
			t.Fatalf("%d bytes are kept", tails.bytes)
		}
	}
}

// TestTailsAgain: what is put back is used again.
func TestTailsAgain(t *testing.T) {
	var tails tails
	tails.put(nil)
	big := tails.take(1 << 20)
	tails.put(big)
	if again := tails.take(1 << 20); &again[:1][0] != &big[:1][0] {
		t.Error("a buffer was made although there was one")
	}
}

// TestTailSlides: a tail of which the beginning is used up is counted, and put back,
// with all that it keeps in memory.
func TestTailSlides(t *testing.T) {
	var s Server
	c := new(conn)
	for range 2000 {
		s.moveTail(c, make([]byte, readBuffer), 0)
		for len(c.left()) > 0 {
			s.advance(c, min(len(c.left()), 100+len(c.left())/3), 0)
		}
	}
	kept := 0
	for _, list := range s.tails.free {
		for _, buf := range list {
			kept += cap(buf)
		}
	}
	if kept != s.tails.bytes || len(s.tails.free[19]) != 1 {
		t.Errorf("%d bytes are counted of %d; %d buffers as large as a read", s.tails.bytes, kept, len(s.tails.free[19]))
	}
}
