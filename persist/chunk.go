package persist

import (
	"encoding/binary"
	"math"
	"strings"
)

// The chunks of mosquitto.db, as versions 5 and 6 have them.
//
// A file is a header and chunks until it ends:
//
//	+--------------------------------+---------+-------------+---------+---------+
//	| 00 B5 00 "mosquitto db" (15 B) | 0 (4 B) | version (4) | chunk 1 | chunk 2 | ...
//	+--------------------------------+---------+-------------+---------+---------+
//
//	chunk: +----------+------------+-----------------+
//	       | kind (4) | length (4) | length bytes    |
//	       +----------+------------+-----------------+
//
// Numbers of 16 and 32 bits are big-endian. Those of 64 bits are in the order of
// the machine that wrote the file; all that midge runs on are little-endian, and
// so are the files that it takes. Lengths of strings stand in the fixed part
// (marked #), the strings behind it in that order. Instants are Unix time in
// seconds.

// magic is what every file begins with.
const magic = "\x00\xB5\x00mosquitto db"

const (
	headerSize = len(magic) + 4 + 4
	headSize   = 4 + 4 // of a chunk

	versionOldest = 2 // that can be read
	versionStruct = 5 // chunks of 5 and 6 begin with a fixed part; older ones are fields in a row
	versionNow    = 6 // that is written
)

// The kinds of chunks.
const (
	kindConfig       = 1
	kindMessage      = 2
	kindDelivery     = 3
	kindRetained     = 4
	kindSubscription = 5
	kindSession      = 6
	kindOwn          = 'm'<<24 | 'i'<<16 | 'd'<<8 | 'g' // see own.go
)

// configChunk comes first.
//
//	+-------------+-------------+-------------+----------+
//	| last id (8) | stopped (1) | id size (1) | mark (6) |
//	+-------------+-------------+-------------+----------+
//
// The mark is padding to mosquitto, which writes zeros and does not look.
type configChunk struct {
	last    uint64 // the highest id of a message
	stopped bool   // the broker wrote it when it stopped
	idSize  byte   // 8, or the file is of no use
	own     bool   // midge wrote it
}

const (
	configSize = 16
	idSize     = 8
	ownMark    = "midge\x01"
)

func (c *configChunk) append(b []byte) []byte {
	b = appendHead(b, kindConfig, configSize)
	b = binary.LittleEndian.AppendUint64(b, c.last)
	b = append(b, flag(c.stopped), c.idSize)
	if c.own {
		return append(b, ownMark...)
	}
	return append(b, "\x00\x00\x00\x00\x00\x00"...)
}

func (c *configChunk) decode(f *fields) bool {
	*c = configChunk{last: f.native(), stopped: f.byte() != 0, idSize: f.byte(), own: f.text(len(ownMark)) == ownMark}
	return f.done()
}

// messageChunk is a message, whoever waits for it.
//
//	+--------+-------------+--------------+------------+-------------+-----------+------------+
//	| id (8) | expires (8) | payload# (4) | source mid | source# (2) | user# (2) | topic# (2) |
//	+--------+-------------+--------------+------------+-------------+-----------+------------+
//	+----------+---------+------------+--------+------+-------+---------+------------------+
//	| port (2) | QoS (1) | retain (1) | source | user | topic | payload | property section |
//	+----------+---------+------------+--------+------+-------+---------+------------------+
//
// The property section is as in a PUBLISH, its length in front, and left out
// when it is empty.
type messageChunk struct {
	id           uint64
	expires      int64  // 0: never
	source, user string // client id and user name of the publisher
	topic        string
	payload      string
	properties   string // without their length
	mid          uint16 // packet identifier at the publisher
	port         uint16 // of the publisher's listener
	qos, retain  byte
}

const messageSize = 32

// append leaves out what is long: the payload and, behind it, the property section.
func (c *messageChunk) append(b []byte) []byte {
	n := messageSize + len(c.source) + len(c.user) + len(c.topic) + len(c.payload) + c.sectionSize()
	b = appendHead(b, kindMessage, n)
	b = binary.LittleEndian.AppendUint64(b, c.id)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.expires))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.payload)))
	b = appendUint16s(b, int(c.mid), len(c.source), len(c.user), len(c.topic), int(c.port))
	b = append(b, c.qos, c.retain)
	b = append(b, c.source...)
	b = append(b, c.user...)
	return append(b, c.topic...)
}

