package packet

import (
	"encoding/binary"
	"unicode/utf8"
)

// Words of eight equal bytes, to look at eight characters at a time.
const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// validString says whether b is a UTF-8 Encoded String's content: well formed, no surrogates, no U+0000. [MQTT-1.5.4-1],
// [MQTT-1.5.4-2]; in 3.1.1 [MQTT-1.5.3-1], [MQTT-1.5.3-2]. The length is not looked at.
func validString(b []byte) bool {
	for {
		b = b[plainString(b):]
		if len(b) == 0 {
			return true
		}
		r, size := utf8.DecodeRune(b)
		if r == 0 || r == utf8.RuneError && size == 1 {
			return false
		}
		b = b[size:]
	}
}

// validName says whether b is a valid string that also has none of the characters the standards advise against, which are
// refused, as mosquitto does, in topic names, topic filters, client ids and user names: control characters and non-characters.
func validName(b []byte) bool {
	for {
		b = b[plainName(b):]
		if len(b) == 0 {
			return true
		}
		r, size := utf8.DecodeRune(b)
		if r < 0xA0 || r == utf8.RuneError && size == 1 || nonCharacter(r) {
			return false // below U+00A0 what plainName left is a control character
		}
		b = b[size:]
	}
}

// nonCharacter says whether r is one of the code points that Unicode will never assign.
func nonCharacter(r rune) bool {
	return r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE
}

// plainString is the length of the ASCII without U+0000 that b starts with.
func plainString(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if (w|(w-everyByte))&highBits != 0 { // a byte above 7F, or one that borrowed
			break
		}
	}
	for i < len(b) && b[i]-1 < 0x7F {
		i++
	}
	return i
}

// plainName is the length of the printable ASCII that b starts with.
func plainName(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// A byte above 7F; one below 20, which borrows; 7F, which becomes 80.
		if (w|(w-0x20*everyByte)|(w+everyByte))&highBits != 0 {
			break
		}
	}
	for i < len(b) && b[i]-0x20 < 0x5F {
		i++
	}
	return i
}
