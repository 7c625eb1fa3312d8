package topic

import (
	"hash/maphash"

	"github.com/tidwall/btree"
)

// children are the nodes below a node, told apart by the first level of their
// labels. An only literal child is kept inline, which most nodes with children
// have; from the second on they are in a B-tree by the hash of that level, where
// a search compares integers that lie side by side instead of strings all over
// the memory. If two levels have one hash, the later is put under the next free
// number, as in a hash table with linear probing.
type children[K comparable, V any] struct {
	plus *node[K, V]                     // the child whose label begins with "+"
	only *node[K, V]                     // the literal child, if there is just one
	many *btree.Map[uint64, *node[K, V]] // all literal children, if there are more
}

// hashing is the set of hash bits that are always one: none, but in tests that
// want levels to collide.
type hashing uint64

var seed = maphash.MakeSeed()

func (h hashing) of(level string) uint64 {
	return maphash.String(seed, level) | uint64(h)
}

// len returns the number of children.
func (c *children[K, V]) len() int {
	n := 0
	if c.plus != nil {
		n++
	}
	if c.only != nil {
		n++
	}
	if c.many != nil {
		n += c.many.Len()
	}
	return n
}

// sole returns the child of a node that has one child.
func (c *children[K, V]) sole() *node[K, V] {
	if c.plus != nil {
		return c.plus
	}
	return c.only
}

// find returns the child for one level of a filter, or nil.
func (c *children[K, V]) find(level string, h hashing) *node[K, V] {
	if level == "+" {
		return c.plus
	}
	return c.literal(level, h)
}

// literal returns the child for one level of a name, or nil.
func (c *children[K, V]) literal(level string, h hashing) *node[K, V] {
	if c.many == nil {
		if c.only != nil && c.only.begins(level) {
			return c.only
		}
		return nil
	}
	for at := h.of(level); ; at++ {
		n, ok := c.many.Get(at)
		if !ok || n.begins(level) {
			return n
		}
	}
}

// add takes in a child for whose first level there is none.
func (c *children[K, V]) add(n *node[K, V], h hashing) {
	switch {
	case n.first() == "+":
		c.plus = n
	case c.many != nil:
		c.insert(n, h)
	case c.only != nil:
		c.many = new(btree.Map[uint64, *node[K, V]])
		c.insert(c.only, h)
		c.insert(n, h)
		c.only = nil
	default:
		c.only = n
	}
}

func (c *children[K, V]) insert(n *node[K, V], h hashing) {
	at := h.of(n.first())
	for taken := true; taken; at++ {
		if _, taken = c.many.Get(at); !taken {
			c.many.Set(at, n)
		}
	}
}

// del removes the child n.
func (c *children[K, V]) del(n *node[K, V], h hashing) {
	switch n {
	case c.plus:
		c.plus = nil
	case c.only:
		c.only = nil
	default:
		c.remove(n, h)
		if c.many.Len() == 1 {
			_, c.only, _ = c.many.Min()
			c.many = nil
		}
	}
}

// remove takes n out of the tree and moves up those behind it that had to make
// way for it.
func (c *children[K, V]) remove(n *node[K, V], h hashing) {
	free := h.of(n.first())
	for {
		if have, ok := c.many.Get(free); !ok || have == n {
			break
		}
		free++
	}
	c.many.Delete(free)
	for at := free + 1; ; at++ {
		next, ok := c.many.Get(at)
		if !ok {
			return
		}
		if at-h.of(next.first()) >= at-free { // its place is at free or before
			c.many.Delete(at)
			c.many.Set(free, next)
			free = at
		}
	}
}

// each calls visit for the children in no particular order.
func (c *children[K, V]) each(visit func(*node[K, V])) {
	if c.plus != nil {
		visit(c.plus)
	}
	if c.only != nil {
		visit(c.only)
	}
	if c.many != nil {
		c.many.Scan(func(_ uint64, n *node[K, V]) bool {
			visit(n)
			return true
		})
	}
}
