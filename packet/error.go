package packet

import "fmt"

// Error is the refusal of a packet; the connection it came on is to be closed. [MQTT-4.13.1-1]; in 3.1.1 [MQTT-4.8.0-1]
type Error struct {
	// Reason is what a version 5 peer is told, in CONNACK when the packet is a CONNECT, else in DISCONNECT.
	Reason Reason
	// Why is the text after mosquitto's "Protocol error from ...: ", "" for what mosquitto logs no such line for.
	Why string
	// Silent asks to close without telling even a version 5 peer.
	Silent bool
}

// Error is the reason and, where there is one, the text.
func (e *Error) Error() string {
	if e.Why == "" {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + e.Why
}

// Refusals that mosquitto logs with lines of their own, so that a caller can tell them apart.
var (
	ErrPublishQoS              = &Error{Reason: MalformedPacket} // PUBLISH with QoS 3 [MQTT-3.3.1-4]
	ErrPublishDup              = &Error{Reason: MalformedPacket} // PUBLISH with QoS 0 and DUP [MQTT-3.3.1-2]
	ErrEmptyFilter             = &Error{Reason: MalformedPacket} // in SUBSCRIBE or UNSUBSCRIBE [MQTT-4.7.3-1]
	ErrSubscriptionOptions     = &Error{Reason: MalformedPacket} // QoS 3, Retain Handling 3, reserved bits [MQTT-3.8.3-5]
	ErrPasswordWithoutUsername = &Error{Reason: MalformedPacket} // before version 5; 3.1.1 [MQTT-3.1.2-22]
)

// Shapes that are wrong in any packet.
var (
	errLength   = &Error{Reason: MalformedPacket}              // a Remaining Length of five bytes, or not the shortest
	errCut      = &Error{Reason: MalformedPacket}              // the packet ends inside a field or before one
	errOverlong = &Error{Reason: MalformedPacket}              // bytes left over after the last field
	errOversize = &Error{Reason: PacketTooLarge, Silent: true} // see Header.Check
	errFlags    = &Error{Reason: MalformedPacket}              // reserved flags of the fixed header
	errString   = &Error{Reason: MalformedPacket}              // not UTF-8, or with a character forbidden there
	errReserved = &Error{Reason: ProtocolError, Why: "RESERVED packet."}
)

// Properties.
var (
	errProperty           = &Error{Reason: MalformedPacket} // unknown, or running past the list's end
	errPropertyTwice      = &Error{Reason: ProtocolError}
	errPropertyValue      = &Error{Reason: ProtocolError}
	errPropertyMisplaced  = &Error{Reason: ProtocolError} // not legal in this packet, or not from this side
	errSubscribeMisplaced = &Error{Reason: MalformedPacket, Why: "SUBSCRIBE packet with invalid properties."}
	errUnsubMisplaced     = &Error{Reason: MalformedPacket, Why: "UNSUBSCRIBE packet with invalid properties."}
	errAuthMethod         = &Error{Reason: ProtocolError} // none, where there is data or in AUTH
)

// CONNECT.
var (
	errNameLength      = &Error{Reason: MalformedPacket, Why: "CONNECT with missing protocol string length."}
	errNameCut         = &Error{Reason: MalformedPacket, Why: "CONNECT with missing protocol string."}
	errLevelMissing    = &Error{Reason: MalformedPacket, Why: "CONNECT with missing protocol version."}
	errLevel           = &Error{Reason: UnsupportedProtocolVersion}
	errFlagsMissing    = &Error{Reason: MalformedPacket, Why: "CONNECT with missing connect flags."}
	errKeepAlive       = &Error{Reason: MalformedPacket, Why: "CONNECT with missing keepalive."}
	errClientID        = &Error{Reason: ClientIDNotValid}
	errWillTopicEmpty  = &Error{Reason: ProtocolError, Why: "Will with empty topic."}
	errUsernameMissing = &Error{Reason: MalformedPacket, Why: "CONNECT with username flag but no username."}
	errPasswordMissing = &Error{Reason: MalformedPacket, Why: "CONNECT with password flag but no password."}
)

// The other packets.
var (
	errTopicEmpty     = &Error{Reason: MalformedPacket} // and no alias
	errPublishID      = &Error{Reason: ProtocolError, Why: "PUBLISH packet with mid = 0."}
	errSubscribeID    = &Error{Reason: MalformedPacket}             // 0
	errNoFilter       = &Error{Reason: MalformedPacket}             // [MQTT-3.8.3-2], [MQTT-3.10.3-2]
	errConnackFlags   = &Error{Reason: MalformedPacket}             // [MQTT-3.2.2-1]
	errSessionPresent = &Error{Reason: ProtocolError}               // in a refusal [MQTT-3.2.2-6]
	errCode           = &Error{Reason: ProtocolError}               // a reason or return code not legal in the packet
	errGoodbye        = &Error{Reason: ProtocolError, Silent: true} // errCode in a DISCONNECT: its sender is gone already
	errAuthVersion    = &Error{Reason: ProtocolError, Why: "AUTH packet when session not MQTT v5.0."}
	errAuthFlags      = &Error{Reason: ProtocolError}
)

// errorf makes a refusal with numbers.
func errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Why: fmt.Sprintf(format, args...)}
}

// flagsError is the refusal of the reserved flags in a packet's first byte. [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.14.1-1]
func flagsError(t Type, first byte) *Error {
	switch t {
	case Connect:
		return errorf(MalformedPacket, "CONNECT with non-zero reserved flags (%02X).", first)
	case Pubrel:
		return errorf(ProtocolError, "PUBREL with non-zero reserved flags (%02X).", first)
	case Disconnect:
		return errorf(ProtocolError, "DISCONNECT packet with incorrect flags %02X.", first)
	case Auth:
		return errAuthFlags
	}
	return errFlags
}

// errAckLength is the refusal of an acknowledgement whose length its version does not have.
func errAckLength(n int) *Error {
	if n < 2 {
		return errCut
	}
	return errOverlong
}
