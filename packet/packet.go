// Package packet is the wire codec for MQTT 3.1, 3.1.1 and 5. It turns bytes into packets that point into
// those bytes, and appends packets to a byte slice. It does no I/O, keeps no state and does not allocate,
// but for an [Error] that quotes a number from the packet.
//
// Reading goes in two steps. [ReadHeader] finds out where the packet ends, or that more bytes are needed;
// [Header.Check] refuses a length that is out of all proportion before the body arrives. [Packet.Decode]
// then takes the body apart. A Packet is meant to be reused: each Decode sets the fields that its packet
// type has and leaves the others as they were, so only look at those.
//
// Writing goes the other way. [Packet.Append] encodes any packet of either side; the Append functions named
// after one packet type do the same for what a broker sends all day, without a Packet in between.
//
// A property list stays as it came, as bytes in [Properties].Raw. Decode has validated it, noted which
// properties it has and copied the numbers out; [Properties.Fields] walks it again, in order, when it is to
// be forwarded.
//
// What Decode checks is all that a packet shows by itself: lengths, flags, reserved bits, UTF-8, packet
// identifiers, and for version 5 which property and which reason code is legal where, how often and with what
// value. What needs to know the connection or the broker is the caller's: whether this packet type may come
// now, whether a topic has wildcards or a filter is well formed, maxima that were agreed upon.
//
// A refusal is an [*Error]: the reason code for a version 5 peer, and the text for the log. Reason codes follow what
// mosquitto 2.1 sends where the standard leaves a choice. The quirks of version 3.1 are accepted: flags of the fixed header
// other than those of PUBLISH are not looked at, and user name and password may be missing although CONNECT's flags
// announce them.
//
// Begin with [Packet] below and header.go; then there is a file for each family of packets.
package packet

import "strconv"

// Type is a control packet type, the upper four bits of the first byte. Zero is reserved.
type Type byte

// The control packet types.
const (
	Connect Type = iota + 1
	Connack
	Publish
	Puback
	Pubrec
	Pubrel
	Pubcomp
	Subscribe
	Suback
	Unsubscribe
	Unsuback
	Pingreq
	Pingresp
	Disconnect
	Auth
)

var typeNames = [16]string{
	"RESERVED", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String is the name as the standards write it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// first is the first byte of a packet of type t other than PUBLISH. [MQTT-2.1.3-1]
func (t Type) first() byte {
	switch t {
	case Pubrel, Subscribe, Unsubscribe:
		return byte(t)<<4 | 2
	}
	return byte(t) << 4
}

// Version is a protocol level as CONNECT states it. Zero stands for a connection whose CONNECT has not come yet.
type Version byte

// The protocol levels.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

// Side is who sent a packet. Some properties and reason codes are legal from one side only.
type Side byte

// The sides of a connection.
const (
	FromClient Side = iota
	FromServer
)

// Packet is one decoded packet, or one to be encoded. Every slice in a decoded one points into the body that was
// given to Decode and is valid as long as that is. Only the fields of the packet's type mean anything; the rest
// is left over from packets before.
type Packet struct {
	Type Type

	Dup, Retain bool // PUBLISH
	QoS         byte // PUBLISH: 0 to 2

	// ID is the packet identifier, never 0 where there is one: PUBLISH above QoS 0 (0 at QoS 0), PUBACK to UNSUBACK.
	ID uint16

	// Reason is the reason code of CONNACK, PUBACK to PUBCOMP, DISCONNECT and AUTH, [Success] where the packet leaves
	// it out. In CONNACK before version 5 it is the return code, 0 to 5.
	Reason Reason

	SessionPresent bool // CONNACK; false in 3.1

	Topic   []byte // PUBLISH; empty only in version 5 with a topic alias
	Payload []byte // PUBLISH

	Filters Filters // SUBSCRIBE, UNSUBSCRIBE
	Codes   []byte  // SUBACK; UNSUBACK from version 5 on, else nil

	// Props are the properties of any packet but PINGREQ and PINGRESP; empty before version 5.
	Props Properties

	Connect ConnectBody // CONNECT
}

// Decode takes apart a packet of version v sent by from: its first byte and the body that follows the fixed header,
// neither more nor less. For CONNECT v is not looked at. A refused packet gives an [*Error], and of p only Type means
// anything then, and for CONNECT Connect.Version: the level of the packet once that was read, else 0.
func (p *Packet) Decode(v Version, from Side, first byte, body []byte) error {
	p.Type = Type(first >> 4)
	switch p.Type {
	case Publish:
		return p.decodePublish(v, from, first, body)
	case Connect:
		return p.decodeConnect(first, body)
	case 0:
		return errReserved
	case Auth:
		if v != V5 {
			return errAuthVersion
		}
	}
	if first != p.Type.first() && v != V31 {
		return flagsError(p.Type, first)
	}
	switch p.Type {
	case Puback, Pubrec, Pubrel, Pubcomp:
		return p.decodeAck(v, from, body)
	case Subscribe, Unsubscribe:
		return p.decodeSubscribe(v, from, body)
	case Suback, Unsuback:
		return p.decodeSuback(v, from, body)
	case Connack:
		return p.decodeConnack(v, from, body)
	case Disconnect:
		return p.decodeDisconnect(v, from, body)
	case Auth:
		return p.decodeAuth(from, body)
	default: // PINGREQ, PINGRESP
		if len(body) != 0 {
			return errOverlong
		}
		return nil
	}
}

// Append encodes p for version v at the end of dst: the inverse of Decode, in the shortest form that mosquitto would send.
// For CONNECT v is not looked at, Connect.Version counts. What Decode would refuse is the caller's mistake and not looked
// for, except for lengths that have no encoding: those panic.
func (p *Packet) Append(dst []byte, v Version) []byte {
	switch p.Type {
	case Connect:
		return p.Connect.append(dst, p.Props.Raw)
	case Connack:
		return AppendConnack(dst, v, p.SessionPresent, byte(p.Reason), p.Props.Raw)
	case Publish:
		return AppendPublish(dst, v, p.publishFlags(), p.Topic, p.ID, p.Props.Raw, p.Payload)
	case Puback, Pubrec, Pubrel, Pubcomp:
		return p.appendAck(dst, v)
	case Subscribe, Unsubscribe:
		return appendListed(dst, v, p.Type, p.ID, p.Props.Raw, p.Filters.Raw)
	case Suback, Unsuback:
		return appendListed(dst, v, p.Type, p.ID, p.Props.Raw, p.Codes)
	case Disconnect, Auth:
		return p.appendReason(dst, v)
	default: // PINGREQ, PINGRESP
		return append(dst, p.Type.first(), 0)
	}
}
