package persist

import (
	"encoding/binary"
	"unsafe"
)

// fields takes the bytes of a chunk or a record apart from the front. What is not there reads as
// zero and makes it short, so that a caller asks once, at the end. Strings are
// views of the bytes.
type fields struct {
	b     []byte
	short bool
}

// fail makes it short.
func (f *fields) fail() { f.b, f.short = nil, true }

// take gives the next n bytes.
func (f *fields) take(n int) []byte {
	if f.short || n < 0 || n > len(f.b) {
		f.fail()
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

// done says that everything was there and nothing is left.
func (f *fields) done() bool { return !f.short && len(f.b) == 0 }

func (f *fields) text(n int) string { return view(f.take(n)) }

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// native is a number in the order of the machines mosquitto runs on, see chunk.go.
func (f *fields) native() uint64 {
	if b := f.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// string16 is a string behind its length in two bytes.
func (f *fields) string16() string { return f.text(int(f.uint16())) }

// uvarint is a number as encoding/binary writes it.
func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.fail()
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) varint() int64 {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.fail()
		return 0
	}
	f.b = f.b[n:]
	return v
}

// count is the number of things that follow, each at least size bytes long.
func (f *fields) count(size int) int {
	n := f.uvarint()
	if n > uint64(len(f.b)/size) {
		f.fail()
		return 0
	}
	return int(n)
}

// string is a string behind its length as a varint.
func (f *fields) string() string {
	n := f.count(1)
	return f.text(n)
}

// mqttVarint is MQTT's Variable Byte Integer, at most four bytes of it.
func (f *fields) mqttVarint() int {
	v := 0
	for shift := 0; shift < 28; shift += 7 {
		b := f.byte()
		v |= int(b&0x7F) << shift
		if b < 0x80 {
			return v
		}
	}
	f.fail()
	return 0
}

// appendMQTTVarint appends n, below 1<<28.
func appendMQTTVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// view makes a string of b without copying it: it is valid while b is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// raw is the other way round; the result is read only.
func raw(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
