package topic

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"
)

// check reports what is wrong with the structure of x.
func (x *Index[K, V]) check() error {
	count := 0
	var visit func(n *node[K, V]) error
	visit = func(n *node[K, V]) error {
		if n != &x.root && n.idle() && n.below.len() < 2 {
			return fmt.Errorf("node %q is needless", n.label)
		}
		if n.multi != nil && n.multi.len() == 0 {
			return fmt.Errorf("node %q has an empty list", n.label)
		}
		for _, l := range []*list[K, V]{&n.own, n.multi} {
			if l == nil {
				continue
			}
			count += l.len()
			if l.many == nil {
				continue
			}
			if l.few != 0 || l.len() < 2 {
				return fmt.Errorf("node %q keeps %d entries in a crowd", n.label, l.len())
			}
			l := l.many
			for i, e := range l.entries {
				if l.at != nil && l.at[e.Key] != i {
					return fmt.Errorf("node %q: %v is at %d, not at %d", n.label, e.Key, i, l.at[e.Key])
				}
			}
			if l.at != nil && len(l.at) != len(l.entries) {
				return fmt.Errorf("node %q: %d positions of %d entries", n.label, len(l.at), len(l.entries))
			}
			if few, many := len(l.entries) <= atMin/2, len(l.entries) > atMin; few && l.at != nil || many && l.at == nil {
				return fmt.Errorf("node %q: %d entries, positions: %v", n.label, len(l.entries), l.at != nil)
			}
		}
		c := &n.below
		if c.many != nil && (c.only != nil || c.many.Len() < 2) {
			return fmt.Errorf("node %q keeps few children in a tree", n.label)
		}
		var err error
		c.each(func(child *node[K, V]) {
			if n, _ := c.find(child.first(), x.hash); n != child {
				err = fmt.Errorf("node %q does not find %q", n.label, child.first())
			}
			if e := visit(child); e != nil {
				err = e
			}
		})
		return err
	}
	if err := visit(&x.root); err != nil {
		return err
	}
	if count != x.count {
		return fmt.Errorf("%d entries, but Len is %d", count, x.count)
	}
	return nil
}

// nodes returns the number of nodes, the root aside.
func (x *Index[K, V]) nodes() int {
	n := -1
	for ahead := []*node[K, V]{&x.root}; len(ahead) > 0; n++ {
		last := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		last.below.each(func(c *node[K, V]) { ahead = append(ahead, c) })
	}
	return n
}

// subs is an index, written the slow and obvious way.
type subs map[string]map[int]int

func (s subs) set(filter string, k, v int) (old int, replaced bool) {
	if s[filter] == nil {
		s[filter] = map[int]int{}
	}
	old, replaced = s[filter][k]
	s[filter][k] = v
	return old, replaced
}

func (s subs) delete(filter string, k int) (old int, deleted bool) {
	old, deleted = s[filter][k]
	delete(s[filter], k)
	if len(s[filter]) == 0 {
		delete(s, filter)
	}
	return old, deleted
}

// match returns the matching filters in mosquitto's order.
func (s subs) match(name string) []string {
	var found []string
	for filter := range s {
		if matches(filter, name) {
			found = append(found, filter)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return slices.Compare(ranks(a), ranks(b)) })
	return found
}

// ranks gives each level of a filter its place among filters that match one
// name: a literal level, "+", "#", the end.
func ranks(filter string) []int {
	var r []int
	for _, l := range strings.Split(filter, "/") {
		r = append(r, 1+strings.Index("+#", l[:min(1, len(l))]))
		if l == "" || l[0] != '+' && l[0] != '#' {
			r[len(r)-1] = 0
		}
	}
	return append(r, 3)
}

