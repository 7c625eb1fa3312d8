package transport

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// frame is a client's frame.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	key := []byte{0x12, 0x34, 0x56, byte(len(b) * 7)}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

const (
	fin       = finBit
	upgrade   = "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	someKey   = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	mqtt      = "Sec-WebSocket-Protocol: mqtt\r\n"
	handshake = upgrade + someKey + mqtt + "\r\n"
)

// newWeb is a connection that talks.
func newWeb(t testing.TB) *web {
	t.Helper()
	c := New(1, new(Scratch))
	c.Web(&Web{HeadMax: 4096})
	if n, err := c.web.unwrap([]byte(handshake)); n != 0 || err != nil || c.web.stage != talking {
		t.Fatal(n, err)
	}
	c.web.own = nil
	return c.web
}

// feed unwraps b in pieces of the sizes that cut gives.
func feed(w *web, b []byte, cut func() int) (got []byte, err error) {
	for len(b) > 0 && err == nil {
		n := min(cut(), len(b))
		piece := append([]byte(nil), b[:n]...)
		b = b[n:]
		n, err = w.unwrap(piece)
		got = append(got, piece[:n]...)
	}
	return got, err
}

func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

// TestFrames: what frames hold comes out, however the bytes are cut.
func TestFrames(t *testing.T) {
	var sent, want []byte
	for _, n := range []int{0, 1, 2, 31, 32, 33, 125, 126, 127, 300, 65535, 65536, 70_001} {
		p := payload(n)
		sent, want = append(sent, frame(fin|opBinary, p)...), append(want, p...)
	}
	p := payload(1000) // a message of three frames, with a ping in between
	sent = append(sent, frame(opBinary, p[:100])...)
	sent = append(sent, frame(fin|opPing, []byte("hello"))...)
	sent = append(sent, frame(opContinue, p[100:100])...)
	sent = append(sent, frame(fin|opPong, nil)...)
	sent = append(sent, frame(fin|opContinue, p[100:])...)
	want = append(want, p...)
	for _, cut := range []func() int{
		func() int { return 1 }, func() int { return 7 }, func() int { return 1 << 20 },
		func() int { return 1 + rand.IntN(9) }, func() int { return 1 + rand.IntN(5000) },
	} {
		w := newWeb(t)
		got, err := feed(w, sent, cut)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes instead of %d, %v", len(got), len(want), err)
		}
		if out := size(w.next(nil, nil)); !w.pongs && (out != 7 || !bytes.Equal(w.own, []byte("\x8A\x05hello"))) {
			t.Errorf("the ping is answered with %x", w.own)
		}
	}
}

