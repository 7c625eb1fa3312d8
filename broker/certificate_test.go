package broker_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shown is the number of the certificate that midge shows.
func (s *server) shown(config *tls.Config) int64 {
	s.t.Helper()
	c := s.dialTLS("c", 4, config)
	if err := c.conn.(*tls.Conn).Handshake(); err != nil {
		s.t.Fatal(err)
	}
	defer c.conn.Close()
	return c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// put makes a certificate's files those of another.
func put(t *testing.T, to, from *issued) {
	t.Helper()
	for _, f := range [][2]string{{from.certFile, to.certFile}, {from.keyFile, to.keyFile}} {
		b, err := os.ReadFile(f[0])
		if err == nil {
			err = os.WriteFile(f[1]+".new", b, 0o600)
		}
		if err == nil {
			err = os.Rename(f[1]+".new", f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRenewal: SIGHUP takes over a new certificate, a broken one is refused, and who
// is revoked meanwhile is sent away. Connections go on.
func TestRenewal(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	anna, berta := a.issue("anna", nil), a.issue("berta", nil)
	own := &issued{certFile: filepath.Join(a.dir, "server.crt"), keyFile: filepath.Join(a.dir, "server.key")}
	soon := a.issue("soon", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(13*24*time.Hour + time.Hour) })
	later := a.issue("later", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(100*24*time.Hour + time.Hour) })
	crl := a.revoke("list.crl", time.Now().Add(time.Hour))
	put(t, own, soon)
	s := serve(t, conf+"sys_interval 1\nrequire_certificate true\ncrlfile "+crl+"\ncafile "+filepath.Join(a.dir, "authority.crt")+"\n")
	if n := s.count(s.expand("Warning: The certificate of listener {port} runs out on ")); n != 1 || s.count(", in 13 days.") != 1 {
		t.Errorf("%d warnings: %q", n, s.log.all())
	}
	ca, cb := s.connectTLS("anna", 5, a.clientConfig(anna)), s.connectTLS("berta", 5, a.clientConfig(berta))
	ca.send(s.expand("SUBSCRIBE 1 $SYS/broker/certificate/{port}/days"))
	ca.expect("SUBACK 1 00")
	if got, _ := ca.receive(); strings.TrimSuffix(got, " retain") != s.expand("PUBLISH $SYS/broker/certificate/{port}/days '13'") {
		t.Error(got)
	}
	hup := func(line string) {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await(line)
	}
	put(t, own, &issued{certFile: later.certFile, keyFile: soon.keyFile})
	hup("Error: The configuration stays as it was.")
	if s.count("private key does not match public key") != 1 {
		t.Error("it does not say why")
	}
	if got := s.shown(a.clientConfig(anna)); got != soon.cert.SerialNumber.Int64() {
		t.Errorf("certificate %d", got)
	}
	put(t, own, later)
	a.revoke("list.crl", time.Now().Add(time.Hour), berta)
	hup("Client berta [" + cb.peer() + "] disconnected: TLS: certificate revoked.")
	cb.expect("DISCONNECT 87", "close")
	if got := s.shown(a.clientConfig(anna)); got != later.cert.SerialNumber.Int64() {
		t.Errorf("certificate %d", got)
	}
	ca.expect(s.expand("PUBLISH $SYS/broker/certificate/{port}/days '100'"))
	ca.lives()
}

// TestRenewalUnasked: a certificate that changes is noticed without a signal.
func TestRenewalUnasked(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes the time of two looks")
	}
	a, conf := secured(t)
	own := &issued{certFile: filepath.Join(a.dir, "server.crt"), keyFile: filepath.Join(a.dir, "server.key")}
	s := serve(t, conf+"watch_files_interval 1\n")
	next := a.issue("next", nil)
	put(t, own, next)
	changed := func(line string) bool { return strings.HasPrefix(line, "Reading again what changed: "+own.certFile) }
	if _, ok := s.log.find(changed); !ok {
		t.Fatal("nobody noticed")
	}
	for got := int64(0); got != next.cert.SerialNumber.Int64(); {
		got = s.shown(a.clientConfig())
	}
}
