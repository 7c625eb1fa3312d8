package broker

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"midge/broker/core"
	"midge/broker/transport"
	"midge/conf"
)

// identity is what of a client's certificate becomes its user name.
type identity uint8

const (
	noIdentity identity = iota
	commonName
	subject
)

// openKeyLog opens the file that gets the secrets of all TLS connections: no symbolic
// link, and nobody else may read it.
func (s *Server) openKeyLog(name string) (err error) {
	if name == "" {
		return nil
	}
	s.keyLog, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := s.keyLog.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = errors.New("others may read it")
	}
	return err
}

// secure fills in what TLS needs. It reads files.
func (w *way) secure(l *conf.Listener, keys io.Writer) (err error) {
	t := &l.TLS
	w.files = transport.Files{
		Cert: t.Certfile, Key: t.Keyfile, CAFile: t.CAFile, CAPath: t.CAPath, CRLFile: t.CRLFile,
		RequireCertificate: t.RequireCertificate, NoDateChecks: t.DisableClientCertDateChecks,
		Version: t.TLSVersion, Ciphers: t.Ciphers, KeyLog: keys,
	}
	switch {
	case t.UseIdentityAsUsername:
		w.identity = commonName
	case t.UseSubjectAsUsername:
		w.identity = subject
	}
	if w.config, err = w.files.Load(); err != nil {
		return fmt.Errorf("TLS of the listener %s: %w", l.Name(), err)
	}
	return nil
}

// Secured is the version and the cipher of the connection's TLS, or "".
func (r *remote) Secured() (version, cipher string) {
	if r.wire == nil {
		return "", ""
	}
	if state, ok := r.wire.TLS(); ok {
		return transport.Description(state)
	}
	told := r.wire.Told()
	return told.Version, told.Cipher
}

// of is the name that a certificate gives its owner.
func (i identity) of(cert *x509.Certificate) string {
	if i == commonName {
		return cert.Subject.CommonName
	}
	return transport.SubjectName(cert)
}

// identity is the user name that a client's certificate gives it, here or at the proxy;
// ok is false where it gives none that may be one.
func (s *Server) identity(cl *core.Client) (name string, ok bool) {
	c := s.conns[cl.Handle]
	if c.wire == nil {
		return "", false
	}
	if state, secured := c.wire.TLS(); secured && len(state.PeerCertificates) > 0 {
		name = s.homes[cl.Listener].way.identity.of(state.PeerCertificates[0])
	} else if told := c.wire.Told(); told.Certificate {
		name = told.CommonName
	}
	return name, isName(name)
}

// isName tells whether a name may be a user's: a string of MQTT without control
// characters.
func isName(name string) bool {
	if name == "" || len(name) > 65535 || !utf8.ValidString(name) {
		return false
	}
	return !strings.ContainsFunc(name, unicode.IsControl)
}