// walked returns all filters in the order of Walk.
func (s subs) walked() []string {
	rank := func(level string) int { return strings.Index("#+", cmp.Or(level, "x")[:1]) }
	return slices.SortedFunc(maps.Keys(s), func(a, b string) int {
		return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(a, b string) int {
			ra, rb := rank(a), rank(b)
			if ra >= 0 && rb >= 0 {
				return cmp.Compare(ra, rb)
			}
			if ra != rb {
				return cmp.Compare(rb, ra)
			}
			return cmp.Compare(a, b)
		})
	})
}

// entries returns a list as a map.
func entries(list []Entry[int, int]) map[int]int {
	m := map[int]int{}
	for _, e := range list {
		m[e.Key] = e.Value
	}
	return m
}

// compare checks x against the twin for one name.
func compare(t *testing.T, x *Index[int, int], s subs, name string) {
	t.Helper()
	got, want := x.Match([]byte(name)), s.match(name)
	if len(got) != len(want) {
		t.Fatalf("Match(%q) has %d lists, want %q", name, len(got), want)
	}
	for i, filter := range want {
		if len(got[i]) != len(s[filter]) || !maps.Equal(entries(got[i]), s[filter]) {
			t.Fatalf("Match(%q): list %d is %v, want %q with %v", name, i, got[i], filter, s[filter])
		}
	}
}

// compareAll checks the structure of x and everything in it against the twin.
func compareAll(t *testing.T, x *Index[int, int], s subs) {
	t.Helper()
	if err := x.check(); err != nil {
		t.Fatal(err)
	}
	if n := x.nodes(); n >= 2*len(s) && n > 0 {
		t.Fatalf("%d nodes for %d filters", n, len(s))
	}
	var got []string
	total := 0
	x.Walk(func(filter string, list []Entry[int, int]) bool {
		got = append(got, filter)
		total += len(list)
		if !maps.Equal(entries(list), s[filter]) {
			t.Errorf("Walk: %q has %v, want %v", filter, list, s[filter])
		}
		return true
	})
	if want := s.walked(); !slices.Equal(got, want) {
		t.Fatalf("Walk: %q, want %q", got, want)
	}
	if total != x.Len() {
		t.Fatalf("Walk: %d entries, Len %d", total, x.Len())
	}
}

// levels are short, so that names and filters meet.
var levels = []string{"", "a", "b", "ab", "a-", "$", "$a", "\x01", " ", "%", "c", "d", "e"}

func randomName(rnd *rand.Rand) string {
	name := make([]string, 1+rnd.IntN(6))
	for i := range name {
		name[i] = levels[rnd.IntN(2+rnd.IntN(len(levels)-1))]
	}
	if joined := strings.Join(name, "/"); joined != "" {
		return joined
	}
	return "a"
}

func randomFilter(rnd *rand.Rand) string {
	filter := strings.Split(randomName(rnd), "/")
	for i := range filter {
		if rnd.IntN(4) == 0 {
			filter[i] = "+"
		}
	}
	if rnd.IntN(4) == 0 {
		filter[len(filter)-1] = "#"
	}
	return strings.Join(filter, "/")
}

func TestIndexTable(t *testing.T) {
	var all Index[int, int]
	s := subs{}
	for i, c := range matching {
		all.Set(c.filter, i, i)
		s.set(c.filter, i, i)
		var one Index[int, int]
		one.Set(c.filter, 1, 1)
		for _, name := range c.yes {
			if len(one.Match([]byte(name))) != 1 {
				t.Errorf("%q does not match %q", c.filter, name)
			}
		}
		for _, name := range c.not {
			if len(one.Match([]byte(name))) != 0 {
				t.Errorf("%q matches %q", c.filter, name)
			}
		}
	}
	for _, c := range matching {
		for _, name := range append(c.yes, c.not...) {
			compare(t, &all, s, name)
		}
	}
	compareAll(t, &all, s)
}

func TestIndexOrder(t *testing.T) {
	// As seen from mosquitto with one client and all of these filters.
	filters := []string{"a/b/#", "a/b", "a/+/#", "a/+", "a/#", "+/b/#", "+/b", "+/+/#", "+/+", "+/#", "#"}
	var x Index[string, int]
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(filters)) {
		x.Set(filters[i], filters[i], 1)
	}
	var got []string
	for _, list := range x.Match([]byte("a/b")) {
		got = append(got, list[0].Key)
	}
	if !slices.Equal(got, filters) {
		t.Errorf("order %q, want %q", got, filters)
	}
}

