package core

import (
	"errors"
	"fmt"

	"midge/packet"
)

// cause is why a connection ends: what a v5 client is told, and mosquitto's
// words for the log.
type cause struct {
	reason packet.Reason // 0: nothing is sent
	text   string        // after "disconnected: "; "" is a DISCONNECT of the client's own
	quiet  bool          // not logged
	theirs bool          // the client ended it; what else it sent is of no interest
}

// The causes mosquitto knows.
var (
	causeLeft      = cause{theirs: true}
	causeHungUp    = cause{text: "connection closed by client", theirs: true}
	causeTimeout   = cause{reason: packet.KeepAliveTimeout, text: "exceeded timeout"}
	causeProtocol  = cause{reason: packet.ProtocolError, text: "protocol error"}
	causeMalformed = cause{reason: packet.MalformedPacket, text: "malformed packet"}
	causeOversize  = cause{reason: packet.PacketTooLarge, text: "oversize packet"}
	causeTakenOver = cause{reason: packet.SessionTakenOver, text: "session taken over"}
	causeAlias     = cause{reason: packet.TopicAliasInvalid, text: "topic alias invalid"}
	causeQoS       = cause{reason: packet.QoSNotSupported, text: disallowed}
	causeRetain    = cause{reason: packet.RetainNotSupported, text: disallowed}
	causeMemory    = cause{text: "out of memory"}
	causeQuota     = cause{reason: packet.QuotaExceeded, text: causeMemory.text}
	causeBadID     = cause{reason: packet.ClientIDNotValid, text: "client identifier not valid"}
)

const disallowed = "used disallowed feature (QoS too high, retain not supported, or bad AUTH method)"

// fault is an error of the client that ends its connection.
type fault struct {
	cause cause
	why   string // for the line "Protocol error from X: ", or ""
	line  string // a line of its own instead, or ""
	quiet bool   // no packet is sent before closing
}

func (f *fault) Error() string { return f.cause.text + ": " + f.why }

// Faults of legal packets in the wrong place; those of the bytes come from packet.
var (
	faultLength     = &fault{cause: causeMalformed} // v5 [MQTT-1.5.5-1]
	faultTopic      = &fault{cause: causeMalformed}
	faultAlias      = &fault{cause: causeAlias}
	faultRetain     = &fault{cause: causeRetain}
	faultOversize   = &fault{cause: causeOversize}
	faultUnexpected = &fault{cause: causeProtocol}
	faultNoLocal    = &fault{cause: causeProtocol, why: "$share subscription with no-local set."}
	faultShare      = &fault{cause: causeProtocol, why: "Invalid shared subscription."}
	faultMemory     = &fault{cause: causeMemory}
	faultRetained   = &fault{cause: cause{text: refuseMemory.text}}
	faultQuota      = &fault{cause: causeQuota}
	faultWrongAck   = &fault{cause: causeProtocol, why: "acknowledgement of another kind than the message."}
	faultRepeats    = &fault{cause: causeProtocol}
	faultAuth       = &fault{cause: causeProtocol, why: "AUTH packet without existing auth-method."}
)

// faultOf turns a decoder's error into a fault.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var e *packet.Error
	if !errors.As(err, &e) {
		return &fault{cause: causeProtocol, why: err.Error()}
	}
	f = &fault{why: e.Why, quiet: e.Silent}
	switch e.Reason {
	case packet.MalformedPacket:
		f.cause = causeMalformed
	case packet.ClientIDNotValid:
		f.cause = causeBadID
	case packet.PacketTooLarge:
		f.cause = causeOversize
	default:
		f.cause = cause{reason: e.Reason, text: causeProtocol.text}
	}
	return f
}

// fail ends c's connection for an error of its own making, in p or before there
// was one: a v5 client is told why, an older one is just closed
// ([MQTT-4.8.0-1], v5 [MQTT-4.13.1-1]).
func (b *Broker) fail(c *Client, p *packet.Packet, err error, now Time) {
	f := faultOf(err)
	b.explain(c, p, err, f)
	why := f.cause
	if f.quiet {
		why.reason = 0
	}
	b.close(c, why, now)
}

// explain writes the line that says what was wrong: one of its own, where
// mosquitto has one, or its general one.
func (b *Broker) explain(c *Client, p *packet.Packet, err error, f *fault) {
	switch {
	case errors.Is(err, packet.ErrPublishQoS):
		b.log.Logf(LogInfo, "Invalid QoS in PUBLISH from %s, disconnecting.", c.name())
	case errors.Is(err, packet.ErrPublishDup):
		b.log.Logf(LogInfo, "Invalid PUBLISH (QoS=0 and DUP=1) from %s, disconnecting.", c.name())
	case errors.Is(err, packet.ErrEmptyFilter) && p.Type == packet.Subscribe:
		b.log.Logf(LogInfo, "Empty subscription string from %s, disconnecting.", c.Host())
	case errors.Is(err, packet.ErrEmptyFilter):
		b.log.Logf(LogInfo, "Empty unsubscription string from %s, disconnecting.", c.name())
	case errors.Is(err, packet.ErrSubscriptionOptions):
		b.log.Logf(LogInfo, "Invalid QoS in subscription command from %s, disconnecting.", c.Host())
	case errors.Is(err, packet.ErrPasswordWithoutUsername):
		b.log.Logf(LogError, "Protocol error from %s: password without username, closing connection.", c.name())
	case f.line != "":
		b.log.Logf(LogInfo, "%s", f.line)
	case f.why != "" && c.session != nil:
		b.log.Logf(LogInfo, "Protocol error from %s: %s", c.session.id, f.why)
	case f.why != "":
		b.log.Logf(LogInfo, "Protocol error from %s: %s", c.Peer(), f.why)
	}
}

// faultLine is a fault with a line of its own.
func faultLine(c cause, format string, args ...any) error {
	return &fault{cause: c, line: fmt.Sprintf(format, args...)}
}
