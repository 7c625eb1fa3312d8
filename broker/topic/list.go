package topic

// Entry is one subscription: who, and how.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// Above atMin entries a list keeps a map of positions, so that many clients of
// one filter can leave in linear time; at atMin/2 the map goes.
const atMin = 32

// A list holds the entries of one filter in a slice, because matching reads
// slices fastest. Most lists have one entry: it is kept in the list itself.
//
// A place that an entry leaves may still be seen by an old result of Match or by
// the cache. It is cleared, so that what it held can be freed.
type list[K comparable, V any] struct {
	one  [1]Entry[K, V]
	few  int          // entries in one; 0 with many
	many *crowd[K, V] // all entries, if there are two or more
}

type crowd[K comparable, V any] struct {
	entries []Entry[K, V]
	at      map[K]int // nil in a short list
}

// len returns the number of entries.
func (l *list[K, V]) len() int {
	if l.many != nil {
		return len(l.many.entries)
	}
	return l.few
}

// all returns the entries.
func (l *list[K, V]) all() []Entry[K, V] {
	if l.many != nil {
		return l.many.entries
	}
	return l.one[:l.few:l.few]
}

// find returns the position of k, or -1.
func (l *list[K, V]) find(k K) int {
	if l.many != nil {
		return l.many.find(k)
	}
	if l.few == 1 && l.one[0].Key == k {
		return 0
	}
	return -1
}

func (l *list[K, V]) set(k K, v V) (old V, replaced bool) {
	if i := l.find(k); i >= 0 {
		e := &l.all()[i]
		old, e.Value = e.Value, v
		return old, true
	}
	switch {
	case l.many != nil:
		l.many.add(Entry[K, V]{k, v})
	case l.few == 0:
		l.one[0], l.few = Entry[K, V]{k, v}, 1
	default:
		l.many = &crowd[K, V]{entries: []Entry[K, V]{l.one[0], {k, v}}}
		l.one[0], l.few = Entry[K, V]{}, 0
	}
	return old, false
}

// del removes k; the last entry takes its place.
func (l *list[K, V]) del(k K) (old V, deleted bool) {
	i := l.find(k)
	if i < 0 {
		return old, false
	}
	old = l.all()[i].Value
	if l.many == nil {
		l.one[0], l.few = Entry[K, V]{}, 0
		return old, true
	}
	l.many.del(i)
	if len(l.many.entries) == 1 {
		l.one[0], l.few = l.many.entries[0], 1
		clear(l.many.entries)
		l.many = nil
	}
	return old, true
}

func (c *crowd[K, V]) find(k K) int {
	if c.at != nil {
		if i, ok := c.at[k]; ok {
			return i
		}
		return -1
	}
	for i := range c.entries {
		if c.entries[i].Key == k {
			return i
		}
	}
	return -1
}

func (c *crowd[K, V]) add(e Entry[K, V]) {
	if len(c.entries) == cap(c.entries) {
		c.resize(2 * cap(c.entries))
	}
	c.entries = append(c.entries, e)
	if c.at != nil {
		c.at[e.Key] = len(c.entries) - 1
	} else if len(c.entries) > atMin {
		c.locate()
	}
}

// del removes the entry at i.
func (c *crowd[K, V]) del(i int) {
	last := len(c.entries) - 1
	k := c.entries[i].Key
	c.entries[i] = c.entries[last]
	if c.at != nil {
		c.at[c.entries[i].Key] = i
		delete(c.at, k)
	}
	c.entries[last] = Entry[K, V]{}
	c.entries = c.entries[:last]
	c.shrink()
}

// shrink gives memory back when the list has become much shorter.
func (c *crowd[K, V]) shrink() {
	if len(c.entries) <= atMin/2 {
		c.at = nil
	}
	if cap(c.entries) < 8 || len(c.entries) > cap(c.entries)/4 {
		return
	}
	c.resize(2 * len(c.entries))
	if c.at != nil {
		c.locate() // maps do not shrink by themselves
	}
}

// resize moves the entries to an array of n.
func (c *crowd[K, V]) resize(n int) {
	old := c.entries
	c.entries = append(make([]Entry[K, V], 0, n), old...)
	clear(old)
}

// locate builds the map of positions.
func (c *crowd[K, V]) locate() {
	c.at = make(map[K]int, len(c.entries))
	for i := range c.entries {
		c.at[c.entries[i].Key] = i
	}
}
