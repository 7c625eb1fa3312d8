package topic

// The bounds of the cache. It has at most 1024 sets of 4 slots, each with a name
// and its lists, at most 5 MB. An array that a list has left, or a node that had
// one, stays in memory until its slot is used again; these are at most 11 MB. A
// result beyond the bounds is not kept: it takes longer to deliver than to find.
const (
	cacheSetsMin  = 16 // 4 KB
	cacheSetsMax  = 1024
	cacheWays     = 4
	cacheOust     = 4   // of so many names without a place one makes another give way
	cacheNameMax  = 256 // bytes
	cacheListMax  = 32  // lists of one name
	cacheEntryMax = 128 // entries that their arrays have room for
)

// A cache remembers what names matched. A name has one set, by its hash, and any
// slot in it. A slot is good for one generation of the index. Nothing is ever
// removed from it: an array that a list leaves behind is clear, see list.
//
// A good slot makes way for every fourth name only that has no other place, so that
// a crowd of names that are met once does not cost much, nor all that is kept. The
// cache begins small, and doubles when as many names as it has slots had no place.
type cache[K comparable, V any] struct {
	sets  []set[K, V] // made when first needed; their number is a power of two
	lacks int         // names that had no place since there were so many sets
	last  *slot[K, V] // the one found last: a publisher's next message is often to the same topic
}

type set[K comparable, V any] struct {
	tags  [cacheWays]uint32 // a part of the hash of each slot's name
	next  int               // the slot that was filled first of all
	slots [cacheWays]slot[K, V]
}

type slot[K comparable, V any] struct {
	generation uint64
	name       []byte
	found      [][]Entry[K, V]
}

// set returns the only set where a name with that hash can be.
func (c *cache[K, V]) set(hash uint64) *set[K, V] {
	if c.sets == nil {
		c.sets = make([]set[K, V], cacheSetsMin)
	}
	return &c.sets[hash&uint64(len(c.sets)-1)]
}

// holds says that the slot has what topic matches.
func (l *slot[K, V]) holds(topic string, generation uint64) bool {
	return l.generation == generation && string(l.name) == topic
}

// find returns the slot that has what topic matches, whose hash is given, or nil.
func (c *cache[K, V]) find(topic string, hash, generation uint64) *slot[K, V] {
	s := c.set(hash)
	for i, tag := range s.tags {
		if tag == uint32(hash>>32) && s.slots[i].holds(topic, generation) {
			c.last = &s.slots[i]
			return c.last
		}
	}
	return nil
}

// keep copies topic and found, unless that is too much.
func (c *cache[K, V]) keep(topic string, hash, generation uint64, found [][]Entry[K, V]) {
	if len(topic) > cacheNameMax || len(found) > cacheListMax || room(found) > cacheEntryMax {
		return
	}
	s := c.set(hash)
	if s.slots[s.next].generation == generation {
		if c.lacks++; c.lacks%cacheOust != 0 {
			return
		}
		if c.grow() {
			s = c.set(hash)
		}
	}
	s.keep(topic, hash, generation, found)
}

// grow makes the cache larger, and empty, when it is time to.
func (c *cache[K, V]) grow() bool {
	if c.lacks < len(c.sets)*cacheWays || len(c.sets) == cacheSetsMax {
		return false
	}
	*c = cache[K, V]{sets: make([]set[K, V], 2*len(c.sets))}
	return true
}

func (s *set[K, V]) keep(topic string, hash, generation uint64, found [][]Entry[K, V]) {
	l := &s.slots[s.next]
	s.tags[s.next] = uint32(hash >> 32)
	s.next = (s.next + 1) % cacheWays
	l.generation = generation
	l.name = append(l.name[:0], topic...)
	l.found = append(l.found[:0], found...)
}

// room returns how many entries the arrays of lists have room for.
func room[K comparable, V any](lists [][]Entry[K, V]) int {
	n := 0
	for _, l := range lists {
		n += cap(l)
	}
	return n
}
