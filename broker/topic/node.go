package topic

import "strings"

// A node stands for the beginning of some filters, from the root to its label's
// end. It is there because a filter ends with it, or with "/#" behind it, or
// because two filters part behind it; never for less, the root aside. Hence
// there are fewer than twice as many nodes as filters.
//
// A label is a view of the filter that the node was made for, which therefore
// stays in memory with the node. That is not much more than the path to it: where
// a node ends before its filter, split has given it a label of its own.
type node[K comparable, V any] struct {
	label string         // one or more levels, '/' between them, no "#"
	below children[K, V] // what may follow
	own   list[K, V]     // subscribers of the filter that ends here
	multi *list[K, V]    // of that filter with "/#" behind it; nil if empty
}

// idle reports whether no filter ends here.
func (n *node[K, V]) idle() bool {
	return n.own.len() == 0 && n.multi == nil
}

// first returns the first level of the label.
func (n *node[K, V]) first() string {
	level, _, _ := strings.Cut(n.label, "/")
	return level
}

// begins reports whether level is the first level of the label.
func (n *node[K, V]) begins(level string) bool {
	return startsWith(n.label, level)
}

// startsWith reports whether s begins with all levels of prefix.
func startsWith(s, prefix string) bool {
	return strings.HasPrefix(s, prefix) && (len(s) == len(prefix) || s[len(prefix)] == '/')
}

// common returns the length of the levels that a and b, whose first levels are
// equal, have in common.
func common(a, b string) int {
	n, i := 0, 0
	for ; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '/' {
			n = i
		}
	}
	if (i == len(a) || a[i] == '/') && (i == len(b) || b[i] == '/') {
		return i
	}
	return n
}

// split divides the node at a '/' of its label. It keeps what is before; the
// rest, and all it had, goes to a new child.
func (n *node[K, V]) split(slash int, h hashing) {
	child := *n
	child.label = n.label[slash+1:]
	*n = node[K, V]{label: strings.Clone(n.label[:slash])}
	n.below.add(&child, 0, h)
}

// absorb undoes split: an idle node with one child becomes that child.
func (n *node[K, V]) absorb() {
	child := n.below.sole()
	label := n.label + "/" + child.label
	*n, *child = *child, node[K, V]{}
	n.label = label
}
