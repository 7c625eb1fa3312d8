package packet

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// accepted is a packet that has to be decoded to want, and want encoded to the same bytes, or to canon where the packet is
// not as Append writes it.
type accepted struct {
	id    string // the statement or section it is about
	v     Version
	from  Side
	wire  string
	want  Packet
	canon string
	// short are the lengths at which a cut body is a packet of its own, beside those that lie in a payload that may be of any
	// length: PUBLISH's, SUBACK's.
	short []int
}

func (a accepted) String() string { return fmt.Sprintf("%s v%d %s", a.id, a.v, a.wire) }

// connect is a CONNECT as most rows need it.
func connect(v Version, change func(*ConnectBody)) Packet {
	p := Packet{Type: Connect, Connect: ConnectBody{Version: v, CleanStart: true, KeepAlive: 10, ClientID: []byte("p")}}
	if change != nil {
		change(&p.Connect)
	}
	return p
}

func connectProps(props string) Packet {
	p := connect(V5, nil)
	p.Props = list(props)
	return p
}

func publish(flags byte, id uint16, topic, payload, props string) Packet {
	return Packet{
		Type: Publish, Dup: flags&8 != 0, QoS: flags >> 1 & 3, Retain: flags&1 != 0,
		ID: id, Topic: []byte(topic), Payload: []byte(payload), Props: list(props),
	}
}

func subscribe(t Type, id uint16, filters, props string) Packet {
	return Packet{Type: t, ID: id, Filters: Filters{Raw: wire(filters), Options: t == Subscribe}, Props: list(props)}
}

func allWill(c *ConnectBody) {
	c.Will, c.WillQoS, c.WillRetain, c.WillTopic, c.WillPayload = true, 1, true, []byte("w"), []byte("gone")
	c.HasUsername, c.Username, c.HasPassword, c.Password = true, []byte("u"), true, []byte{'a', 0, 'b'}
}

func willOf(qos byte) func(*ConnectBody) {
	return func(c *ConnectBody) {
		c.Will, c.WillQoS, c.WillTopic, c.WillPayload = true, qos, []byte("w"), []byte{}
	}
}

func user(name string) func(*ConnectBody) {
	return func(c *ConnectBody) { c.HasUsername, c.Username = true, []byte(name) }
}

