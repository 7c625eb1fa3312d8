package topic

import (
	"slices"
	"strings"
)

// Index holds subscriptions: for each filter, one value V for each key K. The
// zero Index is empty and ready for use.
//
// It is a tree of levels in which a run of levels without a fork is one node
// (see node), so its size goes by the number and the length of the filters, not
// by their levels, and what Match visits is bounded by what was subscribed. All
// memory of a filter is given back when its last entry goes.
//
// Filters are legal ones, see [CheckFilter]. Set keeps parts of them, so they
// must not be views of a buffer.
type Index[K comparable, V any] struct {
	root       node[K, V] // its label is empty and stands for no level
	count      int        // entries in all lists
	generation uint64     // changes whenever a list comes, goes, or changes its length
	hash       hashing    // tells children apart
	search     search[K, V]
	cache      cache[K, V]
}

// Len returns the number of (filter, key) entries.
func (x *Index[K, V]) Len() int { return x.count }

// Set makes v the value of k at filter and returns the one it replaces, if any.
func (x *Index[K, V]) Set(filter string, k K, v V) (old V, replaced bool) {
	n, multi := &x.root, filter == "#"
	if !multi {
		var path string
		path, multi = strings.CutSuffix(filter, "/#")
		n = x.place(path)
	}
	l := &n.own
	if multi {
		if n.multi == nil {
			n.multi = new(list[K, V])
		}
		l = n.multi
	}
	if old, replaced = l.set(k, v); !replaced {
		x.count++
		x.generation++
	}
	return old, replaced
}

// place returns the node at the end of path and makes it if there is none.
func (x *Index[K, V]) place(path string) *node[K, V] {
	n := &x.root
	for {
		level, _, _ := strings.Cut(path, "/")
		child, at := n.below.find(level, x.hash)
		if child == nil {
			child = &node[K, V]{label: path}
			n.below.add(child, at, x.hash)
			return child
		}
		end := common(child.label, path)
		if end < len(child.label) {
			child.split(end, x.hash)
		}
		if end == len(path) {
			return child
		}
		n, path = child, path[end+1:]
	}
}

// Delete removes k from filter and returns its value, if it was there.
func (x *Index[K, V]) Delete(filter string, k K) (old V, deleted bool) {
	n, parent, multi := &x.root, (*node[K, V])(nil), filter == "#"
	if !multi {
		var path string
		path, multi = strings.CutSuffix(filter, "/#")
		n, parent = x.lookup(path)
	}
	if n == nil {
		return old, false
	}
	if !multi {
		old, deleted = n.own.del(k)
	} else if n.multi != nil {
		old, deleted = n.multi.del(k)
		if n.multi.len() == 0 {
			n.multi = nil
		}
	}
	if deleted {
		x.count--
		x.generation++
		x.prune(n, parent)
	}
	return old, deleted
}

// lookup returns the node at the end of path, or nil, and the node above it.
func (x *Index[K, V]) lookup(path string) (n, parent *node[K, V]) {
	n = &x.root
	for {
		level, _, _ := strings.Cut(path, "/")
		parent = n
		n, _ = n.below.find(level, x.hash)
		if n == nil || !startsWith(path, n.label) {
			return nil, nil
		}
		if len(path) == len(n.label) {
			return n, parent
		}
		path = path[len(n.label)+1:]
	}
}

// prune removes what is not needed any more when n has lost an entry: n, if
// nothing is left of it, and a node that only leads to another.
func (x *Index[K, V]) prune(n, parent *node[K, V]) {
	if x.count == 0 {
		x.search, x.cache = search[K, V]{}, cache[K, V]{} // they may have grown
	}
	if n != &x.root && n.idle() && n.below.len() == 0 {
		parent.below.del(n, x.hash)
		*n = node[K, V]{} // a slot left behind in the B-tree may still point here
		n = parent
	}
	if n != &x.root && n.idle() && n.below.len() == 1 {
		n.absorb()
	}
}

// Walk calls visit for each filter and its entries until it returns false. At
// each level a filter comes before those below it, "#" first, then "+", then the
// other levels as bytes compare. The entries are read-only, and the index must
// not be changed meanwhile. It is for dumps and tests: it allocates.
func (x *Index[K, V]) Walk(visit func(filter string, e []Entry[K, V]) bool) {
	if x.root.multi != nil && !visit("#", x.root.multi.all()) {
		return
	}
	var path []byte
	for ahead := x.root.steps(0, nil); len(ahead) > 0; {
		s := ahead[len(ahead)-1]
		path = append(path[:s.depth], s.n.label...)
		if s.n.own.len() > 0 && !visit(string(path), s.n.own.all()) {
			return
		}
		if s.n.multi != nil && !visit(string(path)+"/#", s.n.multi.all()) {
			return
		}
		path = append(path, '/')
		ahead = s.n.steps(len(path), ahead[:len(ahead)-1])
	}
}

// A step is a node that Walk has still to visit.
type step[K comparable, V any] struct {
	n     *node[K, V]
	depth int // length of the path above it
}

// steps appends the children of n, the first to be visited last.
func (n *node[K, V]) steps(depth int, ahead []step[K, V]) []step[K, V] {
	from := len(ahead)
	n.below.each(func(child *node[K, V]) {
		ahead = append(ahead, step[K, V]{child, depth})
	})
	slices.SortFunc(ahead[from:], func(a, b step[K, V]) int {
		if a.n == n.below.plus || b.n == n.below.plus {
			if a.n == n.below.plus {
				return 1
			}
			return -1
		}
		return strings.Compare(b.n.first(), a.n.first())
	})
	return ahead
}
