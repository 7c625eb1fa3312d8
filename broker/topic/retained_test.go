package topic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"
)

// message is what the tests keep. Like some real ones it has a method Copy,
// which the store must not call.
type message struct{ name, payload string }

func (m *message) Copy() *message { panic("a message was copied") }

// byLevels orders names as the store does.
func byLevels(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// walk returns the names in r, in order, and fails if a message has another's.
func walk(t *testing.T, r *Retained[*message]) []string {
	t.Helper()
	var names []string
	r.Walk(func(name string, m *message) bool {
		if m.name != name {
			t.Errorf("Walk: %q has the message of %q", name, m.name)
		}
		names = append(names, name)
		return true
	})
	if len(names) != r.Len() {
		t.Errorf("Walk has %d messages, Len is %d", len(names), r.Len())
	}
	return names
}

func TestRetainedRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 1))
	var r Retained[*message]
	twin := map[string]*message{}
	for i := range 20_000 {
		name := randomName(rnd)
		was, had := twin[name]
		if m, ok := r.Load(name); ok != had || m != was {
			t.Fatalf("Load(%q) = %v, %v", name, m, ok)
		}
		if rnd.IntN(20_000) > i {
			m := &message{name, fmt.Sprint(i)}
			if old, replaced := r.Set(name, m); replaced != had || old != was {
				t.Fatalf("Set(%q) = %v, %v", name, old, replaced)
			}
			twin[name] = m
		} else {
			if old, deleted := r.Delete(name); deleted != had || old != was {
				t.Fatalf("Delete(%q) = %v, %v", name, old, deleted)
			}
			delete(twin, name)
		}
		if i%500 == 0 {
			if got, want := walk(t, &r), slices.SortedFunc(maps.Keys(twin), byLevels); !slices.Equal(got, want) {
				t.Fatalf("Walk: %q, want %q", got, want)
			}
		}
	}
	for name := range twin {
		r.Delete(name)
	}
	if r.Len() != 0 || len(walk(t, &r)) != 0 {
		t.Errorf("not empty at the end: %d", r.Len())
	}
}

func TestRetainedWalkStops(t *testing.T) {
	var r Retained[int]
	for _, name := range []string{"a", "b", "c"} {
		r.Set(name, 1)
	}
	seen := 0
	r.Walk(func(string, int) bool { seen++; return seen < 2 })
	if seen != 2 {
		t.Errorf("Walk visits %d messages, told to stop after 2", seen)
	}
}

func TestRetainedDoesNotAllocate(t *testing.T) {
	var r Retained[*message]
	for i := range 2000 {
		name := fmt.Sprintf("site/%d/device/%d/state", i%7, i)
		r.Set(name, &message{name: name})
	}
	found := 0
	visit := func(*message) bool { found++; return true }
	for _, c := range []struct {
		filter string
		want   int
	}{
		{"#", 2000}, {"site/+/device/+/state", 2000}, {"site/3/#", 286},
		{"+/+/+/+/none", 0}, {"site/+/device/77/state", 1}, {"site/0/device/77/state", 1},
	} {
		run := func() {
			found = 0
			for c := NewCursor(c.filter); !r.Read(&c, 64, visit); {
			}
			r.Load("site/1/device/1/state")
		}
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 || found != c.want {
			t.Errorf("%q: %v allocations, %d messages, want 0, %d", c.filter, n, found, c.want)
		}
	}
}

// TestRetainedMemory checks what names cost, and that nothing is left of them.
func TestRetainedMemory(t *testing.T) {
	const n = 20_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site/%03d/device/%06d/state", i/100, i)
	}
	m := new(message)
	var r Retained[*message]
	r.Load(names[0])
	before := heap()
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		r.Set(names[i], m)
	}
	if each := (heap() - before) / n; each > 32+48 { // 32 are the key's bytes
		t.Errorf("%d bytes for each name", each)
	}
	for _, name := range names {
		r.Delete(name)
	}
	if left := heap() - before; left > 64<<10 {
		t.Errorf("%d bytes left when all are gone", left)
	}
	runtime.KeepAlive(&r)
	runtime.KeepAlive(names)
}

// TestRetainedLetsGo looks whether messages can be collected once they have been
// replaced or deleted, in whatever order the names came.
func TestRetainedLetsGo(t *testing.T) {
	const n = 3000
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, c := range []struct {
		name string
		nth  func(i int) int
	}{
		{"forward", func(i int) int { return i }},
		{"backward", func(i int) int { return n - 1 - i }},
		{"any order", func(i int) int { return order[i] }},
		{"ten streams", func(i int) int { return i%10*n/10 + i/10 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Retained[*message]
			var gone []weak.Pointer[message]
			for i := range n {
				name := fmt.Sprintf("a/%04d", c.nth(i))
				m := &message{name: name}
				gone = append(gone, weak.Make(m))
				r.Set(name, m)
			}
			if r.going {
				t.Error("a sweep though no message has left")
			}
			parts := 0
			for i := range n {
				from := r.from
				name := fmt.Sprintf("a/%04d", c.nth(i))
				if i%10 == 0 {
					r.Delete(name)
				} else {
					r.Set(name, &message{name: name})
				}
				if i%4 == 0 {
					r.Set(name+"+", &message{name: name})
				}
				if r.going && r.from != from {
					parts++
				}
			}
			if parts < n/renewEvery/2 {
				t.Errorf("the sweeps went on %d times when %d messages left", parts, n)
			}
			for i := range r.Len()/4 + 64 { // two sweeps
				r.Set("a/0001", &message{name: fmt.Sprint("a/0001", i)})
			}
			runtime.GC()
			held := 0
			for _, p := range gone {
				if p.Value() != nil {
					held++
				}
			}
			if held > 0 {
				t.Errorf("%d of %d old messages are still held", held, n)
			}
			if r.going || r.added {
				t.Error("sweeps go on though no name is added")
			}
			runtime.KeepAlive(&r)
		})
	}
}
