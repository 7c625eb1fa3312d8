package transport

import (
	"io"
	"testing"
)

// TestEnd: an end waits for a handshake that has something to judge, and for no other.
func TestEnd(t *testing.T) {
	some := []byte{1}
	for _, tt := range []struct {
		name  string
		shake *shake
		want  bool
	}{
		{"collecting", &shake{stage: collecting, in: some}, false},
		{"queued", &shake{stage: queued, in: some}, false},
		{"computing", &shake{stage: shaking}, true},
		{"waiting for the client", &shake{stage: shaking, reading: true}, false},
		{"about to read", &shake{stage: shaking, reading: true, in: some}, true},
		{"done", &shake{stage: shaking, done: true}, true},
		{"over", nil, false},
	} {
		c := New(1, new(Scratch))
		c.secure = &secure{shake: tt.shake}
		if got := c.End(io.EOF); got != tt.want || c.Full() != tt.want {
			t.Errorf("%s: %v, full %v", tt.name, got, c.Full())
		}
	}
	if New(1, new(Scratch)).End(io.EOF) {
		t.Error("without TLS")
	}
}

// TestFull: a connection is not read while too much waits for its socket, whatever it is
// that waits, and is when the socket has taken of it.
func TestFull(t *testing.T) {
	c := New(1, new(Scratch))
	c.secure = new(secure)
	for _, tt := range []struct {
		unsent int
		full   bool
	}{{0, false}, {sealMax + sealMax/100, false}, {2*sealMax + 1, true}, {2 * sealMax, false}} {
		c.out, c.secure.wire.rest = make([]byte, tt.unsent/2), make([]byte, tt.unsent-tt.unsent/2)
		if !c.Unsent() && tt.unsent > 0 || c.Full() != tt.full {
			t.Errorf("%d bytes: unsent %v, full %v", tt.unsent, c.Unsent(), c.Full())
		}
	}
}
