package topic

import "hash/maphash"

// The bounds of the cache. There are 1024 slots of 56 bytes, each with a name and
// its lists, at most 1.1 MB. An array that a list has left stays in memory until
// its slot is used again; with 16 bytes for an entry these are at most 4 MB. A
// result beyond the bounds is not kept: it takes longer to deliver than to find.
const (
	cacheSlots    = 1024
	cacheNameMax  = 256 // bytes
	cacheListMax  = 32  // lists of one name
	cacheEntryMax = 256 // entries that their arrays have room for
)

// A cache remembers what names matched, one name in each slot. A slot is good
// for one generation of the index. Nothing is ever removed from it: an array that
// a list leaves behind is clear, see list.
type cache[K comparable, V any] struct {
	slots []slot[K, V] // made when first needed
}

type slot[K comparable, V any] struct {
	generation uint64
	name       []byte
	found      [][]Entry[K, V]
}

// slot returns the only slot where topic can be.
func (c *cache[K, V]) slot(topic string) *slot[K, V] {
	if c.slots == nil {
		c.slots = make([]slot[K, V], cacheSlots)
	}
	return &c.slots[maphash.String(seed, topic)%cacheSlots]
}

func (s *slot[K, V]) holds(topic string, generation uint64) bool {
	return s.generation == generation && string(s.name) == topic
}

// keep copies topic and found, unless that is too much.
func (s *slot[K, V]) keep(topic string, generation uint64, found [][]Entry[K, V]) {
	if len(topic) > cacheNameMax || len(found) > cacheListMax || room(found) > cacheEntryMax {
		return
	}
	s.generation = generation
	s.name = append(s.name[:0], topic...)
	s.found = append(s.found[:0], found...)
}

// room returns how many entries the arrays of lists have room for.
func room[K comparable, V any](lists [][]Entry[K, V]) int {
	n := 0
	for _, l := range lists {
		n += cap(l)
	}
	return n
}
