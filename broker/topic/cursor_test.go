package topic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// readAll reads what is left for c, limit at a time, and fails if Read makes no
// progress.
func readAll(t *testing.T, r *Retained[*message], c *Cursor, limit int) []string {
	t.Helper()
	var names []string
	for rounds := 0; ; rounds++ {
		before := len(names)
		done := r.Read(c, limit, func(m *message) bool {
			names = append(names, m.name)
			return true
		})
		if len(names)-before > limit {
			t.Errorf("%q: %d matches, limit %d", c.Filter, len(names)-before, limit)
		}
		if done {
			return names
		}
		if rounds > r.Len()+1 {
			t.Fatalf("%q: no progress at %q", c.Filter, c.Next)
		}
	}
}

func TestCursorTable(t *testing.T) {
	var r Retained[*message]
	for _, c := range matching {
		for _, name := range append(c.yes, c.not...) {
			r.Set(name, &message{name: name})
		}
	}
	all := walk(t, &r)
	for _, row := range matching {
		c := NewCursor(row.filter)
		got := readAll(t, &r, &c, 3)
		for _, name := range row.yes {
			if !slices.Contains(got, name) {
				t.Errorf("%q does not read %q", row.filter, name)
			}
		}
		for _, name := range row.not {
			if slices.Contains(got, name) {
				t.Errorf("%q reads %q", row.filter, name)
			}
		}
		if want := filtered(all, row.filter); !slices.Equal(got, want) {
			t.Errorf("%q reads %q, want %q", row.filter, got, want)
		}
	}
}

func TestCursorOfAll(t *testing.T) {
	var r Retained[*message]
	for _, name := range []string{"$SYS/x", "$", "a", "/", "%", " "} {
		r.Set(name, &message{name: name})
	}
	c := NewCursor("")
	if got, want := readAll(t, &r, &c, 2), walk(t, &r); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// filtered returns the names that match filter.
func filtered(names []string, filter string) []string {
	var found []string
	for _, name := range names {
		if matches(filter, name) {
			found = append(found, name)
		}
	}
	return found
}

func TestCursorRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	for range 40 {
		var r Retained[*message]
		for range rnd.IntN(600) {
			name := randomName(rnd)
			r.Set(name, &message{name: name})
		}
		all := walk(t, &r)
		for range 100 {
			filter := randomFilter(rnd)
			c := NewCursor(filter)
			got := readAll(t, &r, &c, 1+rnd.IntN(20))
			if want := filtered(all, filter); !slices.Equal(got, want) {
				t.Fatalf("%q reads %q, want %q", filter, got, want)
			}
			if len(readAll(t, &r, &c, 1)) != 0 {
				t.Fatalf("%q: an exhausted cursor reads again", filter)
			}
		}
	}
}

