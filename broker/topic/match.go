package topic

import (
	"hash/maphash"
	"strings"
)

// Match returns the lists of all filters that match name, a legal topic name.
// Their order is mosquitto's: below each node first what follows the literal
// level, then "+", then "#"; at the end of the name "a/#" comes before "a". The
// result is read-only and holds until the next call of Match, Set or Delete.
//
// A name that was matched since the index last changed comes from the cache, as
// a rule. Otherwise each node is visited once whose path matches the beginning of
// name. If filters fork into a level and "+" again and again, these can be all
// nodes, which are fewer than twice the filters and have no more bytes than
// these: time is linear in what was subscribed, at worst. Match allocates nothing,
// except to grow its buffers.
func (x *Index[K, V]) Match(name []byte) [][]Entry[K, V] {
	if len(name) == 0 || x.count == 0 {
		return nil
	}
	// No one keeps the string: the cache copies it.
	topic := text(name)
	if last := x.cache.last; last != nil && last.holds(topic, x.generation) {
		return last.found
	}
	hash := maphash.String(seed, topic)
	if slot := x.cache.find(topic, hash, x.generation); slot != nil {
		return slot.found
	}
	found := x.search.run(&x.root, topic, x.hash)
	x.cache.keep(topic, hash, x.generation, found)
	return found
}

// A search is the walk of one Match and the buffers it uses again. It goes depth
// first, with a stack instead of recursion: what is to come last is pushed first.
// At most two visits stay behind on the stack at each level.
type search[K comparable, V any] struct {
	topic  string
	starts []int // where each level starts, and the length + 1
	ahead  []visit[K, V]
	found  [][]Entry[K, V]
}

// A visit is a node whose path matches the first levels of the topic.
type visit[K comparable, V any] struct {
	n     *node[K, V]
	level int // number of those levels; -1: only the "#" of n is left to visit
}

func (s *search[K, V]) run(root *node[K, V], topic string, h hashing) [][]Entry[K, V] {
	s.begin(topic)
	s.visit(root, 0, !hidden(topic), h)
	for len(s.ahead) > 0 {
		v := s.ahead[len(s.ahead)-1]
		s.ahead = s.ahead[:len(s.ahead)-1]
		if v.level < 0 {
			s.found = append(s.found, v.n.multi.all())
		} else {
			s.visit(v.n, v.level, true, h)
		}
	}
	s.topic = ""
	return s.found
}

func (s *search[K, V]) begin(topic string) {
	s.topic = topic
	s.found = s.found[:0]
	s.starts = append(s.starts[:0], 0)
	for i := 0; i < len(topic); {
		n := strings.IndexByte(topic[i:], '/')
		if n < 0 {
			break
		}
		i += n + 1
		s.starts = append(s.starts, i)
	}
	s.starts = append(s.starts, len(topic)+1)
}

// visit reads node n, whose path matches the levels before level. Without wild,
// no wildcard may stand for that level.
func (s *search[K, V]) visit(n *node[K, V], level int, wild bool, h hashing) {
	if level == len(s.starts)-1 {
		if n.multi != nil {
			s.found = append(s.found, n.multi.all())
		}
		if n.own.len() > 0 {
			s.found = append(s.found, n.own.all())
		}
		return
	}
	if wild && n.multi != nil {
		s.ahead = append(s.ahead, visit[K, V]{n, -1})
	}
	if wild && n.below.plus != nil {
		s.follow(n.below.plus, level)
	}
	if child, _ := n.below.literal(s.topic[s.starts[level]:s.starts[level+1]-1], h); child != nil {
		s.follow(child, level)
	}
}

// follow pushes a child if its label matches the topic from level on.
func (s *search[K, V]) follow(child *node[K, V], level int) {
	label, at := child.label, s.starts[level]
	for i := 0; i < len(label); i++ {
		c := label[i]
		if c == '+' { // a whole level, as the filter is legal
			at = s.starts[level+1] - 1
			continue
		}
		if at == len(s.topic) || s.topic[at] != c {
			return
		}
		if c == '/' {
			level++
		}
		at++
	}
	if at == s.starts[level+1]-1 {
		s.ahead = append(s.ahead, visit[K, V]{child, level + 1})
	}
}
