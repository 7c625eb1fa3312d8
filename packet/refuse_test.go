package packet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// refused is a packet that has to be refused with a reason, and a text where mosquitto has one.
type refused struct {
	id     string // the statement or section it is about
	v      Version
	from   Side
	wire   string
	reason Reason
	why    string
	silent bool
}

func (r refused) String() string { return fmt.Sprintf("%s v%d %s", r.id, r.v, r.wire) }

// The bytes that no string may hold, whatever it is for. [MQTT 1.5.4]
var badStrings = []string{
	`C080`, `C1BF`, `E08080`, `F0808080`, // overlong
	`80`, `BF`, `C3`, `E282`, // out of place, cut short
	`EDA080`, `EDBFBF`, `746F EDA080`, `EDA080EDB080`, // surrogates
	`F4908080`, `F5808080`, `FE`, `FF`, // beyond U+10FFFF
	`00`, `610062`, // U+0000
}

// The bytes that no topic name, filter, client id or user name may hold besides.
var badNames = []string{
	`01`, `1F`, `7F`, `610162`, `C280`, `C29F`, // control characters
	`EFBFBE`, `EFBFBF`, `61EFBFBF`, `EFB790`, `61EFB790`, `EFB7AF`, `F09FBFBE`, `F48FBFBF`, // non-characters
}

// A place where a string stands: the packet around it.
type place struct {
	id     string
	v      Version
	from   Side
	before string
	after  string
	reason Reason
	name   bool // where the characters of badNames are refused too
}

// stringPlaces are all fields of all packets that are strings. [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.3-1], [MQTT-1.5.3-2]
var stringPlaces = []place{
	{id: "client id", v: V311, before: `10 ## "MQTT" 04 02 000A `, reason: ClientIDNotValid, name: true},
	{id: "MQTT-3.1.3-4 client id", v: V5, before: `10 ## "MQTT" 05 02 000A {} `, reason: ClientIDNotValid, name: true},
	{id: "will topic", v: V311, before: `10 ## "MQTT" 04 06 000A "p" `, after: ` "x"`, reason: MalformedPacket, name: true},
	{id: "MQTT-3.1.3-11 will topic", v: V5, before: `10 ## "MQTT" 05 06 000A {} "p" {} `, after: ` "x"`, reason: MalformedPacket, name: true},
	{id: "user name", v: V31, before: `10 ## "MQIsdp" 03 82 000A "p" `, reason: MalformedPacket, name: true},
	{id: "MQTT-3.1.3-12 user name", v: V5, before: `10 ## "MQTT" 05 82 000A {} "p" `, reason: MalformedPacket, name: true},
	{id: "topic", v: V31, before: `30 ## `, reason: MalformedPacket, name: true},
	{id: "MQTT-3.3.2-1 topic", v: V311, before: `30 ## `, reason: MalformedPacket, name: true},
	{id: "MQTT-3.3.2-1 topic", v: V5, before: `30 ## `, after: ` {}`, reason: MalformedPacket, name: true},
	{id: "MQTT-3.8.3-1 filter", v: V311, before: `82 ## 0001 "a" 00 `, after: ` 00`, reason: MalformedPacket, name: true},
	{id: "MQTT-3.8.3-1 filter", v: V5, before: `82 ## 0001 {} `, after: ` 00`, reason: MalformedPacket, name: true},
	{id: "MQTT-3.10.3-1 filter", v: V311, before: `A2 ## 0001 `, after: ` "a"`, reason: MalformedPacket, name: true},
	{id: "MQTT-3.10.3-1 filter", v: V5, before: `A2 ## 0001 {} "a" `, reason: MalformedPacket, name: true},

	{id: "MQTT-3.3.2-19 content type", v: V5, before: `30 ## "t" {03 `, after: `}`, reason: MalformedPacket},
	{id: "MQTT-3.3.2-13 response topic", v: V5, before: `30 ## "t" {08 `, after: `}`, reason: MalformedPacket},
	{id: "content type of a will", v: V5, before: `10 ## "MQTT" 05 06 000A {} "p" {03 `, after: `} "w" "x"`, reason: MalformedPacket},
	{id: "authentication method", v: V5, before: `10 ## "MQTT" 05 02 000A {15 `, after: `} "p"`, reason: MalformedPacket},
	{id: "assigned client id", v: V5, from: FromServer, before: `20 ## 00 00 {12 `, after: `}`, reason: MalformedPacket},
	{id: "response information", v: V5, from: FromServer, before: `20 ## 00 00 {1A `, after: `}`, reason: MalformedPacket},
	{id: "server reference", v: V5, from: FromServer, before: `20 ## 00 9C {1C `, after: `}`, reason: MalformedPacket},
	{id: "reason string", v: V5, before: `40 ## 0001 87 {1F `, after: `}`, reason: MalformedPacket},
	{id: "MQTT-1.5.7-1 name", v: V5, before: `82 ## 0001 {26 `, after: ` "v"} "t" 00`, reason: MalformedPacket},
	{id: "MQTT-1.5.7-1 value", v: V5, before: `E0 ## 00 {26 "n" `, after: `}`, reason: MalformedPacket},
}

