package broker_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"midge/packet"
)

// dialTLS connects a client by TLS, which is not spoken yet.
func (s *server) dialTLS(name string, v packet.Version, config *tls.Config) *client {
	s.t.Helper()
	c := s.dial(name, v)
	c.overTLS(config)
	return c
}

func (c *client) overTLS(config *tls.Config) { c.conn = tls.Client(c.conn, config) }

// secured is the configuration of a listener with TLS, and the authority that
// signed its certificate.
func secured(t *testing.T) (*authority, string) {
	a := newAuthority(t, t.TempDir(), "authority")
	server := a.issue("server", nil)
	return a, "listener {port} 127.0.0.1\nallow_anonymous true\ncertfile " + server.certFile + "\nkeyfile " + server.keyFile + "\n"
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf)
	for _, tt := range []struct {
		name   string
		change func(*tls.Config)
		say    string
	}{
		{"new", func(*tls.Config) {}, "TLSv1.3 cipher TLS_AES_128_GCM_SHA256"},
		{"old", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		}, "TLSv1.2 cipher ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"blocks", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, "TLSv1.2 cipher ECDHE-ECDSA-AES128-SHA"},
	} {
		for _, v := range allVersions {
			config := a.clientConfig()
			tt.change(config)
			c := s.dialTLS(tt.name, v, config)
			c.send("CONNECT clean")
			c.expect("CONNACK 00")
			s.await("Client " + tt.name + " negotiated " + tt.say)
			c.send("SUBSCRIBE 1 t qos=1 + PUBLISH t 'hello' qos=1 id=7")
			c.lives2("SUBACK 1 01", "PUBLISH t 'hello' qos=1 id=1", "PUBACK 7")
			c.send("DISCONNECT")
			c.expect("close")
		}
	}
}

// lives2 expects packets, in any order.
func (c *client) lives2(want ...string) {
	c.s.t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for range want {
		got, err := c.receive()
		if err != nil || !left[got] {
			c.s.t.Fatalf("%s received %s, %v; not one of %q", c.name, got, err, want)
		}
		delete(left, got)
	}
}

// shake speaks TLS and CONNECT, and gives the answer: "" where TLS failed.
func (c *client) shake(options string) string {
	c.s.t.Helper()
	if c.tryWrite(c.encode("CONNECT "+options)) != nil {
		return ""
	}
	got, err := c.receive() // in TLS 1.3 the refusal of a certificate comes here
	if err != nil {
		return ""
	}
	return got
}

// TestClientCertificates: who may come in with which certificate, and under which name.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	stranger := newAuthority(t, t.TempDir(), "stranger").issue("anna", nil)
	anna := a.issue("anna", nil)
	revoked := a.issue("revoked", nil)
	expired := a.issue("expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	future := a.issue("future", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	nameless := a.issue("nameless", func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{"Foo, Inc"}, Country: []string{"DE"}}
	})
	server := a.issue("web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	ca := "cafile " + filepath.Join(a.dir, "authority.crt") + "\n"
	crl := "crlfile " + a.revoke("list.crl", time.Now().Add(time.Hour), revoked) + "\n"
	stale := "crlfile " + a.revoke("stale.crl", time.Now().Add(-time.Hour)) + "\n"
	const must, name, subject, dateless = "require_certificate true\n", "use_identity_as_username true\n", "use_subject_as_username true\n",
		"disable_client_cert_date_checks true\n"
	for _, tt := range []struct {
		name, conf string
		show       *issued
		v          packet.Version
		want       string // the answer; "" is none
		log        string // a part of the line that tells of it
	}{
		{"none is asked for", ca, nil, 4, "CONNACK 00", ""},
		{"none is shown", ca + must, nil, 4, "", "disconnected: TLS: client didn't provide a certificate."},
		{"a good one", ca + must, anna, 4, "CONNACK 00", "(p4, c1, k60)."},
		{"of another authority", ca + must, stranger, 4, "", "disconnected: TLS: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"without authorities", must, anna, 4, "", "certificate signed by unknown authority"},
		{"expired", ca + must, expired, 4, "", "certificate has expired or is not yet valid"},
		{"not yet valid", ca + must, future, 4, "", "certificate has expired or is not yet valid"},
		{"expired, dates do not count", ca + must + dateless, expired, 4, "CONNACK 00", ""},
		{"not yet valid, dates do not count", ca + must + dateless, future, 4, "CONNACK 00", ""},
		{"of another authority, dates do not count", ca + must + dateless, stranger, 4, "", "certificate signed by unknown authority"},
		{"none is shown, dates do not count", ca + must + dateless, nil, 4, "", "client didn't provide a certificate"},
		{"of a server", ca + must, server, 4, "", "incompatible key usage"},
		{"not revoked", ca + must + crl, anna, 4, "CONNACK 00", ""},
		{"revoked", ca + must + crl, revoked, 4, "", "disconnected: TLS: certificate revoked."},
		{"an old list", ca + must + stale, anna, 4, "", "disconnected: TLS: CRL has expired."},
		{"an old list, dates do not count", ca + must + stale + dateless, anna, 4, "CONNACK 00", ""},
		{"its name", ca + must + name, anna, 4, "CONNACK 00", "(p4, c1, k60, u'anna')."},
		{"no name in it", ca + must + name, nameless, 4, "CONNACK 04", "disconnected: bad username or password."},
		{"no name in it, v5", ca + must + name, nameless, 5, "CONNACK 86", "disconnected: bad username or password."},
		{"its name, none is asked for", ca + name, anna, 4, "CONNACK 04", "disconnected: bad username or password."},
		{"its subject", ca + must + subject, nameless, 5, "CONNACK 00", "(p5, c1, k60, u'O=Foo\\, Inc,C=DE')."},
		{"its name before its subject", ca + must + subject + name, anna, 5, "CONNACK 00", "(p5, c1, k60, u'anna')."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := strings.Replace(conf, "allow_anonymous true\n", "", 1)
			if !strings.Contains(tt.conf, "username") {
				lines = conf
			}
			s := serve(t, lines+tt.conf)
			var show []*issued
			if tt.show != nil {
				show = append(show, tt.show)
			}
			config := a.clientConfig(show...)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &append(config.Certificates, tls.Certificate{})[0], nil
			}
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for range 2 { // the second may resume the session of the first
				c := s.dialTLS("c", tt.v, config)
				if got := c.shake("clean keepalive=60"); got != tt.want {
					t.Fatalf("the answer is %q", got)
				}
				if tt.log != "" {
					if _, ok := s.log.find(func(line string) bool { return strings.Contains(line, tt.log) }); !ok {
						t.Fatalf("not in the log: %s", tt.log)
					}
				}
				c.conn.Close()
			}
		})
	}
}

