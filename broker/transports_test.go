package broker_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// wire is a way to a broker.
type wire struct {
	name string
	conf string // of its listener
	dial func(s *server, name string, v packet.Version) *client
}

// wires are all of them.
func wires(t *testing.T) []wire {
	t.Helper()
	a, secure := secured(t)
	secure = strings.Replace(secure, "allow_anonymous true\n", "", 1)
	mutual := "cafile " + filepath.Join(a.dir, "authority.crt") + "\nrequire_certificate true\n"
	config, shown := a.clientConfig(), a.clientConfig(a.issue("somebody", nil))
	const plain, web, proxied = "listener {port} 127.0.0.1\n", "protocol websockets\n", "enable_proxy_protocol 1\n"
	tcp := (*server).dial
	tls := func(s *server, name string, v packet.Version) *client { return s.dialTLS(name, v, config) }
	overWeb := func(dial func(*server, string, packet.Version) *client) func(*server, string, packet.Version) *client {
		return func(s *server, name string, v packet.Version) *client {
			s.t.Helper()
			c := dial(s, name, v)
			w, err := speakWeb(c.conn, "")
			if err != nil {
				s.t.Fatal(err)
			}
			c.conn = w
			return c
		}
	}
	header := func(s *server, name string, v packet.Version) *client {
		c := s.dial(name, v)
		c.write([]byte("PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\n"))
		return c
	}
	return []wire{
		{"TCP", plain, tcp},
		{"Unix", "listener 0 {dir}/s\n", func(s *server, name string, v packet.Version) *client {
			return s.dialTo(name, v, "unix", filepath.Join(s.dir, "s"))
		}},
		{"TLS", secure, tls},
		{"TLS over Unix", strings.Replace(secure, plain, "listener 0 {dir}/s\n", 1), func(s *server, name string, v packet.Version) *client {
			c := s.dialTo(name, v, "unix", filepath.Join(s.dir, "s"))
			c.overTLS(config)
			return c
		}},
		{"mutual TLS", secure + mutual, func(s *server, name string, v packet.Version) *client { return s.dialTLS(name, v, shown) }},
		{"WebSocket", plain + web, overWeb(tcp)},
		{"secure WebSocket", secure + web, overWeb(tls)},
		{"PROXY", plain + proxied, header},
		{"PROXY and TLS", secure + proxied, func(s *server, name string, v packet.Version) *client {
			c := header(s, name, v)
			c.overTLS(config)
			return c
		}},
		{"PROXY and WebSocket", plain + proxied + web, overWeb(header)},
	}
}

// TestRightsOverEveryWire: who is let in, and what he may do, is the same whatever the
// bytes come by.
func TestRightsOverEveryWire(t *testing.T) {
	t.Parallel()
	passwords, rights := passwordFile(t, "joe:secret"), aclFile(t, "topic read a", "user joe", "topic b")
	files := "password_file " + passwords + "\nacl_file " + rights + "\n"
	for _, w := range wires(t) {
		for _, anonymous := range []string{"true", "false"} {
			t.Run(w.name+", anonymous "+anonymous, func(t *testing.T) {
				t.Parallel()
				s := serve(t, files+"allow_anonymous "+anonymous+"\n"+w.conf)
				for words, can := range map[string][]string{
					"user=joe password=secret": {"b"}, "user=joe password=wrong": nil, "user=joe": nil, "user=max password=secret": nil, "": {},
				} {
					for _, v := range allVersions {
						c := w.dial(s, "c", v)
						c.send("CONNECT clean " + words)
						refused := map[packet.Version]string{3: "CONNACK 05", 4: "CONNACK 05", 5: "CONNACK 87"}[v]
						if can == nil || words == "" && anonymous == "false" {
							c.expect(refused, "close")
							continue
						}
						c.expect("CONNACK 00")
						if got := c.may("a", "b"); !slices.Equal(got, can) {
							t.Errorf("%q, v%d: may %q, not %q", words, v, got, can)
						}
						c.send("DISCONNECT")
						c.expect("close")
					}
				}
			})
		}
	}
}
