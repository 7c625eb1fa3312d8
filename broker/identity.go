package broker

import (
	"crypto/x509"
	"strings"
	"unicode"
	"unicode/utf8"

	"midge/broker/core"
	"midge/broker/transport"
)

// identity is what of a client's certificate becomes its user name.
type identity uint8

const (
	noIdentity identity = iota
	commonName
	subject
)

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
