package packet

import (
	"errors"
	"fmt"
	"testing"
)

// The bounds of each length of a Remaining Length, exactly. [MQTT-1.5.5-1]
var lengths = []struct {
	n    int
	wire string
}{
	{0, `00`}, {1, `01`}, {127, `7F`}, {128, `8001`}, {16383, `FF7F`}, {16384, `808001`},
	{2097151, `FFFF7F`}, {2097152, `80808001`}, {MaxRemaining, `FFFFFF7F`},
}

func TestLengths(t *testing.T) {
	for _, row := range lengths {
		want := wire(row.wire)
		if got := appendVarint(nil, row.n); string(got) != string(want) {
			t.Errorf("%d is written % x, want % x", row.n, got, want)
		}
		if got := varintSize(row.n); got != len(want) {
			t.Errorf("%d takes %d bytes, want %d", row.n, got, len(want))
		}
		for _, v := range []Version{0, V31, V311, V5} {
			b := append([]byte{0x30}, want...)
			h, err := ReadHeader(append(b, "what follows"...), v)
			if err != nil || h != (Header{First: 0x30, Size: len(b), Remaining: row.n}) || h.Len() != len(b)+row.n || h.Type() != Publish {
				t.Errorf("% x: %+v, %v", b, h, err)
			}
			for n := range b {
				first := Header{}
				if n > 0 {
					first.First = 0x30
				}
				if h, err := ReadHeader(b[:n], v); err != nil || h != first {
					t.Errorf("the first %d bytes of % x: %+v, %v", n, b, h, err)
				}
			}
		}
	}
}

// PUBLISH of each of these Remaining Lengths, over the fast encoder and back. [MQTT-1.5.5-1]
func TestPublishLengths(t *testing.T) {
	for _, row := range lengths {
		for _, v := range []Version{V311, V5} {
			topic, props := "t", ""
			size := row.n - publishRemaining(v, 0, len(topic), len(props), 0)
			if size < 0 || row.n == MaxRemaining {
				continue // too small for a topic, too big for a test
			}
			payload := make([]byte, size)
			b := AppendPublish(nil, v, 0, topic, 0, props, payload)
			lengthOnWire := b[1 : 1+len(wire(row.wire))]
			if string(lengthOnWire) != string(wire(row.wire)) || len(b) != 1+len(lengthOnWire)+row.n {
				t.Errorf("%d: length % x in %d bytes", row.n, lengthOnWire, len(b))
			}
			if got := PublishSize(v, 0, len(topic), len(props), size); got != len(b) {
				t.Errorf("%d: PublishSize %d, length %d", row.n, got, len(b))
			}
			if p, err := decode(t, v, FromClient, b); err != nil || len(p.Payload) != size {
				t.Errorf("%d: %d bytes of payload, %v", row.n, len(p.Payload), err)
			}
		}
	}
}

func TestPublishSizeBeyondLimit(t *testing.T) {
	const limit = 5 + MaxRemaining
	if got := PublishSize(V5, 1, 1, 0, MaxRemaining-6); got != limit {
		t.Errorf("the largest PUBLISH has %d bytes, want %d", got, limit)
	}
	if got := PublishSize(V5, 2, 65535, MaxRemaining, MaxRemaining); got <= limit {
		t.Errorf("a PUBLISH that cannot be has %d bytes", got)
	}
}

// Longer forms of a length: before version 5 allowed, in it malformed, both when seen and when asked for.
func TestLongerThanNeeded(t *testing.T) {
	for in, n := range map[string]int{`8000`: 0, `8100`: 1, `818000`: 1, `FF00`: 127, `80808000`: 0} {
		b := append([]byte{0x30}, wire(in)...)
		for _, v := range []Version{0, V31, V311} {
			h, err := ReadHeader(b, v)
			if err != nil || h.Remaining != n || h.Size != len(b) || h.Shortest() {
				t.Errorf("% x in version %d: %+v, shortest %v, %v", b, v, h, h.Shortest(), err)
			}
		}
		if h, err := ReadHeader(b, V5); err == nil || h.Size != 0 {
			t.Errorf("% x in version 5: %+v, %v", b, h, err)
		}
	}
}

// A fourth byte that announces a fifth is enough to know; nothing after it is waited for.
func TestFifthLengthByte(t *testing.T) {
	for _, v := range []Version{0, V31, V311, V5} {
		for _, in := range []string{`80808080`, `FFFFFFFF`, `80808080 01`, `FFFFFFFF 7F`} {
			h, err := ReadHeader(append([]byte{0x10}, wire(in)...), v)
			var e *Error
			if !errors.As(err, &e) || e.Reason != MalformedPacket || h.Size != 0 {
				t.Errorf("%s in version %d: %+v, %v", in, v, h, err)
			}
		}
	}
}

