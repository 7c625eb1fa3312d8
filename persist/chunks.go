package persist

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// chunks goes through a file's chunks. Behind one that makes no sense it goes on with
// the next, so that damage costs no more than what was damaged.
type chunks struct {
	src     *source
	found   *snapshot
	version uint32

	at     int64  // where the chunk begins
	kind   uint32 // of the chunk
	before uint32 // CRC-32C of all before it
	head   [headSize]byte
	body   fields
}

// fixedMax is the longest fixed part.
const fixedMax = messageSize

// bodyMax is more than any chunk has: MQTT's longest packet and its publisher's
// names. midge's own may be longer.
const bodyMax = 1<<28 + 4<<16

// newChunks reads the header.
func newChunks(src *source, found *snapshot) (*chunks, error) {
	header := src.take(int64(headerSize))
	if src.err != nil {
		return nil, src.err
	}
	if header == nil || string(header[:len(magic)]) != magic {
		return nil, &FormatError{"Unable to restore persistent database. Unrecognised file format."}
	}
	version := binary.BigEndian.Uint32(header[headerSize-4:])
	if version < versionOldest || version > versionNow {
		return nil, &FormatError{fmt.Sprintf("Unsupported persistent database format version %d (need version %d).", version, versionNow)}
	}
	found.version = version
	return &chunks{src: src, found: found, version: version}, nil
}

// next reads the next chunk that is whole, as far as lengths tell. Its body is
// valid until then.
func (c *chunks) next() bool {
	for c.src.err == nil {
		c.at, c.before = c.src.at, c.src.sum
		head := c.src.peek(headSize + fixedMax)
		if len(head) == 0 {
			return false
		}
		size, length := c.split(head)
		if size == 0 {
			c.torn()
			return false
		}
		if c.body.b = nil; c.sound(0, head[size:], size, length) {
			if c.known() {
				return c.take(size, length)
			}
			c.found.warn("Unsupported chunk \"%d\" in persistent database file. Ignoring.", c.kind)
			c.src.skip(int64(size) + length)
			continue
		}
		if c.src.err == nil && !c.resume(head[size:], size, length) {
			return false
		}
	}
	return false
}

// split takes a head apart; size is 0 when it is not all there.
func (c *chunks) split(b []byte) (size int, length int64) {
	if c.version < versionStruct {
		if len(b) < headSizeOld {
			return 0, 0
		}
		c.kind = uint32(binary.BigEndian.Uint16(b))
		return headSizeOld, int64(binary.BigEndian.Uint32(b[2:]))
	}
	if len(b) < headSize {
		return 0, 0
	}
	c.kind = binary.BigEndian.Uint32(b)
	return headSize, int64(binary.BigEndian.Uint32(b[4:]))
}

// strange says that no version of mosquitto's can have such a kind.
func (c *chunks) strange() bool { return c.kind == 0 || c.kind > 0xFFFF && c.kind != kindOwn }

func (c *chunks) known() bool {
	return c.kind >= kindConfig && c.kind <= kindSession || c.kind == kindOwn
}

// sound says whether a chunk that begins off bytes from here can have that length.
// fixed is what follows its head, as far as was looked at.
func (c *chunks) sound(off int64, fixed []byte, size int, length int64) bool {
	if c.strange() || length > c.src.left()-off-int64(size) || c.kind != kindOwn && c.known() && length > bodyMax || int64(int(length)) != length {
		return false
	}
	if c.version < versionStruct || !c.known() || c.kind == kindOwn {
		return true
	}
	least, all := extent(c.kind, c.version, fixed)
	if least < 0 || length < least || all && length > least {
		return false
	}
	return length == least || c.section(off+int64(size)+least, length-least)
}

// section says whether a property section that begins at bytes from here can be
// n bytes long.
func (c *chunks) section(at, n int64) bool {
	size, ok := c.sectionSize(at)
	return !ok || size == n
}

// sectionSize is that of a property section, or 0: none is empty. Far ahead it may
// not be known.
func (c *chunks) sectionSize(at int64) (n int64, ok bool) {
	b, ok := c.src.look(at, 4)
	f := fields{b: b}
	if length := f.mqttVarint(); length > 0 {
		return int64(length + len(b) - len(f.b)), ok
	}
	return 0, ok
}

func (c *chunks) take(size int, length int64) bool {
	copy(c.head[:], c.src.take(int64(size)))
	c.body = fields{b: c.src.take(length)}
	if c.body.b == nil && length > 0 {
		c.torn()
		return false
	}
	return true
}

// torn notes that the file ends here.
func (c *chunks) torn() {
	if c.src.err == nil {
		c.found.mark().torn = true
		c.src.skip(c.src.left())
	}
}

// resume goes on behind a chunk that makes no sense: where its length says or its
// fixed part, whichever is nearer and has a chunk there, so that none is passed over.
// Only if neither has is the next one looked for byte by byte, and never in what the
// end cut off, for what clients wrote may look like chunks.
func (c *chunks) resume(fixed []byte, size int, length int64) bool {
	if c.version < versionStruct {
		c.torn() // there only the length is known to be wrong
		return false
	}
	c.found.broken(c.at)
	left := c.src.left() - int64(size)
	least, _ := extent(c.kind, c.version, fixed)
	if length > left && least > left {
		c.torn()
		return false
	}
	ends := []int64{length}
	if least >= 0 {
		section, _ := c.sectionSize(int64(size) + least)
		ends = append(ends, least, least+section)
	}
	slices.Sort(ends)
	for _, n := range ends {
		if c.follows(int64(size) + n) {
			c.src.skip(int64(size) + n)
			return true
		}
	}
	return c.search(length > left)
}

// search looks for a chunk byte by byte. If there is none, and the last one said
// that it goes beyond the end, the end is missing.
func (c *chunks) search(beyond bool) bool {
	for c.src.err == nil && c.src.left() > 0 {
		c.src.skip(1)
		if c.src.left() > 0 && c.follows(0) {
			return true
		}
	}
	if beyond {
		c.torn()
	}
	return false
}

// follows says whether there is a chunk off bytes from here, or the end. Where it
// cannot look it says so of whatever is there.
func (c *chunks) follows(off int64) bool {
	if off >= c.src.left() {
		return off == c.src.left()
	}
	b, ok := c.src.look(off, headSize+fixedMax)
	if !ok {
		return true
	}
	head := [headSize + fixedMax]byte{}
	b = head[:copy(head[:], b)]
	size, length := c.split(b)
	return size > 0 && c.likely(b[size:]) && c.sound(off, b[size:], size, length)
}

// likely says whether what may be the middle of anything looks like a chunk.
func (c *chunks) likely(fixed []byte) bool {
	at := func(i int) byte {
		if i < len(fixed) {
			return fixed[i]
		}
		return 0xFF
	}
	switch c.kind {
	case kindMessage:
		return at(30) <= qosMax && at(31) <= 1
	case kindDelivery:
		return at(12) <= qosMax && at(13) <= stateQueued && at(15) <= 1
	case kindRetained:
		return true
	case kindSubscription:
		return at(8) <= qosMax && at(10) == 0 && at(11) == 0
	case kindSession:
		return c.version == versionStruct || at(20)|at(21)|at(22)|at(23) == 0
	case kindOwn:
		return at(4) == ownFormat
	}
	return false
}