func TestIndexRandom(t *testing.T) {
	for _, c := range []struct {
		name string
		hash hashing
	}{
		{"hashes differ", 0},
		{"few hashes", ^hashing(3)},
		{"one hash", ^hashing(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(3) {
				x := &Index[int, int]{hash: c.hash}
				randomIndex(t, x, rand.New(rand.NewPCG(seed, 0)), 600)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// randomIndex does the same to x and the twin, first more adding than deleting,
// then the other way round, until both are empty.
func randomIndex(t *testing.T, x *Index[int, int], rnd *rand.Rand, steps int) {
	s := subs{}
	for i := range steps {
		filter, k, v := randomFilter(rnd), rnd.IntN(3), rnd.IntN(100)
		if rnd.IntN(steps) > i*4/5 {
			old, replaced := x.Set(filter, k, v)
			if wantOld, want := s.set(filter, k, v); old != wantOld || replaced != want {
				t.Fatalf("Set(%q, %d) = %d, %v, want %d, %v", filter, k, old, replaced, wantOld, want)
			}
		} else {
			for filter = range s { // one that is there
				break
			}
			old, deleted := x.Delete(filter, k)
			if wantOld, want := s.delete(filter, k); old != wantOld || deleted != want {
				t.Fatalf("Delete(%q, %d) = %d, %v, want %d, %v", filter, k, old, deleted, wantOld, want)
			}
		}
		filter = randomFilter(rnd)
		if _, ok := s[filter]; !ok {
			if _, deleted := x.Delete(filter, k); deleted {
				t.Fatalf("Delete(%q, %d) removes what is not there", filter, k)
			}
		}
		name := randomName(rnd)
		compare(t, x, s, name)
		compare(t, x, s, name) // from the cache
		if i%20 == 0 {
			compareAll(t, x, s)
		}
	}
	for filter, m := range s {
		for k := range m {
			if _, deleted := x.Delete(filter, k); !deleted {
				t.Fatalf("%q, %d is not there", filter, k)
			}
		}
	}
	if x.Len() != 0 || x.root.below.len() != 0 || !x.root.idle() {
		t.Fatalf("not empty at the end: %d entries, %d nodes", x.Len(), x.nodes())
	}
}

func TestIndexWalkStops(t *testing.T) {
	var x Index[int, int]
	for _, filter := range []string{"#", "a", "a/#", "a/b", "b"} {
		x.Set(filter, 1, 1)
	}
	for want := 1; want <= 5; want++ {
		seen := 0
		x.Walk(func(string, []Entry[int, int]) bool { seen++; return seen < want })
		if seen != want {
			t.Errorf("Walk visits %d filters, told to stop after %d", seen, want)
		}
	}
}

func TestIndexReplaceIsSeenInTheCache(t *testing.T) {
	var x Index[int, int]
	x.Set("a/+", 1, 1)
	for v := 2; v < 5; v++ {
		x.Match([]byte("a/b"))
		x.Set("a/+", 1, v)
		if got := x.Match([]byte("a/b")); len(got) != 1 || got[0][0].Value != v {
			t.Errorf("after Set to %d: %v", v, got)
		}
	}
}

// TestIndexAdversarial subscribes to all mixes of a literal level and "+", which
// makes a name visit every node, and checks that this is all it does.
func TestIndexAdversarial(t *testing.T) {
	const depth = 12
	var x Index[int, int]
	for mix := range 1 << depth {
		x.Set(mixOf(mix, depth)+strings.Repeat("/+", MaxSlashes-depth)+"/z", mix, mix)
	}
	if n := x.nodes(); n >= 2<<depth {
		t.Errorf("%d nodes for %d filters of %d levels", n, 1<<depth, MaxSlashes+1)
	}
	name := strings.Repeat("a/", MaxSlashes)
	if got := x.Match([]byte(name + "a")); len(got) != 0 {
		t.Errorf("%d lists, want none", len(got))
	}
	if got := x.Match([]byte(name + "z")); len(got) != 1<<depth {
		t.Errorf("%d lists, want %d", len(got), 1<<depth)
	}
	if n := cap(x.search.ahead); n > 4*MaxSlashes {
		t.Errorf("the stack grew to %d visits", n)
	}
	if err := x.check(); err != nil {
		t.Error(err)
	}
}

func TestListOfMany(t *testing.T) {
	const clients = 100_000
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		order []int
	}{
		{"first come, first gone", slices.Collect(func(yield func(int) bool) {
			for i := 0; i < clients && yield(i); i++ {
			}
		})},
		{"any order", rnd.Perm(clients)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x Index[int, int]
			for k := range clients {
				x.Set("a/b", k, -k)
			}
			for i, k := range c.order {
				if old, deleted := x.Delete("a/b", k); !deleted || old != -k {
					t.Fatalf("Delete(%d) = %d, %v", k, old, deleted)
				}
				if left := clients - i - 1; left > 0 && left&(left-1) == 0 { // now and then
					if err := x.check(); err != nil {
						t.Fatal(err)
					}
					if got := cap(x.Match([]byte("a/b"))[0]); got > max(8, 4*left) {
						t.Errorf("room for %d entries when %d are left", got, left)
					}
				}
			}
			if x.Len() != 0 || x.nodes() != 0 {
				t.Errorf("%d entries, %d nodes left", x.Len(), x.nodes())
			}
		})
	}
}

func TestIndexDoesNotAllocate(t *testing.T) {
	var x Index[int, int]
	rnd := rand.New(rand.NewPCG(1, 3))
	for i := range 5000 {
		x.Set(randomFilter(rnd), i%3, i)
	}
	names := make([][]byte, 4000) // more than the cache has slots
	for i := range names {
		names[i] = []byte(randomName(rnd))
	}
	deep := []byte(strings.Repeat("a/", MaxSlashes) + "a")
	for range 2 {
		for _, name := range names {
			x.Match(name)
		}
		x.Match(deep)
	}
	i := 0
	if n := testing.AllocsPerRun(len(names), func() {
		x.generation++ // nothing is in the cache
		x.Match(names[i%len(names)])
		x.Match(names[i%len(names)])
		x.Match(deep)
		i++
	}); n != 0 {
		t.Errorf("Match: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { x.Set("a/b", 1, 1) }); n != 0 {
		t.Errorf("Set of what is there: %v allocations", n)
	}
}

// TestIndexCacheGrows looks whether the cache has room for what is asked for again
// and again, and stays small where that is little.
func TestIndexCacheGrows(t *testing.T) {
	for _, c := range []struct{ names, sets int }{{1, cacheSetsMin}, {8, cacheSetsMin}, {3000, cacheSetsMax}} {
		var x Index[int, int]
		x.Set("#", 1, 1)
		kept := 0
		for range 20 {
			kept = 0
			for i := range c.names {
				name := fmt.Sprint(i)
				hash := maphash.String(seed, name)
				if x.cache.find(name, hash, x.generation) != nil {
					kept++
				}
				x.Match([]byte(name))
			}
		}
		if n := len(x.cache.sets); n > c.sets || kept < c.names*3/4 {
			t.Errorf("%d names: %d are kept in %d sets", c.names, kept, n)
		}
	}
}

// TestIndexBuffersAreBounded looks at what long names and large results leave
// behind.
func TestIndexBuffersAreBounded(t *testing.T) {
	var x Index[int, int]
	const depth = 10
	for mix := range 1 << depth {
		x.Set(mixOf(mix, depth), 1, 1)
	}
	name := "a" + strings.Repeat("/a", depth-1)
	if got := x.Match([]byte(name)); len(got) != 1<<depth {
		t.Fatalf("%d lists, want %d", len(got), 1<<depth)
	}
	x.Match([]byte(strings.Repeat("a", 60_000)))
	for k := range 2 * cacheEntryMax {
		x.Set("crowd", k, 1)
		x.Match([]byte("crowd"))
	}
	for i := range 10 * cacheSetsMax * cacheWays {
		x.Match(fmt.Append(nil, i))
	}
	if n := len(x.cache.sets); n != cacheSetsMax {
		t.Errorf("the cache grew to %d sets", n)
	}
	for _, set := range x.cache.sets {
		for _, s := range set.slots {
			if n := room(s.found); n > cacheEntryMax {
				t.Errorf("a slot keeps arrays of %d entries", n)
			}
			if cap(s.name) > 2*cacheNameMax || cap(s.found) > 2*cacheListMax {
				t.Errorf("a slot keeps %d bytes and %d lists", cap(s.name), cap(s.found))
			}
		}
	}
	for k := range 2 * cacheEntryMax {
		x.Delete("crowd", k)
	}
	for mix := range 1 << depth {
		x.Delete(mixOf(mix, depth), 1)
	}
	if cap(x.search.found) != 0 || cap(x.search.ahead) != 0 || x.cache.sets != nil {
		t.Error("an empty index keeps its buffers")
	}
}

// TestIndexFreesWhatLeaves looks whether keys and values can be collected once
// they have gone, though lists with them are still in the cache.
func TestIndexFreesWhatLeaves(t *testing.T) {
	type session struct{ _ [64]byte }
	for _, c := range []struct{ together, stay int }{{1, 0}, {2, 1}, {3, 0}, {100, 1}, {100, 20}} {
		t.Run(fmt.Sprintf("%d of %d stay", c.stay, c.together), func(t *testing.T) {
			var x Index[*session, *session]
			var all []*session
			var gone []weak.Pointer[session]
			for i := range c.together {
				all = append(all, new(session))
				x.Set("a/b", all[i], all[i])
				x.Match(fmt.Append(nil, "a/b")) // each time with another array or length
			}
			for _, k := range all[c.stay:] {
				x.Delete("a/b", k)
				gone = append(gone, weak.Make(k))
			}
			all = all[:c.stay:c.stay]
			all = slices.Clone(all)
			runtime.GC()
			for i, p := range gone {
				if p.Value() != nil {
					t.Errorf("session %d is still held", c.stay+i)
				}
			}
			if x.Len() != c.stay {
				t.Errorf("%d entries, want %d", x.Len(), c.stay)
			}
			runtime.KeepAlive(&x)
			runtime.KeepAlive(all)
		})
	}
}

func TestListGivesMemoryBack(t *testing.T) {
	const clients, stay = 50_000, 100
	var x Index[int, int]
	x.Match([]byte("a"))
	before := heap()
	for k := range clients {
		x.Set("a", k, k)
	}
	for k := stay; k < clients; k++ {
		x.Delete("a", k)
	}
	if each := (heap() - before) / stay; each > 250 {
		t.Errorf("%d bytes for each of those who stay", each)
	}
	if err := x.check(); err != nil {
		t.Error(err)
	}
}

// heap returns the bytes in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestIndexMemory(t *testing.T) {
	const n = 20_000
	type session struct{ _ [8]byte }
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			filters := shape.filters(n)
			k := new(session)
			var x Index[*session, *session]
			x.Match([]byte("a")) // what is there once
			before := heap()
			for _, f := range filters {
				x.Set(f, k, k)
			}
			if each := (heap() - before) / n; each > 300 {
				t.Errorf("%d bytes for each filter", each)
			}
			for _, f := range filters {
				x.Delete(f, k)
			}
			if left := heap() - before; left > 16<<10 {
				t.Errorf("%d bytes left when all are gone", left)
			}
			runtime.KeepAlive(&x)
			runtime.KeepAlive(filters)
		})
	}
}
