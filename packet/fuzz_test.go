package packet

import (
	"bytes"
	"testing"
	"unsafe"
)

// FuzzDecode holds any bytes against what Decode promises: it does not panic, what it accepts is encoded to a packet that it
// accepts as equal, that encoding is encoded to itself, and all slices lie within the body.
func FuzzDecode(f *testing.F) {
	add := func(v Version, from Side, b []byte) {
		if _, size := varint(b[1:]); size > 0 {
			f.Add(byte(v), from == FromServer, b[0], b[1+size:])
		}
	}
	for _, row := range everyAccepted() {
		add(row.v, row.from, wire(row.wire))
	}
	for _, row := range everyRefused() {
		add(row.v, row.from, wire(row.wire))
	}
	f.Fuzz(func(t *testing.T, version byte, fromServer bool, first byte, body []byte) {
		v, from := []Version{V31, V311, V5}[int(version)%3], FromClient
		if fromServer {
			from = FromServer
		}
		p := dirty()
		original := bytes.Clone(body)
		err := p.Decode(v, from, first, body)
		if !bytes.Equal(body, original) {
			t.Fatalf("% x was changed to % x", original, body)
		}
		if err != nil {
			return
		}
		checkWithin(t, p, v, body)
		want := view(p, v)
		b := p.Append(nil, v)
		again, err := decode(t, v, from, b)
		if err != nil {
			t.Fatalf("%s\nis encoded % x: %v", want, b, err)
		}
		if got := view(again, v); got != want {
			t.Fatalf("%s\nbecomes %s", want, got)
		}
		if twice := again.Append(nil, v); !bytes.Equal(twice, b) {
			t.Fatalf("% x\nbecomes % x", b, twice)
		}
	})
}

// checkWithin checks that the slices of p that its type has lie within body, and that none but those that end it can be
// appended to at the cost of what follows them.
func checkWithin(t *testing.T, p *Packet, v Version, body []byte) {
	t.Helper()
	inner, last := slicesOf(p, v)
	start := uintptr(unsafe.Pointer(unsafe.SliceData(body)))
	for _, part := range append(inner, last...) {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		if len(part) > 0 && (at < start || at+uintptr(len(part)) > start+uintptr(len(body))) {
			t.Fatalf("% x is not within the body", part)
		}
	}
	for _, part := range inner {
		if cap(part) != len(part) {
			t.Fatalf("% x has room beyond its end", part)
		}
	}
}

// slicesOf are the slices of p that its type has, those that end the body apart.
func slicesOf(p *Packet, v Version) (inner, last [][]byte) {
	props := func(l *Properties) {
		inner = append(inner, l.Raw)
		for it := l.Fields(); ; {
			f, ok := it.Next()
			if !ok {
				return
			}
			inner = append(inner, f.Raw, f.Bytes, f.Value)
		}
	}
	switch p.Type {
	case Connect:
		c := &p.Connect
		inner = append(inner, c.ProtocolName, c.ClientID, c.WillTopic, c.WillPayload, c.Username, c.Password)
		props(&c.WillProps)
	case Publish:
		inner, last = append(inner, p.Topic), append(last, p.Payload)
	case Subscribe, Unsubscribe:
		last = append(last, p.Filters.Raw)
		for it := p.Filters; ; {
			filter, _, ok := it.Next()
			if !ok {
				break
			}
			inner = append(inner, filter)
		}
	case Suback, Unsuback:
		last = append(last, p.Codes)
	}
	if v == V5 && p.Type != Pingreq && p.Type != Pingresp || p.Type == Connect {
		props(&p.Props)
	}
	return inner, last
}
