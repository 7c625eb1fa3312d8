package transport

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// header is one of version 2.
func header(command, family byte, body ...[]byte) string {
	all := bytes.Join(body, nil)
	h := append(bytes.Clone(signature), command, family)
	return string(binary.BigEndian.AppendUint16(h, uint16(len(all)))) + string(all)
}

func field(kind byte, value ...[]byte) []byte {
	all := bytes.Join(value, nil)
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(all))), all...)
}

// TestProxyHeaders: what headers say, in one piece and byte for byte.
func TestProxyHeaders(t *testing.T) {
	v4 := []byte{192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0x07, 0x5B}
	v6 := append(netip.MustParseAddr("2001:db8::7").AsSlice(), append(netip.MustParseAddr("::1").AsSlice(), 0x12, 0x34, 0x07, 0x5B)...)
	name := [][]byte{field(fieldVersion, []byte("TLSv1.3")), field(fieldCN, []byte("anna")), field(fieldCipher, []byte("TLS_AES"))}
	secured := field(fieldTLS, append([][]byte{{7, 0, 0, 0, 0}}, name...)...)
	bad := field(fieldTLS, append([][]byte{{7, 0, 0, 0, 1}}, name...)...)
	plain := field(fieldTLS, []byte{1, 0, 0, 0, 1})
	one, two := Proxy{Version: 1}, Proxy{Version: 2}
	tls, cert := Proxy{Version: 2, RequireTLS: true}, Proxy{Version: 2, RequireTLS: true, RequireCertificate: true}
	const corrupt = "corrupt PROXY header"
	for _, tt := range []struct {
		name   string
		config Proxy
		head   string
		source string
		why    string // of its rejection; "-" is without one
	}{
		{"TCP4", one, "PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\n", "192.0.2.7:4660", ""},
		{"TCP6", one, "PROXY TCP6 2001:db8::7 ::1 4660 1883\r\n", "[2001:db8::7]:4660", ""},
		{"UNKNOWN", one, "PROXY UNKNOWN\r\n", "", ""},
		{"UNKNOWN with more", one, "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", "", ""},
		{"wrong family", one, "PROXY TCP6 192.0.2.7 127.0.0.1 4660 1883\r\n", "", corrupt},
		{"wrong protocol", one, "PROXY UDP4 192.0.2.7 127.0.0.1 4660 1883\r\n", "", corrupt},
		{"wrong address", one, "PROXY TCP4 192.0.2 127.0.0.1 4660 1883\r\n", "", corrupt},
		{"zone", one, "PROXY TCP6 fe80::1%x ::1 4660 1883\r\n", "", corrupt},
		{"wrong port", one, "PROXY TCP4 192.0.2.7 127.0.0.1 65536 1883\r\n", "", corrupt},
		{"port with sign", one, "PROXY TCP4 192.0.2.7 127.0.0.1 +1 1883\r\n", "", corrupt},
		{"no ports", one, "PROXY TCP4 192.0.2.7 127.0.0.1\r\n", "", corrupt},
		{"nothing", one, "PROXY \r\n", "", corrupt},
		{"endless", one, "PROXY " + strings.Repeat("x", 200), "", corrupt},
		{"MQTT", one, "\x10\x10\x00\x04MQTT", "", corrupt},
		{"version 2 for 1", one, header(0x21, 0x11, v4), "", corrupt},
		{"IPv4", two, header(0x21, 0x11, v4), "192.0.2.7:4660", ""},
		{"IPv6", two, header(0x21, 0x21, v6), "[2001:db8::7]:4660", ""},
		{"Unix", two, header(0x21, 0x31, make([]byte, 216)), "", ""},
		{"of no family", two, header(0x21, 0x00), "", ""},
		{"with fields", two, header(0x21, 0x11, v4, field(1, []byte("h2")), secured), "192.0.2.7:4660", ""},
		{"LOCAL", two, header(0x20, 0x00), "", "-"},
		{"wrong command", two, header(0x22, 0x11, v4), "", corrupt},
		{"version 3", two, header(0x31, 0x11, v4), "", corrupt},
		{"short address", two, header(0x21, 0x11, v4[:11]), "", corrupt},
		{"wrong family", two, header(0x21, 0x41, v4), "", corrupt},
		{"half a field", two, header(0x21, 0x11, v4, []byte{1, 0}), "", corrupt},
		{"field too long", two, header(0x21, 0x11, v4, []byte{1, 0, 5, 0}), "", corrupt},
		{"short TLS field", two, header(0x21, 0x11, v4, field(fieldTLS, []byte{1})), "", corrupt},
		{"too long", two, header(0x21, 0x11, v4, make([]byte, 489)), "", corrupt},
		{"version 1 for 2", two, "PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\n", "", corrupt},
		{"TLS", tls, header(0x21, 0x11, v4, plain), "192.0.2.7:4660", ""},
		{"no TLS", tls, header(0x21, 0x11, v4), "", "client did not connect using TLS"},
		{"certificate", cert, header(0x21, 0x11, v4, secured), "192.0.2.7:4660", ""},
		{"no certificate", cert, header(0x21, 0x11, v4, plain), "", "client did not provide a certificate"},
		{"bad certificate", cert, header(0x21, 0x11, v4, bad), "", "client did not provide a certificate"},
	} {
		for _, cut := range []int{1, 1000} {
			p := &proxy{config: &tt.config}
			var rest []byte
			var err error
			for b := []byte(tt.head + "rest"); len(b) > 0 && err == nil; {
				n := min(cut, len(b))
				var more []byte
				more, err = p.take(b[:n])
				rest, b = append(rest, more...), b[n:]
			}
			why := ""
			if err != nil {
				if why = err.(*Rejected).Why; why == "" {
					why = "-"
				}
			}
			if why != tt.why || err == nil && string(rest) != "rest" {
				t.Errorf("%s: %q, rest %q", tt.name, why, rest)
			}
			if err == nil && (tt.source == "") == p.source.IsValid() || err == nil && tt.source != "" && p.source != netip.MustParseAddrPort(tt.source) {
				t.Errorf("%s: from %v", tt.name, p.source)
			}
			if tt.name == "certificate" && p.told != (Told{true, true, "TLSv1.3", "TLS_AES", "anna"}) {
				t.Errorf("%+v", p.told)
			}
		}
	}
}

// FuzzProxy: headers in one piece and in pieces mean the same.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\nrest"), uint8(1), false)
	f.Add([]byte(header(0x21, 0x11, make([]byte, 12), field(fieldTLS, []byte{7, 0, 0, 0, 0}, field(fieldCN, []byte("x"))))+"rest"), uint8(5), true)
	f.Fuzz(func(t *testing.T, b []byte, cut uint8, second bool) {
		read := func(n int) (*proxy, []byte, error) {
			p := &proxy{config: &Proxy{Version: 1}}
			if second {
				p.config.Version = 2
			}
			var rest []byte
			for b := b; len(b) > 0; {
				k := min(n, len(b))
				more, err := p.take(b[:k])
				if err != nil {
					return p, nil, err
				}
				rest, b = append(rest, more...), b[k:]
			}
			return p, rest, nil
		}
		p, rest, err := read(1 << 20)
		q, rest2, err2 := read(1 + int(cut))
		if (err == nil) != (err2 == nil) || !bytes.Equal(rest, rest2) || p.source != q.source || p.told != q.told {
			t.Fatalf("%v %q %v; in parts %v %q %v", p.source, rest, err, q.source, rest2, err2)
		}
		if len(p.head) > v2Max {
			t.Fatalf("%d bytes are kept", len(p.head))
		}
	})
}
