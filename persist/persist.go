// Package persist holds what outlives the process.
//
// The durable state of a broker is one image of immutable values: retained
// messages, the sessions that outlive their connection with their
// subscriptions, queues, unfinished QoS 2 exchanges, wills, and the cursors of
// retained deliveries under way. This package defines those values once, and
// the Recorder that hears of every change to them. The broker's core builds
// and changes them; nothing in here knows a socket, a packet or a clock.
//
// An Image (image.go) is a Recorder that holds all of it, and can be copied in
// constant time. A snapshot (snapshot.go) is an image in a file that mosquitto
// can read, or one that mosquitto wrote. Files are reached through a Disk (disk.go).
//
// A Store (store.go) is the Recorder of a running broker: it hands what it is told
// to a goroutine of its own (journal.go), which writes it as records (record.go) to
// the segments of the journal (segment.go), keeps the image, and makes snapshots
// of that. Recover (recover.go) reads both again.
//
// The values are immutable: once handed to anybody, a Message, a Subscription
// or an Origin is never written to again (but for two fields that are core's own).
// A change replaces it. That is what lets a snapshot be written from a copy of the
// image beside the loop, and what lets one message wait in a thousand queues.
//
// Instants are milliseconds on the broker's monotonic clock, as core keeps them.
// What is on the disk tells where that clock stood on the machine's, see Stamp, so
// that it can go on after a restart.
//
// Begin with the values below, then Store. What midge db prints is made by list.go.
package persist

import "math"

// Time is an instant in milliseconds on the broker's monotonic clock.
type Time = int64

// Never is the deadline of what does not expire.
const Never Time = math.MaxInt64

// Position numbers the records of changes: 1, 2, 3 and so on. 0 is before the first.
type Position uint64

// Origin says who published a message. Every message of a session shares one.
type Origin struct {
	ClientID string
	Username string // "" when the client gave none
	Listener int    // port of the listener it came by; 0 for a Unix socket
}

// Message is an application message on its way to its receivers.
type Message struct {
	Topic      string
	Properties string  // the v5 properties that travel with it, encoded, in their order: all but expiry, alias and subscription identifiers
	Payload    string  // any bytes
	Origin     *Origin // nil for the broker's own messages
	Expires    Time    // when its Message Expiry Interval ends, or Never
	Stored     uint64  // broker-wide number, ascending in the order of arrival
	QoS        byte    // as published
	Retain     bool    // as published

	Uses int32 // these two are the business of the broker's core, which uses messages again
	Room int32 // that nobody else has seen; they may change, and only its goroutine may look
}

// Bits of Subscription.Options, as on the wire (v5 3.8.3.1).
const (
	OptionQoS               = 3
	OptionNoLocal           = 4
	OptionRetainAsPublished = 8
)

// Subscription is one filter of one session.
type Subscription struct {
	ClientID string
	Filter   string // as the client wrote it, "$share/group/" included
	ID       uint32 // Subscription Identifier, 0 for none
	Options  byte   // as on the wire: QoS, No Local, Retain As Published, Retain Handling [MQTT-3.8.3.1]
}

// QoS is the highest QoS the subscription was granted.
func (s *Subscription) QoS() byte { return s.Options & OptionQoS }

// NoLocal says that the client's own messages are not sent back to it.
func (s *Subscription) NoLocal() bool { return s.Options&OptionNoLocal != 0 }

// RetainAsPublished says that RETAIN is forwarded as it was published.
func (s *Subscription) RetainAsPublished() bool { return s.Options&OptionRetainAsPublished != 0 }

// RetainHandling says when SUBSCRIBE sends retained messages: 0 always, 1 for a new subscription, 2 never.
func (s *Subscription) RetainHandling() byte { return s.Options >> 4 & 3 }

// Session is what there is to a session beside its collections.
type Session struct {
	ClientID string
	Username string
	Listener int    // port of the listener it was last connected through
	Expiry   uint32 // Session Expiry Interval in seconds; 0xFFFFFFFF never ends
	Gone     Time   // when its connection ended; Never while connected
	LastID   uint16 // the packet identifier given out last
}

// State is where the delivery of a message to a session stands.
type State byte

// The states of a delivery. QoS 1 knows Queued and Sent only.
const (
	Queued   State = iota // waits for room in the window
	Sent                  // PUBLISH is out, PUBACK or PUBREC is awaited
	Released              // PUBREL is out, PUBCOMP is awaited
)

// Delivery is one message for one session.
type Delivery struct {
	Message        *Message
	Number         uint64 // its place in the session's order; unique in the broker
	SubscriptionID uint32 // 0 for none
	ID             uint16 // packet identifier; 0 while Queued
	QoS            byte
	Retain         bool // the RETAIN flag it goes out with
	State          State
	Share          string // the shared subscription it came by, or ""
}

// Will is the message a session's client leaves behind.
type Will struct {
	Message *Message
	Delay   uint32 // Will Delay Interval in seconds
	Expiry  uint32 // Message Expiry Interval in seconds, counted from when it is published
	Expires bool   // whether Expiry was given
	Due     Time   // when it will be published, or Never while its client is connected
}

// Cursor is a retained delivery under way: the messages that match Filter,
// from Next on, that were stored up to Until, are still to be sent.
type Cursor struct {
	Filter         string
	Next           string
	Until          uint64
	Early          []string // topics from Next on whose message was sent before its turn; only ever added to
	SubscriptionID uint32
	Options        byte // of the subscription
}

// Recorder hears of every change of the durable image. The changes reported
// between two calls of Commit are one record: all of it counts, or nothing.
// Its methods are called on the loop's goroutine and must not block; whoever
// needs the disk to have a record asks for its Position.
type Recorder interface {
	Retain(m *Message)                               // m is now the retained message of its topic
	Unretain(topic string)                           // the topic has none any more
	Session(s Session)                               // the session exists and looks so
	Forget(clientID string)                          // the session ended, with all that belonged to it
	Subscribe(s *Subscription)                       // made or replaced
	Unsubscribe(clientID, filter string)             // taken back
	Deliver(clientID string, d Delivery)             // waits, or is under way, in this state
	Delivered(clientID string, number uint64)        // over, or dropped
	Receive(clientID string, id uint16, m *Message)  // QoS 2 from the client, kept until PUBREL
	Received(clientID string, id uint16)             // released or thrown away
	Will(clientID string, w *Will)                   // nil: there is none any more
	Cursor(clientID string, number uint64, c Cursor) // a retained delivery stands here
	CursorDone(clientID string, number uint64)       // it ended
	Commit(p Position)                               // ends the record, which is number p
}
