package transport

import "testing"

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
