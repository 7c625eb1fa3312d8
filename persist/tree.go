package persist

import "github.com/tidwall/btree"

// tree is a B-tree of immutable values, in an order of theirs. T must have no
// methods: the B-tree would call one named Copy.
//
// When the B-tree splits a node, the halves share its array, and what moves on
// with the one half is kept by the other, out of sight: in a tree that was filled
// in order, as many values as it has. That is no loss until they are replaced or
// deleted. But a node that is copied on write gets an array of its own. So once
// values have been added, set and delete sweep the tree, sweepNodes values after
// every sweepEvery values that left, and have each node copied. A sweep during
// which none was added is the last.
type tree[T any] struct {
	b     *btree.BTreeG[T]
	left  uint8 // values that left, counted round and round
	added bool  // values were added since the sweep began
	going bool  // a sweep is under way
	from  T     // it has come to here
}

const (
	sweepEvery = 16
	sweepNodes = 128
	sweepLeast = 64 // with fewer values there are few nodes, or only one
)

func newTree[T any](less func(a, b T) bool) tree[T] {
	return tree[T]{b: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// copy is one that stays as it is whatever becomes of t, in constant time.
func (t *tree[T]) copy() tree[T] { return tree[T]{b: t.b.Copy()} }

// set puts v in the place of the one that is equal in order, which it returns.
func (t *tree[T]) set(v T) (old T, replaced bool) {
	old, replaced = t.b.Set(v)
	if replaced {
		t.sweep()
	} else {
		t.added = true
	}
	return old, replaced
}

// delete removes the value that is equal in order to v, and returns it.
func (t *tree[T]) delete(v T) (old T, deleted bool) {
	old, deleted = t.b.Delete(v)
	if deleted {
		t.sweep()
	}
	return old, deleted
}

// deleteFrom removes the values from v on for which match holds.
func (t *tree[T]) deleteFrom(v T, match func(T) bool) {
	for {
		var batch [64]T
		n := 0
		t.b.Ascend(v, func(one T) bool {
			if n == len(batch) || !match(one) {
				return false
			}
			batch[n] = one
			n++
			return true
		})
		for _, one := range batch[:n] {
			t.delete(one)
		}
		if n < len(batch) {
			return
		}
	}
}

// sweep notes that a value left, and goes on with the sweep when it is time to.
func (t *tree[T]) sweep() {
	if t.left++; t.left%sweepEvery != 0 {
		return
	}
	if !t.going {
		if !t.added || t.b.Len() < sweepLeast {
			return
		}
		t.going, t.added = true, false
		t.from, _ = t.b.Min()
		t.b = t.b.Copy() // now all nodes are copied when next written
	}
	from, left := t.from, sweepNodes
	var none T
	t.going, t.from = false, none
	t.b.AscendMut(from, func(v T) bool {
		if left--; left < 0 {
			t.going, t.from = true, v
		}
		return !t.going
	})
}