// Lengths that are refused before the body has come: mosquitto's limits.
func TestHeaderCheck(t *testing.T) {
	const fine = Success
	for _, row := range []struct {
		first byte
		v     Version
		n     int
		want  Reason
	}{
		{0x10, 0, 0, fine}, {0x10, 0, 100_000, fine}, {0x10, 0, 100_001, PacketTooLarge},
		{0x40, V31, 2, fine}, {0x40, V311, 1, MalformedPacket}, {0x40, V311, 3, MalformedPacket}, {0x62, V31, 0, MalformedPacket},
		{0x50, V5, 1, fine}, {0x50, V5, 10_000, fine}, {0x70, V5, 10_001, PacketTooLarge},
		{0x82, V311, 100_000, fine}, {0x82, V311, 100_001, PacketTooLarge}, {0x82, V5, 100_000, fine}, {0x82, V5, 100_001, PacketTooLarge}, {0xA2, V5, 100_001, PacketTooLarge},
		{0xC0, V311, 0, fine}, {0xC0, V311, 1, MalformedPacket}, {0xC0, V5, MaxRemaining, MalformedPacket}, {0xD0, V5, 1, MalformedPacket},
		{0xE0, V31, 0, fine}, {0xE0, V311, 1, MalformedPacket}, {0xE0, V5, 10_000, fine}, {0xE0, V5, 10_001, PacketTooLarge},
		{0xF0, V5, 100_000, fine}, {0xF0, V5, 100_001, PacketTooLarge},
		{0x30, V5, MaxRemaining, fine}, {0x90, V5, MaxRemaining, fine},
	} {
		h := Header{First: row.first, Size: 1 + varintSize(row.n), Remaining: row.n}
		err := h.Check(row.v)
		got := fine
		var e *Error
		if errors.As(err, &e) {
			got = e.Reason
		}
		if got != row.want || got == PacketTooLarge && !e.Silent {
			t.Errorf("%02X of %d bytes in version %d: %v, want %v", row.first, row.n, row.v, err, row.want)
		}
	}
}

// No length that Check refuses as malformed belongs to a packet that Decode would take.
func TestHeaderCheckAgreesWithDecode(t *testing.T) {
	for _, row := range everyAccepted() {
		h, _ := ReadHeader(wire(row.wire), row.v)
		if err := h.Check(row.v); err != nil {
			t.Errorf("%v: %v", row, err)
		}
	}
	for _, v := range []Version{V31, V311, V5} {
		for typ := Connect; typ <= Auth; typ++ {
			for n := range 8 {
				h := Header{First: typ.first(), Size: 2, Remaining: n}
				if h.Check(v) == nil {
					continue
				}
				var p Packet
				if err := p.Decode(v, FromClient, h.First, make([]byte, n)); err == nil {
					t.Errorf("%v of %d bytes in version %d is decoded, but not let through", typ, n, v)
				}
			}
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, row := range everyAccepted() {
		f.Add(wire(row.wire), byte(row.v))
	}
	for _, row := range append(refusedHeaders, refusedConnects...) {
		f.Add(wire(row.wire), byte(row.v))
	}
	f.Fuzz(func(t *testing.T, b []byte, v byte) {
		h, err := ReadHeader(b, Version(v))
		want, wantErr := slowHeader(b, Version(v))
		if h != want || (err != nil) != wantErr {
			t.Fatalf("% x in version %d: %+v, %v; want %+v, error %v", b[:min(len(b), 6)], v, h, err, want, wantErr)
		}
		if h.Size == 0 {
			return
		}
		for n := range h.Size {
			if cut, err := ReadHeader(b[:n], Version(v)); err != nil || cut.Size != 0 {
				t.Fatalf("the first %d bytes of % x: %+v, %v", n, b[:h.Size], cut, err)
			}
		}
		if again := appendHeader(nil, h.First, h.Remaining); h.Shortest() != (string(again) == string(b[:h.Size])) {
			t.Fatalf("% x would be written % x, but Shortest is %v", b[:h.Size], again, h.Shortest())
		}
	})
}

// slowHeader does ReadHeader's work as the standard's text tells it.
func slowHeader(b []byte, v Version) (Header, bool) {
	var h Header
	if len(b) == 0 {
		return h, false
	}
	h.First = b[0]
	var groups []byte
	for _, c := range b[1:] {
		groups = append(groups, c&0x7F)
		if len(groups) == 4 && c >= 0x80 {
			return h, true
		}
		if c < 0x80 {
			if v == V5 && len(groups) > 1 && c == 0 {
				return h, true // the last group adds nothing: fewer would have done
			}
			h.Size = 1 + len(groups)
			factor := 1
			for _, g := range groups {
				h.Remaining += int(g) * factor
				factor *= 128
			}
			return h, false
		}
	}
	return h, false
}

func ExampleReadHeader() {
	stream := []byte{0x30, 0x05, 0, 1, 't', 'h', 'i', 0xC0}
	var p Packet
	for {
		h, err := ReadHeader(stream, V311)
		if err != nil {
			fmt.Println(err) // close the connection
			return
		}
		if h.Size == 0 || len(stream) < h.Len() {
			fmt.Println("more to come after", len(stream), "byte")
			return
		}
		if err := p.Decode(V311, FromClient, h.First, stream[h.Size:h.Len()]); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v %s %s\n", p.Type, p.Topic, p.Payload)
		stream = stream[h.Len():]
	}
	// Output:
	// PUBLISH t hi
	// more to come after 1 byte
}
