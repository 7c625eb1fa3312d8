package packet

import "fmt"

// Reason is a version 5 reason code; 0x80 and above are failures. [MQTT 2.4]
type Reason byte

// The reason codes. Those that share a value are told apart by the packet.
const (
	Success             Reason = 0x00
	NormalDisconnection Reason = 0x00
	GrantedQoS0         Reason = 0x00
	GrantedQoS1         Reason = 0x01
	GrantedQoS2         Reason = 0x02

	DisconnectWithWill     Reason = 0x04
	NoMatchingSubscribers  Reason = 0x10
	NoSubscriptionExisted  Reason = 0x11
	ContinueAuthentication Reason = 0x18
	Reauthenticate         Reason = 0x19

	UnspecifiedError                  Reason = 0x80
	MalformedPacket                   Reason = 0x81
	ProtocolError                     Reason = 0x82
	ImplementationError               Reason = 0x83
	UnsupportedProtocolVersion        Reason = 0x84
	ClientIDNotValid                  Reason = 0x85
	BadUsernameOrPassword             Reason = 0x86
	NotAuthorized                     Reason = 0x87
	ServerUnavailable                 Reason = 0x88
	ServerBusy                        Reason = 0x89
	Banned                            Reason = 0x8A
	ServerShuttingDown                Reason = 0x8B
	BadAuthenticationMethod           Reason = 0x8C
	KeepAliveTimeout                  Reason = 0x8D
	SessionTakenOver                  Reason = 0x8E
	TopicFilterInvalid                Reason = 0x8F
	TopicNameInvalid                  Reason = 0x90
	PacketIDInUse                     Reason = 0x91
	PacketIDNotFound                  Reason = 0x92
	ReceiveMaximumExceeded            Reason = 0x93
	TopicAliasInvalid                 Reason = 0x94
	PacketTooLarge                    Reason = 0x95
	MessageRateTooHigh                Reason = 0x96
	QuotaExceeded                     Reason = 0x97
	AdministrativeAction              Reason = 0x98
	PayloadFormatInvalid              Reason = 0x99
	RetainNotSupported                Reason = 0x9A
	QoSNotSupported                   Reason = 0x9B
	UseAnotherServer                  Reason = 0x9C
	ServerMoved                       Reason = 0x9D
	SharedSubscriptionsNotSupported   Reason = 0x9E
	ConnectionRateExceeded            Reason = 0x9F
	MaximumConnectTime                Reason = 0xA0
	SubscriptionIDsNotSupported       Reason = 0xA1
	WildcardSubscriptionsNotSupported Reason = 0xA2
)

// lowReasons and highReasons name the codes below 0x80 and from it on.
var lowReasons = [...]string{
	Success:                "success",
	GrantedQoS1:            "granted QoS 1",
	GrantedQoS2:            "granted QoS 2",
	DisconnectWithWill:     "disconnect with will message",
	NoMatchingSubscribers:  "no matching subscribers",
	NoSubscriptionExisted:  "no subscription existed",
	ContinueAuthentication: "continue authentication",
	Reauthenticate:         "re-authenticate",
}

var highReasons = [...]string{
	"unspecified error", "malformed packet", "protocol error", "implementation specific error",
	"unsupported protocol version", "client identifier not valid", "bad user name or password", "not authorized",
	"server unavailable", "server busy", "banned", "server shutting down",
	"bad authentication method", "keep alive timeout", "session taken over", "topic filter invalid",
	"topic name invalid", "packet identifier in use", "packet identifier not found", "receive maximum exceeded",
	"topic alias invalid", "packet too large", "message rate too high", "quota exceeded",
	"administrative action", "payload format invalid", "retain not supported", "QoS not supported",
	"use another server", "server moved", "shared subscriptions not supported", "connection rate exceeded",
	"maximum connect time", "subscription identifiers not supported", "wildcard subscriptions not supported",
}

