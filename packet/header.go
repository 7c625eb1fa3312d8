package packet

// MaxRemaining is the largest Remaining Length, in bytes: what four length bytes can say.
const MaxRemaining = 1<<28 - 1

// What mosquitto 2.1 takes at most as the Remaining Length of a packet that carries no message.
const (
	maxConnect = 100_000 // also SUBSCRIBE, UNSUBSCRIBE, AUTH
	maxAck     = 10_000  // also DISCONNECT
)

// Header is the fixed header of a packet. [MQTT 2.1]
type Header struct {
	First     byte // type and flags
	Size      int  // of the fixed header itself, 2 to 5 bytes; 0 while it is not complete
	Remaining int  // length of what follows it, 0 to MaxRemaining bytes
}

// ReadHeader reads the fixed header at the start of b, which may go on after it. When more bytes are needed Size is 0 and the
// error nil; First is set as soon as b has one byte. v is 0 as long as the version is not known.
//
// A fourth length byte that announces a fifth is malformed at once; in version 5 so is a length that could have been
// written in fewer bytes. [MQTT-1.5.5-1]
func ReadHeader(b []byte, v Version) (Header, error) {
	if len(b) < 2 {
		if len(b) == 0 {
			return Header{}, nil
		}
		return Header{First: b[0]}, nil
	}
	n, size := varint(b[1:])
	if size == 0 {
		return Header{First: b[0]}, nil
	}
	h := Header{First: b[0], Size: 1 + size, Remaining: n}
	if size < 0 || v == V5 && !h.Shortest() {
		return Header{First: b[0]}, errLength
	}
	return h, nil
}

// Type is the packet's type.
func (h Header) Type() Type { return Type(h.First >> 4) }

// Len is the length of the whole packet in bytes.
func (h Header) Len() int { return h.Size + h.Remaining }

// Shortest says whether the length is written in as few bytes as it can be. ReadHeader sees to it once the version is known;
// for CONNECT, which tells the version, the caller may ask afterwards.
func (h Header) Shortest() bool { return h.Size == 1+varintSize(h.Remaining) }

// Check refuses a length that no packet of this type has or that mosquitto 2.1 would not take, so that its body need neither
// be waited for nor kept: above 100,000 bytes for CONNECT, SUBSCRIBE, UNSUBSCRIBE and AUTH; in version 5 above
// 10,000 for the acknowledgements and DISCONNECT; other than 2 for the acknowledgements before version 5; other than 0 for the
// packets that have no body. The length of PUBLISH is for the caller to limit.
func (h Header) Check(v Version) error {
	switch h.Type() {
	case Connect:
		return h.atMost(maxConnect)
	case Puback, Pubrec, Pubrel, Pubcomp:
		if v == V5 {
			return h.atMost(maxAck)
		}
		if h.Remaining != 2 {
			return errAckLength(h.Remaining)
		}
	case Subscribe, Unsubscribe, Auth:
		return h.atMost(maxConnect)
	case Disconnect:
		if v == V5 {
			return h.atMost(maxAck)
		}
		if h.Remaining != 0 {
			return errOverlong
		}
	case Pingreq, Pingresp:
		if h.Remaining != 0 {
			return errOverlong
		}
	}
	return nil
}

func (h Header) atMost(limit int) error {
	if h.Remaining > limit {
		return errOversize
	}
	return nil
}

// varint reads a Variable Byte Integer at the start of b. size is the number of its bytes, 0 when b ends inside it, -1 when its
// fourth byte announces a fifth.
func varint(b []byte) (value, size int) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		value |= int(c&0x7F) << (7 * i)
		if c < 0x80 {
			return value, i + 1
		}
		if i == 3 {
			return 0, -1
		}
	}
	return 0, 0
}

// varintSize is the number of bytes of n as a Variable Byte Integer.
func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// appendVarint appends n as a Variable Byte Integer in its shortest form.
func appendVarint(dst []byte, n int) []byte {
	if n < 0 || n > MaxRemaining {
		panic("packet: a length that has no encoding")
	}
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// appendHeader appends a fixed header.
func appendHeader(dst []byte, first byte, remaining int) []byte {
	return appendVarint(append(dst, first), remaining)
}
