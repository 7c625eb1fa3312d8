package hosts

import "net/netip"

// rule is one line.
type rule struct {
	daemons, clients *list
	turned           turn
	place            int // among those of its file
}

func (r *rule) match(c *Conn) bool { return r.daemons.match(c) && r.clients.match(c) }

// table is the rules of one file. Those of a single address, of which some machines
// have a hundred thousand, are found at once.
type table struct {
	rules []*rule // the others, in their order
	exact map[netip.Addr]*rule
	size  int
}

func (t *table) add(r *rule) {
	r.place = t.size
	t.size++
	a, ok := r.single()
	switch {
	case !ok:
		t.rules = append(t.rules, r)
	case t.exact[a] == nil: // else there is an earlier one
		if t.exact == nil {
			t.exact = make(map[netip.Addr]*rule)
		}
		t.exact[a] = r
	}
}

// single is the one address that a rule is about.
func (r *rule) single() (netip.Addr, bool) {
	d, c := r.daemons, r.clients
	if len(d.patterns) == 0 || d.except != nil || len(c.patterns) != 1 || c.except != nil {
		return netip.Addr{}, false
	}
	plain := false
	for _, p := range d.patterns {
		if name, ok := p.(daemon); ok && name.match(nil) {
			plain = true
		}
	}
	a, ok := c.patterns[0].(address)
	return netip.Addr(a), ok && plain
}

// find is the first rule that matches, or nil. Where a name is missing that a rule
// before it hangs on, c is unsure.
func (t *table) find(c *Conn) *rule {
	found := t.exact[c.client.addr]
	for _, r := range t.rules {
		if found != nil && found.place < r.place {
			break
		}
		if r.match(c) && !c.unsure {
			return r
		}
		if c.unsure {
			return nil
		}
	}
	return found
}
