package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Files says how a listener does TLS, in the words of mosquitto.conf.
type Files struct {
	Cert, Key string // PEM: the certificate, with those that link it to its issuer, and its key
	CAFile    string // PEM: who may sign certificates of clients; "" for none
	CAPath    string // a folder of such, by OpenSSL's hashes; "" for none
	CRLFile   string // PEM: what they have revoked; "" without

	RequireCertificate bool // of clients
	NoDateChecks       bool // of the certificates of clients

	Version string // the least: tlsv1.1, tlsv1.2, tlsv1.3; "" is tlsv1.2
	Ciphers string // OpenSSL's list for TLS 1.2 and before; "" is Go's choice

	KeyLog io.Writer // gets the secrets of all connections; nil mostly
}

// Config is what came of Files at one time. It does not change.
type Config struct {
	TLS     *tls.Config
	Expires time.Time // when the certificate does, or the first of its chain

	roots   []*x509.Certificate
	revoked []*x509.RevocationList
	serials map[string]bool // of what those of our own authorities revoke, by issuer and number
	noDates bool
}

// Load reads the files. Its errors name the file.
func (f *Files) Load() (*Config, error) {
	c := &Config{noDates: f.NoDateChecks}
	t := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		DynamicRecordSizingDisabled: true,
		KeyLogWriter:                f.KeyLog,
		Time:                        time.Now,
	}
	c.TLS = t
	if err := f.setVersion(t); err != nil {
		return nil, err
	}
	if f.Ciphers != "" {
		ids, err := cipherSuites(f.Ciphers)
		if err != nil {
			return nil, err
		}
		t.CipherSuites = ids
	}
	if err := f.loadAuthorities(c); err != nil {
		return nil, err
	}
	if err := f.loadPair(c); err != nil {
		return nil, err
	}
	if err := f.loadRevoked(c); err != nil {
		return nil, err
	}
	if f.RequireCertificate {
		f.requireCertificate(c)
	}
	return c, nil
}

func (f *Files) setVersion(t *tls.Config) error {
	switch f.Version {
	case "", "tlsv1.2":
	case "tlsv1.3":
		t.MinVersion = tls.VersionTLS13
	case "tlsv1.1":
		t.MinVersion = tls.VersionTLS11
	default:
		return fmt.Errorf("unsupported tls_version '%s', it should be tlsv1.3, tlsv1.2 or tlsv1.1", f.Version)
	}
	return nil
}

// hashed is the name of a certificate in a folder of OpenSSL's.
var hashed = regexp.MustCompile(`^[0-9a-f]{8}\.[0-9]+$`)

func (f *Files) loadAuthorities(c *Config) error {
	if f.CAFile != "" {
		list, err := readCertificates(f.CAFile)
		if err != nil {
			return err
		}
		c.roots = list
	}
	if f.CAPath == "" {
		return nil
	}
	entries, err := os.ReadDir(f.CAPath)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !hashed.MatchString(e.Name()) {
			continue
		}
		list, err := readCertificates(filepath.Join(f.CAPath, e.Name()))
		if err != nil {
			return err
		}
		c.roots = append(c.roots, list...)
	}
	return nil
}

// readCertificates reads all certificates of a file, of which there must be one.
func readCertificates(name string) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	err := eachBlock(name, func(b *pem.Block) error {
		if b.Type != "CERTIFICATE" && b.Type != "X509 CERTIFICATE" {
			return nil
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		list = append(list, cert)
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s: no certificate in it", name)
	}
	return list, err
}

// eachBlock calls f for each PEM block of a file.
func eachBlock(name string, f func(*pem.Block) error) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return nil
		}
		if err := f(b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// errEncrypted says that a key needs a password.
var errEncrypted = errors.New("the key is encrypted; nobody can be asked for its password")

// loadPair reads certificate and key, which must belong together.
func (f *Files) loadPair(c *Config) error {
	err := eachBlock(f.Key, func(b *pem.Block) error {
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
			return errEncrypted
		}
		return nil
	})
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", f.Cert, f.Key, err)
	}
	if len(pair.Certificate) == 1 {
		pair.Certificate = append(pair.Certificate, c.chain(pair.Leaf)...)
	}
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Cert, err)
		}
		if c.Expires.IsZero() || cert.NotAfter.Before(c.Expires) {
			c.Expires = cert.NotAfter
		}
	}
	c.TLS.Certificates = []tls.Certificate{pair}
	return nil
}