// The fields of CONNECT: header | name level | flags, keep alive | properties | client id | will properties, will topic, will
// payload | user name | password.
var acceptedConnect = []accepted{
	{id: "MQTT-3.1.2-1", v: V31, wire: `10 0F | 0006'MQIsdp' 03 | 02 000A | 0001'p'`, want: connect(V31, nil)},
	{id: "MQTT-3.1.2-1", v: V311, wire: `10 0D | 0004'MQTT' 04 | 02 000A | 0001'p'`, want: connect(V311, nil)},
	{id: "MQTT-3.1.2-1", v: V5, wire: `10 0E | 0004'MQTT' 05 | 02 000A | 00 | 0001'p'`, want: connect(V5, nil)},
	{id: "bridge bit", v: V31, wire: `10 ## | "MQIsdp" 83 | 02 000A | "p"`,
		want: connect(V31, func(c *ConnectBody) { c.Bridge = true })},
	{id: "bridge bit", v: V311, wire: `10 ## | "MQTT" 84 | 02 000A | "p"`,
		want: connect(V311, func(c *ConnectBody) { c.Bridge = true })},
	{id: "MQTT-3.1.3-6", v: V311, wire: `10 ## | "MQTT" 04 | 00 0000 | ""`,
		want: connect(V311, func(c *ConnectBody) { c.CleanStart, c.KeepAlive, c.ClientID = false, 0, nil })},
	{id: "MQTT-3.1.3-1", v: V31, wire: `10 ## | "MQIsdp" 03 | EE FFFF | "p" | "w" "gone" | "u" | 0003 610062`,
		want:  connect(V31, func(c *ConnectBody) { allWill(c); c.KeepAlive = 65535 }),
		short: []int{24, 27}}, // without user name and password, without password: MQTT 3.1
	{id: "MQTT-3.1.3-1", v: V311, wire: `10 ## | "MQTT" 04 | EE 000A | "p" | "w" "gone" | "u" | 0003 610062`,
		want: connect(V311, allWill)},
	{id: "MQTT-3.1.3-1", v: V5,
		wire: `10 ## | "MQTT" 05 | EE 000A | {11 0000003C 26 "n" "v"} | "p" | {18 00000005 01 01 26 "" ""} "w" "gone" | "u" | 0003 610062`,
		want: func() Packet {
			p := connect(V5, allWill)
			p.Props = list(`11 0000003C 26 "n" "v"`)
			p.Connect.WillProps = list(`18 00000005 01 01 26 "" ""`)
			return p
		}()},
	{id: "MQTT-3.1.2-14", v: V311, wire: `10 ## | "MQTT" 04 | 06 000A | "p" | "w" ""`, want: connect(V311, willOf(0))},
	{id: "MQTT-3.1.2-14", v: V311, wire: `10 ## | "MQTT" 04 | 0E 000A | "p" | "w" ""`, want: connect(V311, willOf(1))},
	{id: "MQTT-3.1.2-12", v: V5, wire: `10 ## | "MQTT" 05 | 16 000A | {} | "p" | {} "w" ""`, want: connect(V5, willOf(2))},
	{id: "MQTT-3.1.2-19", v: V311, wire: `10 ## | "MQTT" 04 | 82 000A | "p" | 0000`, want: connect(V311, user(""))},
	{id: "MQTT-3.1.3-12", v: V5, wire: `10 ## | "MQTT" 05 | 82 000A | {} | "p" | 0004 F0AA9B94`, want: connect(V5, user("\U0002A6D4"))},
	{id: "3.1.2.9 password alone", v: V5, wire: `10 ## | "MQTT" 05 | 42 000A | {} | "p" | 0001 00`,
		want: connect(V5, func(c *ConnectBody) { c.HasPassword, c.Password = true, []byte{0} })},
	{id: "MQTT-1.5.4-3", v: V5, wire: `10 ## | "MQTT" 05 | 02 000A | {} | 0004 EFBBBF 61`,
		want: connect(V5, func(c *ConnectBody) { c.ClientID = []byte("\uFEFFa") })},
	{id: "3.1.2.11 every property", v: V5, wire: `10 ## | "MQTT" 05 | 02 000A | {11 FFFFFFFF 15 "m" 16 0001 00 17 00 19 01 21 0001 22 0000 26 "a" "" 26 "a" "" 27 00000001} | "p"`,
		want: connectProps(`11 FFFFFFFF 15 "m" 16 0001 00 17 00 19 01 21 0001 22 0000 26 "a" "" 26 "a" "" 27 00000001`)},
	{id: "MQTT 3.1 flags of the fixed header", v: V31, wire: `14 0F | 0006'MQIsdp' 03 | 02 000A | 0001'p'`, want: connect(V31, nil),
		canon: `10 0F | 0006'MQIsdp' 03 | 02 000A | 0001'p'`},
	{id: "MQTT 3.1 reserved flag", v: V31, wire: `10 ## | "MQIsdp" 03 | 03 000A | "p"`, want: connect(V31, nil),
		canon: `10 ## | "MQIsdp" 03 | 02 000A | "p"`},
	{id: "MQTT 3.1 will flags without will", v: V31, wire: `10 ## | "MQIsdp" 03 | 2A 000A | "p"`, want: connect(V31, nil),
		canon: `10 ## | "MQIsdp" 03 | 02 000A | "p"`},
	{id: "MQTT 3.1 user name missing", v: V31, wire: `10 ## | "MQIsdp" 03 | 82 000A | "p"`, want: connect(V31, nil),
		canon: `10 ## | "MQIsdp" 03 | 02 000A | "p"`},
	{id: "MQTT 3.1 both missing", v: V31, wire: `10 ## | "MQIsdp" 03 | C2 000A | "p"`, want: connect(V31, nil),
		canon: `10 ## | "MQIsdp" 03 | 02 000A | "p"`},
	{id: "MQTT 3.1 password missing", v: V31, wire: `10 ## | "MQIsdp" 03 | C2 000A | "p" | "u"`, want: connect(V31, user("u")),
		canon: `10 ## | "MQIsdp" 03 | 82 000A | "p" | "u"`, short: []int{15}},
}

