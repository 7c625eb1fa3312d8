package core

import (
	"fmt"
	"io"
	"strings"

	"midge/broker/topic"
	"midge/persist"
)

// DumpSubscriptions writes the subscriptions, plain ones and then shared ones, as
// trees of levels with their subscribers, in mosquitto's format: below each root
// its name once more, which is empty but for filters that begin with $.
func (b *Broker) DumpSubscriptions(w io.Writer) {
	plain := newForest("", "$SYS") // these are always there
	b.index.Walk(func(filter string, e []topic.Entry[*Session, *persist.Subscription]) bool {
		var names strings.Builder
		for i := range e {
			fmt.Fprintf(&names, " (%s, %d)", e[i].Key.id, e[i].Value.QoS())
		}
		plain.add(filter, names.String())
		return true
	})
	plain.write(w)
	shared := newForest()
	b.shared.Walk(func(filter string, e []topic.Entry[*share, struct{}]) bool {
		var names strings.Builder
		for i := range e {
			for _, m := range e[i].Key.members {
				fmt.Fprintf(&names, " (%s, %d)", m.session.id, m.sub.QoS())
			}
		}
		shared.add(filter, names.String())
		return true
	})
	shared.write(w)
}

// forest is filters by the roots of their trees.
type forest struct {
	roots []string
	trees map[string][]branch
}

func newForest(roots ...string) *forest {
	f := &forest{roots: roots, trees: make(map[string][]branch)}
	for _, root := range roots {
		f.trees[root] = nil
	}
	return f
}

// branch is a filter with its subscribers.
type branch struct {
	levels      []string // the root's name first
	subscribers string
}

// add takes in a filter; they come in order.
func (f *forest) add(filter, subscribers string) {
	if filter[0] != '$' {
		filter = "/" + filter
	}
	br := branch{strings.Split(filter, "/"), subscribers}
	root := br.levels[0]
	if _, ok := f.trees[root]; !ok {
		f.roots = append(f.roots, root)
	}
	f.trees[root] = append(f.trees[root], br)
}

// write writes the trees: of each branch the levels that the one before does
// not have.
func (f *forest) write(w io.Writer) {
	for _, root := range f.roots {
		fmt.Fprintf(w, "    %s\n", root)
		var path []string
		for _, br := range f.trees[root] {
			same := 0
			for same < min(len(path), len(br.levels)) && path[same] == br.levels[same] {
				same++
			}
			for i := same; i < len(br.levels); i++ {
				fmt.Fprintf(w, "%*s%s", 6+2*i, "", br.levels[i])
				if i == len(br.levels)-1 {
					fmt.Fprint(w, br.subscribers)
				}
				fmt.Fprint(w, "\n")
			}
			path = br.levels
		}
	}
}
