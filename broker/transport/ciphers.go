package transport

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// suite is one of TLS 1.2's cipher suites that Go has, as OpenSSL knows it.
type suite struct {
	id    uint16
	name  string
	tags  string // the words of a cipher list that select it
	noAsk bool   // only used where it is asked for: without forward secrecy
}

// The words that select suites by key exchange, authentication, encryption, hash
// and version.
const (
	ecdhe  = " kECDHE kEECDH ECDHE EECDH"
	rsaKey = " kRSA RSA"
	rsa    = " aRSA"
	ecdsa  = " aECDSA ECDSA"
	gcm128 = " AES AES128 AESGCM TLSv1.2 HIGH ALL DEFAULT SHA256"
	gcm256 = " AES AES256 AESGCM TLSv1.2 HIGH ALL DEFAULT SHA384"
	cha    = " CHACHA20 TLSv1.2 HIGH ALL DEFAULT SHA256"
	cbc128 = " AES AES128 HIGH ALL DEFAULT SHA SHA1"
	cbc256 = " AES AES256 HIGH ALL DEFAULT SHA SHA1"
	cbcSHA = " AES AES128 TLSv1.2 HIGH ALL DEFAULT SHA256"
)

// suites are all of them, but for RC4 and 3DES.
func suites() []suite {
	return []suite{
		{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", ecdhe + ecdsa + gcm256, false},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", ecdhe + rsa + gcm256, false},
		{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", ecdhe + ecdsa + cha, false},
		{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", ecdhe + rsa + cha, false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", ecdhe + ecdsa + gcm128, false},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", ecdhe + rsa + gcm128, false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256", ecdhe + ecdsa + cbcSHA, true},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256", ecdhe + rsa + cbcSHA, true},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", ecdhe + ecdsa + cbc256, false},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", ecdhe + rsa + cbc256, false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", ecdhe + ecdsa + cbc128, false},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", ecdhe + rsa + cbc128, false},
		{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", rsaKey + rsa + gcm256, true},
		{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", rsaKey + rsa + gcm128, true},
		{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", rsaKey + rsa + cbcSHA, true},
		{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", rsaKey + rsa + cbc256, true},
		{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", rsaKey + rsa + cbc128, true},
	}
}

// matches tells whether a word of a cipher list, or several with + in between,
// select the suite: by its names or by what it is made of.
func (s *suite) matches(words string) bool {
	tags := strings.Fields(s.tags)
	for _, w := range strings.Split(words, "+") {
		if w != s.name && w != tls.CipherSuiteName(s.id) && !slices.Contains(tags, w) {
			return false
		}
	}
	return true
}

// cipherSuites turns a cipher list in OpenSSL's language into the suites of TLS 1.2
// it leaves. As there, a word that is not known selects nothing, -word takes out,
// !word takes out for good, +word and @STRENGTH would only move. Go has an order of
// its own. A list that leaves nothing is an error.
func cipherSuites(list string) ([]uint16, error) {
	all := suites()
	state := make([]int8, len(all)) // 1: in; -1: out for good
	words := strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ',' || r == ' ' || r == ';' })
	for _, w := range words {
		if w[0] == '@' || w[0] == '+' {
			continue
		}
		name := strings.TrimLeft(w, "!-")
		for i := range all {
			if state[i] < 0 || !all[i].matches(name) {
				continue
			}
			switch {
			case w[0] == '!':
				state[i] = -1
			case w[0] == '-':
				state[i] = 0
			case !all[i].noAsk || !general(name):
				state[i] = 1
			}
		}
	}
	var ids []uint16
	for i := range all {
		if state[i] > 0 {
			ids = append(ids, all[i].id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no cipher of '%s' is known", list)
	}
	return ids, nil
}

// general tells whether a word asks for what is good in general, and so not for
// suites without forward secrecy.
func general(word string) bool {
	return word == "ALL" || word == "DEFAULT" || word == "HIGH"
}

// cipherName is a suite as OpenSSL calls it.
func cipherName(id uint16) string {
	for _, s := range suites() {
		if s.id == id {
			return s.name
		}
	}
	return tls.CipherSuiteName(id)
}

// Description is the version and the cipher of a TLS connection as OpenSSL calls
// them.
func Description(state tls.ConnectionState) (version, cipher string) {
	version = map[uint16]string{tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS12: "TLSv1.2",
		tls.VersionTLS13: "TLSv1.3"}[state.Version]
	return version, cipherName(state.CipherSuite)
}
