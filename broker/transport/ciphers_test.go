package transport

import (
	"slices"
	"strings"
	"testing"
)

// TestCipherSuites: lists as people have them, and what is left of each.
func TestCipherSuites(t *testing.T) {
	const (
		gcm = "ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256"
		cha = "ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305"
		cbc = "ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES256-SHA ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES128-SHA"
	)
	for _, tt := range []struct{ list, want string }{
		{"ECDHE+AESGCM:ECDHE+CHACHA20", gcm + " " + cha},
		{"ECDHE+AESGCM", gcm},
		{"EECDH+AESGCM:!ECDSA", "ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-AES128-GCM-SHA256"},
		{"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
		{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
		{"ECDHE-RSA-AES128-GCM-SHA256,DHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-CHACHA20-POLY1305"},
		{"DEFAULT:!aNULL:!eNULL:!LOW:!EXPORT:!SSLv2:@STRENGTH", gcm + " " + cha + " " + cbc},
		{"HIGH:!SHA1", gcm + " " + cha},
		{"HIGH:-SHA:AES128-SHA", gcm + " " + cha + " AES128-SHA"},
		{"!AES:ALL", cha},
		{"kRSA+AESGCM", "AES256-GCM-SHA384 AES128-GCM-SHA256"},
		{"ECDHE+AES128+SHA256+aRSA", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-SHA256"},
		{"CHACHA20:@SECLEVEL=2:+HIGH", cha},
		{"PSK", ""}, {"RC4:3DES:NULL", ""}, {"", ""}, {":", ""}, {"ALL:!ALL", ""}, {"+HIGH", ""}, {"!", ""}, {"ECDHE+", ""},
		{"aes128-sha", ""},
	} {
		ids, err := cipherSuites(tt.list)
		if (err != nil) != (tt.want == "") {
			t.Errorf("%s: %v", tt.list, err)
		}
		var got []string
		for _, id := range ids {
			got = append(got, cipherName(id))
		}
		want := strings.Fields(tt.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", tt.list, got)
		}
	}
}