const everyConnackProperty = `11 00000000 12 "auto-1" 13 003C 15 "m" 16 "" 1A "r" 1C "h:1" 1F "why" 21 0014 22 000A 24 01 25 00 26 "a" "b" 27 001E8480 28 00 29 00 2A 01`

// CONNACK: header | flags, code | properties.
var acceptedConnack = []accepted{
	{id: "MQTT-3.2.2-1", v: V31, from: FromServer, wire: `20 02 | 00 00`, want: Packet{Type: Connack}},
	{id: "MQTT 3.1 reserved byte", v: V31, from: FromServer, wire: `20 02 | 01 00`, want: Packet{Type: Connack}, canon: `20 02 | 00 00`},
	{id: "MQTT-3.2.2-4", v: V31, from: FromServer, wire: `20 02 | 00 05`, want: Packet{Type: Connack, Reason: 5}},
	{id: "MQTT-3.2.2-2", v: V311, from: FromServer, wire: `20 02 | 01 00`, want: Packet{Type: Connack, SessionPresent: true}},
	{id: "MQTT-3.2.2-6", v: V311, from: FromServer, wire: `20 02 | 00 01`, want: Packet{Type: Connack, Reason: 1}},
	{id: "MQTT-3.2.2-3", v: V5, from: FromServer, wire: `20 03 | 01 00 | 00`, want: Packet{Type: Connack, SessionPresent: true}},
	{id: "MQTT-3.2.2-8", v: V5, from: FromServer, wire: `20 03 | 00 84 | 00`, want: Packet{Type: Connack, Reason: UnsupportedProtocolVersion}},
	{id: "3.2.2.3 every property", v: V5, from: FromServer, wire: `20 ## | 00 00 | {` + everyConnackProperty + `}`,
		want: Packet{Type: Connack, Props: list(everyConnackProperty)}},
}

const everyPublishProperty = `01 01 02 0000000A 03 "text/plain" 08 "re/ply" 09 0004 00FF8000 23 0001 26 "k" "1" 26 "k" "2"`

// PUBLISH: header | topic | packet identifier | properties | payload.
var acceptedPublish = []accepted{
	{id: "MQTT-3.3.2-1", v: V31, wire: `30 05 | 0001't' | 'hi'`, want: publish(0, 0, "t", "hi", ``)},
	{id: "MQTT-3.3.2-1", v: V311, wire: `30 03 | 0001't'`, want: publish(0, 0, "t", "", ``)},
	{id: "MQTT-3.3.2-1", v: V5, wire: `30 06 | 0001't' | 00 | 'hi'`, want: publish(0, 0, "t", "hi", ``)},
	{id: "MQTT-3.3.1-5", v: V311, wire: `31 ## | "t" | 'hi'`, want: publish(1, 0, "t", "hi", ``)},
	{id: "MQTT-2.3.1-5", v: V311, wire: `30 ## | "t" | 000A 'x'`, want: publish(0, 0, "t", "\x00\nx", ``)},
	{id: "MQTT-2.2.1-2", v: V5, wire: `30 ## | "t" | {} | 000A 'x'`, want: publish(0, 0, "t", "\x00\nx", ``)},
	{id: "MQTT-4.3.2-1", v: V31, wire: `3A ## | "t" | 0001 | 'x'`, want: publish(0xA, 1, "t", "x", ``)},
	{id: "MQTT-4.3.2-1", v: V311, wire: `32 ## | "t" | FFFF | 'x'`, want: publish(2, 65535, "t", "x", ``)},
	{id: "MQTT-4.3.2-2", v: V5, wire: `32 ## | "t" | 0100 | {} | 'x'`, want: publish(2, 256, "t", "x", ``)},
	{id: "MQTT-4.3.3-1", v: V311, wire: `3D ## | "a/b" | 0007`, want: publish(0xD, 7, "a/b", "", ``)},
	{id: "MQTT-4.3.3-2", v: V5, wire: `35 ## | "a/b" | 0007 | {} | 00`, want: publish(5, 7, "a/b", "\x00", ``)},
	{id: "MQTT-3.3.2-18", v: V5, wire: `32 ## | "t" | 0007 | {` + everyPublishProperty + `} | 'x'`,
		want: publish(2, 7, "t", "x", everyPublishProperty)},
	{id: "MQTT-3.3.4-4", v: V5, from: FromServer, wire: `30 ## | "t" | {0B 01 0B 8001 0B FFFFFF7F 0B 01} | 'x'`,
		want: publish(0, 0, "t", "x", `0B 01 0B 8001 0B FFFFFF7F 0B 01`)},
	{id: "3.3.2.3.4 alias", v: V5, wire: `30 ## | "" | {23 FFFF} | 'x'`, want: publish(0, 0, "", "x", `23 FFFF`)},
	{id: "MQTT-1.5.3-3", v: V311, wire: `30 ## | 0004 EFBBBF 61`, want: publish(0, 0, "\uFEFFa", "", ``)},
	{id: "wildcards are the broker's", v: V311, wire: `30 ## | "a/#"`, want: publish(0, 0, "a/#", "", ``)},
	{id: "1.5.4 controls", v: V5, wire: `30 ## | "t" | {03 0003 610162 08 0003 EFBFBF 26 0001 7F 0002 C280}`,
		want: publish(0, 0, "t", "", `03 0003 610162 08 0003 EFBFBF 26 0001 7F 0002 C280`)},
	{id: "MQTT-1.5.7-1", v: V5, wire: `30 ## | "t" | {26 0000 0000}`, want: publish(0, 0, "t", "", `26 0000 0000`)},
	{id: "MQTT-3.3.2-8", v: V5, wire: `30 ## | "t" | {01 00 02 00000000 09 ""}`, want: publish(0, 0, "t", "", `01 00 02 00000000 09 ""`)},
}

