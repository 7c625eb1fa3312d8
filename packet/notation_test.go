package packet

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// wire turns the notation of the test tables into bytes:
//
//	0A 1b2c   bytes in hexadecimal
//	'abc'     the ASCII bytes
//	"abc"     a string: its length in two bytes, then the bytes
//	{ .. }    a property list: its length, then what the braces hold
//	##        the Remaining Length of what follows
//	|         nothing; it sets fields apart
func wire(notation string) []byte {
	b, rest := wireUntil(notation, 0)
	if rest != "" {
		panic("left over in " + notation + ": " + rest)
	}
	return b
}

func wireUntil(s string, end byte) (b []byte, rest string) {
	for s != "" {
		c := s[0]
		switch {
		case c == end:
			return b, s[1:]
		case c == ' ' || c == '|':
			s = s[1:]
		case c == '\'' || c == '"':
			text, after, ok := strings.Cut(s[1:], s[:1])
			if !ok {
				panic("open quote in " + s)
			}
			if c == '"' {
				b = append(b, byte(len(text)>>8), byte(len(text)))
			}
			b, s = append(b, text...), after
		case c == '{':
			list, after := wireUntil(s[1:], '}')
			b, s = append(appendVarint(b, len(list)), list...), after
		case c == '#':
			body, after := wireUntil(s[2:], 0)
			return append(appendVarint(b, len(body)), body...), after
		default:
			octet, err := hex.DecodeString(s[:2])
			if err != nil {
				panic(err)
			}
			b, s = append(b, octet...), s[2:]
		}
	}
	return b, s
}

// list is wire for a property list without its length.
func list(notation string) Properties { return Properties{Raw: wire(notation)} }

// view renders the fields of p that its type has, so that two packets are equal when their views are.
func view(p *Packet, v Version) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%v", p.Type)
	field := func(name string, value any) { fmt.Fprintf(&s, " %s=%v", name, value) }
	text := func(name string, value []byte) { fmt.Fprintf(&s, " %s=%q", name, value) }
	switch p.Type {
	case Connect:
		viewConnect(&p.Connect, field, text)
		v = p.Connect.Version
	case Connack:
		field("present", p.SessionPresent)
		field("reason", byte(p.Reason))
	case Publish:
		field("dup", p.Dup)
		field("qos", p.QoS)
		field("retain", p.Retain)
		field("id", p.ID)
		text("topic", p.Topic)
		text("payload", p.Payload)
	case Puback, Pubrec, Pubrel, Pubcomp:
		field("id", p.ID)
		field("reason", byte(p.Reason))
	case Subscribe, Unsubscribe:
		field("id", p.ID)
		f := p.Filters
		for filter, options, ok := f.Next(); ok; filter, options, ok = f.Next() {
			text("filter", filter)
			field("options", options)
		}
	case Suback, Unsuback:
		field("id", p.ID)
		field("codes", fmt.Sprintf("%x", p.Codes))
	case Disconnect, Auth:
		field("reason", byte(p.Reason))
	}
	if v == V5 && p.Type != Pingreq && p.Type != Pingresp {
		field("props", fmt.Sprintf("%x", p.Props.Raw))
	}
	return s.String()
}

func viewConnect(c *ConnectBody, field func(string, any), text func(string, []byte)) {
	field("version", c.Version)
	field("bridge", c.Bridge)
	field("clean", c.CleanStart)
	field("keepalive", c.KeepAlive)
	text("client", c.ClientID)
	if c.Will {
		field("willqos", c.WillQoS)
		field("willretain", c.WillRetain)
		text("willtopic", c.WillTopic)
		text("willpayload", c.WillPayload)
		field("willprops", fmt.Sprintf("%x", c.WillProps.Raw))
	}
	if c.HasUsername {
		text("user", c.Username)
	}
	if c.HasPassword {
		text("password", c.Password)
	}
}

// decode frames the one packet in b and decodes it into a packet full of leftovers.
func decode(t testing.TB, v Version, from Side, b []byte) (*Packet, error) {
	t.Helper()
	h, err := ReadHeader(b, v)
	if err != nil {
		return &Packet{Type: Type(b[0] >> 4)}, err
	}
	if h.Size == 0 || h.Len() != len(b) {
		t.Fatalf("% x is not one whole packet: %+v", b, h)
	}
	p := dirty()
	return p, p.Decode(v, from, h.First, b[h.Size:])
}

// dirty is a packet that a previous one has been decoded into, with every field set.
func dirty() *Packet {
	junk := []byte("left over")
	props := Properties{Raw: wire(`23 0009`), has: ^uint64(0), TopicAlias: 9, SubscriptionID: 9, ReasonString: junk}
	return &Packet{
		Type: 99, Dup: true, Retain: true, QoS: 2, ID: 999, Reason: 99, SessionPresent: true, Topic: junk, Payload: junk,
		Filters: Filters{Raw: junk, Options: true}, Codes: junk, Props: props,
		Connect: ConnectBody{
			ProtocolName: junk, Version: 9, Bridge: true, CleanStart: true, KeepAlive: 9, ClientID: junk,
			Will: true, WillQoS: 2, WillRetain: true, WillTopic: junk, WillPayload: junk, WillProps: props,
			HasUsername: true, Username: junk, HasPassword: true, Password: junk,
		},
	}
}

func TestNotation(t *testing.T) {
	const got = `10 ## | "ab" 'c' | {21 000A} ff`
	want := []byte{0x10, 0x0A, 0, 2, 'a', 'b', 'c', 3, 0x21, 0, 0x0A, 0xFF}
	if string(wire(got)) != string(want) {
		t.Fatalf("% x, want % x", wire(got), want)
	}
}
