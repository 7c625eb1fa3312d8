package broker_test

import (
	"encoding/hex"
	"strings"
	"syscall"
	"testing"
)

// TestProxyProtocol: who a proxy says the client is.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	s := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nenable_proxy_protocol 1\n")
	c := s.dial("c", 4)
	c.write(append([]byte("PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\n"), c.encode("CONNECT clean keepalive=9")...))
	c.expect("CONNACK 00")
	s.await("New connection from 192.0.2.7:4660 on port {port}.")
	s.await("New client connected from 192.0.2.7:4660 as c (p4, c1, k9).")
	c.send("DISCONNECT")
	c.expect("close")
	s.await("Client c [192.0.2.7:4660] disconnected.")
	c = s.dial("c", 4)
	for _, part := range []string{"PROXY UNK", "NOWN\r", "\n\x10"} {
		c.write([]byte(part))
	}
	c.write(c.encode("CONNECT clean keepalive=9")[1:])
	c.expect("CONNACK 00")
	s.await("New client connected from " + c.peer() + " as c (p4, c1, k9).")
	c = s.dial("d", 4)
	c.tryWrite(c.encode("CONNECT clean"))
	c.expect("close")
	s.await("Connection from " + c.peer() + " rejected, corrupt PROXY header.")
	if n := s.count(c.peer()+" rejected") + s.count("["+c.peer()+"]"); n != 1 {
		t.Errorf("%d lines about it", n)
	}
}

// TestProxyProtocol2: version 2, with what the proxy knows of the client's certificate.
func TestProxyProtocol2(t *testing.T) {
	t.Parallel()
	s := serve(t, "listener {port} 127.0.0.1\nenable_proxy_protocol 2\nproxy_protocol_v2_require_tls true\n"+
		"require_certificate true\nuse_identity_as_username true\n")
	const start = "0d0a0d0a000d0a515549540a" // and "192.0.2.7:4660 to 127.0.0.1:1883" in what follows
	const from = "c00002077f0000011234075b"
	for _, tt := range []struct{ name, head, want, log string }{
		{"a check", start + "20000000", "close", ""},
		{"a certificate", start + "21110023" + from + "200014" + "0700000000" + "210001" + "31" + "220004" + "616e6e61" + "230001" + "32", "CONNACK 00",
			"New client connected from 192.0.2.7:4660 as c (p4, c1, k9, u'anna')."},
		{"a certificate without a name", start + "21110014" + from + "200005" + "0700000000", "CONNACK 04",
			"Client c [192.0.2.7:4660] disconnected: bad username or password."},
		{"no certificate", start + "21110014" + from + "200005" + "0100000000", "close",
			"Connection from 192.0.2.7:4660 rejected, client did not provide a certificate."},
		{"no TLS", start + "2111000c" + from, "close", "Connection from 192.0.2.7:4660 rejected, client did not connect using TLS."},
	} {
		head, err := hex.DecodeString(tt.head)
		if err != nil {
			t.Fatal(err)
		}
		c := s.dial("c", 4)
		c.tryWrite(append(head, c.encode("CONNECT clean keepalive=9 user=u password=p")...))
		c.expect(tt.want)
		if tt.log != "" {
			s.await(tt.log)
		}
	}
	s.stop(syscall.SIGTERM)
	for _, line := range s.log.all() {
		if strings.Contains(line, "127.0.0.1:") {
			t.Errorf("the proxy's check has a line: %s", line)
		}
	}
}

// TestProxyBeforeTLS: the header comes before everything else.
func TestProxyBeforeTLS(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	for _, web := range []bool{false, true} {
		more := "enable_proxy_protocol 1\n"
		if web {
			more += "protocol websockets\n"
		}
		s := serve(t, conf+more)
		c := s.dial("c", 4)
		c.write([]byte("PROXY TCP6 2001:db8::7 ::1 4660 1883\r\n"))
		c.overTLS(a.clientConfig())
		if web {
			w, err := speakWeb(c.conn, "")
			if err != nil {
				t.Fatal(err)
			}
			c.conn = w
		}
		c.send("CONNECT clean keepalive=9")
		c.expect("CONNACK 00")
		s.await("New client connected from 2001:db8::7:4660 as c (p4, c1, k9).")
	}
}