// The acknowledgements: header | packet identifier | reason | properties.
var acceptedAck = []accepted{
	{id: "MQTT-2.3.1-6", v: V31, wire: `40 02 | 0001`, want: Packet{Type: Puback, ID: 1}},
	{id: "MQTT 3.1", v: V31, wire: `50 02 | 0001`, want: Packet{Type: Pubrec, ID: 1}},
	{id: "MQTT 3.1", v: V31, wire: `70 02 | 0001`, want: Packet{Type: Pubcomp, ID: 1}},
	{id: "MQTT-2.3.1-6", v: V311, wire: `40 02 | 0001`, want: Packet{Type: Puback, ID: 1}},
	{id: "MQTT-2.3.1-6", v: V311, wire: `50 02 | 00FF`, want: Packet{Type: Pubrec, ID: 255}},
	{id: "MQTT-3.6.1-1", v: V311, wire: `62 02 | 0100`, want: Packet{Type: Pubrel, ID: 256}},
	{id: "MQTT-2.3.1-6", v: V311, wire: `70 02 | FFFF`, want: Packet{Type: Pubcomp, ID: 65535}},
	{id: "MQTT 3.1 DUP", v: V31, wire: `6A 02 | 0001`, want: Packet{Type: Pubrel, ID: 1}, canon: `62 02 | 0001`},
	{id: "MQTT 3.1 flags", v: V31, wire: `41 02 | 0001`, want: Packet{Type: Puback, ID: 1}, canon: `40 02 | 0001`},
	{id: "MQTT-2.2.1-5", v: V5, wire: `40 02 | 0001`, want: Packet{Type: Puback, ID: 1}},
	{id: "3.4.2.1 without reason", v: V5, wire: `62 02 | 0001`, want: Packet{Type: Pubrel, ID: 1}},
	{id: "3.4.2.1 reason 00", v: V5, wire: `70 03 | 0001 | 00`, want: Packet{Type: Pubcomp, ID: 1}, canon: `70 02 | 0001`, short: []int{2}},
	{id: "MQTT-3.4.2-1", v: V5, wire: `40 03 | 0001 | 87`, want: Packet{Type: Puback, ID: 1, Reason: NotAuthorized}, short: []int{2}},
	{id: "MQTT-3.5.2-1", v: V5, wire: `50 03 | 0001 | 10`, want: Packet{Type: Pubrec, ID: 1, Reason: NoMatchingSubscribers}, short: []int{2}},
	{id: "MQTT-3.6.2-1", v: V5, wire: `62 03 | 0001 | 92`, want: Packet{Type: Pubrel, ID: 1, Reason: PacketIDNotFound}, short: []int{2}},
	{id: "3.4.2.2 empty list", v: V5, wire: `40 04 | 0001 | 00 | 00`, want: Packet{Type: Puback, ID: 1}, canon: `40 02 | 0001`, short: []int{2, 3}},
	{id: "MQTT-3.7.2-1", v: V5, wire: `70 ## | 0001 | 92 | {1F "why" 26 "a" "b"}`,
		want: Packet{Type: Pubcomp, ID: 1, Reason: PacketIDNotFound, Props: list(`1F "why" 26 "a" "b"`)}, short: []int{2, 3}},
}

