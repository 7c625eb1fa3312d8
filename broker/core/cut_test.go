package core

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"midge/packet"
)

// TestCutWritten: large payloads are lent to outputs from the bytes of the read,
// several from one read, and a client that takes them at once costs no copy.
func TestCutWritten(t *testing.T) {
	r := newRig(t, plain())
	p, s := r.connect(packet.V311, "p"), r.connect(packet.V311, "s")
	s.subscribe("t", 0)
	r.settle()
	payloads := []string{strings.Repeat("a", cutMin), strings.Repeat("b", 3*cutMin)}
	var data []byte
	for _, payload := range payloads {
		data = p.publishing("t", payload, 0).Append(data, packet.V311)
	}
	want := bytes.Clone(data)
	used, _ := r.Receive(&p.c, data, len(data), r.now)
	if used != len(data) || p.c.More() {
		t.Fatalf("%d of %d bytes were used", used, len(data))
	}
	if filled := r.Filled(); len(filled) == 0 || filled[0] != &s.c {
		t.Error("the receiver is not to be written at once")
	}
	runs := r.Broker.Output(&s.c)
	if !within(data, runs[1]) || !within(data, runs[3]) {
		t.Error("a payload was copied")
	}
	if got := r.output(&s.c); !bytes.Equal(got, want) {
		t.Error("what is sent is not what came")
	}
	r.Flushed(&s.c, len(want), r.now)
	r.Settle()
	if r.free.messages.bytes != 0 || s.c.Pending() != 0 {
		t.Error("what was written has left something")
	}
}

// within says that part lies in all.
func within(all, part []byte) bool {
	for i := range all {
		if &all[i] == &part[0] {
			return true
		}
	}
	return false
}

// TestCutSettled: what the sockets did not take at once outlives the bytes of the
// read, is one copy for all, and arrives whole in however many writes; one client
// leaves in the middle.
func TestCutSettled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	for round := range 200 {
		r := newRig(t, plain())
		p := r.connect(packet.V5, "p")
		var subs []*peer
		for _, id := range []string{"s1", "s2", "s3", "s4"} {
			s := r.connect(packet.V5, id)
			s.subscribe("t", byte(round%2))
			subs = append(subs, s)
		}
		r.settle()
		for _, s := range subs {
			s.stalled = true
		}
		var data []byte
		for i := range 1 + rnd.IntN(3) {
			payload := strings.Repeat(string(rune('a'+i)), cutMin-5+rnd.IntN(10))
			data = p.publishing("t", payload, 0).Append(data, packet.V5)
		}
		want := bytes.Clone(data)
		got := make([][]byte, len(subs))
		take := func(i, n int) {
			out := r.output(&subs[i].c)
			n = min(n, len(out))
			got[i] = append(got[i], out[:n]...)
			r.Flushed(&subs[i].c, n, r.now)
		}
		for used := 0; used < len(data); {
			n, _ := r.Receive(&p.c, data[used:], 0, r.now)
			used += n
			for range r.Filled() {
				take(rnd.IntN(len(subs)), rnd.IntN(2*cutMin))
			}
			r.Settle()
			if err := r.check(); err != nil {
				t.Fatal(err)
			}
		}
		clear(data) // the next read
		r.Lost(&subs[3].c, nil, r.now)
		r.Discard(&subs[3].c)
		for i := range 3 {
			for subs[i].c.Pending() > 0 {
				take(i, 1+rnd.IntN(cutMin))
				if err := r.check(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got[i], want) {
				t.Fatalf("round %d: client %d received %d bytes that are not the %d that came", round, i, len(got[i]), len(want))
			}
		}
	}
}
