package core

import (
	"math/rand/v2"

	"midge/packet"
	"midge/persist"
)

// Time is an instant in milliseconds on a monotonic clock of the caller's
// choice, above 0 and never going back. All of core's time comes in by argument.
type Time = persist.Time

// Config is what the broker may do and how much of it. It may be replaced
// while the broker runs. A limit of 0 means none, unless said otherwise.
type Config struct {
	Version string // what $SYS/broker/version says

	MaxInflightMessages int    // QoS 1 and 2 messages under way to a client; a v5 client's Receive Maximum takes its place
	MaxInflightBytes    int    // payload bytes of those
	MaxQueuedMessages   int    // messages that wait beyond the window, for an offline session in all
	MaxQueuedBytes      int    // payload bytes of those
	QueueQoS0           bool   // QoS 0 waits for an offline session too
	MaxPacketSize       int    // the largest packet taken, in bytes on the wire
	MessageSizeLimit    int    // the largest payload passed on
	MaxKeepAlive        uint16 // seconds; with a limit, 0 asks for too much
	MaxSessionExpiry    Time   // the longest a session outlives its connection, in milliseconds
	MaxClients          int    // sessions, connected or not
	MemoryLimit         int64  // bytes of the account, see Broker.Memory
	MaxSubscriptions    int    // of one session
	MaxTopicLevels      int    // of a topic or filter, beside topic.MaxSlashes
	MaxRetained         int    // retained messages, those of the broker's own not counted
	MaxClientIDLength   int    // in bytes, of an id that the broker did not make up
	RetainAvailable     bool
	RetainSweep         Time // how often expired retained messages are looked for, in milliseconds
	UpgradeQoS          bool // messages go out with the subscription's QoS
	AllowDuplicates     bool // one copy for each subscription that matches, not for each client
	RetryInterval       Time // after which v3 clients are sent again what they did not acknowledge, in milliseconds
	SysInterval         Time // between updates of $SYS, in milliseconds
	ConnectionMessages  bool // connects and disconnects are logged
	ControlAPI          bool // topics of $CONTROL/ are answered, see Control

	// Access knows about sessions that are away and about the origins of retained
	// messages, by the ports of their listeners; those who are connected have their
	// Listener's. Where it is nil everybody may do anything.
	Access            Access
	CheckRetainSource bool   // a retained message is only for others while its origin may publish it
	ClientIDPrefix    string // client ids begin so, or are refused
}

// Listener is what the clients of one listener have in common. When its
// configuration changes, clients that come later get another one; those that are
// connected keep theirs, see Follow.
type Listener struct {
	Port          int
	Path          string               // of a Unix socket, else ""
	Mount         string               // in front of every topic of its clients, who do not see it; see mount.go
	Anonymous     bool                 // clients may connect without credentials
	Access        Access               // what its clients may do; nil: anything
	UsernameAsID  bool                 // the user name takes the place of the client id
	strangers     bool                 // clients that name a user were admitted by another Login than this, or by none
	Login         Login                // knows who may connect; nil: any user name is as good as none
	Refused       func()               // told when one is not authorised; nil: nobody wants to know
	EmptyClientID bool                 // a client id may be empty
	AutoIDPrefix  string               // of the client ids the broker makes up
	MaxQoS        byte                 // the highest QoS a client may publish with and is granted
	MaxAlias      uint16               // topic aliases a client may use
	MaxAliasOut   uint16               // topic aliases the broker uses towards a client
	Remote        func(*Client) Remote // the other end of a connection; nil for a Unix socket
	Versions      uint8                // a bit, 1<<version, for each protocol version it accepts

	// Identity is the user name that the transport vouches for, in place of what the
	// client says; ok is false where it has none for it. nil: the client is to
	// name itself.
	Identity func(*Client) (name string, ok bool)
}

// Follow makes l, which has connected clients, what next says, but for what CONNACK
// has told them and where their subscriptions stand: that holds for as long as they stay.
func (l *Listener) Follow(next *Listener) {
	old := *l
	*l = *next
	l.MaxQoS, l.MaxAlias, l.Mount = old.MaxQoS, old.MaxAlias, old.Mount
	l.strangers = old.strangers || l.Login != old.Login
}

// AllVersions is the value of Listener.Versions that accepts every protocol version.
const AllVersions = 1<<packet.V31 | 1<<packet.V311 | 1<<packet.V5

// Options is what New is given beside the configuration.
type Options struct {
	Log      Logger           // nil: nothing is logged
	Recorder persist.Recorder // nil: nothing is durable, nothing waits for a disk
	Rand     *rand.Rand       // makes client ids
	Control  Control          // answers topics of $CONTROL/; nil: there are no endpoints
}

// WorkTurn is what a turn of the caller's loop may do for its clients before those who
// wait for nothing else but more time have to wait for the next, in units of Broker.Work.
const WorkTurn = 2 * workMax

// Fixed limits, in bytes or numbers.
const (
	connectTimeout Time = 30_000 // from the connection to its CONNECT

	anyPacket  = 5 + packet.MaxRemaining // no packet is larger
	outHigh    = 64 << 10                // pending output at which PUBLISH packets wait in the session's queue
	overHigh   = 64 << 10                // of other packets, beyond outHigh, at which the client is not read
	scratchMax = 64 << 10                // scratch space kept from one turn to the next

	// What a client's packets may cost before others get their turn, in units of a
	// delivery of QoS 0, which is about 0.1 us; and what costs more than one of those.
	workMax       = 4096
	workMin       = 512 // where a great many wait
	workMessage   = 4   // a message made
	workRetain    = 8   // stored, or taken away
	workSubscribe = 16  // and UNSUBSCRIBE, for each filter
	workChecks    = 4   // filters checked for a unit
	workFeed      = 2   // a retained message read
	workSeek      = 16  // and looked for: once in each go, and again for each miss
	workControl   = 64  // a request to $CONTROL/, beside its answer
	cursorBudget  = 256 // retained messages to one session in one go

	workControlBytes = 16 // of such an answer, in bytes for a unit
)
