package transport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// attributes are OpenSSL's short names of what a subject consists of.
func attributes() map[string]string {
	return map[string]string{
		"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
		"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
		"2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN",
		"2.5.4.43": "initials", "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym",
		"2.5.4.97": "organizationIdentifier", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
		"1.2.840.113549.1.9.1": "emailAddress",
	}
}

// SubjectName is the certificate's subject as OpenSSL writes it by RFC 2253: the
// last part first, bytes beyond ASCII escaped. "" if it has none.
func SubjectName(cert *x509.Certificate) string {
	var parts []pkix.RelativeDistinguishedNameSET
	if _, err := asn1.Unmarshal(cert.RawSubject, &parts); err != nil {
		return ""
	}
	names := attributes()
	var out strings.Builder
	for i, part := range slices.Backward(parts) {
		for j, a := range slices.Backward(part) {
			if j < len(part)-1 {
				out.WriteByte('+')
			} else if i < len(parts)-1 {
				out.WriteByte(',')
			}
			writeAttribute(&out, names, a)
		}
	}
	return out.String()
}

func writeAttribute(out *strings.Builder, names map[string]string, a pkix.AttributeTypeAndValue) {
	text, isText := a.Value.(string)
	name := names[a.Type.String()]
	if name == "" || !isText {
		der, _ := asn1.Marshal(a.Value)
		if name == "" {
			name = a.Type.String()
		}
		out.WriteString(name + "=#" + strings.ToUpper(hex.EncodeToString(der)))
		return
	}
	out.WriteString(name + "=")
	for k := range len(text) {
		switch c := text[k]; {
		case c < ' ' || c >= 0x7F:
			fmt.Fprintf(out, `\%02X`, c)
		case strings.IndexByte(`,+"\<>;`, c) >= 0, c == '#' && k == 0, c == ' ' && (k == 0 || k == len(text)-1):
			out.WriteByte('\\')
			out.WriteByte(c)
		default:
			out.WriteByte(c)
		}
	}
}