func (c *messageChunk) appendSection(b []byte) []byte {
	if c.properties == "" {
		return b
	}
	return append(appendMQTTVarint(b, len(c.properties)), c.properties...)
}

func (c *messageChunk) sectionSize() int {
	n := len(c.properties)
	switch {
	case n == 0:
		return 0
	case n < 1<<7:
		return n + 1
	case n < 1<<14:
		return n + 2
	case n < 1<<21:
		return n + 3
	}
	return n + 4
}

func (c *messageChunk) decode(f *fields) bool {
	*c = messageChunk{id: f.native(), expires: int64(f.native())}
	payload := int(f.uint32())
	c.mid = f.uint16()
	source, user, topic := int(f.uint16()), int(f.uint16()), int(f.uint16())
	c.port, c.qos, c.retain = f.uint16(), f.byte(), f.byte()
	c.source, c.user, c.topic, c.payload = f.text(source), f.text(user), f.text(topic), f.text(payload)
	if len(f.b) > 0 {
		c.properties = f.text(f.mqttVarint())
	}
	return f.done() && c.valid()
}

// deliveryChunk is a message that waits for a client, or an exchange with it
// that is not over.
//
//	+------------+---------+---------+---------+-----------+---------------+---------------+-----------+
//	| message(8) | mid (2) | id# (2) | QoS (1) | state (1) | retain<<4|dup | direction (1) | client id |
//	+------------+---------+---------+---------+-----------+---------------+---------------+-----------+
//
// Behind it, when there is a Subscription Identifier, a property section with
// nothing else in it.
type deliveryChunk struct {
	message        uint64
	client         string
	subscriptionID uint32 // 0: none
	mid            uint16
	qos, state     byte
	retain, dup    bool
	outgoing       bool
}

const deliverySize = 16

// The states of a delivery, as mosquitto numbers them.
const (
	stateSendQoS0    = 1
	stateSendQoS1    = 2
	stateAwaitPuback = 3
	stateSendQoS2    = 4
	stateAwaitPubrec = 5
	stateSendPubrel  = 6
	stateAwaitPubrel = 7
	stateSendPubcomp = 8
	stateAwaitPubcmp = 9
	stateSendPubrec  = 10
	stateQueued      = 11
)

// propSubscriptionID is the Subscription Identifier among the properties of PUBLISH (v5 3.3.2.3.8).
const propSubscriptionID = 0x0B

func (c *deliveryChunk) append(b []byte) []byte {
	at := len(b)
	b = appendHead(b, kindDelivery, 0)
	b = binary.LittleEndian.AppendUint64(b, c.message)
	b = appendUint16s(b, int(c.mid), len(c.client))
	b = append(b, c.qos, c.state, flag(c.retain)<<4|flag(c.dup), flag(c.outgoing))
	b = append(b, c.client...)
	if c.subscriptionID != 0 {
		section := len(b)
		b = append(b, 0, propSubscriptionID)
		b = appendMQTTVarint(b, int(c.subscriptionID))
		b[section] = byte(len(b) - section - 1)
	}
	binary.BigEndian.PutUint32(b[at+4:], uint32(len(b)-at-headSize))
	return b
}

func (c *deliveryChunk) decode(f *fields) bool {
	*c = deliveryChunk{message: f.native(), mid: f.uint16()}
	client := int(f.uint16())
	c.qos, c.state = f.byte(), f.byte()
	flags := f.byte()
	c.retain, c.dup = flags>>4 != 0, flags&0xF != 0
	c.outgoing = f.byte() != 0
	c.client = f.text(client)
	if len(f.b) > 0 && (f.mqttVarint() != len(f.b) || !c.decodeID(f)) {
		return false
	}
	return f.done() && c.valid()
}

func (c *deliveryChunk) decodeID(f *fields) bool {
	if f.byte() != propSubscriptionID {
		return false
	}
	c.subscriptionID = uint32(f.mqttVarint())
	return c.subscriptionID != 0
}

// retainedChunk says that a message is the retained one of its topic.
//
//	+-------------+
//	| message (8) |
//	+-------------+
type retainedChunk struct{ message uint64 }

const retainedSize = 8

func (c *retainedChunk) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(appendHead(b, kindRetained, retainedSize), c.message)
}

func (c *retainedChunk) decode(f *fields) bool {
	c.message = f.native()
	return f.done()
}

