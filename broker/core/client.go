package core

import (
	"midge/packet"
	"midge/persist"
)

// state is where a connection stands:
//
//	opened ──CONNECT──▶ connected ──▶ closed
//	   └───────────────────────────────┘
type state uint8

const (
	opened    state = iota // accepted, waits for CONNECT
	connected              // CONNACK with success was made
	closed                 // nothing is read any more; what is in out may still be written
)

// Remote is the other end of a connection, for the log.
type Remote interface {
	Host() string // its address, without brackets
	Port() int

	// Secured is the version and the cipher of its TLS as OpenSSL calls them; ""
	// without.
	Secured() (version, cipher string)
}

// Client is one network connection. Its transport makes it, hands it to Open,
// feeds what it reads to Receive, writes what Output holds, and forgets it when
// Closed says so. The exported fields are the transport's to set.
//
// What every delivery looks at fills the first 64 bytes, a line of the
// processor's cache: a fan-out goes over many clients. What few have is in extra,
// for an idle client is to cost little.
type Client struct {
	Handle    int32 // the transport's own name for the connection
	state     state
	version   packet.Version
	flags     clientFlags
	aliasMax  uint16 // topic aliases the client takes
	window    uint16 // QoS 1 and 2 messages the client takes at once
	maxPacket int32  // the largest packet the client takes, in bytes
	out       output
	held      *held // packets that wait for the journal; nil mostly

	session   *Session
	heard     Time     // when the last packet came
	next      *Client  // of those to be looked at at the same time, see vigil
	link      **Client // what points to it in that list; nil while it is in none
	extra     *extra   // nil mostly
	over      int      // bytes of answers appended while the output was full
	keepAlive uint16   // seconds; 0: none
	charged   uint32   // bytes of its output in the account

	Listener *Listener
}

// extra is what few connections have.
type extra struct {
	aliases aliases // topic aliases, both ways
	resend  *resend // for retry_interval; nil while nothing is watched
	claim   string  // the client id of a CONNECT that was refused, or waits
	verdict Verdict // on its login; Pending where there is none
	rules   uint64  // Broker.rules when it was given
	asked   Login   // who is to give it, while the client is parked
	part    part    // of its packet that is done, see flagPart
	open    int     // the most QoS 2 messages it had open, see tightenIncoming
	small   bool    // told in the log that messages are too large for it
}

// part is what is kept of a SUBSCRIBE or UNSUBSCRIBE that is not done. It was decoded
// and checked, and is not once more.
type part struct {
	codes []byte // of the filters that are done
	left  int    // bytes of the others, at the packet's end
	id    uint16 // the packet identifier
	subID uint32 // Subscription Identifier, 0 without
}

// resume makes p what is left of the packet with that header and body.
func (d *part) resume(p *packet.Packet, h packet.Header, body []byte) {
	p.Type, p.ID = h.Type(), d.id
	p.Filters = packet.Filters{Raw: body[len(body)-d.left:], Options: p.Type == packet.Subscribe}
}

// more gives the client's extra, which it has from then on.
func (c *Client) more() *extra {
	if c.extra == nil {
		c.extra = new(extra)
	}
	return c.extra
}

type clientFlags uint16

const (
	flagBridge   clientFlags = 1 << iota // a mosquitto bridge: keeps RETAIN, is not sent its own
	flagDirty                            // on the broker's list of clients with output
	flagBusy                             // on the list of those to be fed again
	flagFlooding                         // told in the log that it exceeds the receive maximum
	flagPaused                           // not read, for it does not read either
	flagFilled                           // on the list of clients whose output became full
	flagMore                             // Receive stopped before a whole packet
	flagStalled                          // the last write was short, and its rest is still in the output
	flagLeft                             // the client itself ended it
	flagParked                           // waits for the verdict on its login
	flagBrief                            // its CONNECT asked for a session that ends with it
	flagMounted                          // its listener has a mount point
	flagOwed                             // not read, for the recorder has too much to do
	flagReusing                          // told in the log that it uses an identifier again too early
	flagPart                             // its packet is not done: Receive is to be given it once more
	flagCrowding                         // not read, for it has filled queues, see crowd
)

