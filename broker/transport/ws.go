package transport

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// web is the HTTP and WebSocket (RFC 6455) of one connection:
//
//	asking ──101──▶ talking ──our Close──▶ over
//	   └──any other answer─────────────────▶ answering ──written──▶ over
//
// What comes is unmasked in place. What goes is framed as it is: the header of a
// frame in front of all that core has, however many packets that is (MQTT-6.0.0-4),
// and core's own bytes behind it.
type web struct {
	conn   *Conn
	config *Web
	stage  webStage

	// In.
	request  []byte // what came of the request
	head     [headMax]byte
	headLen  uint8  // bytes of head that came
	inFrame  bool   // head was whole; left bytes follow
	opcode   byte   // of the frame
	last     bool   // it is the last of its message
	within   bool   // a message goes on with the next frame
	gone     bool   // the connection was closed
	left     uint64 // bytes of the frame's payload to come
	key      [4]byte
	at       int    // how many bytes key has unmasked
	control  []byte // the payload of a control frame
	forward  netip.Addr
	download *download // the file being sent; nil mostly
	failed   error     // why nothing more is taken in

	// Out.
	own   []byte // bytes of our own in front of the next frame: answers, control frames
	pong  []byte // the payload to answer the last ping with, behind the frame under way
	pongs bool   // there is one
	out   [headMax]byte
	from  uint8 // out[from:to] is the header to be written
	to    uint8
	body  int // bytes of the frame under way that core has still to give
	code  int // of the Close frame to come
}

type webStage uint8

const (
	asking webStage = iota
	answering
	talking
	over
)

// headMax is the size of the largest frame header, in bytes.
const headMax = 14

// The opcodes.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

// The codes of Close frames.
const (
	closeNormal   = 1000
	closeProtocol = 1002
	closeData     = 1003
)

const (
	finBit     = 0x80
	maskBit    = 0x80
	lenMask    = 0x7F
	opMask     = 0x0F
	rsvMask    = 0x70
	controlMax = 125 // bytes of a control frame's payload
)

