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

// find returns the child for one level of a filter, or nil. at is the number in
// the tree that it has, or that add is to put it under.
func (c *children[K, V]) find(level string, h hashing) (n *node[K, V], at uint64) {
	if level == "+" {
		return c.plus, 0
	}
	return c.literal(level, h)
}

// literal is find for one level of a name.
func (c *children[K, V]) literal(level string, h hashing) (n *node[K, V], at uint64) {
	if c.many == nil {
		if c.only != nil && c.only.begins(level) {
			return c.only, 0
		}
		return nil, 0
	}
	for at = h.of(level); ; at++ {
		n, ok := c.many.Get(at)
		if !ok || n.begins(level) {
			return n, at
		}
	}
}

// add takes in a child where find has found none.
func (c *children[K, V]) add(n *node[K, V], at uint64, h hashing) {
	switch {
	case n.first() == "+":
		c.plus = n
	case c.many != nil:
		c.many.Set(at, n)
	case c.only != nil:
		c.fork(n, h)
	default:
		c.only = n
	}
}

// fork makes the tree, with the only child and n in it.
func (c *children[K, V]) fork(n *node[K, V], h hashing) {
	c.many = new(btree.Map[uint64, *node[K, V]])
	first, second := h.of(c.only.first()), h.of(n.first())
	if first == second {
		second++
	}
	c.many.Set(first, c.only)
	c.many.Set(second, n)
	c.only = nil
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
