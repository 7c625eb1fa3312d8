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
// slices fastest.
//
// An array that a list leaves behind may still be seen by an old result of
// Match or by the cache. It is cleared, so that what it held can be freed.
type list[K comparable, V any] struct {
	entries []Entry[K, V]
	at      map[K]int // nil in a short list
}

// find returns the position of k, or -1.
func (l *list[K, V]) find(k K) int {
	if l.at != nil {
		if i, ok := l.at[k]; ok {
			return i
		}
		return -1
	}
	for i := range l.entries {
		if l.entries[i].Key == k {
			return i
		}
	}
	return -1
}

func (l *list[K, V]) set(k K, v V) (old V, replaced bool) {
	if i := l.find(k); i >= 0 {
		old, l.entries[i].Value = l.entries[i].Value, v
		return old, true
	}
	if len(l.entries) == cap(l.entries) {
		l.resize(max(1, 2*cap(l.entries)))
	}
	l.entries = append(l.entries, Entry[K, V]{k, v})
	if l.at != nil {
		l.at[k] = len(l.entries) - 1
	} else if len(l.entries) > atMin {
		l.locate()
	}
	return old, false
}

// del removes k; the last entry takes its place.
func (l *list[K, V]) del(k K) (old V, deleted bool) {
	i := l.find(k)
	if i < 0 {
		return old, false
	}
	last := len(l.entries) - 1
	old = l.entries[i].Value
	l.entries[i] = l.entries[last]
	if l.at != nil {
		l.at[l.entries[i].Key] = i
		delete(l.at, k)
	}
	l.entries[last] = Entry[K, V]{}
	l.entries = l.entries[:last]
	l.shrink()
	return old, true
}

// shrink gives memory back when the list has become much shorter.
func (l *list[K, V]) shrink() {
	if len(l.entries) <= atMin/2 {
		l.at = nil
	}
	if cap(l.entries) < 8 || len(l.entries) > cap(l.entries)/4 {
		return
	}
	l.resize(2 * len(l.entries))
	if l.at != nil {
		l.locate() // maps do not shrink by themselves
	}
}

// resize moves the entries to an array of n.
func (l *list[K, V]) resize(n int) {
	old := l.entries
	l.entries = append(make([]Entry[K, V], 0, n), old...)
	clear(old)
}

// locate builds the map of positions.
func (l *list[K, V]) locate() {
	l.at = make(map[K]int, len(l.entries))
	for i := range l.entries {
		l.at[l.entries[i].Key] = i
	}
}
