package broker_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs the certificates of a test and writes them to a folder.
type authority struct {
	t      testing.TB
	dir    string
	cert   *x509.Certificate
	key    crypto.Signer
	serial int64
}

// issued is a certificate with its key, also in files.
type issued struct {
	cert      *x509.Certificate
	pair      tls.Certificate
	certFile  string
	keyFile   string
	authority *authority
}

// newAuthority makes one that signs itself, in the file name.crt.
func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	i := a.issue(name, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid = true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		c.ExtKeyUsage = nil
	})
	a.cert, a.key = i.cert, i.pair.PrivateKey.(crypto.Signer)
	return a
}

// issue makes a certificate with the common name, for this machine, that is valid
// for a day unless change says otherwise, in the files name.crt and name.key.
func (a *authority) issue(name string, change func(*x509.Certificate)) *issued {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if change != nil {
		change(template)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	i := &issued{cert: cert, pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority: a}
	i.certFile = a.write(name+".crt", "CERTIFICATE", der)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	i.keyFile = a.write(name+".key", "PRIVATE KEY", secret)
	return i
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// revoke writes a list of the revoked to the file, which is to be renewed then.
func (a *authority) revoke(name string, renewal time.Time, list ...*issued) string {
	a.t.Helper()
	r := &x509.RevocationList{Number: big.NewInt(a.serial), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: renewal}
	for _, i := range list {
		r.RevokedCertificateEntries = append(r.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: i.cert.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, r, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name, "X509 CRL", der)
}

// clientConfig trusts the authority and shows certificates, if any.
func (a *authority) clientConfig(show ...*issued) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	for _, i := range show {
		c.Certificates = append(c.Certificates, i.pair)
	}
	return c
}