// SUBSCRIBE and UNSUBSCRIBE: header | packet identifier | properties | filters. Their answers have codes in the filters' place.
var acceptedSubscribe = []accepted{
	{id: "MQTT-3.8.1-1", v: V31, wire: `82 06 | 0001 | 0001't' 01`, want: subscribe(Subscribe, 1, `"t" 01`, ``)},
	{id: "MQTT 3.1 DUP", v: V31, wire: `8A 06 | 0001 | 0001't' 01`, want: subscribe(Subscribe, 1, `"t" 01`, ``), canon: `82 06 | 0001 | 0001't' 01`},
	{id: "MQTT 3.1 DUP", v: V31, wire: `AA 05 | 0001 | 0001't'`, want: subscribe(Unsubscribe, 1, `"t"`, ``), canon: `A2 05 | 0001 | 0001't'`},
	{id: "MQTT-3.8.4-4", v: V311, wire: `82 ## | FFFF | "a" 00 "b/+" 01 "#" 02`,
		want: subscribe(Subscribe, 65535, `"a" 00 "b/+" 01 "#" 02`, ``), short: []int{6, 12}},
	{id: "MQTT-3.8.4-5", v: V5, wire: `82 ## | 0001 | {} | "a" 2E "$share/g/t" 09`,
		want: subscribe(Subscribe, 1, `"a" 2E "$share/g/t" 09`, ``), short: []int{7}},
	{id: "3.8.2.1.2", v: V5, wire: `82 ## | 0001 | {0B FFFFFF7F 26 "a" "b"} | "a" 10`,
		want: subscribe(Subscribe, 1, `"a" 10`, `0B FFFFFF7F 26 "a" "b"`)},
	{id: "MQTT-3.10.3-2", v: V311, wire: `A2 05 | 0001 | 0001't'`, want: subscribe(Unsubscribe, 1, `"t"`, ``)},
	{id: "MQTT-3.10.4-6", v: V5, wire: `A2 ## | 0001 | {26 "a" "b"} | "t" "a/b"`,
		want: subscribe(Unsubscribe, 1, `"t" "a/b"`, `26 "a" "b"`), short: []int{13}},
	{id: "MQTT-3.9.3-1", v: V311, from: FromServer, wire: `90 06 | 0001 | 02 00 01 80`, want: Packet{Type: Suback, ID: 1, Codes: wire(`02000180`)}},
	{id: "MQTT-3.9.3-1", v: V31, from: FromServer, wire: `90 03 | 0001 | 01`, want: Packet{Type: Suback, ID: 1, Codes: wire(`01`)}},
	{id: "MQTT-3.9.3-2", v: V5, from: FromServer, wire: `90 ## | FFFF | {1F "x"} | 00 01 02 80 83 87 8F 91 97 9E A1 A2`,
		want: Packet{Type: Suback, ID: 65535, Props: list(`1F "x"`), Codes: wire(`00 01 02 80 83 87 8F 91 97 9E A1 A2`)}},
	{id: "MQTT-3.10.4-4", v: V31, from: FromServer, wire: `B0 02 | 0001`, want: Packet{Type: Unsuback, ID: 1}},
	{id: "MQTT-3.10.4-4", v: V311, from: FromServer, wire: `B0 02 | 0001`, want: Packet{Type: Unsuback, ID: 1}},
	{id: "MQTT-3.11.3-2", v: V5, from: FromServer, wire: `B0 ## | 0001 | {} | 00 11 80 83 87 8F 91`,
		want: Packet{Type: Unsuback, ID: 1, Codes: wire(`00 11 80 83 87 8F 91`)}},
}

