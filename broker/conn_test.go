package broker

import (
	"testing"
	"unsafe"
)

// TestConnSize: a connection fits the size class of Go's allocator that it is
// meant for, and not a smaller one that is no multiple of a cache line.
func TestConnSize(t *testing.T) {
	size := unsafe.Sizeof(conn{})
	if size > 192 {
		t.Errorf("%d bytes, more than 192", size)
	}
	if unsafe.Sizeof(uintptr(0)) == 8 && size <= 176 {
		t.Errorf("%d bytes are in the size class of 176", size)
	}
}