// TestTLSPlainAlert: it is also where the alert is not encrypted, as OpenSSL's is when it
// does not like the certificate of a server of TLS 1.3.
func TestTLSPlainAlert(t *testing.T) {
	t.Parallel()
	_, conf := secured(t)
	s := serve(t, conf)
	for _, tt := range []struct{ send, want string }{
		{"\x15\x03\x03\x00\x02\x02\x30", "the client says: unknown certificate authority."},
		{"\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x02\x02\x2a", "the client says: bad certificate."},
		{"\x15\x03\x03\x00\x02\x02\xf7", "the client says: alert(247)."},
		{"\x17\x03\x03\x00\x02\x02\x30", "bad record MAC."},
		{"\x15\x03\x03\x00\x03\x02\x30\x00", "bad record MAC."},
	} {
		c := s.dial("distrusts", 4)
		c.write(hello())
		if _, err := c.conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.write([]byte(tt.send))
		c.conn.(*net.TCPConn).CloseWrite()
		s.await("Client 127.0.0.1 [" + c.peer() + "] disconnected: TLS: " + tt.want)
	}
}

// TestLongChain: who has more to say in the handshake than is kept of him is heard to the
// end. Its bytes come in pieces, as from afar.
func TestLongChain(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	anna := a.issue("anna", nil)
	for len(anna.pair.Certificate) < 400 {
		anna.pair.Certificate = append(anna.pair.Certificate, a.cert.Raw)
	}
	s := serve(t, conf+"cafile "+filepath.Join(a.dir, "authority.crt")+"\nrequire_certificate true\n")
	for range 5 {
		c := s.dial("c", 4)
		c.conn = tls.Client(&dribble{c.conn, 12_000}, a.clientConfig(anna))
		if got := c.shake("clean"); got != "CONNACK 00" {
			t.Fatalf("the answer is %q", got)
		}
	}
}