// unwrap turns what came, in buf, into bytes of MQTT at buf's front.
func (w *web) unwrap(buf []byte) (n int, err error) {
	r := 0
	if w.stage == asking && len(buf) > 0 {
		if r, err = w.ask(buf); err != nil {
			return 0, err
		}
	}
	if w.stage == answering || w.stage == over || w.failed != nil {
		return 0, w.failed
	}
	for r < len(buf) {
		if !w.inFrame {
			w.head[w.headLen] = buf[r]
			w.headLen++
			r++
			whole, err := w.readHead()
			if err != nil {
				return n, err
			}
			if !whole || w.left > 0 {
				continue
			}
		} else {
			k := int(min(w.left, uint64(len(buf)-r)))
			if w.opcode >= opClose {
				at := len(w.control)
				w.control = append(w.control, buf[r:r+k]...)
				w.unmask(w.control[at:], w.control[at:])
			} else {
				w.unmask(buf[n:n+k], buf[r:r+k])
				n += k
			}
			r += k
			w.left -= uint64(k)
		}
		if w.left == 0 {
			if err := w.endFrame(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// readHead looks at the header of a frame as far as it came.
func (w *web) readHead() (whole bool, err error) {
	h := w.head[:w.headLen]
	if len(h) < 2 {
		return false, nil
	}
	length := h[1] & lenMask
	size := 2 + 4
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if len(h) == 2 {
		if err := w.checkHead(h[0], h[1]); err != nil {
			return false, err
		}
	}
	if len(h) < size {
		return false, nil
	}
	w.left = uint64(length)
	switch length {
	case 126:
		w.left = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		w.left = binary.BigEndian.Uint64(h[2:])
	}
	if length == 126 && w.left < 126 || length == 127 && (w.left < 1<<16 || w.left >= 1<<63) {
		return false, w.fail(closeProtocol, "a frame with a wrong length")
	}
	copy(w.key[:], h[size-4:])
	w.at, w.headLen, w.inFrame = 0, 0, true
	return true, nil
}

// checkHead refuses a frame by its first two bytes.
func (w *web) checkHead(first, second byte) error {
	w.opcode, w.last = first&opMask, first&finBit != 0
	switch {
	case first&rsvMask != 0:
		return w.fail(closeProtocol, "a frame with reserved bits")
	case second&maskBit == 0:
		return w.fail(closeProtocol, "an unmasked frame")
	}
	switch w.opcode {
	case opBinary:
		if w.within {
			return w.fail(closeProtocol, "a message within another")
		}
		w.within = !w.last
	case opContinue:
		if !w.within {
			return w.fail(closeProtocol, "a frame that continues nothing")
		}
		w.within = !w.last
	case opText: // [MQTT-6.0.0-1]
		return w.fail(closeData, "a text frame")
	case opClose, opPing, opPong:
		if !w.last || second&lenMask > controlMax {
			return w.fail(closeProtocol, "a control frame that is too large")
		}
	default:
		return w.fail(closeProtocol, "a frame of an unknown kind")
	}
	return nil
}

// endFrame does what a whole frame asks for.
func (w *web) endFrame() error {
	w.inFrame = false
	payload := w.control
	w.control = nil
	switch w.opcode {
	case opPing:
		w.pong, w.pongs = payload, true
	case opClose:
		code := closeNormal
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		switch {
		case len(payload) == 1, code < 1000 || code >= 5000, code >= 1004 && code <= 1006:
			return w.fail(closeProtocol, "a bad Close frame")
		}
		w.code, w.failed = code, io.EOF // answered when it is over: there may still be something to say
		return io.EOF
	}
	return nil
}

// fail ends the conversation because of what the client did.
func (w *web) fail(code int, what string) error {
	w.code = code
	w.close()
	w.failed = errors.New("WebSocket: " + what)
	return w.failed
}

// close says Close, if no frame is under way; then it is over.
func (w *web) close() {
	if w.stage == talking && w.body == 0 && w.from == w.to {
		w.sayPong()
		w.own = append(w.own, finBit|opClose, 2, byte(w.code>>8), byte(w.code))
	}
	w.stage = over
}

// maskBlock is how many bytes are unmasked at once, a multiple of the key's length.
const maskBlock = 1 << 10

// unmask writes src to dst, which may begin earlier in the same bytes. It moves the
// bytes first, for subtle.XORBytes wants them at their place.
func (w *web) unmask(dst, src []byte) {
	if len(dst) > 0 && &dst[0] != &src[0] {
		copy(dst, src)
	}
	var keys [maskBlock]byte
	for i := range w.key {
		keys[i] = w.key[(w.at+i)&3]
	}
	for n := len(w.key); n < min(maskBlock, len(dst)); n *= 2 {
		copy(keys[n:], keys[:n])
	}
	w.at = (w.at + len(dst)) & 3
	for len(dst) > 0 {
		n := subtle.XORBytes(dst, dst, keys[:])
		dst = dst[n:]
	}
}

// sayPong puts the answer to the last ping into own.
func (w *web) sayPong() {
	if w.pongs {
		w.own = append(append(w.own, finBit|opPong, byte(len(w.pong))), w.pong...)
		w.pong, w.pongs = nil, false
	}
}

// runsMax is how many pieces are written at once.
const runsMax = 60

// next appends to bufs what is to be written next: bytes of our own, the header of
// a frame, and of runs what belongs to the frame. It begins a frame with all of
// runs where none is under way.
func (w *web) next(bufs, runs [][]byte) [][]byte {
	if w.body == 0 && w.from == w.to && w.stage == talking {
		w.sayPong()
		if n := size(runs); n > 0 {
			w.begin(n)
		}
	}
	if len(w.own) > 0 {
		bufs = append(bufs, w.own)
	}
	if w.from < w.to {
		bufs = append(bufs, w.out[w.from:w.to])
	}
	for left := w.body; left > 0 && len(runs) > 0 && len(bufs) < runsMax; runs = runs[1:] {
		r := runs[0][:min(left, len(runs[0]))]
		bufs = append(bufs, r)
		left -= len(r)
	}
	return bufs
}

// begin makes the header of a frame of n bytes.
func (w *web) begin(n int) {
	h := append(w.out[:0], finBit|opBinary)
	switch {
	case n < 126:
		h = append(h, byte(n))
	case n < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, 126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 127), uint64(n))
	}
	w.from, w.to, w.body = 0, uint8(len(h)), n
}

// took notes that the first k bytes of next were written, and returns how many of
// them were core's.
func (w *web) took(k int) int {
	n := min(k, len(w.own))
	if w.own = w.own[n:]; len(w.own) == 0 {
		w.own = nil
	}
	k -= n
	n = min(k, int(w.to-w.from))
	w.from += uint8(n)
	k -= n
	w.body -= k
	return k
}

// unsent says that bytes of our own are to be written, now.
func (w *web) unsent() bool {
	return len(w.own) > 0 || w.from < w.to || w.pongs && w.body == 0 && w.stage == talking
}

func size(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// errAnswered is the end of a connection that was no WebSocket.
func errAnswered(status int) error { return fmt.Errorf("HTTP request answered with %d", status) }
