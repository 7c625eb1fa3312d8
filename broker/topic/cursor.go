package topic

import "strings"

// Cursor is the place that [Retained.Read] has come to on its way through the
// names that match a filter. It is a plain value: stored and loaded again, it
// goes on where it was.
type Cursor struct {
	Filter string // a legal filter; "" for all names, those with '$' too
	// Next is "" at first, then the least key not yet read: a name with U+0000
	// for '/'. A cursor that has read everything has "\xff", which is greater
	// than any key, as UTF-8 text does not contain it.
	Next string
}

const cursorEnd = "\xff"

// cursorNear is how many names Read walks past towards the next that can match
// before it seeks it, which costs about as much as so many steps.
const cursorNear = 16

// NewCursor returns a cursor that has all before it.
func NewCursor(filter string) Cursor { return Cursor{Filter: filter} }

// Passed reports whether the cursor has come past name, so that Read will not
// visit a message there any more.
func (c *Cursor) Passed(name string) bool {
	for i := range min(len(name), len(c.Next)) {
		have := name[i]
		if have == '/' {
			have = separator
		}
		if have != c.Next[i] {
			return have < c.Next[i]
		}
	}
	return len(name) < len(c.Next)
}

// Read calls visit for the messages whose name matches c's filter, in the order
// of Walk, from where the last Read stopped, and reports whether all have been
// read. It stops early when visit returns false (that message has not been read
// and comes first the next time), after limit matches, or after limit misses. A
// miss costs one seek and at most 16 steps, and passes every name between two that
// can match. So Read may find nothing and not be done; a limit less than 1 is 1.
//
// The store may change between two calls, but not from within visit. A message
// there all the time is read exactly once; whether one that comes or goes
// meanwhile is read depends on where the cursor is. Read does not allocate.
func (r *Retained[M]) Read(c *Cursor, limit int, visit func(m M) bool) (done bool) {
	limit = max(limit, 1)
	r.next = c.start(r.next[:0])
	matches := 0
	r.misses = 0
	then := seek
	for then == seek {
		r.key, r.next = r.next, r.key
		then = finish // unless a name says otherwise
		near := 0     // steps left to take towards r.next
		r.tree.Ascend(text(r.key), func(key string, k kept[M]) bool {
			if near > 0 && key < text(r.next) {
				if near--; near == 0 {
					then = seek
				}
				return near > 0
			}
			if matches == limit || r.misses == limit {
				c.Next, then = key, pause
				return false
			}
			var v verdict
			switch r.next, v = judge(r.next[:0], c.Filter, key); v {
			case match:
				if !visit(k.message) {
					c.Next, then = key, pause
					return false
				}
				matches++
			case seek:
				r.misses++
				near = cursorNear
			}
			return v != finish
		})
	}
	if then == finish {
		c.Next = cursorEnd
	}
	return then == finish
}

// Missed is how many misses the last Read had.
func (r *Retained[M]) Missed() int { return r.misses }

// start appends the key to begin with.
func (c *Cursor) start(key []byte) []byte {
	if c.Next == "" {
		return appendLeast(key, c.Filter)
	}
	return append(key, c.Next...)
}

// A verdict is what to do about a key, or next.
type verdict int

const (
	match  verdict = iota // it matches
	seek                  // it does not; another one is the least that can
	finish                // neither it nor any after it matches
	pause                 // go on another time
)

// judge compares key with filter. If the verdict is seek, it appends the least
// greater key that can match to next.
func judge(next []byte, filter, key string) ([]byte, verdict) {
	if filter == "" {
		return next, match
	}
	if hidden(key) && wild(filter) {
		return append(next, '$'+1), seek
	}
	plus := -1 // where the last level ends that "+" stands for
	for f, k := 0, 0; ; {
		fEnd, kEnd := levelEnd(filter, f, '/'), levelEnd(key, k, separator)
		want, have := filter[f:fEnd], key[k:kEnd]
		switch {
		case want == "#":
			return next, match
		case want == "+":
			plus = kEnd
		case have < want:
			return appendLeast(append(next, key[:k]...), filter[f:]), seek
		case have > want:
			return skip(next, key, plus)
		}
		switch {
		case fEnd == len(filter) && kEnd == len(key):
			return next, match
		case fEnd == len(filter):
			return skip(next, key, plus)
		case kEnd == len(key) && filter[fEnd+1:] == "#":
			return next, match
		case kEnd == len(key):
			next = append(append(next, key...), separator)
			return appendLeast(next, filter[fEnd+1:]), seek
		}
		f, k = fEnd+1, kEnd+1
	}
}

// levelEnd returns where the level of s that starts at i ends.
func levelEnd(s string, i int, separator byte) int {
	if n := strings.IndexByte(s[i:], separator); n >= 0 {
		return i + n
	}
	return len(s)
}

// appendLeast appends the least key that matches filter, leaving a leading '$'
// aside: each "+" is an empty level, "#" is nothing.
func appendLeast(key []byte, filter string) []byte {
	if filter == "#" {
		return key
	}
	filter = strings.TrimSuffix(filter, "/#")
	for i := 0; i < len(filter); i++ {
		switch c := filter[i]; c {
		case '+':
		case '/':
			key = append(key, separator)
		default:
			key = append(key, c)
		}
	}
	return key
}

// skip leaves what is below the level of key that ends at plus, where all
// matches have been passed, for the next value of that level.
func skip(next []byte, key string, plus int) ([]byte, verdict) {
	if plus < 0 {
		return next, finish
	}
	return append(append(next, key[:plus]...), separator+1), seek
}
