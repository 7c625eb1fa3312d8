package transport

import (
	"io"
	"syscall"
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

// TestEndReason: a socket that was reset is not written, and the first error is the reason.
func TestEndReason(t *testing.T) {
	c := New(1, new(Scratch))
	h := &shake{stage: shaking}
	c.secure = &secure{shake: h}
	c.End(syscall.ECONNRESET)
	h.reading = true
	for range 2 {
		_, err := c.Write(-1, nil)
		if err != syscall.ECONNRESET || c.End(err) {
			t.Error(err)
		}
	}
	h.reading = false
	c.End(syscall.EPIPE)
	if h.over != syscall.ECONNRESET {
		t.Error(h.over)
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