func TestCursorStops(t *testing.T) {
	var r Retained[*message]
	for i := range 10 {
		name := fmt.Sprintf("a/%d", i)
		r.Set(name, &message{name: name})
	}
	c := NewCursor("a/+")
	var got []string
	for stop := range 4 {
		refused := ""
		done := r.Read(&c, 100, func(m *message) bool {
			if stop == 0 {
				refused = m.name
				return false
			}
			stop--
			got = append(got, m.name)
			return true
		})
		if next := fmt.Sprintf("a/%d", len(got)); done || refused != next {
			t.Errorf("done %v, refused %q, want false, %q", done, refused, next)
		}
		c = Cursor{Filter: c.Filter, Next: strings.Clone(c.Next)} // as if stored and loaded
	}
	got = append(got, readAll(t, &r, &c, 100)...)
	if want := walk(t, &r); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCursorLimits(t *testing.T) {
	var r Retained[*message]
	for i := range 1000 {
		name := fmt.Sprintf("a/%03d/b", i)
		r.Set(name, &message{name: name})
	}
	for _, limit := range []int{-1, 0, 1, 7, 64} {
		want := max(limit, 1)
		c := NewCursor("a/+/b")
		seen := 0
		if r.Read(&c, limit, func(*message) bool { seen++; return true }) || seen != want {
			t.Errorf("limit %d: %d matches", limit, seen)
		}
		// No name matches, and each is one miss.
		c, seen = NewCursor("a/+/c"), 0
		rounds := 1
		for !r.Read(&c, limit, func(*message) bool { seen++; return true }) {
			rounds++
		}
		if least := 1000 / want; seen != 0 || rounds < least || rounds > least+1 {
			t.Errorf("limit %d: %d matches in %d rounds, want 0 in about %d", limit, seen, rounds, least)
		}
	}
	// The limit is reached with the last match: nothing is left.
	c := NewCursor("a/+/b")
	if !r.Read(&c, 1000, func(*message) bool { return true }) {
		t.Error("not done at the end of the store")
	}
	// What cannot match is passed with one seek, not name by name.
	for i := range 1000 {
		for j := range 2 * cursorNear {
			name := fmt.Sprintf("a/%03d/b/%d", i, j)
			r.Set(name, &message{name: name})
		}
	}
	c = NewCursor("a/+/c")
	rounds := 1
	for !r.Read(&c, 100, func(*message) bool { return true }) {
		rounds++
	}
	if rounds > 11 {
		t.Errorf("%d reads of at most 100 misses past 1000 groups of names", rounds)
	}
}

// TestCursorAndChanges lets the store change between reads. Messages that are
// there all the time are read once, those that are not at most once; all are in
// order.
func TestCursorAndChanges(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		changeWhileReading(t, func(n int) int { return rnd.IntN(n) }, randomFilter(rnd), func() string { return randomName(rnd) }, 300, 10_000)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func changeWhileReading(t *testing.T, intn func(int) int, filter string, name func() string, n, roundsMax int) {
	t.Helper()
	var r Retained[*message]
	stayed := map[string]bool{}
	for range n {
		s := name()
		r.Set(s, &message{name: s})
		stayed[s] = true
	}
	var got []string
	for c, rounds := NewCursor(filter), 0; ; rounds++ {
		stop := intn(10)
		done := r.Read(&c, 1+intn(8), func(m *message) bool {
			if stop--; stop < 0 {
				return false
			}
			got = append(got, m.name)
			return true
		})
		if done {
			break
		}
		if rounds > roundsMax {
			t.Fatalf("%q: no end in sight at %q", filter, c.Next)
		}
		for range intn(4) {
			s := name()
			if intn(2) == 0 {
				r.Delete(s)
				delete(stayed, s)
			} else {
				r.Set(s, &message{name: s}) // a new one, or another message
			}
		}
	}
	for i, s := range got {
		if !matches(filter, s) {
			t.Errorf("%q reads %q", filter, s)
		}
		if i > 0 && byLevels(got[i-1], s) >= 0 {
			t.Errorf("%q reads %q after %q", filter, s, got[i-1])
		}
	}
	for _, s := range filtered(slices.Collect(maps.Keys(stayed)), filter) {
		if !slices.Contains(got, s) {
			t.Errorf("%q misses %q", filter, s)
		}
	}
}

// FuzzCursor takes names and changes from the input.
func FuzzCursor(f *testing.F) {
	for _, c := range matching {
		f.Add(c.filter, strings.Join(append(c.yes, c.not...), "\n"), []byte("a0b1c2"))
	}
	f.Add("+/+/#", "a/b\na//b\n$a/b\na/b/c\na", []byte{})
	f.Fuzz(func(t *testing.T, filter, text string, choices []byte) {
		var names []string
		for _, name := range strings.Split(text, "\n") {
			if legalName(name) && !strings.Contains(name, "\xff") && len(names) < 100 {
				names = append(names, name)
			}
		}
		if len(names) == 0 || !legalFilter(filter) || strings.Contains(filter, "\x00") {
			return
		}
		i := 0
		intn := func(n int) int {
			if i++; i > len(choices) {
				return n - 1 // reads go on to the end
			}
			return int(choices[i-1]) % n
		}
		changeWhileReading(t, intn, filter, func() string { return names[intn(len(names))] }, len(names), len(choices)+len(names)+1)
		var r Retained[*message]
		for _, name := range names {
			r.Set(name, &message{name: name})
		}
		c := NewCursor(filter)
		got, want := readAll(t, &r, &c, 1+len(choices)), filtered(walk(t, &r), filter)
		if !slices.Equal(got, want) {
			t.Errorf("%q reads %q, want %q", filter, got, want)
		}
	})
}
