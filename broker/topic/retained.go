package topic

import (
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// Retained holds one message for each topic name [MQTT-3.3.1-5]. The zero
// Retained is empty and ready for use. Messages are immutable values.
//
// It is one B-tree in the order of the levels: a name's key is the name with '/'
// as U+0000, which no name contains and which is less than every other byte. So
// all names below "a" are neighbours, and "a-b" is not among them.
type Retained[M any] struct {
	tree btree.Map[string, kept[M]]
	key  []byte // the key being sought
	next []byte // the key that Read seeks after it
	renewal

	misses int // of the last Read
}

// kept has no methods. The B-tree would call a message's Copy or IsoCopy.
type kept[M any] struct{ message M }

const separator = 0 // between the levels of a key

// Len returns the number of messages.
func (r *Retained[M]) Len() int { return r.tree.Len() }

// Set makes m the message of name, a legal topic name, and returns the one it
// replaces, if any. It copies name.
func (r *Retained[M]) Set(name string, m M) (old M, replaced bool) {
	r.seek(name)
	was, replaced := r.tree.Set(string(r.key), kept[M]{m})
	if replaced {
		r.renew()
	} else {
		r.added = true
	}
	return was.message, replaced
}

// Delete removes the message of name and returns it, if there was one.
func (r *Retained[M]) Delete(name string) (old M, deleted bool) {
	was, deleted := r.tree.Delete(r.seek(name))
	if deleted {
		r.renew()
	}
	return was.message, deleted
}

// Load returns the message of name, if there is one.
func (r *Retained[M]) Load(name string) (M, bool) {
	have, ok := r.tree.Get(r.seek(name))
	return have.message, ok
}

// seek returns the key of name, which holds until the next call. No tree may
// keep it.
func (r *Retained[M]) seek(name string) string {
	r.key = append(r.key[:0], name...)
	for i, c := range r.key {
		if c == '/' {
			r.key[i] = separator
		}
	}
	return text(r.key)
}

// text returns b as a string without a copy, for as long as b does not change.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Walk calls visit for each message until it returns false, in the order of the
// levels as bytes compare. The store must not be changed meanwhile.
func (r *Retained[M]) Walk(visit func(name string, m M) bool) {
	r.tree.Scan(func(key string, k kept[M]) bool {
		return visit(strings.ReplaceAll(key, "\x00", "/"), k.message)
	})
}

// When the B-tree splits a node, the halves share its array, and each sees a part
// of it. Once one has moved to another array, what it left behind is kept by the
// other, out of sight: as many messages as there are names, if these came in
// order. That is no loss until one of them is replaced or deleted. But a node that
// is copied on write gets an array of its own. So once names have been added, Set
// and Delete sweep the tree, renewNames names after every renewEvery messages that
// left, and have each node copied. A sweep during which no name was added is the
// last.
//
// Thus a message that has left is let go after at most two sweeps, during which
// Len/4 others leave and a few. Names that are only added cost nothing.
const (
	renewEvery = 16
	renewNames = 128
)

// renewal is the state of these sweeps.
type renewal struct {
	left  uint8  // messages that left, counted round and round
	added bool   // names were added since the sweep began
	going bool   // a sweep is under way
	from  string // it has come to this key
}

// renew notes that a message left, and goes on with the sweep when it is time to.
func (r *Retained[M]) renew() {
	if r.left++; r.left%renewEvery != 0 {
		return
	}
	if !r.going {
		if !r.added {
			return
		}
		r.renewal = renewal{going: true}
		r.tree = *r.tree.Copy() // now all nodes are copied when next written
	}
	from, left := r.from, renewNames
	r.going, r.from = false, ""
	r.tree.AscendMut(from, func(key string, _ kept[M]) bool {
		if left--; left < 0 {
			r.going, r.from = true, key
		}
		return !r.going
	})
}
