package script

import (
	"fmt"
	"math"
	"strconv"

	"midge/packet"
)

// property is how a script calls a property, and what kind of value it has.
type property struct {
	id   packet.Property
	name string
	kind valueKind
}

type valueKind uint8

const (
	number1 valueKind = iota
	number2
	number4
	numberV
	text
	pairs
)

var propertyTable = []property{
	{packet.PayloadFormat, "payload-format", number1},
	{packet.MessageExpiry, "expiry", number4},
	{packet.ContentType, "content-type", text},
	{packet.ResponseTopic, "response-topic", text},
	{packet.CorrelationData, "correlation", text},
	{packet.SubscriptionID, "sub-id", numberV},
	{packet.SessionExpiry, "session-expiry", number4},
	{packet.AssignedClientID, "assigned-id", text},
	{packet.ServerKeepAlive, "server-keepalive", number2},
	{packet.AuthMethod, "auth-method", text},
	{packet.AuthData, "auth-data", text},
	{packet.RequestProblemInfo, "problem-info", number1},
	{packet.WillDelay, "delay", number4},
	{packet.RequestResponseInfo, "request-response-info", number1},
	{packet.ResponseInfo, "response-info", text},
	{packet.ServerReference, "server-reference", text},
	{packet.ReasonString, "reason", text},
	{packet.ReceiveMaximum, "receive-max", number2},
	{packet.TopicAliasMaximum, "alias-max", number2},
	{packet.TopicAlias, "alias", number2},
	{packet.MaximumQoS, "max-qos", number1},
	{packet.RetainAvailable, "retain-available", number1},
	{packet.UserProperty, "user", pairs},
	{packet.MaximumPacketSize, "max-packet", number4},
	{packet.WildcardAvailable, "wildcard-available", number1},
	{packet.SubscriptionIDAvailable, "sub-id-available", number1},
	{packet.SharedAvailable, "shared-available", number1},
}

// never is how the largest number is written.
const never = "never"

// appendProperties encodes a property list.
func appendProperties(dst []byte, list []word) ([]byte, error) {
	for i := range list {
		w := &list[i]
		p, ok := propertyNamed(w.key)
		if !ok {
			return nil, fmt.Errorf("no such property: %s", w)
		}
		var n uint64
		if p.kind < text {
			var err error
			if n, err = strconv.ParseUint(w.value, 10, 32); w.value == never {
				n, err = math.MaxUint32, nil
			} else if err != nil {
				return nil, fmt.Errorf("%s is a number: %s", p.name, w.value)
			}
		}
		if p.kind == pairs && !w.pairs {
			return nil, fmt.Errorf("a user property is user=name:value")
		}
		switch p.kind {
		case number1:
			dst = packet.AppendByteProperty(dst, p.id, byte(n))
		case number2:
			dst = packet.AppendUint16Property(dst, p.id, uint16(n))
		case number4:
			dst = packet.AppendUint32Property(dst, p.id, uint32(n))
		case numberV:
			dst = packet.AppendVarintProperty(dst, p.id, uint32(n))
		case text:
			dst = packet.AppendBytesProperty(dst, p.id, w.value)
		case pairs:
			dst = packet.AppendUserProperty(dst, w.value, w.pair)
		}
	}
	return dst, nil
}

func propertyNamed(name string) (property, bool) {
	for _, p := range propertyTable {
		if p.name == name {
			return p, true
		}
	}
	return property{}, false
}

func propertyOf(id packet.Property) property {
	for _, p := range propertyTable {
		if p.id == id {
			return p
		}
	}
	return property{id: id, name: fmt.Sprintf("property-%02x", byte(id))}
}