// The rest: header | reason | properties.
var acceptedOther = []accepted{
	{id: "MQTT-3.12.4-1", v: V31, wire: `C0 00`, want: Packet{Type: Pingreq}},
	{id: "MQTT-3.12.4-1", v: V311, wire: `C0 00`, want: Packet{Type: Pingreq}},
	{id: "MQTT-3.12.4-1", v: V5, wire: `C0 00`, want: Packet{Type: Pingreq}},
	{id: "MQTT-3.12.4-1", v: V31, from: FromServer, wire: `D0 00`, want: Packet{Type: Pingresp}},
	{id: "MQTT-3.12.4-1", v: V311, from: FromServer, wire: `D0 00`, want: Packet{Type: Pingresp}},
	{id: "MQTT-3.12.4-1", v: V5, from: FromServer, wire: `D0 00`, want: Packet{Type: Pingresp}},
	{id: "MQTT 3.1 flags", v: V31, wire: `C1 00`, want: Packet{Type: Pingreq}, canon: `C0 00`},
	{id: "MQTT 3.1 flags", v: V31, wire: `E1 00`, want: Packet{Type: Disconnect}, canon: `E0 00`},
	{id: "MQTT-3.14.1-1", v: V31, wire: `E0 00`, want: Packet{Type: Disconnect}},
	{id: "MQTT-3.14.1-1", v: V311, wire: `E0 00`, want: Packet{Type: Disconnect}},
	{id: "3.14.2.1 without reason", v: V5, wire: `E0 00`, want: Packet{Type: Disconnect}, canon: `E0 01 | 00`},
	{id: "MQTT-3.14.2-1", v: V5, wire: `E0 01 | 04`, want: Packet{Type: Disconnect, Reason: DisconnectWithWill}, short: []int{0}},
	{id: "3.14.2.2 empty list", v: V5, wire: `E0 02 | 00 | 00`, want: Packet{Type: Disconnect}, canon: `E0 01 | 00`, short: []int{0, 1}},
	{id: "3.14.2.2.2", v: V5, wire: `E0 ## | 00 | {11 00000000 1F "bye" 26 "a" "b"}`,
		want: Packet{Type: Disconnect, Props: list(`11 00000000 1F "bye" 26 "a" "b"`)}, short: []int{0, 1}},
	{id: "MQTT-3.14.2-1", v: V5, from: FromServer, wire: `E0 ## | 9D | {1C "h:1" 1F "bye"}`,
		want: Packet{Type: Disconnect, Reason: ServerMoved, Props: list(`1C "h:1" 1F "bye"`)}, short: []int{0, 1}},
	{id: "MQTT-4.12.0-3", v: V5, wire: `F0 ## | 18 | {15 "m" 16 0002 00FF 26 "a" "b"}`,
		want: Packet{Type: Auth, Reason: ContinueAuthentication, Props: list(`15 "m" 16 0002 00FF 26 "a" "b"`)}},
	{id: "MQTT-4.12.1-1", v: V5, wire: `F0 ## | 19 | {15 "m"}`, want: Packet{Type: Auth, Reason: Reauthenticate, Props: list(`15 "m"`)}},
	{id: "MQTT-3.15.2-1", v: V5, from: FromServer, wire: `F0 ## | 00 | {15 "m" 1F "ok"}`,
		want: Packet{Type: Auth, Props: list(`15 "m" 1F "ok"`)}},
}

// everyAccepted are the rows of all tables above.
func everyAccepted() (rows []accepted) {
	for _, table := range [][]accepted{
		acceptedConnect, acceptedConnack, acceptedPublish, acceptedAck, acceptedSubscribe, acceptedOther,
	} {
		rows = append(rows, table...)
	}
	return rows
}