// refusedStrings are the bad strings in all places.
func refusedStrings() (rows []refused) {
	for _, at := range stringPlaces {
		bad := badStrings
		if at.name {
			bad = append(bad[:len(bad):len(bad)], badNames...)
		}
		for _, s := range bad {
			in := fmt.Sprintf("%s %04X %s %s", at.before, len(wire(s)), s, at.after)
			rows = append(rows, refused{id: at.id, v: at.v, from: at.from, wire: in, reason: at.reason})
		}
	}
	return rows
}

// Header and length. [MQTT 2.1], [MQTT 1.5.5]
var refusedHeaders = []refused{
	{id: "2.1.2 reserved", v: V311, wire: `00 00`, reason: ProtocolError, why: "RESERVED packet."},
	{id: "2.1.2 reserved", v: V5, wire: `00 00`, reason: ProtocolError, why: "RESERVED packet."},
	{id: "2.1.2 reserved", v: V31, wire: `0F 01 00`, reason: ProtocolError, why: "RESERVED packet."},
	{id: "3.15 AUTH", v: V31, wire: `F0 00`, reason: ProtocolError, why: "AUTH packet when session not MQTT v5.0."},
	{id: "3.15 AUTH", v: V311, wire: `F0 00`, reason: ProtocolError, why: "AUTH packet when session not MQTT v5.0."},
	{id: "MQTT-1.5.5-1", v: V5, wire: `C0 8000`, reason: MalformedPacket},
	{id: "MQTT-1.5.5-1", v: V5, wire: `30 8400 0001't' 00`, reason: MalformedPacket},
	{id: "1.5.5 five bytes", v: V311, wire: `30 FFFFFFFF 7F`, reason: MalformedPacket},
	{id: "1.5.5 five bytes", v: V5, wire: `30 80808080 01`, reason: MalformedPacket},
	{id: "1.5.5 five bytes", v: 0, wire: `10 FFFFFFFF 7F`, reason: MalformedPacket},
	{id: "3.12 body", v: V311, wire: `C0 01 00`, reason: MalformedPacket},
	{id: "3.12 body", v: V5, wire: `C0 01 00`, reason: MalformedPacket},
	{id: "3.13 body", v: V31, from: FromServer, wire: `D0 01 00`, reason: MalformedPacket},
}

