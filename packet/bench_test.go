package packet

import (
	"fmt"
	"strings"
	"testing"
)

// publishShapes are the PUBLISH packets that the benchmarks run on: a telemetry topic of 28 bytes, a payload of 32.
var publishShapes = []struct {
	name  string
	v     Version
	flags byte
	topic string
	props string
}{
	{"v4/qos0", V311, 0, "fleet/truck-0017/engine/temp", ""},
	{"v4/qos1", V311, 2, "fleet/truck-0017/engine/temp", ""},
	{"v5/qos0", V5, 0, "fleet/truck-0017/engine/temp", ""},
	{"v5/qos1", V5, 2, "fleet/truck-0017/engine/temp", ""},
	{"v5/qos1-props", V5, 2, "fleet/truck-0017/engine/temp", string(wire(`01 01 02 0000003C 26 "unit" "kelvin"`))},
	{"v4/qos0-utf8", V311, 0, "flotte/übergröße/motor/öl/°C", ""},
}

const benchPayload = "0123456789abcdef0123456789abcdef"

func BenchmarkDecodePublish(b *testing.B) {
	for _, s := range publishShapes {
		b.Run(s.name, func(b *testing.B) {
			wire := AppendPublish(nil, s.v, s.flags, s.topic, 7, s.props, benchPayload)
			var p Packet
			b.ReportAllocs()
			for b.Loop() {
				h, err := ReadHeader(wire, s.v)
				if err == nil {
					err = p.Decode(s.v, FromClient, h.First, wire[h.Size:h.Len()])
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	for _, s := range publishShapes {
		b.Run(s.name, func(b *testing.B) {
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendPublish(dst[:0], s.v, s.flags, s.topic, 7, s.props, benchPayload)
			}
		})
	}
}

func BenchmarkDecodeConnect(b *testing.B) {
	for _, in := range []string{
		`10 ## | "MQTT" 04 | C2 003C | "truck-0017" | "fleet" | "secret"`,
		`10 ## | "MQTT" 05 | C2 003C | {11 0000003C 21 0014} | "truck-0017" | "fleet" | "secret"`,
	} {
		wire := wire(in)
		b.Run(fmt.Sprintf("v%d", wire[8]), func(b *testing.B) {
			var p Packet
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Decode(0, FromClient, wire[0], wire[2:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSmall decodes the packets that come with no message.
func BenchmarkSmall(b *testing.B) {
	for _, c := range []struct {
		name, in string
		v        Version
	}{
		{"v4/puback", `40 ## | 0007`, V311},
		{"v5/puback", `40 ## | 0007 10`, V5},
		{"v4/subscribe", `82 ## | 0007 | "fleet/+/engine/#" 01`, V311},
		{"v5/subscribe", `82 ## | 0007 | {0B 05} | "fleet/+/engine/#" 21`, V5},
		{"v4/pingreq", `C0 ##`, V311},
	} {
		b.Run(c.name, func(b *testing.B) {
			wire := wire(c.in)
			var p Packet
			b.ReportAllocs()
			for b.Loop() {
				h, err := ReadHeader(wire, c.v)
				if err == nil {
					err = p.Decode(c.v, FromClient, h.First, wire[h.Size:h.Len()])
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendAck(b *testing.B) {
	for _, v := range []Version{V311, V5} {
		b.Run(fmt.Sprintf("v%d", v), func(b *testing.B) {
			dst := make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendAck(dst[:0], v, Puback, 7, Success)
			}
		})
	}
}

func BenchmarkValidName(b *testing.B) {
	for _, n := range []int{7, 28, 64, 1024} {
		b.Run(fmt.Sprintf("ascii-%d", n), func(b *testing.B) {
			s := []byte(strings.Repeat("a", n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if !validName(s) {
					b.Fatal("refused")
				}
			}
		})
	}
}
