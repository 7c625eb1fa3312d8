package broker

import (
	"strings"
	"testing"

	"midge/packet"
)

// TestNameOfCertificate: a certificate gives no user name that a CONNECT could not have.
func TestNameOfCertificate(t *testing.T) {
	for name, want := range map[string]bool{
		"joe": true, "Zoë": true, "a b/c": true, strings.Repeat("x", packet.StringMax): true,
		"": false, "a\xffb": false, "a\x00b": false, "a\nb": false, "\u0085": false, strings.Repeat("x", packet.StringMax+1): false,
	} {
		if got := isName(name); got != want {
			t.Errorf("%.20q: %t", name, got)
		}
	}
}
