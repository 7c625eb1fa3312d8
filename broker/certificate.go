package broker

import (
	"crypto/x509"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"midge/broker/core"
	"midge/broker/transport"
	"midge/conf"
	"midge/packet"
)

// Certificates run out. Files that change are taken over like those of passwords (see
// reload.go); what is left is in $SYS/broker/certificate/listener/days, and in the log
// once a day when it is little.

const (
	littleDays = 14
	day        = 24 * time.Hour
)

// tlsFiles are the files that a listener's TLS is made of.
func tlsFiles(l *conf.Listener) []string {
	if !l.TLS.On() {
		return nil
	}
	t := &l.TLS
	return []string{t.Certfile, t.Keyfile, t.CAFile, t.CAPath, t.CRLFile}
}

// daysLeft is how long the listener's certificate is still good, in whole days.
func (l *listener) daysLeft() int64 {
	if l.way == nil || l.way.config == nil {
		return 0
	}
	return int64(max(0, time.Until(l.way.config.Expires)/day))
}

// watchExpiry logs whose certificate runs out soon, now and once a day.
func (s *Server) watchExpiry() {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	gone := s.dated
	s.dated = make(map[string]bool)
	for _, l := range s.listeners {
		if l.way == nil || l.way.config == nil {
			continue
		}
		name := "certificate/" + l.conf.Name() + "/days"
		s.dated[name] = true
		delete(gone, name)
		s.core.Figure(name, l.daysLeft)
		s.warnExpiry(l)
	}
	for name := range gone {
		s.core.Figure(name, nil)
	}
	if len(s.dated) > 0 {
		s.expiry = time.AfterFunc(day, func() { s.poll.Post(s.watchExpiry) })
	}
}

func (s *Server) warnExpiry(l *listener) {
	left, expires := time.Until(l.way.config.Expires), l.way.config.Expires.Format(time.DateTime)
	switch {
	case left <= 0:
		s.log.Logf(core.LogWarning, "Warning: The certificate of listener %s has run out on %s.", l.conf.Name(), expires)
	case left < littleDays*day:
		s.log.Logf(core.LogWarning, "Warning: The certificate of listener %s runs out on %s, in %d days.", l.conf.Name(), expires, int(left/day))
	}
}

// dropRevoked ends the connections of clients whose certificates were revoked since.
func (s *Server) dropRevoked(now core.Time) {
	for _, c := range s.conns {
		if c == nil || c.wire == nil || c.Closed() {
			continue
		}
		w := s.homes[c.Listener].way
		if w == nil || w.config == nil || !w.config.Revokes() {
			continue
		}
		if state, ok := c.wire.TLS(); ok && w.config.Revoked(state) {
			s.core.Kick(&c.Client, packet.NotAuthorized, "TLS: certificate revoked", now)
		}
	}
}

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
	if name == "" || len(name) > packet.StringMax || !utf8.ValidString(name) {
		return false
	}
	return !strings.ContainsFunc(name, unicode.IsControl)
}