// refusedFlags are the flags of the fixed header that each type does not have, from version 3.1.1 on. [MQTT-2.2.2-1],
// [MQTT-2.1.3-1], [MQTT-3.1.0-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1]
func refusedFlags() (rows []refused) {
	for _, good := range everyAccepted() {
		typ := good.want.Type
		if good.v == V31 || typ == Publish {
			continue
		}
		for flags := byte(0); flags < 16; flags++ {
			b := wire(good.wire)
			first := b[0]&0xF0 | flags
			if first == b[0] {
				continue
			}
			row := refused{id: "flags of " + good.id, v: good.v, from: good.from, wire: fmt.Sprintf("%02X % X", first, b[1:]), reason: MalformedPacket}
			switch typ {
			case Connect:
				row.why = fmt.Sprintf("CONNECT with non-zero reserved flags (%02X).", first)
			case Pubrel:
				row.reason, row.why = ProtocolError, fmt.Sprintf("PUBREL with non-zero reserved flags (%02X).", first)
			case Disconnect:
				row.reason, row.why = ProtocolError, fmt.Sprintf("DISCONNECT packet with incorrect flags %02X.", first)
			case Auth:
				row.reason = ProtocolError
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// CONNECT. [MQTT 3.1]
var refusedConnects = []refused{
	{id: "MQTT-3.1.2-1", wire: `10 00`, reason: MalformedPacket, why: "CONNECT with missing protocol string length."},
	{id: "MQTT-3.1.2-1", wire: `10 01 00`, reason: MalformedPacket, why: "CONNECT with missing protocol string length."},
	{id: "MQTT-3.1.2-1", wire: `10 ## 0004 'MQT'`, reason: MalformedPacket, why: "CONNECT with missing protocol string."},
	{id: "MQTT-3.1.2-1", wire: `10 ## "MQT" 04 02 000A "p"`, reason: MalformedPacket, why: "CONNECT with incorrect protocol string length (3)."},
	{id: "MQTT-3.1.2-1", wire: `10 ## "MQTTT" 04 02 000A "p"`, reason: MalformedPacket, why: "CONNECT with incorrect protocol string length (5)."},
	{id: "MQTT-3.1.2-1", wire: `10 ## "" 05 02 000A 00 "p"`, reason: MalformedPacket, why: "CONNECT with incorrect protocol string length (0)."},
	{id: "MQTT-3.1.2-1", wire: `10 ## FFFF 'MQTT' 05 02 000A 00 "p"`, reason: MalformedPacket, why: "CONNECT with incorrect protocol string length (65535)."},
	{id: "MQTT-3.1.2-1", wire: `10 ## "MQTX" 04 02 000A "p"`, reason: MalformedPacket, why: `CONNECT with invalid protocol "MQTX".`},
	{id: "MQTT-3.1.2-1", wire: `10 ## "mqtt" 05 02 000A 00 "p"`, reason: MalformedPacket, why: `CONNECT with invalid protocol "mqtt".`},
	{id: "MQTT-3.1.2-1", wire: `10 ## "MQIsdP" 03 02 000A "p"`, reason: MalformedPacket, why: `CONNECT with invalid protocol "MQIsdP".`},
	{id: "MQTT-3.1.2-1 no line of its own in a log", wire: `10 ## 0004 'MQ' 0A 'x' 04 02 000A "p"`, reason: MalformedPacket, why: `CONNECT with invalid protocol "MQ\nx".`},
	{id: "3.1.2.2 cut", wire: `10 ## "MQTT"`, reason: MalformedPacket, why: "CONNECT with missing protocol version."},
	{id: "3.1.2.3 cut", wire: `10 ## "MQTT" 05`, reason: MalformedPacket, why: "CONNECT with missing connect flags."},
	{id: "3.1.2.10 cut", wire: `10 ## "MQTT" 05 02 00`, reason: MalformedPacket, why: "CONNECT with missing keepalive."},
	{id: "MQTT-2.2.2-1 of 5.0", wire: `10 ## "MQTT" 05 02 000A`, reason: MalformedPacket},
	{id: "MQTT-3.1.3-3", wire: `10 ## "MQTT" 04 02 000A`, reason: MalformedPacket},
	{id: "MQTT-3.1.3-3", wire: `10 ## "MQTT" 05 02 000A 00`, reason: MalformedPacket},

	{id: "MQTT-3.1.2-3", wire: `10 ## "MQTT" 04 03 000A "p"`, reason: MalformedPacket, why: "CONNECT with non-zero connect reserved flag (03)."},
	{id: "MQTT-3.1.2-3", wire: `10 ## "MQTT" 05 03 000A 00 "p"`, reason: MalformedPacket, why: "CONNECT with non-zero connect reserved flag (03)."},
	{id: "MQTT-3.1.2-14", wire: `10 ## "MQTT" 04 1E 000A "p" "w" "x"`, reason: MalformedPacket, why: "CONNECT with invalid Will QoS (3)."},
	{id: "MQTT-3.1.2-12", wire: `10 ## "MQTT" 05 1E 000A {} "p" {} "w" "x"`, reason: MalformedPacket, why: "CONNECT with invalid Will QoS (3)."},
	{id: "MQTT-3.1.2-14", wire: `10 ## "MQIsdp" 03 1E 000A "p" "w" "x"`, reason: MalformedPacket, why: "CONNECT with invalid Will QoS (3)."},
	{id: "MQTT-3.1.2-13", wire: `10 ## "MQTT" 04 0A 000A "p"`, reason: MalformedPacket, why: "CONNECT without Will with non-zero QoS (1) or retain (0)."},
	{id: "MQTT-3.1.2-11", wire: `10 ## "MQTT" 04 2A 000A "p"`, reason: MalformedPacket, why: "CONNECT without Will with non-zero QoS (1) or retain (1)."},
	{id: "MQTT-3.1.2-11", wire: `10 ## "MQTT" 05 12 000A {} "p"`, reason: MalformedPacket, why: "CONNECT without Will with non-zero QoS (2) or retain (0)."},
	{id: "MQTT-3.1.2-13", wire: `10 ## "MQTT" 05 22 000A {} "p"`, reason: MalformedPacket, why: "CONNECT without Will with non-zero QoS (0) or retain (1)."},
	{id: "MQTT-3.1.2-11", wire: `10 ## "MQTT" 04 02 000A "p" "w" "x"`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (13:19)."},
	{id: "MQTT-3.1.2-9", wire: `10 ## "MQTT" 04 06 000A "p"`, reason: MalformedPacket},
	{id: "MQTT-3.1.2-9", wire: `10 ## "MQTT" 04 06 000A "p" "w"`, reason: MalformedPacket},
	{id: "MQTT-3.1.2-9", wire: `10 ## "MQTT" 05 06 000A {} "p"`, reason: MalformedPacket},
	{id: "MQTT-3.1.2-9", wire: `10 ## "MQTT" 05 06 000A {} "p" {} "w"`, reason: MalformedPacket},
	{id: "MQTT-3.1.3-10", wire: `10 ## "MQTT" 04 06 000A "p" "" "x"`, reason: ProtocolError, why: "Will with empty topic."},
	{id: "MQTT-3.1.3-11", wire: `10 ## "MQTT" 05 06 000A {} "p" {} "" "x"`, reason: ProtocolError, why: "Will with empty topic."},

	{id: "MQTT-3.1.2-18", wire: `10 ## "MQTT" 04 02 000A "p" "u"`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (13:16)."},
	{id: "MQTT-3.1.2-16", wire: `10 ## "MQTT" 05 02 000A {} "p" "u"`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (14:17)."},
	{id: "MQTT-3.1.2-19", wire: `10 ## "MQTT" 04 82 000A "p"`, reason: MalformedPacket, why: "CONNECT with username flag but no username."},
	{id: "MQTT-3.1.2-17", wire: `10 ## "MQTT" 05 82 000A {} "p"`, reason: MalformedPacket, why: "CONNECT with username flag but no username."},
	{id: "MQTT-3.1.2-20", wire: `10 ## "MQTT" 04 82 000A "p" "u" "x"`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (16:19)."},
	{id: "MQTT-3.1.2-21", wire: `10 ## "MQTT" 04 C2 000A "p" "u"`, reason: MalformedPacket, why: "CONNECT with password flag but no password."},
	{id: "MQTT-3.1.2-19", wire: `10 ## "MQTT" 05 C2 000A {} "p" "u" 0002 'x'`, reason: MalformedPacket, why: "CONNECT with password flag but no password."},
	{id: "MQTT-3.1.2-22", wire: `10 ## "MQTT" 04 42 000A "p" "x"`, reason: MalformedPacket},
	{id: "MQTT-3.1.2-22", wire: `10 ## "MQIsdp" 03 42 000A "p" "x"`, reason: MalformedPacket},
	{id: "MQTT 3.1 half a user name", wire: `10 ## "MQIsdp" 03 82 000A "p" 00`, reason: MalformedPacket, why: "CONNECT with username flag but no username."},
	{id: "MQTT 3.1 half a password", wire: `10 ## "MQIsdp" 03 C2 000A "p" "u" 0005 'x'`, reason: MalformedPacket, why: "CONNECT with password flag but no password."},
	{id: "left over", wire: `10 ## "MQTT" 04 02 000A "p" 00`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (13:14)."},
	{id: "left over", wire: `10 ## "MQIsdp" 03 02 000A "p" 0000`, reason: MalformedPacket, why: "CONNECT packet with overlong remaining length (15:17)."},

	{id: "3.1.2.11.3 receive maximum", wire: `10 ## "MQTT" 05 02 000A {21 0000} "p"`, reason: ProtocolError},
	{id: "3.1.2.11.4 maximum packet size", wire: `10 ## "MQTT" 05 02 000A {27 00000000} "p"`, reason: ProtocolError},
	{id: "3.1.2.11.7 request problem info", wire: `10 ## "MQTT" 05 02 000A {17 02} "p"`, reason: ProtocolError},
	{id: "3.1.2.11.6 request response info", wire: `10 ## "MQTT" 05 02 000A {19 02} "p"`, reason: ProtocolError},
	{id: "3.1.2.11.10 data without method", wire: `10 ## "MQTT" 05 02 000A {16 "x"} "p"`, reason: ProtocolError},
	{id: "3.1.2.11.9 method twice", wire: `10 ## "MQTT" 05 02 000A {15 "m" 15 "m"} "p"`, reason: ProtocolError},
	{id: "2.2.2.2 another packet's", wire: `10 ## "MQTT" 05 02 000A {13 003C} "p"`, reason: ProtocolError},
	{id: "2.2.2.2 a will's", wire: `10 ## "MQTT" 05 02 000A {18 00000001} "p"`, reason: ProtocolError},
	{id: "2.2.2.2 not a will's", wire: `10 ## "MQTT" 05 06 000A {} "p" {23 0001} "w" "x"`, reason: ProtocolError},
	{id: "3.1.3.2 will delay twice", wire: `10 ## "MQTT" 05 06 000A {} "p" {18 00000001 18 00000001} "w" "x"`, reason: ProtocolError},
	{id: "3.1.3.2.3 payload format", wire: `10 ## "MQTT" 05 06 000A {} "p" {01 02} "w" "x"`, reason: ProtocolError},
	{id: "MQTT-3.3.2-14 of a will", wire: `10 ## "MQTT" 05 06 000A {} "p" {08 "a/#"} "w" "x"`, reason: ProtocolError},
	{id: "2.2.2.2 unknown", wire: `10 ## "MQTT" 05 02 000A {7F 00} "p"`, reason: MalformedPacket},
	{id: "2.2.2.2 unknown", wire: `10 ## "MQTT" 05 06 000A {} "p" {04 00} "w" "x"`, reason: MalformedPacket},
	{id: "2.2.2.1 list past the end", wire: `10 ## "MQTT" 05 02 000A 7F "p"`, reason: MalformedPacket},
	{id: "2.2.2.1 list past the end", wire: `10 ## "MQTT" 05 06 000A {} "p" 7F "w" "x"`, reason: MalformedPacket},
	{id: "MQTT-1.5.5-1", wire: `10 ## "MQTT" 05 02 000A 8000 "p"`, reason: MalformedPacket},
}

// The level decides what answer the peer gets. [MQTT-3.1.2-2]
func TestConnectLevel(t *testing.T) {
	answers := map[string]map[byte]Version{
		"MQTT":   {0: V5, 1: V5, 2: V5, 3: V311, 6: V5, 0x7F: V5, 0x80: V5, 0x83: V311, 0x85: V5, 0x86: V5, 0xFF: V5},
		"MQIsdp": {0: V5, 2: V5, 4: V311, 5: V311, 6: V5, 0x7F: V5, 0x82: V5, 0x84: V311, 0x85: V5, 0xFF: V5},
	}
	for name, levels := range answers {
		for level, want := range levels {
			row := refused{
				id: "MQTT-3.1.2-2", wire: fmt.Sprintf(`10 ## "%s" %02X 02 000A 00 "p"`, name, level),
				reason: UnsupportedProtocolVersion,
			}
			if p := row.check(t); p.Connect.Version != want {
				t.Errorf("%v: to be answered in version %d, want %d", row, p.Connect.Version, want)
			}
		}
	}
}

// After the level was read a refusal leaves it behind, before that nothing.
func TestConnectVersionOfRefused(t *testing.T) {
	for _, row := range refusedConnects {
		b := wire(row.wire)
		want := Version(0)
		for name, v := range map[string]Version{"\x00\x04MQTT\x04": V311, "\x00\x04MQTT\x05": V5, "\x00\x06MQIsdp\x03": V31} {
			if strings.Contains(string(b), name) {
				want = v
			}
		}
		if p, _ := decode(t, 0, FromClient, b); p.Connect.Version != want {
			t.Errorf("%v: version %d, want %d", row, p.Connect.Version, want)
		}
	}
}

// The other packets. [MQTT 3.2] to [MQTT 3.15]
var refusedPackets = []refused{
	{id: "MQTT-3.3.1-4", v: V31, wire: `36 ## "t" 0001`, reason: MalformedPacket},
	{id: "MQTT-3.3.1-4", v: V311, wire: `3E ## "t" 0001`, reason: MalformedPacket},
	{id: "MQTT-3.3.1-4", v: V5, wire: `36 ## "t" 0001 {}`, reason: MalformedPacket},
	{id: "MQTT-3.3.1-2", v: V311, wire: `38 03 0001't'`, reason: MalformedPacket},
	{id: "MQTT-3.3.1-2", v: V5, wire: `39 04 0001't' 00`, reason: MalformedPacket},
	{id: "MQTT-2.3.1-1", v: V311, wire: `32 05 0001't' 0000`, reason: ProtocolError, why: "PUBLISH packet with mid = 0."},
	{id: "MQTT-2.2.1-3", v: V5, wire: `34 ## "t" 0000 {}`, reason: ProtocolError, why: "PUBLISH packet with mid = 0."},
	{id: "MQTT-4.7.3-1", v: V311, wire: `30 02 0000`, reason: MalformedPacket},
	{id: "MQTT-4.7.3-1", v: V5, wire: `30 03 0000 00`, reason: MalformedPacket},
	{id: "MQTT-3.3.2-1", v: V311, wire: `30 03 0002't'`, reason: MalformedPacket},
	{id: "MQTT-3.3.2-1", v: V311, wire: `30 00`, reason: MalformedPacket},
	{id: "MQTT-2.2.2-1", v: V5, wire: `30 03 0001't'`, reason: MalformedPacket},
	{id: "MQTT-1.5.5-1", v: V5, wire: `30 ## "t" 8000`, reason: MalformedPacket},
	{id: "2.2.2.1 list past the end", v: V5, wire: `30 ## "t" 05 01 00`, reason: MalformedPacket},
	{id: "2.2.2.1 five bytes", v: V5, wire: `30 ## "t" 80808080 00`, reason: MalformedPacket},
	{id: "2.2.2.2 cut", v: V5, wire: `30 ## "t" {02 000000} 00`, reason: MalformedPacket},
	{id: "MQTT-3.3.2-8", v: V5, wire: `30 ## "t" {23 0000}`, reason: ProtocolError},
	{id: "MQTT-3.3.4-6", v: V5, wire: `30 ## "t" {0B 01}`, reason: ProtocolError},
	{id: "3.3.2.3.8", v: V5, from: FromServer, wire: `30 ## "t" {0B 00}`, reason: ProtocolError},
	{id: "3.3.2.3.2", v: V5, wire: `30 ## "t" {01 02}`, reason: ProtocolError},
	{id: "MQTT-3.3.2-14", v: V5, wire: `30 ## "t" {08 "a/#"}`, reason: ProtocolError},
	{id: "MQTT-3.3.2-14", v: V5, wire: `30 ## "t" {08 "+/a"}`, reason: ProtocolError},
	{id: "2.2.2.2 twice", v: V5, wire: `30 ## "t" {03 "a" 03 "b"}`, reason: ProtocolError},
	{id: "2.2.2.2 misplaced", v: V5, wire: `30 ## "t" {11 00000001}`, reason: ProtocolError},
	{id: "MQTT-1.5.5-1", v: V5, from: FromServer, wire: `30 ## "t" {0B 8100}`, reason: MalformedPacket},

	{id: "3.4.2 cut", v: V311, wire: `40 01 00`, reason: MalformedPacket},
	{id: "3.4.2 cut", v: V5, wire: `40 01 00`, reason: MalformedPacket},
	{id: "3.4.2 cut", v: V5, wire: `62 00`, reason: MalformedPacket},
	{id: "left over", v: V31, wire: `40 03 0001 00`, reason: MalformedPacket},
	{id: "left over", v: V311, wire: `40 03 0001 00`, reason: MalformedPacket},
	{id: "left over", v: V5, wire: `40 04 0001 00 01`, reason: MalformedPacket},
	{id: "left over", v: V5, wire: `40 05 0001 00 00 00`, reason: MalformedPacket},
	{id: "2.2.1 id 0", v: V311, wire: `40 02 0000`, reason: ProtocolError, why: "PUBACK with mid = 0."},
	{id: "2.2.1 id 0", v: V5, wire: `50 02 0000`, reason: ProtocolError, why: "PUBREC with mid = 0."},
	{id: "2.2.1 id 0", v: V5, wire: `62 02 0000`, reason: ProtocolError, why: "PUBREL with mid = 0."},
	{id: "2.2.1 id 0", v: V5, wire: `70 02 0000`, reason: ProtocolError, why: "PUBCOMP with mid = 0."},
	{id: "MQTT-3.4.2-1", v: V5, wire: `40 03 0001 05`, reason: ProtocolError, why: "PUBACK with reason code = 5."},
	{id: "MQTT-3.4.2-1", v: V5, wire: `40 04 0001 FF 00`, reason: ProtocolError, why: "PUBACK with reason code = 255."},
	{id: "MQTT-3.6.2-1", v: V5, wire: `62 03 0001 10`, reason: ProtocolError, why: "PUBREL with reason code = 16."},
	{id: "2.2.2.2 misplaced", v: V5, wire: `40 ## 0001 00 {01 00}`, reason: ProtocolError},

	{id: "MQTT-2.3.1-1", v: V311, wire: `82 ## 0000 "t" 00`, reason: MalformedPacket},
	{id: "MQTT-2.2.1-3", v: V5, wire: `82 ## 0000 {} "t" 00`, reason: MalformedPacket},
	{id: "MQTT-2.2.1-3", v: V5, wire: `A2 ## 0000 {} "t"`, reason: MalformedPacket},
	{id: "MQTT-3.8.3-3", v: V311, wire: `82 02 0001`, reason: MalformedPacket},
	{id: "MQTT-3.8.3-2", v: V5, wire: `82 03 0001 00`, reason: MalformedPacket},
	{id: "MQTT-3.10.3-2", v: V311, wire: `A2 02 0001`, reason: MalformedPacket},
	{id: "MQTT-3.10.3-2", v: V5, wire: `A2 03 0001 00`, reason: MalformedPacket},
	{id: "MQTT-2.2.2-1", v: V5, wire: `82 05 0001 0001't'`, reason: MalformedPacket},
	{id: "4.7.3 empty filter", v: V311, wire: `82 ## 0001 "" 00`, reason: MalformedPacket},
	{id: "4.7.3 empty filter", v: V5, wire: `A2 ## 0001 {} "t" ""`, reason: MalformedPacket},
	{id: "3.8.3 inside a filter", v: V311, wire: `82 ## 0001 "t" 00 0002 't'`, reason: MalformedPacket},
	{id: "3.8.3 inside a filter", v: V311, wire: `A2 ## 0001 "t" 00`, reason: MalformedPacket},
	{id: "3.8.3 no options", v: V5, wire: `82 ## 0001 {} "t"`, reason: MalformedPacket},
	{id: "MQTT-3-8.3-4", v: V31, wire: `82 ## 0001 "t" 03`, reason: MalformedPacket},
	{id: "MQTT-3-8.3-4", v: V311, wire: `82 ## 0001 "t" 03`, reason: MalformedPacket},
	{id: "MQTT-3-8.3-4", v: V311, wire: `82 ## 0001 "t" 04`, reason: MalformedPacket},
	{id: "MQTT-3-8.3-4", v: V311, wire: `82 ## 0001 "t" 80`, reason: MalformedPacket},
	{id: "MQTT-3.8.3-5", v: V5, wire: `82 ## 0001 {} "t" 40`, reason: MalformedPacket},
	{id: "MQTT-3.8.3-5", v: V5, wire: `82 ## 0001 {} "t" 00 "u" 80`, reason: MalformedPacket},
	{id: "MQTT-3.8.3-5", v: V5, wire: `82 ## 0001 {} "t" C0`, reason: MalformedPacket},
	{id: "3.8.3.1 QoS 3", v: V5, wire: `82 ## 0001 {} "t" 03`, reason: MalformedPacket},
	{id: "3.8.3.1 retain handling 3", v: V5, wire: `82 ## 0001 {} "t" 30`, reason: MalformedPacket},
	{id: "3.8.2.1.2 id 0", v: V5, wire: `82 ## 0001 {0B 00} "t" 00`, reason: ProtocolError},
	{id: "3.8.2.1.2 two ids", v: V5, wire: `82 ## 0001 {0B 01 0B 02} "t" 00`, reason: ProtocolError},
	{id: "MQTT-1.5.5-1", v: V5, wire: `82 ## 0001 {0B 8100} "t" 00`, reason: MalformedPacket},
	{id: "MQTT-1.5.5-1", v: V5, wire: `82 ## 0001 {0B 818000} "t" 00`, reason: MalformedPacket},
	{id: "1.5.5 five bytes", v: V5, wire: `82 ## 0001 {0B 8080808001} "t" 00`, reason: MalformedPacket},
	{id: "2.2.2.2 misplaced", v: V5, wire: `82 ## 0001 {01 00} "t" 00`, reason: MalformedPacket, why: "SUBSCRIBE packet with invalid properties."},
	{id: "2.2.2.2 misplaced", v: V5, wire: `A2 ## 0001 {0B 01} "t"`, reason: MalformedPacket, why: "UNSUBSCRIBE packet with invalid properties."},

	{id: "MQTT-2.3.1-7", v: V311, from: FromServer, wire: `90 03 0000 00`, reason: ProtocolError, why: "SUBACK with mid = 0."},
	{id: "MQTT-2.2.1-6", v: V5, from: FromServer, wire: `B0 04 0000 00 00`, reason: ProtocolError, why: "UNSUBACK with mid = 0."},
	{id: "3.9.3 no code", v: V311, from: FromServer, wire: `90 02 0001`, reason: MalformedPacket},
	{id: "3.9.3 no code", v: V5, from: FromServer, wire: `90 03 0001 00`, reason: MalformedPacket},
	{id: "3.9.2 cut", v: V5, from: FromServer, wire: `90 01 00`, reason: MalformedPacket},
	{id: "2.2.2.2 misplaced", v: V5, from: FromServer, wire: `90 ## 0001 {0B 01} 00`, reason: ProtocolError},
	{id: "MQTT-3.9.3-2", v: V311, from: FromServer, wire: `90 03 0001 03`, reason: ProtocolError},
	{id: "MQTT-3.9.3-2", v: V5, from: FromServer, wire: `90 05 0001 00 00 11`, reason: ProtocolError},
	{id: "3.11.2 left over", v: V311, from: FromServer, wire: `B0 03 0001 00`, reason: MalformedPacket},
	{id: "MQTT-3.11.3-2", v: V5, from: FromServer, wire: `B0 04 0001 00 01`, reason: ProtocolError},

	{id: "3.2.2 cut", v: V311, from: FromServer, wire: `20 01 00`, reason: MalformedPacket},
	{id: "3.2.2 left over", v: V311, from: FromServer, wire: `20 03 00 00 00`, reason: MalformedPacket},
	{id: "3.2.2 left over", v: V5, from: FromServer, wire: `20 04 00 00 00 00`, reason: MalformedPacket},
	{id: "3.2.2 no list", v: V5, from: FromServer, wire: `20 02 00 00`, reason: MalformedPacket},
	{id: "MQTT-3.2.2-1", v: V5, from: FromServer, wire: `20 03 02 00 00`, reason: MalformedPacket},
	{id: "MQTT-3.2.2-4", v: V311, from: FromServer, wire: `20 02 01 05`, reason: ProtocolError},
	{id: "MQTT-3.2.2-6", v: V5, from: FromServer, wire: `20 03 01 87 00`, reason: ProtocolError},
	{id: "MQTT-3.2.2-6 of 3.1.1", v: V311, from: FromServer, wire: `20 02 00 06`, reason: ProtocolError},
	{id: "MQTT-3.2.2-8", v: V5, from: FromServer, wire: `20 03 00 01 00`, reason: ProtocolError},
	{id: "3.2.2.3.3", v: V5, from: FromServer, wire: `20 ## 00 00 {21 0000}`, reason: ProtocolError},
	{id: "3.2.2.3.4", v: V5, from: FromServer, wire: `20 ## 00 00 {24 02}`, reason: ProtocolError},
	{id: "3.2.2.3.18", v: V5, from: FromServer, wire: `20 ## 00 00 {16 ""}`, reason: ProtocolError},

	{id: "3.14.2 body", v: V31, wire: `E0 01 00`, reason: MalformedPacket},
	{id: "3.14.2 body", v: V311, wire: `E0 01 00`, reason: MalformedPacket},
	{id: "MQTT-3.14.2-1", v: V5, wire: `E0 01 03`, reason: ProtocolError, silent: true},
	{id: "MQTT-3.14.2-1", v: V5, wire: `E0 01 8E`, reason: ProtocolError, silent: true},
	{id: "MQTT-3.14.2-1", v: V5, from: FromServer, wire: `E0 01 04`, reason: ProtocolError, silent: true},
	{id: "MQTT-3.14.2-2", v: V5, from: FromServer, wire: `E0 ## 00 {11 00000000}`, reason: ProtocolError},
	{id: "2.2.2.2 misplaced", v: V5, wire: `E0 ## 00 {21 0001}`, reason: ProtocolError},
	{id: "left over", v: V5, wire: `E0 03 00 00 00`, reason: MalformedPacket},

	{id: "3.15.2.1 short form", v: V5, wire: `F0 00`, reason: ProtocolError},
	{id: "3.15.2.1 short form", v: V5, from: FromServer, wire: `F0 00`, reason: ProtocolError},
	{id: "MQTT-3.15.2-1", v: V5, wire: `F0 ## 00 {15 "m"}`, reason: ProtocolError},
	{id: "MQTT-3.15.2-1", v: V5, wire: `F0 ## 87 {15 "m"}`, reason: ProtocolError},
	{id: "MQTT-3.15.2-1", v: V5, from: FromServer, wire: `F0 ## 19 {15 "m"}`, reason: ProtocolError},
	{id: "MQTT-4.12.0-5", v: V5, wire: `F0 02 18 00`, reason: ProtocolError},
	{id: "MQTT-4.12.0-5", v: V5, wire: `F0 01 19`, reason: ProtocolError},
	{id: "3.15.2.2.3", v: V5, wire: `F0 ## 18 {16 "x"}`, reason: ProtocolError},
	{id: "2.2.2.2 misplaced", v: V5, wire: `F0 ## 18 {15 "m" 11 00000000}`, reason: ProtocolError},
	{id: "left over", v: V5, wire: `F0 ## 18 {15 "m"} 00`, reason: MalformedPacket},
}

// everyRefused are the rows of all tables above.
func everyRefused() (rows []refused) {
	for _, table := range [][]refused{refusedHeaders, refusedFlags(), refusedConnects, refusedPackets, refusedStrings()} {
		rows = append(rows, table...)
	}
	return rows
}

// check decodes the row's bytes and holds the error against the row.
func (r refused) check(t *testing.T) *Packet {
	t.Helper()
	b := wire(r.wire)
	if n, size := varint(b[1:]); size > 0 && 1+size+n != len(b) {
		t.Fatalf("%v: the row's length is wrong", r)
	}
	p, err := decode(t, r.v, r.from, b)
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%v: %v", r, err)
		return p
	}
	if e.Reason != r.reason || e.Why != r.why || e.Silent != r.silent {
		t.Errorf("%v:\n got %+v\nwant {%v %s %v}", r, *e, r.reason, r.why, r.silent)
	}
	if p.Type != Type(b[0]>>4) {
		t.Errorf("%v: the type is %v", r, p.Type)
	}
	return p
}

func TestDecodeRefused(t *testing.T) {
	for _, row := range everyRefused() {
		row.check(t)
	}
}

// The refusals that a caller logs in its own words are told apart by identity.
func TestSentinels(t *testing.T) {
	for _, row := range []struct {
		v    Version
		wire string
		want *Error
	}{
		{V5, `36 ## "t" 0001 {}`, ErrPublishQoS},
		{V311, `38 03 0001't'`, ErrPublishDup},
		{V311, `82 ## 0001 "" 00`, ErrEmptyFilter},
		{V5, `A2 ## 0001 {} ""`, ErrEmptyFilter},
		{V5, `82 ## 0001 {} "t" 30`, ErrSubscriptionOptions},
		{V311, `10 ## "MQTT" 04 42 000A "p" "x"`, ErrPasswordWithoutUsername},
	} {
		if _, err := decode(t, row.v, FromClient, wire(row.wire)); err != error(row.want) {
			t.Errorf("%s: %v", row.wire, err)
		}
	}
}

func TestErrorText(t *testing.T) {
	if got := errPublishID.Error(); got != "protocol error: PUBLISH packet with mid = 0." {
		t.Error(got)
	}
	if got := errCut.Error(); got != "malformed packet" {
		t.Error(got)
	}
}