// TestTLSFilesRefused: what is wrong with the files ends the start, and is named.
func TestTLSFilesRefused(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	other := a.issue("other", nil)
	nothing := filepath.Join(a.dir, "nothing")
	if err := os.WriteFile(nothing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ lines, want string }{
		{"certfile " + filepath.Join(a.dir, "missing"), "missing: no such file or directory"},
		{"keyfile " + other.keyFile, "private key does not match public key"},
		{"certfile " + nothing, "failed to find any PEM data in certificate input"},
		{"cafile " + nothing, "nothing: no certificate in it"},
		{"capath " + nothing, "not a directory"},
		{"crlfile " + nothing, "nothing: no revocation list in it"},
		{"tls_version tlsv1.0", "unsupported tls_version 'tlsv1.0', it should be tlsv1.3, tlsv1.2 or tlsv1.1"},
		{"ciphers PSK:RC4", "no cipher of 'PSK:RC4' is known"},
	} {
		s := launch(t, "log_timestamp false\n"+conf+tt.lines+"\n", "-c", "{conf}")
		if status := s.exit(); status != 1 {
			t.Errorf("%s: status %d", tt.lines, status)
		}
		line, _ := s.log.find(func(line string) bool { return strings.HasPrefix(line, "Error: ") })
		if !strings.HasPrefix(line, s.expand("Error: TLS of the listener {port}: ")) || !strings.HasSuffix(line, tt.want) {
			t.Errorf("%s: %s", tt.lines, line)
		}
	}
}

// TestTLSVersions: who is too old is not let in.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	for _, tt := range []struct {
		lines string
		most  uint16
		ok    bool
	}{
		{"", tls.VersionTLS11, false},
		{"", tls.VersionTLS12, true},
		{"tls_version tlsv1.3", tls.VersionTLS12, false},
		{"tls_version tlsv1.3", tls.VersionTLS13, true},
		{"tls_version tlsv1.1", tls.VersionTLS11, true},
		{"ciphers ECDHE+AESGCM:ECDHE+CHACHA20", tls.VersionTLS12, true},
		{"ciphers ECDHE-RSA-AES128-GCM-SHA256", tls.VersionTLS12, false}, // for another kind of key
	} {
		s := serve(t, conf+tt.lines+"\n")
		config := a.clientConfig()
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tt.most
		c := s.dialTLS("c", 4, config)
		if got := c.shake("clean"); (got == "CONNACK 00") != tt.ok {
			t.Errorf("%s, version %x: %q", tt.lines, tt.most, got)
		}
		s.stop(os.Interrupt)
	}
}

// TestTLSMisuse: what is no TLS, or ends in the middle. Each connection is closed
// with one line in the log.
func TestTLSMisuse(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf+"listener {second} 127.0.0.1\n")
	for _, tt := range []struct{ name, send, want string }{
		{"MQTT", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd", "TLS: first record does not look like a TLS handshake"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "TLS: first record does not look like a TLS handshake"},
		{"SSL 2", "\x80\x2e\x01\x00\x02", "TLS: first record does not look like a TLS handshake"},
		{"a record too large", "\x16\x03\x01\xff\xff", "TLS: first record does not look like a TLS handshake"},
		{"no ClientHello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "TLS: error decoding message"},
		{"garbage", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "TLS: error decoding message"},
	} {
		c := s.dial(tt.name, 4)
		c.write([]byte(tt.send))
		if _, err := io.Copy(io.Discard, c.conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		s.await("New connection from " + c.peer() + " on port {port}.")
		line, _ := s.log.find(func(line string) bool { return strings.Contains(line, c.peer()) })
		if !strings.Contains(line, "Client 127.0.0.1 ["+c.peer()+"] disconnected: "+tt.want) {
			t.Errorf("%s: %s", tt.name, line)
		}
	}
	half := s.dial("half", 4)
	half.write([]byte("\x16\x03\x01\x01\x00\x01"))
	half.conn.(*net.TCPConn).CloseWrite()
	half.expect("close")
	s.await("Client 127.0.0.1 [" + half.peer() + "] disconnected: connection closed by client.")
	for linger, want := range map[int]string{-1: "connection closed by client.", 0: "Connection reset by peer."} {
		begun := s.dial("begun", 4)
		socket, peer := begun.conn.(*net.TCPConn), begun.peer()
		begun.write(hello())
		if linger < 0 {
			socket.CloseWrite()
		} else {
			socket.SetLinger(linger)
			socket.Close()
		}
		s.await("Client 127.0.0.1 [" + peer + "] disconnected: " + want)
	}
	wrong := s.dialTLS("distrusts", 4, &tls.Config{ServerName: "localhost"})
	if got := wrong.shake("clean"); got != "" {
		t.Error(got)
	}
	s.await("Client 127.0.0.1 [" + wrong.peer() + "] disconnected: TLS: the client says: bad certificate.")
	plain := s.dialTo("plain", 4, "tcp", s.expand("127.0.0.1:{second}"))
	plain.conn = tls.Client(plain.conn, a.clientConfig())
	if got := plain.shake("clean"); got != "" {
		t.Error(got)
	}
	s.await("Client from " + plain.peer() + " appears to be using TLS to connect to a non-TLS listener.")
	s.connectTLS("good", 4, a.clientConfig()).lives()
}

// TestTLSDistrusted: why a client ends the handshake is in the log, although it does not
// wait until it is read.
func TestTLSDistrusted(t *testing.T) {
	t.Parallel()
	_, conf := secured(t)
	s := serve(t, conf)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, linger := range []int{-1, 0, -1, 0} {
			c := s.dial("distrusts", 4)
			socket, peer := c.conn.(*net.TCPConn), c.peer()
			c.overTLS(&tls.Config{ServerName: "localhost", MaxVersion: version})
			if got := c.shake("clean"); got != "" {
				t.Error(got)
			}
			socket.SetLinger(linger)
			socket.Close()
			line, _ := s.log.find(func(line string) bool { return strings.Contains(line, peer+"] disconnected") })
			if !strings.HasSuffix(line, "disconnected: TLS: the client says: bad certificate.") {
				t.Errorf("%s, linger %d: %s", tls.VersionName(version), linger, line)
			}
		}
	}
}

// connectTLS makes a client that is connected by TLS.
func (s *server) connectTLS(name string, v packet.Version, config *tls.Config) *client {
	s.t.Helper()
	c := s.dialTLS(name, v, config)
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	return c
}

// dribble sends a few bytes at a time.
type dribble struct {
	net.Conn
	n int
}

func (d *dribble) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = d.Conn.Write(b[n:min(len(b), n+d.n)])
		n += k
	}
	return n, err
}

