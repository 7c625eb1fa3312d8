package broker

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"midge/conf"
)

// brief is an address as the tests write it.
func brief(a address) string {
	text := fmt.Sprintf("%d %s", a.family, a)
	if a.optional {
		text += " optional"
	}
	if a.lacking {
		text += " lacking"
	}
	return text
}

func briefs(all []address) (out []string) {
	for _, a := range all {
		out = append(out, brief(a))
	}
	return out
}

// TestHostAddresses: what a listener without a name, or with an address for one, binds to.
func TestHostAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host   string
		domain conf.SocketDomain
		want   []string
	}{
		{"", conf.AnyDomain, []string{"4 :1883", "6 :1883 optional"}},
		{"", conf.IPv4, []string{"4 :1883"}},
		{"", conf.IPv6, []string{"6 :1883"}},
		{"192.0.2.1", conf.AnyDomain, []string{"4 192.0.2.1:1883"}},
		{"192.0.2.1", conf.IPv6, nil},
		{"::1", conf.AnyDomain, []string{"6 [::1]:1883"}},
		{"::1", conf.IPv4, nil},
		{"::ffff:192.0.2.1", conf.AnyDomain, []string{"4 192.0.2.1:1883"}},
		{"fe80::1%eth0", conf.AnyDomain, []string{"6 [fe80::1%eth0]:1883"}},
	} {
		all, err := hostAddresses(&conf.Listener{Port: 1883, Host: tt.host, SocketDomain: tt.domain})
		if got := briefs(all); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}

// TestParseAddresses: a host that is listed twice is bound to once.
func TestParseAddresses(t *testing.T) {
	t.Parallel()
	all, err := parseAddresses([]string{"127.0.0.1", "::1", "127.0.0.1", "::ffff:127.0.0.1", "127.0.1.1"}, 1)
	want := []string{"4 127.0.0.1:1", "6 [::1]:1", "4 127.0.1.1:1"}
	if got := briefs(all); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if all, err := parseAddresses([]string{"127.0.0.1", "nonsense"}, 1); err == nil {
		t.Errorf("%q", briefs(all))
	}
}

// TestBindToInterface: what an interface makes of the addresses of a listener.
func TestBindToInterface(t *testing.T) {
	t.Parallel()
	const mismatch = "Interface address for eth0 does not match specified listener address (%s)."
	for _, tt := range []struct {
		host string
		own  []string // of the interface
		want []string
		err  string
	}{
		{"", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1%eth0"}, []string{"4 192.0.2.1:1", "6 [2001:db8::1]:1 optional"}, ""},
		{"", []string{"fe80::1%eth0", "192.0.2.1"}, []string{"4 192.0.2.1:1", "6 [fe80::1%eth0]:1 optional"}, ""},
		{"", []string{"192.0.2.1"}, []string{"4 192.0.2.1:1", "6 :1 optional lacking"}, ""},
		{"", nil, []string{"4 :1 lacking", "6 :1 optional lacking"}, ""},
		{"192.0.2.2", []string{"192.0.2.1", "192.0.2.2"}, []string{"4 192.0.2.2:1"}, ""},
		{"fe80::1", []string{"2001:db8::1", "fe80::1%eth0"}, []string{"6 [fe80::1%eth0]:1"}, ""},
		{"192.0.2.3", []string{"192.0.2.1", "192.0.2.2"}, nil, fmt.Sprintf(mismatch, "192.0.2.3")},
		{"192.0.2.1", []string{"2001:db8::1"}, nil, fmt.Sprintf(mismatch, "192.0.2.1")},
	} {
		all, err := hostAddresses(&conf.Listener{Port: 1, Host: tt.host})
		if err != nil {
			t.Fatal(err)
		}
		var own []netip.Addr
		for _, text := range tt.own {
			own = append(own, netip.MustParseAddr(text))
		}
		err = bindToInterface(all, own, "eth0", tt.host)
		if text := ""; err != nil {
			if text = err.Error(); text != tt.err {
				t.Errorf("%+v: %s", tt, text)
			}
		} else if got := briefs(all); tt.err != "" || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
