package broker

import "math/bits"

// tails are buffers for the beginnings of packets whose rest is to come, to be
// used again, by the number of bits of their capacities. A busy connection needs
// one after almost every read.
type tails struct {
	free  [bits.UintSize + 1][][]byte
	bytes int // of all capacities
}

const (
	tailsMax  = 8 << 20  // bytes kept for use at most
	tailMin   = 64       // bytes; below largeTail capacities are powers of two
	tailBlock = 16 << 10 // bytes; above they are multiples of it
)

// take gives an empty buffer with room for n bytes.
func (t *tails) take(n int) []byte {
	if n <= largeTail {
		n = max(tailMin, 1<<bits.Len(uint(n-1)))
	} else {
		n = (n + tailBlock - 1) / tailBlock * tailBlock
	}
	list := &t.free[bits.Len(uint(n))]
	if last := len(*list) - 1; last >= 0 && cap((*list)[last]) >= n {
		buf := (*list)[last]
		(*list)[last] = nil
		*list = (*list)[:last]
		t.bytes -= cap(buf)
		return buf
	}
	return make([]byte, 0, n)
}

// put takes a buffer back, unless there are enough.
func (t *tails) put(buf []byte) {
	if cap(buf) < tailMin || t.bytes+cap(buf) > tailsMax {
		return
	}
	list := &t.free[bits.Len(uint(cap(buf)))]
	*list = append(*list, buf[:0])
	t.bytes += cap(buf)
}