// String is the name of the code in lower case.
func (r Reason) String() string {
	if i := int(r) - 0x80; i >= 0 && i < len(highReasons) {
		return highReasons[i]
	}
	if int(r) < len(lowReasons) && lowReasons[r] != "" {
		return lowReasons[r]
	}
	return fmt.Sprintf("reason code 0x%02X", byte(r))
}

// Failed says whether the code is one of failure.
func (r Reason) Failed() bool { return r >= 0x80 }

// reasonSet has a bit for each code below 0x20 and each from 0x80 to 0xBF; there are no others.
type reasonSet struct {
	low  uint32
	high uint64
}

func reasonsOf(codes ...Reason) (s reasonSet) {
	for _, r := range codes {
		if r < 0x80 {
			s.low |= 1 << r
		} else {
			s.high |= 1 << (r - 0x80)
		}
	}
	return s
}

func (s reasonSet) has(r Reason) bool {
	switch {
	case r < 0x20:
		return s.low>>r&1 != 0
	case r >= 0x80 && r < 0xC0:
		return s.high>>(r-0x80)&1 != 0
	}
	return false
}

func (s reasonSet) or(t reasonSet) reasonSet { return reasonSet{s.low | t.low, s.high | t.high} }

// The reason codes legal in each packet, for version 5. [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1],
// [MQTT-3.7.2-1], [MQTT-3.9.3-2], [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1]
var (
	connackReasons = reasonsOf(Success, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationError,
		UnsupportedProtocolVersion, ClientIDNotValid, BadUsernameOrPassword, NotAuthorized, ServerUnavailable, ServerBusy,
		Banned, BadAuthenticationMethod, TopicNameInvalid, PacketTooLarge, QuotaExceeded, PayloadFormatInvalid,
		RetainNotSupported, QoSNotSupported, UseAnotherServer, ServerMoved, ConnectionRateExceeded)

	receivedReasons = reasonsOf(Success, NoMatchingSubscribers, UnspecifiedError, ImplementationError, NotAuthorized,
		TopicNameInvalid, PacketIDInUse, QuotaExceeded, PayloadFormatInvalid) // PUBACK, PUBREC

	releasedReasons = reasonsOf(Success, PacketIDNotFound) // PUBREL, PUBCOMP

	subackReasons = reasonsOf(GrantedQoS0, GrantedQoS1, GrantedQoS2, UnspecifiedError, ImplementationError, NotAuthorized,
		TopicFilterInvalid, PacketIDInUse, QuotaExceeded, SharedSubscriptionsNotSupported, SubscriptionIDsNotSupported,
		WildcardSubscriptionsNotSupported)

	subackCodesV3 = reasonsOf(GrantedQoS0, GrantedQoS1, GrantedQoS2, UnspecifiedError)

	unsubackReasons = reasonsOf(Success, NoSubscriptionExisted, UnspecifiedError, ImplementationError, NotAuthorized,
		TopicFilterInvalid, PacketIDInUse)

	disconnectReasons = reasonsOf(NormalDisconnection, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationError,
		TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge, MessageRateTooHigh, QuotaExceeded,
		AdministrativeAction, PayloadFormatInvalid)

	disconnectReasonsBySide = [...]reasonSet{
		FromClient: disconnectReasons.or(reasonsOf(DisconnectWithWill)),
		FromServer: disconnectReasons.or(reasonsOf(NotAuthorized, ServerBusy, ServerShuttingDown, KeepAliveTimeout,
			SessionTakenOver, TopicFilterInvalid, RetainNotSupported, QoSNotSupported, UseAnotherServer, ServerMoved,
			SharedSubscriptionsNotSupported, ConnectionRateExceeded, MaximumConnectTime, SubscriptionIDsNotSupported,
			WildcardSubscriptionsNotSupported)),
	}

	authReasonsBySide = [...]reasonSet{
		FromClient: reasonsOf(ContinueAuthentication, Reauthenticate),
		FromServer: reasonsOf(Success, ContinueAuthentication),
	}
)
