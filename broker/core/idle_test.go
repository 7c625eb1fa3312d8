package core

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"midge/packet"
)

// TestSizes: what there is one of for each client fits its size class of Go's
// allocator, and what a delivery looks at is at the beginning.
func TestSizes(t *testing.T) {
	var c Client
	for _, x := range []struct {
		what       string
		size, most uintptr
	}{
		{"Client", unsafe.Sizeof(c), 128}, // with what a transport adds 192, see there
		{"what a delivery looks at of a Client", unsafe.Offsetof(c.held) + unsafe.Sizeof(c.held), 64},
		{"Session", unsafe.Sizeof(Session{}), 112},
		{"absence", unsafe.Sizeof(absence{}), 32},
	} {
		if x.size > x.most {
			t.Errorf("%s: %d bytes, more than %d", x.what, x.size, x.most)
		}
	}
}

// What a client with one subscription of its own may hold while it is idle, its
// Client included, and what may be allocated until it is, in bytes.
const (
	idleHeld      = 530
	idleAllocated = 630
)

// TestIdleClient: no more than that.
func TestIdleClient(t *testing.T) {
	const n = 20_000
	l := newLine(t, plain())
	l.subs = make([]*Client, 0, n)
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = idler(i)
	}
	held, allocated := heap(), allocations()
	for i, data := range packets {
		l.now = rigStart + Time(i)/10
		c := &Client{Listener: loadListener}
		l.Open(c, l.now)
		l.give(c, data)
		l.flush()
		l.subs = append(l.subs, c)
	}
	allocated, held = allocations()-allocated, heap()-held
	if got := held / n; got > idleHeld {
		t.Errorf("an idle client holds %d bytes, more than %d", got, idleHeld)
	}
	if got := allocated / n; got > idleAllocated {
		t.Errorf("%d bytes were allocated for each client, more than %d", got, idleAllocated)
	}
	if l.stats.Subscriptions != n {
		t.Errorf("%d subscriptions, not %d", l.stats.Subscriptions, n)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(packets)
}

// idler is the CONNECT and the SUBSCRIBE of one client of many.
func idler(i int) []byte {
	connect := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{
		Version: packet.V311, CleanStart: true, KeepAlive: 60, ClientID: fmt.Appendf(nil, "c%d", i)}}
	subscribe := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Options: true,
		Raw: packet.AppendSubscription(nil, fmt.Sprintf("idle/%d/cmd", i), 0)}}
	return subscribe.Append(connect.Append(nil, packet.V311), packet.V311)
}

// allocations is how many bytes were allocated so far.
func allocations() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}
