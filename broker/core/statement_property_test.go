package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"midge/broker/internal/script"
	"midge/packet"
)

// talk is a broker that one client after the other speaks to.
type talk struct {
	*target
	t *testing.T
	n int
}

// say connects a client, sends b in one write, and gives what came back, printed.
func (k *talk) say(v packet.Version, b ...[]byte) (answers []string) {
	k.t.Helper()
	k.n++
	name := fmt.Sprint("c", k.n)
	if err := k.Open(name); err != nil {
		k.t.Fatal(err)
	}
	if err := k.Send(name, slices.Concat(b...)); err != nil {
		k.t.Fatal(err)
	}
	return k.answers(name, v)
}

// answers waits for what the broker has for a client.
func (k *talk) answers(name string, v packet.Version) (answers []string) {
	k.t.Helper()
	if err := k.Settle(name); err != nil {
		k.t.Fatal(err)
	}
	out, closed := k.Received(name)
	for len(out) > 0 {
		h, err := packet.ReadHeader(out, v)
		if err != nil || h.Size == 0 {
			k.t.Fatalf("% x is no packet", out)
		}
		answers = append(answers, script.Print(out[:h.Len()], v))
		out = out[h.Len():]
	}
	if closed {
		answers = append(answers, "close")
	}
	return answers
}

// framed puts a fixed header in front of a body.
func framed(first byte, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return append(append([]byte{first}, varint(len(b))...), b...)
}

// varint is n, up to 16,383, as a Variable Byte Integer.
func varint(n int) []byte {
	if n < 128 {
		return []byte{byte(n)}
	}
	return []byte{byte(n) | 128, byte(n >> 7)}
}

// listOf puts its length in front of a property list.
func listOf(b []byte) []byte { return append(varint(len(b)), b...) }

// connect5 is CONNECT of version 5 with properties, and a will with such if will is not nil.
func connect5(props, will []byte) []byte {
	if will == nil {
		return framed(0x10, []byte("\x00\x04MQTT\x05\x02\x00\x00"), listOf(props), []byte("\x00\x01p"))
	}
	return framed(0x10, []byte("\x00\x04MQTT\x05\x06\x00\x00"), listOf(props), []byte("\x00\x01p"), listOf(will), []byte("\x00\x01w\x00\x01x"))
}

// sampleProperties is every property there is, with a value that is legal.
var sampleProperties = map[packet.Property][]byte{
	0x01: {1, 1}, 0x02: {2, 0, 0, 0, 9}, 0x03: []byte("\x03\x00\x01a"), 0x08: []byte("\x08\x00\x01r"), 0x09: []byte("\x09\x00\x01d"),
	0x0B: {0x0B, 5}, 0x11: {0x11, 0, 0, 0, 9}, 0x12: []byte("\x12\x00\x01i"), 0x13: {0x13, 0, 9}, 0x15: []byte("\x15\x00\x01m"),
	0x16: []byte("\x16\x00\x01d"), 0x17: {0x17, 1}, 0x18: {0x18, 0, 0, 0, 9}, 0x19: {0x19, 1}, 0x1A: []byte("\x1A\x00\x01i"),
	0x1C: []byte("\x1C\x00\x01s"), 0x1F: []byte("\x1F\x00\x01r"), 0x21: {0x21, 0, 9}, 0x22: {0x22, 0, 9}, 0x23: {0x23, 0, 9},
	0x24: {0x24, 1}, 0x25: {0x25, 1}, 0x26: []byte("\x26\x00\x01n\x00\x01v"), 0x27: {0x27, 0, 1, 0, 0}, 0x28: {0x28, 1},
	0x29: {0x29, 1}, 0x2A: {0x2A, 1},
}

// unknownProperties are identifiers nobody has, with something behind them.
var unknownProperties = [][]byte{
	{0x00, 0}, {0x04, 0}, {0x07, 0}, {0x0A, 0}, {0x0C, 0}, {0x10, 0}, {0x14, 0}, {0x1B, 0}, {0x1D, 0}, {0x1E, 0}, {0x20, 0},
	{0x2B, 0}, {0x7F, 0}, {0x80, 1, 0}, {0x81, 0, 1}, {0xFF, 0xFF, 0xFF, 0x7F, 0},
}

// listedIn is a packet of a client that has a property list, and what is legal
// in it. Where a property that is not legal there ends with a code of its own,
// misplaced is that code.
type listedIn struct {
	name      string
	legal     []packet.Property
	misplaced string
	connects  bool // the list is within CONNECT
	build     func(props []byte) []byte
}

func packetsWithLists() []listedIn {
	withID := func(first byte, rest ...byte) func([]byte) []byte {
		return func(props []byte) []byte { return framed(first, []byte{0, 1}, listOf(props), rest) }
	}
	ack := func(first byte) func([]byte) []byte {
		return func(props []byte) []byte { return framed(first, []byte{0, 1, 0}, listOf(props)) }
	}
	acks := []packet.Property{0x1F, 0x26}
	message := []packet.Property{0x01, 0x02, 0x03, 0x08, 0x09, 0x26}
	return []listedIn{
		{"CONNECT", []packet.Property{0x11, 0x15, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27}, "82", true,
			func(props []byte) []byte { return connect5(props, nil) }},
		{"will", append(message, 0x18), "82", true, func(props []byte) []byte { return connect5(nil, append([]byte{}, props...)) }},
		{"PUBLISH", append(message, 0x23), "82", false,
			func(props []byte) []byte { return framed(0x30, []byte("\x00\x01t"), listOf(props)) }},
		{"PUBACK", acks, "82", false, ack(0x40)},
		{"PUBREC", acks, "82", false, ack(0x50)},
		{"PUBREL", acks, "82", false, ack(0x62)},
		{"PUBCOMP", acks, "82", false, ack(0x70)},
		{"SUBSCRIBE", []packet.Property{0x0B, 0x26}, "81", false, withID(0x82, 0, 1, 't', 0)},
		{"UNSUBSCRIBE", []packet.Property{0x26}, "81", false, withID(0xA2, 0, 1, 't')},
		{"DISCONNECT", []packet.Property{0x11, 0x1C, 0x1F, 0x26}, "82", false,
			func(props []byte) []byte { return framed(0xE0, []byte{0}, listOf(props)) }},
	}
}

