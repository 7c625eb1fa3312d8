package transport

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// lean gives back the buffers that crypto/tls keeps of a handshake, half of what an
// idle connection would hold: it never makes one smaller itself. They are fields of
// its Conn, which must not be in use; one that is not empty, or is not what it was
// when this was written, is left alone.
func lean(c *tls.Conn) {
	v := reflect.ValueOf(c).Elem()
	for _, name := range [...]string{"rawInput", "hand"} {
		if f := v.FieldByName(name); f.IsValid() && f.Type() == reflect.TypeFor[bytes.Buffer]() {
			if b := (*bytes.Buffer)(unsafe.Pointer(f.UnsafeAddr())); b.Len() == 0 {
				*b = bytes.Buffer{}
			}
		}
	}
	if f := v.FieldByName("input"); f.IsValid() && f.Type() == reflect.TypeFor[bytes.Reader]() {
		if r := (*bytes.Reader)(unsafe.Pointer(f.UnsafeAddr())); r.Len() == 0 {
			*r = bytes.Reader{}
		}
	}
}
