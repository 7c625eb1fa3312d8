package auth

import (
	"slices"
	"strings"
)

// The rules of one list, a user's or the patterns, are a tree of levels. Their order
// in the file does not matter, because a denial goes before everything else; so what
// counts of the rules that match a topic is only which kinds are among them, and a
// walk of the tree collects that. A run of levels without a fork is one node, made of
// the rules in their sorted order. A walk visits each node at most once and those of
// a literal level by a binary search, so it takes about as long for a thousand
// rules as for ten.

// grant is a set of what rules say: any of Read, Write and deny.
type grant uint8

const deny grant = 1 << 7

// node is the end of a path of levels, from the root on.
type node struct {
	path  string // the levels behind the node above, joined by '/'
	head  int32  // length of the first of them
	wild  int32  // how many of kids begin with a level that stands for others: these come first
	plain bool   // path is compared as it is
	here  grant  // of the rules that end here
	below grant  // of the rules that go on with '#'
	kids  []node // by their first level, in the order of compareLevels
}

// rule is a line of the file on its way into a tree.
type rule struct {
	rest  string // levels still to be placed
	done  bool   // there are none
	below bool   // it ends in '#'
	what  grant
}

// newRule makes a rule of a legal filter.
func newRule(filter string, what grant) rule {
	if filter == "#" {
		return rule{done: true, below: true, what: what}
	}
	path, below := strings.CutSuffix(filter, "/#")
	return rule{rest: path, below: below, what: what}
}

// behind is the rule less its first n bytes of levels.
func (r rule) behind(n int) rule {
	if n == len(r.rest) {
		r.rest, r.done = "", true
	} else {
		r.rest = r.rest[n+1:]
	}
	return r
}

// plant makes the tree of rules; where substitutes is true %c and %u stand for others.
func plant(rules []rule, substitutes bool) *node {
	if len(rules) == 0 {
		return nil
	}
	slices.SortFunc(rules, func(a, b rule) int {
		if a.done || b.done {
			return boolOrder(b.done) - boolOrder(a.done)
		}
		return comparePaths(a.rest, b.rest, substitutes)
	})
	root := new(node)
	root.grow(rules, substitutes)
	return root
}

// grow gives n what belongs to it and below it, of sorted rules.
func (n *node) grow(rules []rule, substitutes bool) {
	for len(rules) > 0 && rules[0].done {
		if rules[0].below {
			n.below |= rules[0].what
		} else {
			n.here |= rules[0].what
		}
		rules = rules[1:]
	}
	var forks []int // where another first level begins
	for i := range rules {
		if i == 0 || firstLevel(rules[i].rest) != firstLevel(rules[i-1].rest) {
			forks = append(forks, i)
		}
	}
	n.kids = make([]node, len(forks))
	for i, from := range forks {
		to := len(rules)
		if i+1 < len(forks) {
			to = forks[i+1]
		}
		kid := &n.kids[i]
		kid.name(commonLevels(rules[from].rest, rules[to-1].rest), substitutes)
		if rank(kid.path[:kid.head], substitutes) != literal {
			n.wild++
		}
		for j := from; j < to; j++ {
			rules[j] = rules[j].behind(len(kid.path))
		}
		kid.grow(rules[from:to], substitutes)
	}
}

func (n *node) name(path string, substitutes bool) {
	n.path, n.head, n.plain = path, int32(len(firstLevel(path))), true
	for level := range strings.SplitSeq(path, "/") {
		n.plain = n.plain && rank(level, substitutes) == literal
	}
}

// Ranks of levels: those that stand for others go first.
const (
	anyLevel = iota
	clientLevel
	userLevel
	literal
)

func rank(level string, substitutes bool) int {
	switch {
	case level == "+":
		return anyLevel
	case substitutes && level == "%c":
		return clientLevel
	case substitutes && level == "%u":
		return userLevel
	}
	return literal
}

// comparePaths orders paths level by level, the shorter one first.
func comparePaths(a, b string, substitutes bool) int {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if c := rank(x, substitutes) - rank(y, substitutes); c != 0 {
			return c
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return boolOrder(moreA) - boolOrder(moreB)
		}
		a, b = restA, restB
	}
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

func firstLevel(path string) string {
	level, _, _ := strings.Cut(path, "/")
	return level
}

// commonLevels is the run of levels that both paths begin with; their first is the same.
func commonLevels(a, b string) string {
	end := 0
	for i := 0; ; i++ {
		endA, endB := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if endA && endB {
			end = i
		}
		if i == len(a) || i == len(b) || a[i] != b[i] {
			return a[:end]
		}
	}
}

// search is the walk of one topic through a tree.
type search struct {
	topic       string
	clientID    string // what %c stands for; "": nothing
	username    string // what %u stands for; "": nothing
	substitutes bool
	found       grant
}

// visit collects from n, and from what is below it. at is where the topic's next
// level begins, beyond its end when there is none. The depth of the calls is that
// of the filters, at most topic.MaxSlashes.
func (s *search) visit(n *node, at int) {
	hidden := at == 0 && s.topic[0] == '$' // only a rule that begins with '$' matches it
	if !hidden {
		s.found |= n.below
	}
	if at > len(s.topic) {
		s.found |= n.here
		return
	}
	if !hidden {
		for i := range n.kids[:n.wild] {
			s.follow(&n.kids[i], at)
		}
	}
	if kid := n.find(levelAt(s.topic, at)); kid != nil {
		s.follow(kid, at)
	}
}

// follow visits n if the topic goes on like its path.
func (s *search) follow(n *node, at int) {
	if s.found&deny != 0 {
		return
	}
	if n.plain {
		at = s.pass(n.path, at)
	} else {
		at = s.passLevels(n.path, at)
	}
	if at >= 0 {
		s.visit(n, at)
	}
}

// pass gives where the topic goes on behind levels, or -1 if it has others there.
func (s *search) pass(levels string, at int) int {
	end := at + len(levels)
	if at > len(s.topic) || !strings.HasPrefix(s.topic[at:], levels) || end < len(s.topic) && s.topic[end] != '/' {
		return -1
	}
	return end + 1
}

// passLevels is pass for levels of which some stand for others.
func (s *search) passLevels(path string, at int) int {
	for more := true; more && at >= 0; {
		var level string
		level, path, more = strings.Cut(path, "/")
		switch rank(level, s.substitutes) {
		case anyLevel:
			if at > len(s.topic) {
				return -1
			}
			at += len(levelAt(s.topic, at)) + 1
		case clientLevel:
			at = s.passName(s.clientID, at)
		case userLevel:
			at = s.passName(s.username, at)
		default:
			at = s.pass(level, at)
		}
	}
	return at
}

func (s *search) passName(name string, at int) int {
	if name == "" {
		return -1
	}
	return s.pass(name, at)
}

// find is the kid that begins with the literal level, or nil.
func (n *node) find(level string) *node {
	kids := n.kids[n.wild:]
	for len(kids) > 0 {
		mid := &kids[len(kids)/2]
		switch c := strings.Compare(level, mid.path[:mid.head]); {
		case c == 0:
			return mid
		case c < 0:
			kids = kids[:len(kids)/2]
		default:
			kids = kids[len(kids)/2+1:]
		}
	}
	return nil
}

func levelAt(topic string, at int) string {
	if end := strings.IndexByte(topic[at:], '/'); end >= 0 {
		return topic[at : at+end]
	}
	return topic[at:]
}