// try sends the packet with a property list and gives the code it is refused
// with, or "" when it is not.
func (k *talk) try(in *listedIn, props []byte) string {
	k.t.Helper()
	var got []string
	if in.connects {
		got = k.say(packet.V5, in.build(props))
	} else { // an expiry, so that DISCONNECT may have one
		got = k.say(packet.V5, connect5([]byte{0x11, 0, 0, 0, 9}, nil), in.build(props))[1:]
	}
	if n := len(got); n == 2 && got[1] == "close" {
		if code, ok := strings.CutPrefix(got[0], "CONNACK "); ok && in.connects {
			return code
		}
		if code, ok := strings.CutPrefix(got[0], "DISCONNECT "); ok && !in.connects {
			return code
		}
		k.t.Fatalf("%s with % x: %q", in.name, props, got)
	}
	return ""
}

// TestPropertyPlaces sends every property, known and unknown, in every packet of
// a client, whole and cut short (v5 2.2.2.2).
func TestPropertyPlaces(t *testing.T) {
	for _, in := range packetsWithLists() {
		t.Run(in.name, func(t *testing.T) {
			k := &talk{target: newTarget(), t: t}
			for id, sample := range sampleProperties {
				want := in.misplaced
				if slices.Contains(in.legal, id) {
					want = ""
				}
				if id == packet.AuthMethod && in.name == "CONNECT" {
					want = "8C" // legal, and a method nobody knows
				}
				if got := k.try(&in, sample); got != want {
					t.Errorf("property %02x: refused with %q, not %q", id, got, want)
				}
				if got := k.try(&in, sample[:len(sample)-1]); got != "81" {
					t.Errorf("property %02x cut short: refused with %q, not 81", id, got)
				}
			}
			for _, b := range unknownProperties {
				if got := k.try(&in, b); got != "81" {
					t.Errorf("property % x: refused with %q, not 81", b, got)
				}
			}
			if err := k.finish(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPropertyTwice sends every property twice, with the same value and with
// another one, where it is legal (v5 2.2.2.2).
func TestPropertyTwice(t *testing.T) {
	for _, in := range packetsWithLists() {
		t.Run(in.name, func(t *testing.T) {
			k := &talk{target: newTarget(), t: t}
			for _, id := range in.legal {
				one := sampleProperties[id]
				other := slices.Clone(one)
				if other[len(other)-1]--; id == packet.ReceiveMaximum || id == packet.SubscriptionID {
					other[len(other)-1] = 1
				}
				want := "82"
				if id == packet.UserProperty {
					want = ""
				}
				for _, second := range [][]byte{one, other} {
					if got := k.try(&in, slices.Concat(one, second)); got != want {
						t.Errorf("% x, then % x: refused with %q, not %q", one, second, got, want)
					}
				}
			}
		})
	}
}

// TestPropertyLengths: a list longer than its packet, and one that the packet's
// fields do not fit behind.
func TestPropertyLengths(t *testing.T) {
	k := &talk{target: newTarget(), t: t}
	hello := connect5(nil, nil)
	for name, b := range map[string][]byte{
		"PUBLISH, list of 9 in 2":       framed(0x30, []byte("\x00\x01t\x09\x01\x01")),
		"PUBLISH, no list":              framed(0x30, []byte("\x00\x01t")),
		"PUBLISH, half a length":        framed(0x30, []byte("\x00\x01t\x80")),
		"PUBACK, list of 1 in 0":        framed(0x40, []byte("\x00\x01\x00\x01")),
		"SUBSCRIBE, no list":            framed(0x82, []byte("\x00\x01")),
		"SUBSCRIBE, list over all":      framed(0x82, []byte("\x00\x01\x04\x00\x01t\x00")),
		"SUBSCRIBE of 3.1.1":            framed(0x82, []byte("\x00\x01\x00\x01t\x01")),
		"UNSUBSCRIBE of 3.1.1":          framed(0xA2, []byte("\x00\x01\x00\x01t")),
		"DISCONNECT, list of 5 in 0":    framed(0xE0, []byte("\x00\x05")),
		"DISCONNECT, two bytes too few": framed(0xE0, []byte("\x00\x05\x11\x00\x00")),
	} {
		got := k.say(packet.V5, hello, b)
		if want := []string{"CONNACK 00", "DISCONNECT 81", "close"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, b := range map[string][]byte{
		"no list":        []byte("\x10\x0A\x00\x04MQTT\x05\x02\x00\x00"),
		"list of 9 in 0": []byte("\x10\x0B\x00\x04MQTT\x05\x02\x00\x00\x09"),
		"half a length":  []byte("\x10\x0B\x00\x04MQTT\x05\x02\x00\x00\x80"),
	} {
		if got := k.say(packet.V5, b); !slices.Equal(got, []string{"CONNACK 81", "close"}) {
			t.Errorf("CONNECT, %s: %q", name, got)
		}
	}
}
