package packet

import (
	"encoding/binary"
	"math"
)

// Bytes is text or binary data in either of Go's shapes.
type Bytes interface{ ~string | ~[]byte }

// StringMax is the length of the longest string and the most Binary Data, in bytes:
// their length takes two on the wire.
const StringMax = math.MaxUint16

// takeUint16 takes a Two Byte Integer off the start of b.
func takeUint16(b []byte) (n uint16, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, b, false
	}
	return binary.BigEndian.Uint16(b), b[2:], true
}

// takeBytes takes Binary Data, or a string that is yet to be validated, off the start of b.
func takeBytes(b []byte) (data, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, b, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return nil, b, false
	}
	return b[2:end:end], b[end:], true
}

// takeList takes a property list with its length off the start of b.
func takeList(b []byte) (list, rest []byte, ok bool) {
	n, size := varint(b)
	if size <= 0 || size != varintSize(n) || len(b)-size < n {
		return nil, b, false
	}
	end := size + n
	return b[size:end:end], b[end:], true
}

// appendBytes appends a string or Binary Data with its length.
func appendBytes[S Bytes](dst []byte, s S) []byte {
	if len(s) > StringMax {
		panic("packet: a string of more than 65,535 bytes")
	}
	dst = append(dst, byte(len(s)>>8), byte(len(s)))
	return append(dst, s...)
}

// appendList appends a property list with its length.
func appendList[S Bytes](dst []byte, list S) []byte {
	return append(appendVarint(dst, len(list)), list...)
}

// listSize is what appendList appends, in bytes, for a list of n bytes; nothing before version 5.
func listSize(v Version, n int) int {
	if v != V5 {
		return 0
	}
	return varintSize(n) + n
}
