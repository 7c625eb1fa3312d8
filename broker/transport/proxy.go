package transport

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Proxy says which header of the PROXY protocol begins the connections of a listener,
// and what it must say.
type Proxy struct {
	Version            int  // 1 or 2
	RequireTLS         bool // the client came to the proxy by TLS; version 2 only
	RequireCertificate bool // and with a good certificate
}

// Told is what a PROXY header of version 2 says of the client's TLS.
type Told struct {
	TLS             bool
	Certificate     bool // it had one, which was good
	Version, Cipher string
	CommonName      string // of the certificate
}

// Rejected is the error of a connection whose PROXY header is no good. Why is empty for
// a check of the proxy's own, which is not worth a line.
type Rejected struct{ Why string }

func (r *Rejected) Error() string { return "PROXY: " + r.Why }

// proxy reads the header of one connection.
type proxy struct {
	config *Proxy
	head   []byte
	done   bool
	news   bool           // nobody has asked for source yet
	source netip.AddrPort // the client's; not valid where the header has none
	told   Told
}

const (
	v1Max   = 107 // bytes of a header of version 1
	v2Fixed = 16
	v2Max   = v2Fixed + 500
)

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

func errCorrupt() error { return &Rejected{"corrupt PROXY header"} }

// take uses the header at wire's front and returns what follows.
func (p *proxy) take(wire []byte) (rest []byte, err error) {
	if p.done {
		return wire, nil
	}
	old := len(p.head)
	p.head = append(p.head, wire[:min(len(wire), v2Max-old)]...)
	size, err := p.size()
	if err != nil || size == 0 || len(p.head) < size {
		return nil, err
	}
	head := p.head[:size]
	p.head, p.done, p.news = nil, true, true
	if p.config.Version == 1 {
		err = p.readV1(string(head))
	} else {
		err = p.readV2(head)
	}
	return wire[size-old:], err
}

// size is that of the header, 0 while it is not known.
func (p *proxy) size() (int, error) {
	if p.config.Version == 2 {
		n := min(len(p.head), len(signature))
		switch {
		case !bytes.Equal(p.head[:n], signature[:n]):
			return 0, errCorrupt()
		case len(p.head) < v2Fixed:
			return 0, nil
		}
		size := v2Fixed + int(binary.BigEndian.Uint16(p.head[14:]))
		if size > v2Max {
			return 0, errCorrupt()
		}
		return size, nil
	}
	const begin = "PROXY "
	n := min(len(p.head), len(begin))
	i := bytes.Index(p.head, []byte("\r\n"))
	switch {
	case string(p.head[:n]) != begin[:n], i < 0 && len(p.head) >= v1Max, i+2 > v1Max:
		return 0, errCorrupt()
	case i < 0:
		return 0, nil
	}
	return i + 2, nil
}

// readV1 reads "PROXY TCP4 source destination port port".
func (p *proxy) readV1(line string) error {
	words := strings.Split(strings.TrimSuffix(line, "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return errCorrupt()
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		a, err := netip.ParseAddr(words[2+i])
		port, portErr := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || portErr != nil || a.Zone() != "" || a.Is4() != (words[1] == "TCP4") {
			return errCorrupt()
		}
		ends[i] = netip.AddrPortFrom(a, uint16(port))
	}
	p.source = ends[0]
	return nil
}

// readV2 reads the binary header.
func (p *proxy) readV2(head []byte) error {
	body := head[v2Fixed:]
	switch head[12] {
	case 0x20: // LOCAL
		p.news = false
		return &Rejected{}
	case 0x21: // PROXY
	default:
		return errCorrupt()
	}
	used := 0
	switch family := head[13] >> 4; {
	case family == 1 && len(body) >= 12:
		used = 12
		p.source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case family == 2 && len(body) >= 36:
		used = 36
		p.source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	case family == 3 && len(body) >= 216:
		used = 216
	case family != 0:
		return errCorrupt()
	}
	if !eachField(body[used:], p.readField) {
		return errCorrupt()
	}
	switch {
	case p.config.RequireTLS && !p.told.TLS:
		return &Rejected{"client did not connect using TLS"}
	case p.config.RequireCertificate && !p.told.Certificate:
		return &Rejected{"client did not provide a certificate"}
	}
	return nil
}

// eachField calls f with each type, length and value; false is a bad one.
func eachField(b []byte, f func(kind byte, value []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < 3 {
			return false
		}
		end := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if end > len(b) || !f(b[0], b[3:end]) {
			return false
		}
		b = b[end:]
	}
	return true
}

// The types of fields that matter.
const (
	fieldTLS     = 0x20
	fieldVersion = 0x21
	fieldCN      = 0x22
	fieldCipher  = 0x23
)

func (p *proxy) readField(kind byte, value []byte) bool {
	if kind != fieldTLS {
		return true
	}
	if len(value) < 5 {
		return false
	}
	const byTLS, certificate = 1, 2 | 4 // bits of the client's field: in this connection, or in its session
	t := &p.told
	t.TLS = value[0]&byTLS != 0
	t.Certificate = t.TLS && value[0]&certificate != 0 && binary.BigEndian.Uint32(value[1:]) == 0
	return eachField(value[5:], func(kind byte, value []byte) bool {
		switch kind {
		case fieldVersion:
			t.Version = printable(value)
		case fieldCipher:
			t.Cipher = printable(value)
		case fieldCN:
			t.CommonName = string(value)
		}
		return true
	})
}

// printable is a name as the log may have it, "" for what may not be one.
func printable(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return string(b)
}
