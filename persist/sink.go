package persist

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
)

// sink writes a file. What is appended to buf goes out when there is much of it;
// a dry one only counts.
type sink struct {
	w   io.Writer
	dry bool
	buf []byte
	n   int64  // bytes that went out
	sum uint32 // their CRC-32C
	err error
}

const sinkSize = 64 << 10

func newSink(w io.Writer) *sink { return &sink{w: w, buf: make([]byte, 0, sinkSize+4<<10)} }

// room writes buf out when it is full, and returns it.
func (o *sink) room() []byte {
	if len(o.buf) >= sinkSize {
		o.flush()
	}
	return o.buf
}

// flush lets the loop in, too: where there are few processors, a goroutine that goes on
// and on keeps others waiting for 10 ms.
func (o *sink) flush() {
	o.write(o.buf)
	o.buf = o.buf[:0]
	runtime.Gosched()
}

func (o *sink) write(b []byte) {
	if o.err != nil {
		return
	}
	o.n += int64(len(b))
	if !o.dry {
		o.sum = crc32.Update(o.sum, castagnoli, b)
		_, o.err = o.w.Write(b)
	}
}

// bytes writes s, which may be long.
func (o *sink) bytes(s string) {
	if len(o.buf)+len(s) <= sinkSize {
		o.buf = append(o.buf, s...)
		return
	}
	o.flush()
	o.write(raw(s))
}

// string writes s with its length in front.
func (o *sink) string(s string) {
	o.buf = binary.AppendUvarint(o.buf, uint64(len(s)))
	o.bytes(s)
}
