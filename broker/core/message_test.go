package core

import (
	"math/rand/v2"
	"testing"
)

// TestStock: what comes out has room for what was asked for, not much more, and
// what goes in comes out.
func TestStock(t *testing.T) {
	b := New(plain(), Options{}, 1)
	s := &b.free.messages
	rnd := rand.New(rand.NewPCG(7, 7))
	out := map[*message]bool{}
	for step := range 100_000 {
		if step%10_000 < 5000 {
			n := 1 + rnd.IntN(1<<rnd.IntN(18))
			m := b.blank(n, false)
			if out[m] {
				t.Fatal("a message was given out twice")
			}
			if int(m.Room) < n || int(m.Room) > n+n/2+2*smallRoom {
				t.Fatalf("room for %d bytes, of %d asked for", m.Room, n)
			}
			out[m] = true
			m.Topic = view(m.buffer()[:1])
		} else {
			for m := range out {
				delete(out, m)
				m.Uses = 1
				b.unuse(m)
				break
			}
		}
		if s.bytes > stockMax {
			t.Fatalf("%d bytes in stock", s.bytes)
		}
	}
	for m := range out {
		m.Uses = 1
		b.unuse(m)
	}
	before := s.bytes
	m := b.blank(100, false)
	if s.bytes != before-int(m.Room) {
		t.Error("a message was made although there was one")
	}
}

// TestStockKept: what somebody else has seen, and what lives long, is not used again.
func TestStockKept(t *testing.T) {
	b := New(plain(), Options{}, 1)
	m := b.message(&publication{topic: "a", payload: "b"})
	m.keep()
	b.unuse(m)
	if b.free.messages.bytes != 0 {
		t.Error("a message that was given away is in the stock")
	}
	m = b.message(&publication{topic: "a", payload: "b"})
	b.unuse(m)
	if again := b.message(&publication{topic: "a", payload: "b", retain: true}); again == m || int(again.Room) != smallRoom {
		t.Error("a retained message was made of an old one")
	}
}
