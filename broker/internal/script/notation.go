package script

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"midge/packet"
)

// notation turns bytes as scripts write them into bytes:
//
//	0A 1b2c    hexadecimal
//	'abc'      the bytes of the text; 'x'*1000 many of them
//	"abc"      a string of MQTT: its length in two bytes, then the text
//	{ .. }     a property list: its length, then what the braces hold
//	##         the Remaining Length of what follows, up to a ; or the end
//	~          in version 5 an empty property list, else nothing
//	; |        nothing; they set packets and fields apart
//
// Text has Go's escapes.
func notation(s string, v packet.Version) ([]byte, error) {
	b, rest, err := notationUntil(s, 0, v)
	if err == nil && rest != "" {
		err = fmt.Errorf("left over: %s", rest)
	}
	return b, err
}

func notationUntil(s string, end byte, v packet.Version) (b []byte, rest string, err error) {
	for s != "" {
		c := s[0]
		switch {
		case c == end:
			return b, s[1:], nil
		case c == ' ' || c == '|' || c == ';':
			s = s[1:]
		case c == '~':
			if v == packet.V5 {
				b = append(b, 0)
			}
			s = s[1:]
		case c == '\'' || c == '"':
			var text []byte
			if text, s, err = quoted(s); err != nil {
				return nil, "", err
			}
			if c == '"' {
				b = append(b, byte(len(text)>>8), byte(len(text)))
			}
			b = append(b, text...)
		case c == '{':
			var list []byte
			if list, s, err = notationUntil(s[1:], '}', v); err != nil {
				return nil, "", err
			}
			b = append(appendVarint(b, len(list)), list...)
		case c == '#':
			var body []byte
			if body, s, err = notationUntil(strings.TrimPrefix(s, "##"), ';', v); err != nil {
				return nil, "", err
			}
			b = append(appendVarint(b, len(body)), body...)
		default:
			octet, err := hex.DecodeString(s[:min(2, len(s))])
			if err != nil {
				return nil, "", fmt.Errorf("no byte: %s", s)
			}
			b, s = append(b, octet...), s[2:]
		}
	}
	if end == '}' {
		return nil, "", fmt.Errorf("%q is missing", end)
	}
	return b, "", nil
}

// quoted takes a text in quotes, of either kind, and how often it is repeated.
func quoted(s string) (text []byte, rest string, err error) {
	quote := s[0]
	rest = s[1:]
	for {
		if rest == "" {
			return nil, "", fmt.Errorf("an open quote: %s", s)
		}
		if rest[0] == quote {
			break
		}
		var r rune
		var multibyte bool
		r, multibyte, rest, err = strconv.UnquoteChar(rest, quote)
		if err != nil {
			return nil, "", fmt.Errorf("a bad escape: %s", s)
		}
		if multibyte {
			text = append(text, string(r)...)
		} else {
			text = append(text, byte(r))
		}
	}
	rest = rest[1:]
	if strings.HasPrefix(rest, "*") {
		end := strings.IndexFunc(rest[1:], func(r rune) bool { return r < '0' || r > '9' }) + 1
		if end == 0 {
			end = len(rest)
		}
		n, err := strconv.Atoi(rest[1:end])
		if err != nil || n > 10_000_000 {
			return nil, "", fmt.Errorf("how often? %s", rest)
		}
		text, rest = []byte(strings.Repeat(string(text), n)), rest[end:]
	}
	return text, rest, nil
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
