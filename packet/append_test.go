package packet

import (
	"strings"
	"testing"
)

// The encoders without a Packet in between, with the short forms that mosquitto uses. [MQTT 3.4.2], [MQTT 3.14.2]
func TestFastEncoders(t *testing.T) {
	list := wire(`13 003C`)
	for _, row := range []struct {
		name string
		got  []byte
		want string
	}{
		{"CONNACK 3.1", AppendConnack(nil, V31, true, 0, list), `20 02 00 00`},
		{"CONNACK 3.1.1", AppendConnack(nil, V311, true, 0, list), `20 02 01 00`},
		{"CONNACK 3.1.1 refused", AppendConnack(nil, V311, false, 5, nil), `20 02 00 05`},
		{"CONNACK 5", AppendConnack(nil, V5, true, 0, list), `20 06 01 00 03 13 003C`},
		{"CONNACK 5 refused", AppendConnack(nil, V5, false, 0x84, nil), `20 03 00 84 00`},

		{"PUBLISH 3.1.1", AppendPublish(nil, V311, 1, "t", 9, "dropped", "x"), `31 04 "t" 'x'`},
		{"PUBLISH 3.1.1", AppendPublish(nil, V311, 0xA, "t", 9, "", []byte("x")), `3A 06 "t" 0009 'x'`},
		{"PUBLISH 5", AppendPublish(nil, V5, 0xF0, []byte("t"), 9, "", "x"), `30 05 "t" 00 'x'`},
		{"PUBLISH 5", AppendPublish(nil, V5, 4, "t", 0xFFFF, list, ""), `34 09 "t" FFFF 03 13 003C`},

		{"PUBACK 3.1.1", AppendAck(nil, V311, Puback, 1, NotAuthorized), `40 02 0001`},
		{"PUBACK 5", AppendAck(nil, V5, Puback, 1, Success), `40 02 0001`},
		{"PUBREC 5", AppendAck(nil, V5, Pubrec, 0x1234, NotAuthorized), `50 03 1234 87`},
		{"PUBREL 3.1", AppendAck(nil, V31, Pubrel, 1, Success), `62 02 0001`},
		{"PUBREL 5", AppendAck(nil, V5, Pubrel, 1, PacketIDNotFound), `62 03 0001 92`},
		{"PUBCOMP 5", AppendAck(nil, V5, Pubcomp, 65535, Success), `70 02 FFFF`},

		{"SUBACK 3.1.1", AppendSuback(nil, V311, 1, wire(`00 80`)), `90 04 0001 00 80`},
		{"SUBACK 5", AppendSuback(nil, V5, 1, wire(`02`)), `90 04 0001 00 02`},
		{"UNSUBACK 3.1.1", AppendUnsuback(nil, V311, 1, wire(`00`)), `B0 02 0001`},
		{"UNSUBACK 5", AppendUnsuback(nil, V5, 1, wire(`00 11`)), `B0 05 0001 00 00 11`},
		{"PINGRESP", AppendPingresp(nil), `D0 00`},
		{"DISCONNECT 3.1.1", AppendDisconnect(nil, V311, ProtocolError), `E0 00`},
		{"DISCONNECT 5", AppendDisconnect(nil, V5, NormalDisconnection), `E0 01 00`},
		{"DISCONNECT 5", AppendDisconnect(nil, V5, ProtocolError), `E0 01 82`},
	} {
		if string(row.got) != string(wire(row.want)) {
			t.Errorf("%s: % x, want %s", row.name, row.got, row.want)
		}
	}
}

// PublishSize is what AppendPublish appends.
func TestPublishSize(t *testing.T) {
	topic, payload := strings.Repeat("t", 300), strings.Repeat("p", 20000)
	for _, v := range []Version{V31, V311, V5} {
		for qos := byte(0); qos <= 2; qos++ {
			for n := 0; n < len(topic); n += 7 {
				props := payload[:n*n%400]
				b := AppendPublish(nil, v, qos<<1, topic[:n], 1, props, payload[:n*60])
				if got := PublishSize(v, qos, n, len(props), n*60); got != len(b) {
					t.Fatalf("version %d, QoS %d, topic of %d: %d, want %d", v, qos, n, got, len(b))
				}
			}
		}
	}
}