// subscriptionChunk is a subscription. QoS stands apart from the other options.
//
//	+--------------------+---------+-------------+---------+-------------+-------+-----------+--------+
//	| subscription id(4) | id# (2) | filter# (2) | QoS (1) | options (1) | 0 (2) | client id | filter |
//	+--------------------+---------+-------------+---------+-------------+-------+-----------+--------+
type subscriptionChunk struct {
	id             uint32
	client, filter string
	qos, options   byte
}

const subscriptionSize = 12

func (c *subscriptionChunk) append(b []byte) []byte {
	b = appendHead(b, kindSubscription, subscriptionSize+len(c.client)+len(c.filter))
	b = binary.BigEndian.AppendUint32(b, c.id)
	b = appendUint16s(b, len(c.client), len(c.filter))
	b = append(b, c.qos, c.options, 0, 0)
	return append(append(b, c.client...), c.filter...)
}

func (c *subscriptionChunk) decode(f *fields) bool {
	*c = subscriptionChunk{id: f.uint32()}
	client, filter := int(f.uint16()), int(f.uint16())
	c.qos, c.options = f.byte(), f.byte()
	f.take(2)
	c.client, c.filter = f.text(client), f.text(filter)
	return f.done() && c.valid()
}

// sessionChunk is a session. Version 5 ends its fixed part before the port, and
// has no user name.
//
//	+-------------+------------+--------------+---------+----------+-----------+-------+-----------+------+
//	| expires (8) | expiry (4) | last mid (2) | id# (2) | port (2) | user# (2) | 0 (4) | client id | user |
//	+-------------+------------+--------------+---------+----------+-----------+-------+-----------+------+
type sessionChunk struct {
	expires      int64  // when it ends; 0: not known, or never
	expiry       uint32 // seconds after its connection ended
	client, user string
	last         uint16 // the packet identifier given out last
	port         uint16
	gone         int64 // when its connection ended, 0: not known; versions 3 and 4 only
}

const (
	sessionSize5 = 16
	sessionSize6 = 24
	neverEnds    = math.MaxUint32 // an expiry
)

func (c *sessionChunk) append(b []byte) []byte {
	b = appendHead(b, kindSession, sessionSize6+len(c.client)+len(c.user))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.expires))
	b = binary.BigEndian.AppendUint32(b, c.expiry)
	b = appendUint16s(b, int(c.last), len(c.client), int(c.port), len(c.user))
	b = append(b, 0, 0, 0, 0)
	return append(append(b, c.client...), c.user...)
}

func (c *sessionChunk) decode(f *fields, version uint32) bool {
	*c = sessionChunk{expires: int64(f.native()), expiry: f.uint32(), last: f.uint16()}
	client, user := int(f.uint16()), 0
	if version > versionStruct {
		c.port, user = f.uint16(), int(f.uint16())
		f.take(4)
	}
	c.client, c.user = f.text(client), f.text(user)
	if strings.IndexByte(c.user, 0) >= 0 {
		c.user = "" // 2.0.11 gives a client without a name the memory of the one before
	}
	return f.done() && c.valid()
}

// extent is what a chunk's fixed part, or the beginning of it, says of its
// length: the least it has, and whether that is all. It is -1 when the fixed part
// is not all there, and for kinds that are not known.
func extent(kind, version uint32, fixed []byte) (least int64, all bool) {
	f := fields{b: fixed}
	n := int64(0)
	switch kind {
	case kindConfig:
		f.take(configSize)
		n, all = configSize, true
	case kindMessage:
		f.take(16)
		n = messageSize + int64(f.uint32())
		f.take(2)
		n += int64(f.uint16()) + int64(f.uint16()) + int64(f.uint16())
	case kindDelivery:
		f.take(10)
		n = deliverySize + int64(f.uint16())
	case kindRetained:
		f.take(retainedSize)
		n, all = retainedSize, true
	case kindSubscription:
		f.take(4)
		n, all = subscriptionSize+int64(f.uint16())+int64(f.uint16()), true
	case kindSession:
		f.take(14)
		n, all = sessionSize5+int64(f.uint16()), true
		if version > versionStruct {
			f.take(2)
			n += sessionSize6 - sessionSize5 + int64(f.uint16())
		}
	default:
		return -1, false
	}
	if f.short {
		return -1, false
	}
	return n, all
}

func appendHead(b []byte, kind uint32, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, kind)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

func appendUint16s(b []byte, ns ...int) []byte {
	for _, n := range ns {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return b
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}
