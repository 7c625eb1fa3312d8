package broker

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"midge/broker/core"
	"midge/packet"
)

// connectionOf is the server's end of w.
func (in *inside) connectionOf(w *wire) (c *conn) {
	in.Helper()
	in.ask(func() {
		at := slices.IndexFunc(in.conns, func(c *conn) bool { return c != nil && int(c.port) == w.LocalAddr().(*net.TCPAddr).Port })
		if at >= 0 {
			c = in.conns[at]
		}
	})
	if c == nil {
		in.Fatal("no connection of ", w.LocalAddr())
	}
	return c
}

// TestGoOnOrder: who had more to do than there was time for goes on in the order of
// coming, and in a turn that has little time left one of them at least.
func TestGoOnOrder(t *testing.T) {
	in := serveInside(t, "")
	var all []*conn
	for i := range 4 {
		all = append(all, in.connectionOf(in.join(fmt.Sprint(i), packet.V311, true)))
	}
	in.ask(func() {
		list := func() {
			in.again = slices.Clone(all)
			for _, c := range all {
				c.marks |= markListed
			}
		}
		list()
		in.spent = core.WorkTurn + 1
		for i := range all {
			if !slices.Equal(in.again, all[i:]) {
				t.Errorf("after %d turns %d connections wait, or not in order", i, len(in.again))
			}
			in.goOn(in.now())
			if all[i].marks&markListed != 0 {
				t.Errorf("the connection of turn %d is still listed", i)
			}
		}
		list()
		in.spent = 0
		in.unwritten = make([]*conn, flushMax+1)
		in.goOn(in.now())
		if in.unwritten = nil; len(in.again) != 3 {
			t.Errorf("%d connections wait after a turn with much to be written", len(in.again))
		}
		if in.goOn(in.now()); len(in.again) != 0 {
			t.Errorf("%d connections wait after a turn with time", len(in.again))
		}
	})
}

// TestTurnBudget: what one turn does is bounded, however many want however much.
func TestTurnBudget(t *testing.T) {
	const readers, writers, each = 20, 40, 2000
	in := serveInside(t, "max_queued_messages 0")
	for i := range readers {
		r := in.join(fmt.Sprint("r", i), packet.V311, true)
		r.subscribe("t", 0)
		go io.Copy(io.Discard, r)
	}
	var much []byte
	for range each {
		much = publishing("t", "x", 0, 0).Append(much, packet.V311)
	}
	for i := range writers {
		w := in.join(fmt.Sprint("w", i), packet.V311, true)
		go w.Write(much)
	}
	most := 0
	for delivered := uint64(0); delivered < readers*writers*each; {
		in.ask(func() {
			most = max(most, in.spent)
			delivered = uint64(in.core.Figures().PublishSent)
		})
	}
	one := 5 * (readers + 1) // what a packet more than the share may come to
	if limit := 6*core.WorkTurn + writers*(512+one); most > limit || most < core.WorkTurn {
		t.Errorf("the longest turn took %d, of at most %d", most, limit)
	}
}

// TestWriteBudget: a large message for many is not written to all of them in one turn.
func TestWriteBudget(t *testing.T) {
	const readers, size, n = 100, 1_500_000, 3
	in := serveInside(t, "")
	var ready sync.WaitGroup
	for i := range readers {
		r := in.join(fmt.Sprint("r", i), packet.V311, true)
		r.subscribe("t", 0)
		ready.Go(func() {
			if got, err := io.CopyN(io.Discard, r.r, n*size); err != nil {
				t.Errorf("%d bytes came: %v", got, err)
			}
		})
	}
	most, last := uint64(0), uint64(0)
	var look func()
	look = func() { // once in each turn
		sent := uint64(in.core.Figures().BytesSent)
		most, last = max(most, sent-last), sent
		if !in.stopping {
			in.poll.Post(look)
		}
	}
	in.ask(look)
	w := in.join("w", packet.V311, true)
	for range n {
		w.send(publishing("t", strings.Repeat("x", size), 0, 0))
	}
	ready.Wait()
	in.ask(func() {
		if most > 2*(writtenMax+2*size) || most < writtenMax {
			t.Errorf("%d bytes were written in one turn", most)
		}
	})
}
