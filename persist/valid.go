package persist

import (
	"strings"
	"unicode/utf8"
)

// What is read from a file of unknown history goes to clients, so it is checked
// as what comes from a client is.

const (
	slashesMax = 200 // in a topic or filter, mosquitto's limit
	qosMax     = 2
)

func validText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func validTopic(s string) bool {
	return s != "" && validText(s) && !strings.ContainsAny(s, "+#") && strings.Count(s, "/") <= slashesMax
}

func validFilter(s string) bool {
	if !validText(s) || strings.Count(s, "/") > slashesMax {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "$share/"); ok {
		group, filter, ok := strings.Cut(rest, "/")
		if !ok || group == "" || strings.ContainsAny(group, "+#") {
			return false
		}
		s = filter
	}
	if s == "" {
		return false
	}
	for level := range strings.SplitSeq(s, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return false
		}
	}
	i := strings.IndexByte(s, '#')
	return i < 0 || i == len(s)-1
}

// The properties that are stored with a message (v5 3.3.2.3).
const (
	propPayloadFormat = 0x01
	propContentType   = 0x03
	propResponseTopic = 0x08
	propCorrelation   = 0x09
	propUser          = 0x26
	subscriptionIDTop = 1<<28 - 1
)

// eachProperty takes a property list apart, and says whether it is one that a
// message may have. visit is given each property's identifier and all its bytes.
func eachProperty(list string, visit func(id byte, all string)) bool {
	f := fields{b: raw(list)}
	for len(f.b) > 0 {
		at := len(list) - len(f.b)
		id := f.byte()
		if !f.property(id) {
			return false
		}
		visit(id, list[at:len(list)-len(f.b)])
	}
	return !f.short
}

// property passes over the value of one property.
func (f *fields) property(id byte) bool {
	ok := true
	switch id {
	case propPayloadFormat:
		ok = f.byte() <= 1
	case propContentType:
		ok = validText(f.string16())
	case propResponseTopic:
		s := f.string16()
		ok = validText(s) && !strings.ContainsAny(s, "+#")
	case propCorrelation:
		f.string16()
	case propUser:
		name, value := f.string16(), f.string16()
		ok = validText(name) && validText(value)
	case propSubscriptionID:
		ok = f.mqttVarint() > 0
	default:
		return false
	}
	return ok && !f.short
}

// plainProperties says whether a list is one that mosquitto stores: without
// Subscription Identifiers, which are its own affair.
func plainProperties(list string) bool {
	plain := true
	return eachProperty(list, func(id byte, _ string) { plain = plain && id != propSubscriptionID }) && plain
}

func (c *messageChunk) valid() bool {
	return validTopic(c.topic) && c.qos <= qosMax && c.retain <= 1 && plainProperties(c.properties)
}

// valid leaves out what depends on the state, which restore looks at.
func (c *deliveryChunk) valid() bool {
	return c.client != "" && validText(c.client) && c.qos <= qosMax && c.state > 0 && c.state <= stateQueued
}

func (c *subscriptionChunk) valid() bool {
	return c.client != "" && validText(c.client) && validFilter(c.filter) && c.qos <= qosMax && c.id <= subscriptionIDTop
}

// valid lets an empty client id pass: mosquitto says so and goes on.
func (c *sessionChunk) valid() bool { return validText(c.client) && validText(c.user) }