func TestDecodeAccepted(t *testing.T) {
	for _, row := range everyAccepted() {
		p, err := decode(t, row.v, row.from, wire(row.wire))
		if err != nil {
			t.Errorf("%v: %v", row, err)
		} else if got, want := view(p, row.v), view(&row.want, row.v); got != want {
			t.Errorf("%v:\n got %s\nwant %s", row, got, want)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, row := range everyAccepted() {
		want := wire(row.wire)
		if row.canon != "" {
			want = wire(row.canon)
		}
		const before = "before"
		got := row.want.Append([]byte(before), row.v)
		if !bytes.Equal(got, append([]byte(before), want...)) {
			t.Errorf("%v:\n got % x\nwant % x", row, got, want)
		}
	}
}

// Every type in every version it exists in has a row.
func TestAcceptedCoversEverything(t *testing.T) {
	type kind struct {
		t Type
		v Version
	}
	seen := map[kind]bool{}
	for _, row := range everyAccepted() {
		seen[kind{row.want.Type, row.v}] = true
	}
	for typ := Connect; typ <= Auth; typ++ {
		for _, v := range []Version{V31, V311, V5} {
			if !seen[kind{typ, v}] && !(typ == Auth && v != V5) {
				t.Errorf("no row for %v of version %d", typ, v)
			}
		}
	}
}

// A packet that is cut anywhere makes the framer ask for more; a body that is cut anywhere is refused unless what is left is
// a packet of its own.
func TestTruncated(t *testing.T) {
	for _, row := range everyAccepted() {
		b := wire(row.wire)
		h, err := ReadHeader(b, row.v)
		if err != nil {
			t.Fatalf("%v: %v", row, err)
		}
		for n := range b {
			if cut, err := ReadHeader(b[:n], row.v); err != nil || cut.Size != 0 && cut.Len() <= n {
				t.Errorf("%v: with %d bytes the header is %+v, %v", row, n, cut, err)
			}
		}
		free := h.Remaining - len(row.want.Payload)
		if len(row.want.Codes) > 0 {
			free = h.Remaining - len(row.want.Codes) + 1
		}
		whole := map[int]bool{}
		for _, n := range row.short {
			whole[n] = true
		}
		for n := range h.Remaining {
			err := dirty().Decode(row.v, row.from, h.First, b[h.Size:h.Size+n])
			if want := whole[n] || n >= free; (err == nil) != want {
				t.Errorf("%v: cut to %d bytes of %d: %v", row, n, h.Remaining, err)
			}
		}
	}
}

// framer collects packets from a stream that comes in pieces, as a connection does.
type framer struct {
	v     Version
	from  Side
	held  []byte
	p     Packet
	views []string
}

func (f *framer) feed(t *testing.T, piece []byte) {
	t.Helper()
	f.held = append(f.held, piece...)
	for {
		h, err := ReadHeader(f.held, f.v)
		if err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 || len(f.held) < h.Len() {
			return
		}
		if err := f.p.Decode(f.v, f.from, h.First, f.held[h.Size:h.Len()]); err != nil {
			t.Fatal(err)
		}
		f.views = append(f.views, view(&f.p, f.v))
		f.held = f.held[h.Len():]
	}
}

// The pieces in which a stream comes make no difference.
func TestSplitAnywhere(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	for _, v := range []Version{V31, V311, V5} {
		for _, from := range []Side{FromClient, FromServer} {
			var stream []byte
			var want []string
			for _, row := range everyAccepted() {
				if row.v == v && row.from == from {
					stream = append(stream, wire(row.wire)...)
					want = append(want, view(&row.want, v))
				}
			}
			check := func(how string, size func() int) {
				f := framer{v: v, from: from}
				for rest := stream; len(rest) > 0; {
					n := min(size(), len(rest))
					f.feed(t, rest[:n])
					rest = rest[n:]
				}
				if fmt.Sprint(f.views) != fmt.Sprint(want) || len(f.held) != 0 {
					t.Errorf("version %d, side %d, %s: other packets, or %d bytes left over", v, from, how, len(f.held))
				}
			}
			check("all at once", func() int { return len(stream) })
			check("byte by byte", func() int { return 1 })
			for range 50 {
				check("cut at random", func() int { return 1 + random.IntN(40) })
			}
		}
	}
}