// TestTLSCut: records in pieces of any size, large packets among them.
func TestTLSCut(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf+"set_tcp_nodelay true\n")
	sub := s.connectTLS("sub", 4, a.clientConfig())
	sub.send("SUBSCRIBE 1 t")
	sub.expect("SUBACK 1 00")
	for _, cut := range []int{1, 3, 1000, 70_000} {
		c := s.dial("pub", 4)
		c.conn = tls.Client(&dribble{c.conn, cut}, a.clientConfig())
		c.send("CONNECT clean")
		c.expect("CONNACK 00")
		size := min(cut*2000, 1<<20)
		payload := strings.Repeat("x", size-1) + "y"
		c.write(append(packet.AppendPublish(nil, 4, 0, "t", 0, "", []byte(payload)), c.encode("PINGREQ")...))
		c.expect("PINGRESP")
		if p := sub.next(); string(p.Payload) != payload {
			t.Fatalf("cut by %d: %d bytes came", cut, len(p.Payload))
		}
		c.conn.Close()
	}
}

// TestTLSSlow: a reader that is slow is sent all of it in the end.
func TestTLSSlow(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf+"max_queued_messages 0\n")
	slow := s.dialSmall("slow", 4)
	slow.conn = tls.Client(slow.conn, a.clientConfig())
	slow.send("CONNECT clean")
	slow.expect("CONNACK 00")
	slow.send("SUBSCRIBE 1 # qos=1")
	slow.expect("SUBACK 1 01")
	pub := s.connectTLS("pub", 4, a.clientConfig())
	const n = 40
	for i := range n {
		size := 1000 << (i % 9)
		pub.write(packet.AppendPublish(nil, 4, 1<<1, strconv.Itoa(i), 1, "", bytes.Repeat([]byte{byte(i)}, size)))
		pub.expect("PUBACK 1")
	}
	for i := range n {
		p := slow.next()
		if string(p.Topic) != strconv.Itoa(i) || len(p.Payload) != 1000<<(i%9) || bytes.Count(p.Payload, []byte{byte(i)}) != len(p.Payload) {
			t.Fatalf("message %d: topic %s, %d bytes", i, p.Topic, len(p.Payload))
		}
		slow.send("PUBACK " + strconv.Itoa(int(p.ID)))
	}
	slow.lives()
}

// TestKeyLog: --tls-keylog writes the secrets of connections, to a file that nobody else
// may read.
func TestKeyLog(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf, "--tls-keylog", "{dir}/keys")
	s.connectTLS("c", 4, a.clientConfig()).lives()
	keys := filepath.Join(s.dir, "keys")
	b, err := os.ReadFile(keys)
	if err != nil || !strings.Contains(string(b), "CLIENT_TRAFFIC_SECRET_0 ") {
		t.Errorf("%q, %v", b, err)
	}
	if info, err := os.Stat(keys); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	link := filepath.Join(s.dir, "link")
	if err := os.Symlink(keys, link); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(s.dir, "open")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, open, filepath.Join(s.dir, "no/where")} {
		if s := launch(t, conf, "-c", "{conf}", "--tls-keylog", name); s.exit() != 1 || s.count("Error: Unable to open the TLS key log "+name) != 1 {
			t.Errorf("%s: %q", name, s.log.all())
		}
	}
}