// Closed says that the connection is over: write what is pending, once, and
// close it.
func (c *Client) Closed() bool { return c.state == closed }

// Left says that it was the client who ended the connection, not the broker.
func (c *Client) Left() bool { return c.flags&flagLeft != 0 }

// Connected says that its CONNECT was accepted and it is not closed.
func (c *Client) Connected() bool { return c.state == connected }

// Paused says that nothing should be read from the connection before its
// output has drained, its login is decided, the recorder has caught up, or a
// subscriber has.
func (c *Client) Paused() bool {
	return c.flags&(flagPaused|flagParked|flagOwed|flagCrowding) != 0
}

// Crowding says that it is paused for a subscriber's sake: for a moment only, in
// which it is not to be given up even if the other end has gone.
func (c *Client) Crowding() bool { return c.flags&flagCrowding != 0 }

// More says that Receive stopped early, lest an output overflow or the turn grow
// long. What it left is to be given to it again.
func (c *Client) More() bool { return c.flags&flagMore != 0 }

// Session is what the broker knows of a client id. It may outlive its
// connection, see expiry. Idle ones cost little: the collections are made
// when first needed.
type Session struct {
	id      string
	client  *Client   // nil while not connected
	waiting *backlog  // what waits for room; nil when nothing does
	window  *inflight // sent and not acknowledged; nil when empty
	cursors *cursors  // retained deliveries under way; nil when none is

	expiry   uint32 // Session Expiry Interval in seconds, as in force
	subs     int32  // how many subscriptions
	nextID   uint16 // the last packet identifier given out
	dropping bool   // told in the log that messages are dropped
	spilled  bool   // its queue was full, and has been in its fuller half since, see crowd
	markAt   int32  // the place in Broker.copies of the message in mark
	mark     uint64 // the last message routed to it, where each client gets one copy

	who      *identity           // nil before its first message, where there is neither a user name nor an Access
	relies   persist.Position    // of the newest record of it
	incoming map[uint16]incoming // QoS 2 from the client, until PUBREL
	will     *persist.Will
	absence  *absence // nil while connected
}

// absence is a session's time without a connection.
type absence struct {
	endsAt   Time // when it ends; may be Never
	timer    timer
	listener int // port that the last connection came by
}

// identity is who a session is to others: the origin of its messages, and what it
// may do.
type identity struct {
	persist.Origin
	rights *rights // nil before the first question
}

func (s *Session) identity() *identity {
	if s.who == nil {
		s.who = &identity{Origin: persist.Origin{ClientID: s.id, Listener: s.port()}}
	}
	return s.who
}

// from is the origin of the session's messages.
func (s *Session) from() *persist.Origin { return &s.identity().Origin }

// username is that of its client, or "".
func (s *Session) username() string {
	if s.who == nil {
		return ""
	}
	return s.who.Username
}

// port is that of the listener that the session was last connected by.
func (s *Session) port() int {
	if s.client != nil {
		return s.client.Listener.Port
	}
	return s.absence.listener
}

// noExpiry is a Session Expiry Interval that never ends [MQTT 3.1.2.11.2].
const noExpiry = 0xFFFFFFFF

// durable says that the session outlives its connection.
func (s *Session) durable() bool { return s.expiry != 0 }

// ID is the client id of a client that is connected.
func (c *Client) ID() string { return c.session.id }

// Username is that of a client that is connected, "" without one.
func (c *Client) Username() string { return c.session.username() }

// name is what the log calls a client: its id, or its address before it has one.
func (c *Client) name() string {
	switch {
	case c.session != nil:
		return c.session.id
	case c.extra != nil && c.extra.claim != "":
		return c.extra.claim
	}
	return c.Host()
}

// Host is the peer's address without port; a Unix socket's is its path.
func (c *Client) Host() string {
	if c.Listener.Remote == nil {
		return c.Listener.Path
	}
	return c.Listener.Remote(c).Host()
}

// Peer is the peer's address and port as mosquitto writes them, without brackets.
func (c *Client) Peer() string {
	port := 0
	if c.Listener.Remote != nil {
		port = c.Listener.Remote(c).Port()
	}
	return c.Host() + ":" + itoa(port)
}