// What has no encoding is a mistake of the caller's, not something to send.
func TestNoEncoding(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for name, encode := range map[string]func(){
		"a topic of 65,536 bytes":    func() { AppendPublish(nil, V311, 0, long, 0, "", "") },
		"a filter of 65,536 bytes":   func() { AppendSubscription(nil, long, 0) },
		"a property of 65,536 bytes": func() { AppendBytesProperty(nil, ContentType, long) },
		"a length above the limit":   func() { appendVarint(nil, MaxRemaining+1) },
		"a negative length":          func() { appendVarint(nil, -1) },
		"an identifier of 32 bits":   func() { AppendVarintProperty(nil, SubscriptionID, 1<<32-1) },
	} {
		panicked := func() (yes bool) {
			defer func() { yes = recover() != nil }()
			encode()
			return false
		}()
		if !panicked {
			t.Errorf("%s was encoded", name)
		}
	}
	if got := AppendFilter(nil, long[:65535]); len(got) != 65537 || got[0] != 0xFF || got[1] != 0xFF {
		t.Errorf("a filter of 65,535 bytes takes %d", len(got))
	}
}

// Filters gives each filter once, and a copy starts over.
func TestFilters(t *testing.T) {
	raw := AppendSubscription(AppendSubscription(nil, "a/+", 0x2C), []byte("b"), 1)
	f := Filters{Raw: raw, Options: true}
	first := f
	for _, it := range []*Filters{&f, &first} {
		a, options, ok := it.Next()
		if string(a) != "a/+" || options != 0x2C || !ok {
			t.Errorf("%q %x %v", a, options, ok)
		}
		b, options, ok := it.Next()
		if string(b) != "b" || options != 1 || !ok {
			t.Errorf("%q %x %v", b, options, ok)
		}
		for range 2 {
			if c, _, ok := it.Next(); ok {
				t.Errorf("%q after the last", c)
			}
		}
	}
	f = Filters{Raw: AppendFilter(nil, "c")}
	if c, options, ok := f.Next(); string(c) != "c" || options != 0 || !ok {
		t.Errorf("%q %x %v", c, options, ok)
	}
}

// Decoding and encoding allocate nothing, and neither does a refusal that quotes no number.
func TestNoAllocation(t *testing.T) {
	none := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	var p Packet
	dst := make([]byte, 0, 4096)
	for _, row := range everyAccepted() {
		b := wire(row.wire)
		h, err := ReadHeader(b, row.v)
		if err != nil {
			t.Fatal(err)
		}
		none("Decode "+row.String(), func() {
			if h, err = ReadHeader(b, row.v); err == nil {
				err = p.Decode(row.v, row.from, h.First, b[h.Size:])
			}
			for it, ok := p.Props.Fields(), true; ok; {
				_, ok = it.Next()
			}
			for it, ok := p.Filters, true; ok; {
				_, _, ok = it.Next()
			}
		})
		if err != nil {
			t.Errorf("%v: %v", row, err)
		}
		none("Append "+row.String(), func() { dst = p.Append(dst[:0], row.v) })
	}
	for _, row := range everyRefused() {
		if strings.ContainsAny(row.why, "0123456789\"") || strings.HasPrefix(row.why, "DISCONNECT packet with incorrect flags") {
			continue // it quotes the packet
		}
		b := wire(row.wire)
		none("refusing "+row.String(), func() {
			if h, err := ReadHeader(b, row.v); err == nil && p.Decode(row.v, row.from, h.First, b[h.Size:]) == nil {
				t.Error("accepted")
			}
		})
	}
	codes, props, topic, payload := []byte{0, 1}, wire(`13 003C`), "a/b", []byte("x")
	none("AppendConnack", func() { dst = AppendConnack(dst[:0], V5, true, 0, props) })
	none("AppendPublish", func() { dst = AppendPublish(dst[:0], V5, 2, topic, 1, "", topic) })
	none("AppendPublish", func() { dst = AppendPublish(dst[:0], V311, 2, topic, 1, props, payload) })
	none("AppendAck", func() { dst = AppendAck(dst[:0], V5, Pubrec, 1, NotAuthorized) })
	none("AppendSuback", func() { dst = AppendSuback(dst[:0], V5, 1, codes) })
	none("AppendUnsuback", func() { dst = AppendUnsuback(dst[:0], V5, 1, codes) })
	none("AppendPingresp", func() { dst = AppendPingresp(dst[:0]) })
	none("AppendDisconnect", func() { dst = AppendDisconnect(dst[:0], V5, ServerShuttingDown) })
	none("AppendUserProperty", func() { dst = AppendUserProperty(dst[:0], topic, payload) })
}
