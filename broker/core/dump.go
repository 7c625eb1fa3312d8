package core

import (
	"fmt"
	"io"
	"strings"

	"midge/broker/topic"
	"midge/persist"
)

// DumpSubscriptions writes the subscriptions, plain ones and shared ones, as
// trees of levels with their subscribers, in mosquitto's format.
func (b *Broker) DumpSubscriptions(w io.Writer) {
	d := dump{w: w}
	d.root()
	b.index.Walk(func(filter string, e []topic.Entry[*Session, *persist.Subscription]) bool {
		names := make([]string, len(e))
		for i := range e {
			names[i] = fmt.Sprintf(" (%s, %d)", e[i].Key.id, e[i].Value.QoS())
		}
		d.filter(filter, names)
		return true
	})
	d.root()
	b.shared.Walk(func(filter string, e []topic.Entry[*share, struct{}]) bool {
		var names []string
		for i := range e {
			for _, m := range e[i].Key.members {
				names = append(names, fmt.Sprintf(" (%s, %d)", m.session.id, m.sub.QoS()))
			}
		}
		d.filter(filter, names)
		return true
	})
}

// dump writes filters, in order, as a tree.
type dump struct {
	w    io.Writer
	path []string // the levels written last
}

// root begins a tree.
func (d *dump) root() {
	d.path = nil
	fmt.Fprint(d.w, "    \n")
}

// filter writes the levels of a filter that are not those of the one before.
func (d *dump) filter(filter string, subscribers []string) {
	levels := strings.Split(filter, "/")
	same := 0
	for same < len(levels) && same < len(d.path) && levels[same] == d.path[same] {
		same++
	}
	for i := same; i < len(levels); i++ {
		fmt.Fprintf(d.w, "%*s%s", 6+2*i, "", levels[i])
		if i == len(levels)-1 {
			fmt.Fprint(d.w, strings.Join(subscribers, ","))
		}
		fmt.Fprint(d.w, "\n")
	}
	d.path = levels
}