// chain finds those between cert and its root among the authorities, as OpenSSL
// does for a certificate that comes alone.
func (c *Config) chain(cert *x509.Certificate) (links [][]byte) {
	const chainMax = 8
	for range chainMax {
		issuer := c.issuer(cert)
		if issuer == nil || bytes.Equal(issuer.RawIssuer, issuer.RawSubject) {
			break
		}
		links = append(links, issuer.Raw)
		cert = issuer
	}
	return links
}

func (c *Config) issuer(cert *x509.Certificate) *x509.Certificate {
	for _, ca := range c.roots {
		if bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

func (f *Files) loadRevoked(c *Config) error {
	if f.CRLFile == "" {
		return nil
	}
	err := eachBlock(f.CRLFile, func(b *pem.Block) error {
		if b.Type != "X509 CRL" {
			return nil
		}
		list, err := x509.ParseRevocationList(b.Bytes)
		c.revoked = append(c.revoked, list)
		return err
	})
	if err == nil && len(c.revoked) == 0 {
		err = fmt.Errorf("%s: no revocation list in it", f.CRLFile)
	}
	c.noteSerials()
	return err
}

// noteSerials notes what is revoked, to be looked up at once.
func (c *Config) noteSerials() {
	c.serials = make(map[string]bool)
	for _, list := range c.revoked {
		for _, ca := range c.roots {
			if list == nil || !bytes.Equal(list.RawIssuer, ca.RawSubject) || list.CheckSignatureFrom(ca) != nil {
				continue
			}
			for _, e := range list.RevokedCertificateEntries {
				c.serials[string(list.RawIssuer)+e.SerialNumber.String()] = true
			}
		}
	}
}

// Revokes tells whether anything is revoked.
func (c *Config) Revokes() bool { return len(c.serials) > 0 }

// Revoked tells whether the certificate of a client, which was good, is among what one
// of our own authorities has revoked. It is quick.
func (c *Config) Revoked(state tls.ConnectionState) bool {
	if len(state.PeerCertificates) == 0 {
		return false
	}
	leaf := state.PeerCertificates[0]
	return c.serials[string(leaf.RawIssuer)+leaf.SerialNumber.String()]
}

// requireCertificate has clients show a certificate that is good.
func (f *Files) requireCertificate(c *Config) {
	t := c.TLS
	t.ClientCAs = x509.NewCertPool() // without authorities nobody is good
	for _, ca := range c.roots {
		t.ClientCAs.AddCert(ca)
	}
	t.ClientAuth = tls.RequireAndVerifyClientCert
	if c.noDates {
		t.ClientAuth = tls.RequireAnyClientCert // Check does the rest
	}
	t.VerifyConnection = c.check // of a session that is resumed too
}

// check says whether the certificate of a client is good now: its chain where dates
// do not count, for crypto/tls looks at the others, and the lists of revoked ones.
func (c *Config) check(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("tls: client didn't provide a certificate")
	}
	leaf := state.PeerCertificates[0]
	if c.noDates {
		if err := c.verifyUndated(state.PeerCertificates); err != nil {
			return err
		}
	}
	if len(c.revoked) == 0 {
		return nil
	}
	return c.checkRevoked(leaf, state.PeerCertificates[1:])
}

// verifyUndated verifies a chain as if all of it was valid now.
func (c *Config) verifyUndated(chain []*x509.Certificate) error {
	pool := func(list []*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, cert := range list {
			p.AddCert(undated(cert))
		}
		return p
	}
	_, err := undated(chain[0]).Verify(x509.VerifyOptions{
		Roots: pool(c.roots), Intermediates: pool(chain[1:]),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// undated is a certificate that is valid at any time.
func undated(cert *x509.Certificate) *x509.Certificate {
	c := *cert
	c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(1<<40, 0)
	return &c
}

// checkRevoked looks the certificate up in its issuer's list. Without one that is
// valid it is no good, as with OpenSSL.
func (c *Config) checkRevoked(leaf *x509.Certificate, links []*x509.Certificate) error {
	issuer := c.issuer(leaf)
	for _, link := range links {
		if issuer == nil && bytes.Equal(link.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(link) == nil {
			issuer = link
		}
	}
	if issuer == nil {
		return errors.New("tls: unable to get the issuer of the client's certificate")
	}
	err := errors.New("tls: unable to get certificate CRL")
	for _, list := range c.revoked {
		if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		if !c.noDates && !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			err = errors.New("tls: CRL has expired")
			continue
		}
		err = nil
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				return errors.New("tls: certificate revoked")
			}
		}
	}
	return err
}
