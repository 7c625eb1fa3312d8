package transport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// TestSubjectName: what "openssl x509 -subject -nameopt RFC2253" prints of the same.
func TestSubjectName(t *testing.T) {
	cn, ou, o, c := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 11}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{2, 5, 4, 6}
	email := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	for _, tt := range []struct {
		name pkix.RDNSequence
		want string
	}{
		{nil, ""},
		{pkix.RDNSequence{{{Type: c, Value: "DE"}}, {{Type: o, Value: "Foo, Inc"}}, {{Type: ou, Value: "x"}, {Type: cn, Value: "a b"}},
			{{Type: email, Value: "a@b.c"}}}, `emailAddress=a@b.c,CN=a b+OU=x,O=Foo\, Inc,C=DE`},
		{pkix.RDNSequence{{{Type: cn, Value: ` #"+\<>;= `}}}, `CN=\ #\"\+\\\<\>\;=\ `},
		{pkix.RDNSequence{{{Type: cn, Value: "#1"}}}, `CN=\#1`},
		{pkix.RDNSequence{{{Type: cn, Value: "ä"}}}, `CN=\C3\A4`},
		{pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: "x"}}}, `1.2.3.4=#130178`},
	} {
		raw, err := asn1.Marshal(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := SubjectName(&x509.Certificate{RawSubject: raw}); got != tt.want {
			t.Errorf("%s, not %s", got, tt.want)
		}
	}
}
