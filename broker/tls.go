package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
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
	state, ok := r.wire.TLS()
	if !ok {
		return "", ""
	}
	return transport.Description(state)
}

// identify is the user name that the client's certificate gives it; ok is false
// where it gives none that may be one.
func (w *way) identify(state tls.ConnectionState) (name string, ok bool) {
	if len(state.PeerCertificates) == 0 {
		return "", false
	}
	name = w.identity.of(state.PeerCertificates[0])
	ok = name != "" && len(name) <= 65535 && utf8.ValidString(name) && !strings.ContainsRune(name, 0)
	return name, ok
}

func (i identity) of(cert *x509.Certificate) string {
	if i == commonName {
		return cert.Subject.CommonName
	}
	return transport.SubjectName(cert)
}

// identity asks the connection's way for the user name.
func (s *Server) identity(cl *core.Client) (name string, ok bool) {
	c := s.conns[cl.Handle]
	if c.wire == nil {
		return "", false
	}
	state, ok := c.wire.TLS()
	if !ok {
		return "", false
	}
	return s.homes[cl.Listener].way.identify(state)
}
