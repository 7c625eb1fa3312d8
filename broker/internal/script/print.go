package script

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"midge/packet"
)

// Print writes down a packet of the broker, given whole, as scripts list it:
//
//	CONNACK 00 [present] {..}      PUBLISH topic 'payload' [qos=1 id=7] [dup] [retain] {..}
//	PUBACK 7 [rc=10] {..}          SUBACK 1 01 80 {..}          UNSUBACK 1 [00 11] {..}
//	PINGRESP                       DISCONNECT 8E {..}           AUTH 18 {..}
//
// Of a successful CONNACK those properties are left out that say what midge says
// by default; one that is missing is listed as -name. A packet that is not legal
// is printed as BAD, with its bytes.
func Print(b []byte, v packet.Version) string {
	h, err := packet.ReadHeader(b, v)
	if err != nil || h.Size == 0 || h.Len() != len(b) {
		return fmt.Sprintf("BAD % x", b)
	}
	var p packet.Packet
	if err := p.Decode(v, packet.FromServer, h.First, b[h.Size:]); err != nil {
		return fmt.Sprintf("BAD %v: % x", err, b)
	}
	s := []string{p.Type.String()}
	switch p.Type {
	case packet.Connack:
		s = append(s, code(p.Reason))
		if p.SessionPresent {
			s = append(s, "present")
		}
	case packet.Publish:
		s = append(s, printPublish(&p)...)
	case packet.Puback, packet.Pubrec, packet.Pubrel, packet.Pubcomp:
		s = append(s, strconv.Itoa(int(p.ID)))
		if p.Reason != 0 {
			s = append(s, "rc="+code(p.Reason))
		}
	case packet.Suback, packet.Unsuback:
		s = append(s, strconv.Itoa(int(p.ID)))
		for _, c := range p.Codes {
			s = append(s, code(packet.Reason(c)))
		}
	case packet.Disconnect, packet.Auth:
		s = append(s, code(p.Reason))
	}
	if list := printProperties(&p, v); len(list) > 0 {
		s = append(s, "{"+strings.Join(list, " ")+"}")
	}
	return strings.Join(s, " ")
}

func code(r packet.Reason) string { return fmt.Sprintf("%02X", byte(r)) }

func printPublish(p *packet.Packet) []string {
	s := []string{bare(p.Topic), quote(p.Payload)}
	if p.QoS > 0 {
		s = append(s, fmt.Sprintf("qos=%d", p.QoS), fmt.Sprintf("id=%d", p.ID))
	}
	if p.Dup {
		s = append(s, "dup")
	}
	if p.Retain {
		s = append(s, "retain")
	}
	return s
}

// defaults are the properties of a CONNACK with midge's default configuration.
var defaults = map[packet.Property]uint32{
	packet.TopicAliasMaximum: 10,
	packet.MaximumPacketSize: 2000000,
	packet.ReceiveMaximum:    20,
}

func printProperties(p *packet.Packet, v packet.Version) (list []string) {
	if v != packet.V5 || p.Type == packet.Pingresp {
		return nil
	}
	greets := p.Type == packet.Connack && p.Reason == packet.Success
	for f := p.Props.Fields(); ; {
		v, ok := f.Next()
		if !ok {
			break
		}
		if n, usual := defaults[v.ID]; !greets || !usual || v.Int != n {
			list = append(list, printProperty(&v))
		}
	}
	if greets {
		for _, id := range []packet.Property{packet.TopicAliasMaximum, packet.MaximumPacketSize, packet.ReceiveMaximum} {
			if !p.Props.Has(id) {
				list = append(list, "-"+propertyOf(id).name)
			}
		}
	}
	return list
}

func printProperty(f *packet.Field) string {
	p := propertyOf(f.ID)
	switch {
	case p.kind == pairs:
		return p.name + "=" + bare(f.Bytes) + ":" + bare(f.Value)
	case p.kind == text:
		return p.name + "=" + bare(f.Bytes)
	case p.id == packet.SessionExpiry && f.Int == 0xFFFFFFFF:
		return p.name + "=" + never
	}
	return p.name + "=" + strconv.FormatUint(uint64(f.Int), 10)
}

// bare is a text without quotes where that can be told from the rest.
func bare(b []byte) string {
	if len(b) == 0 || len(b) > longest || !utf8.Valid(b) {
		return quote(b)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) || strings.ContainsRune(" '\"\\{}:=*", r) {
			return quote(b)
		}
	}
	return string(b)
}

// longest is how many bytes of a text are written out.
const longest = 80

// quote is a text in single quotes; a long one is told by its length and
// checksum, or by what it repeats.
func quote(b []byte) string {
	if len(b) > longest {
		if bytes.Count(b, b[:1]) == len(b) {
			return fmt.Sprintf("%s*%d", quote(b[:1]), len(b))
		}
		return fmt.Sprintf("%s..(%d bytes, crc %08x)", quote(b[:16]), len(b), crc32.ChecksumIEEE(b))
	}
	var s strings.Builder
	s.WriteByte('\'')
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&s, `\x%02x`, b[0])
		case r == '\'' || r == '\\':
			s.WriteByte('\\')
			s.WriteRune(r)
		case !unicode.IsPrint(r):
			for _, c := range b[:n] {
				fmt.Fprintf(&s, `\x%02x`, c)
			}
		default:
			s.WriteRune(r)
		}
		b = b[n:]
	}
	s.WriteByte('\'')
	return s.String()
}