// TestBadFrames: each ends the connection, with a code for the client.
func TestBadFrames(t *testing.T) {
	raw := func(b ...byte) []byte { return b }
	for _, tt := range []struct {
		name  string
		bytes []byte
		code  int
		why   string // "" is io.EOF
	}{
		{"unmasked", raw(0x82, 0x01, 'x'), 1002, "WebSocket: an unmasked frame"},
		{"reserved bit", raw(0xC2, 0x80), 1002, "WebSocket: a frame with reserved bits"},
		{"text", frame(fin|opText, []byte("x")), 1003, "WebSocket: a text frame"},
		{"unknown kind", frame(fin|3, nil), 1002, "WebSocket: a frame of an unknown kind"},
		{"unknown control", frame(fin|11, nil), 1002, "WebSocket: a frame of an unknown kind"},
		{"continues nothing", frame(fin|opContinue, nil), 1002, "WebSocket: a frame that continues nothing"},
		{"message within another", append(frame(opBinary, nil), frame(fin|opBinary, nil)...), 1002, "WebSocket: a message within another"},
		{"ping in parts", frame(opPing, nil), 1002, "WebSocket: a control frame that is too large"},
		{"large ping", frame(fin|opPing, make([]byte, 126)), 1002, "WebSocket: a control frame that is too large"},
		{"long length", raw(0x82, 0xFE, 0, 5, 0, 0, 0, 0), 1002, "WebSocket: a frame with a wrong length"},
		{"longer length", raw(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0), 1002, "WebSocket: a frame with a wrong length"},
		{"endless length", raw(0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 1002, "WebSocket: a frame with a wrong length"},
		{"close", frame(fin|opClose, nil), 1000, ""},
		{"close with a code", frame(fin|opClose, []byte{0x03, 0xE9}), 1001, ""},
		{"close with a reason", frame(fin|opClose, []byte("\x0F\xA0bye")), 4000, ""},
		{"close with half a code", frame(fin|opClose, []byte{3}), 1002, "WebSocket: a bad Close frame"},
		{"close with a code of nobody's", frame(fin|opClose, []byte{0x03, 0xED}), 1002, "WebSocket: a bad Close frame"},
	} {
		for _, cut := range []int{1, 1000} {
			w := newWeb(t)
			got, err := feed(w, append(frame(fin|opBinary, []byte("before")), tt.bytes...), func() int { return cut })
			if string(got) != "before" || err == nil || tt.why != "" && err.Error() != tt.why || tt.why == "" && err != io.EOF {
				t.Errorf("%s: %q, %v", tt.name, got, err)
			}
			w.close()
			w.next(nil, nil)
			if want := []byte{0x88, 2, byte(tt.code >> 8), byte(tt.code)}; !bytes.Equal(w.own, want) {
				t.Errorf("%s: the client is told %x, not %x", tt.name, w.own, want)
			}
			if n, err := w.unwrap(frame(fin|opBinary, []byte("more"))); n != 0 || err == nil {
				t.Errorf("%s: it goes on", tt.name)
			}
		}
	}
}

// TestFramesOut: what is written in pieces of any size are frames with all bytes.
func TestFramesOut(t *testing.T) {
	for _, step := range []int{1, 2, 5, 100, 1 << 20} {
		w := newWeb(t)
		var wire, want []byte
		waiting := payload(40)
		for round := range 30 {
			p := payload([]int{0, 3, 125, 126, 66_000}[round%5])
			waiting, want = append(waiting, p...), append(want, p...)
			if round == 7 {
				w.pong, w.pongs = []byte("hey"), true
			}
			for range 1 + round*3 {
				half := len(waiting) / 2
				bufs := w.next(nil, [][]byte{waiting[:half], waiting[half:]})
				n := 0
				for _, b := range bufs {
					k := min(step-n, len(b))
					wire = append(wire, b[:k]...)
					n += k
				}
				waiting = waiting[w.took(n):]
			}
		}
		for len(waiting) > 0 || w.unsent() {
			bufs := w.next(nil, [][]byte{waiting})
			n := 0
			for _, b := range bufs {
				wire = append(wire, b...)
				n += len(b)
			}
			waiting = waiting[w.took(n):]
		}
		want = append(payload(40), want...)
		got, control := unframe(t, wire)
		if !bytes.Equal(got, want) || string(control) != "hey" {
			t.Fatalf("steps of %d: %d bytes instead of %d, %q", step, len(got), len(want), control)
		}
	}
}

// unframe takes a server's frames apart.
func unframe(t *testing.T, wire []byte) (data, control []byte) {
	t.Helper()
	for len(wire) > 0 {
		n, h := uint64(wire[1]), 2
		switch n {
		case 126:
			n, h = uint64(binary.BigEndian.Uint16(wire[2:])), 4
		case 127:
			n, h = binary.BigEndian.Uint64(wire[2:]), 10
		}
		p := wire[h : uint64(h)+n]
		switch wire[0] {
		case fin | opBinary:
			data = append(data, p...)
		case fin | opPong:
			control = append(control, p...)
		default:
			t.Fatalf("frame %x", wire[0])
		}
		wire = wire[uint64(h)+n:]
	}
	return data, control
}

// TestRequests: which requests are answered how.
func TestRequests(t *testing.T) {
	without := func(name string) string {
		i := strings.Index(handshake, name+":")
		j := i + strings.Index(handshake[i:], "\r\n") + 2
		return handshake[:i] + handshake[j:]
	}
	with := func(lines string) string { return strings.TrimSuffix(handshake, "\r\n") + lines + "\r\n\r\n" }
	for _, tt := range []struct {
		name, request, answer, err string
	}{
		{"good", handshake, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", ""},
		{"mqttv3.1", strings.Replace(handshake, "Protocol: mqtt", "Protocol: chat, mqttv3.1, mqtt", 1), "HTTP/1.1 101 ", ""},
		{"small letters", strings.ToLower(upgrade[:4]) + handshake[4:], "", "HTTP: no request"},
		{"header names in small letters", handshake[:20] + strings.ToLower(handshake[20:]), "HTTP/1.1 101 ", ""},
		{"no subprotocol", without("Sec-WebSocket-Protocol"), "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"another subprotocol", strings.Replace(handshake, "Protocol: mqtt", "Protocol: chat", 1), "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"no key", without("Sec-WebSocket-Key"), "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"short key", strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1), "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"no version", without("Sec-WebSocket-Version"), "HTTP/1.1 426 ", "HTTP request answered with 426"},
		{"version 8", strings.Replace(handshake, "Version: 13", "Version: 8", 1), "HTTP/1.1 426 ", "HTTP request answered with 426"},
		{"no Connection", without("Connection"), "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"POST", "POST" + handshake[3:], "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"plain", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n", "HTTP request answered with 426"},
		{"HTTP 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"no path", "GET http://x/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"bad header", "GET / HTTP/1.1\r\nwhat\r\n\r\n", "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"many headers", "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 102) + "\r\n", "HTTP/1.1 400 ", "HTTP request answered with 400"},
		{"large head", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 4096), "HTTP/1.1 431 ", "HTTP request answered with 431"},
		{"endless line", "GET /" + strings.Repeat("a", 5000), "HTTP/1.1 431 ", "HTTP request answered with 431"},
		{"MQTT", "\x10\x10\x00\x04MQTT", "", "HTTP: no request"},
		{"TLS", "\x16\x03\x01\x02\x00", "", "HTTP: no request"},
		{"its origin", with("Origin: https://a.example"), "HTTP/1.1 101 ", ""},
		{"longer origin", with("Origin: https://a.example.org"), "HTTP/1.1 403 ", "non-matching http origin"},
		{"shorter origin", with("Origin: https://a.exampl"), "HTTP/1.1 403 ", "non-matching http origin"},
		{"two origins", with("Origin: https://a.example\r\nOrigin: https://a.example"), "HTTP/1.1 403 ", "non-matching http origin"},
	} {
		for _, cut := range []int{1, 10, 10_000} {
			c := New(1, new(Scratch))
			c.Web(&Web{HeadMax: 4096, Origins: []string{"https://b.example", "https://a.example"}})
			got, err := feed(c.web, []byte(tt.request), func() int { return cut })
			if len(got) > 0 || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("%s: %q, %v", tt.name, got, err)
			}
			if tt.answer == "" && len(c.web.own) > 0 || !strings.HasPrefix(string(c.web.own), tt.answer) {
				t.Errorf("%s: the answer is %q", tt.name, c.web.own)
			}
		}
	}
}

// TestForwarded: the address that a proxy tells of is that of the first.
func TestForwarded(t *testing.T) {
	for list, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1, 10.0.0.1": "192.0.2.1", " 2001:db8::1 ,x": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1",
		"": "", "unknown": "", "192.0.2.1:80": "", "fe80::1%eth0\nx": "fe80::1", "1.2.3.4\n": "1.2.3.4",
	} {
		if got := forwarded(list); got.IsValid() != (want != "") || want != "" && got != netip.MustParseAddr(want) {
			t.Errorf("%q: %v", list, got)
		}
	}
}

// TestLocalNames: no target leads out of the folder.
func TestLocalNames(t *testing.T) {
	for target, want := range map[string]string{
		"/": ".", "/a": "a", "/a/b.html?x=/../..": "a/b.html", "/../a": "a", "/a/../../../etc/passwd": "etc/passwd", "/%2e%2e/a": "a",
		"//a": "a", "/a%2Fb": "a/b", "/a%20b": "a b", "/a/": "a",
		"/%00": "", "/a%zz": "", `/a\b`: "", "/%5c": "",
	} {
		got, ok := localName(target)
		if ok != (want != "") || got != want {
			t.Errorf("%s: %q %v", target, got, ok)
		}
	}
}

// FuzzFrames: frames in one piece and in pieces mean the same, and nothing panics.
func FuzzFrames(f *testing.F) {
	f.Add(frame(fin|opBinary, []byte("hello")), uint8(1))
	f.Add(append(frame(opBinary, payload(200)), frame(fin|opContinue, nil)...), uint8(3))
	f.Add(append(frame(fin|opPing, []byte("x")), frame(fin|opClose, []byte{3, 0xE8})...), uint8(2))
	f.Add([]byte{0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5}, uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		whole, parts := newWeb(t), newWeb(t)
		a, errA := feed(whole, b, func() int { return 1 << 20 })
		c, errC := feed(parts, b, func() int { return 1 + int(cut) })
		if !bytes.Equal(a, c) || (errA == nil) != (errC == nil) || errA != nil && errA.Error() != errC.Error() {
			t.Fatalf("%x, %v; in parts %x, %v", a, errA, c, errC)
		}
		whole.close()
		parts.close()
		if errA != nil && !bytes.Equal(whole.own[len(whole.own)-4:], parts.own[len(parts.own)-4:]) {
			t.Fatal("different farewells")
		}
	})
}

// FuzzRequests: requests in one piece and in pieces are answered alike.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(handshake), uint8(1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3))
	f.Add([]byte(upgrade+"X-Forwarded-For: 1.2.3.4\r\n\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		ask := func(n int) (*web, []byte, error) {
			c := New(1, new(Scratch))
			c.Web(&Web{HeadMax: 300})
			got, err := feed(c.web, b, func() int { return n })
			return c.web, got, err
		}
		whole, a, errA := ask(1 << 20)
		parts, c, errC := ask(1 + int(cut))
		if !bytes.Equal(a, c) || (errA == nil) != (errC == nil) || whole.stage != parts.stage || len(whole.own) != len(parts.own) {
			t.Fatalf("%x, %v, %q; in parts %x, %v, %q", a, errA, whole.own, c, errC, parts.own)
		}
		if len(whole.request) > 301 {
			t.Fatalf("%d bytes are kept", len(whole.request))
		}
	})
}

// BenchmarkUnmask: GB/s of the one pass that WebSocket adds.
func BenchmarkUnmask(b *testing.B) {
	w := newWeb(b)
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		w.unmask(buf, buf)
	}
}
