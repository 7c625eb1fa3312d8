package core

import (
	"slices"

	"midge/packet"
)

// Verdict is what comes of asking whether a client may connect.
type Verdict uint8

const (
	Pending  Verdict = iota // it takes time: Broker.Admit will tell
	Accepted                // it may
	Refused                 // unknown user or wrong password
	Busy                    // there are too many to be asked about
)

// Login knows who may connect. It is asked on the goroutine of the Broker's caller
// and must not block.
type Login interface {
	// Check decides about a client that names a user. The bytes are the caller's
	// again when it returns. After Pending a later call of Broker.Admit has the
	// verdict, unless Cancel comes before it. Until then nothing is to be read from
	// the client (see Client.Parked), and its CONNECT stays with its transport.
	Check(c *Client, user, password []byte) Verdict

	// Keeps says whether a client that was admitted may stay, since what is known
	// has changed. It is asked of every client that named a user.
	Keeps(user string) bool

	// Cancel tells that nobody waits for the verdict any more.
	Cancel(c *Client)
}

// loginTimeout is how long a verdict may take. Meanwhile the time for the CONNECT
// itself stands still.
const loginTimeout Time = 60_000

// refuseBusy is the refusal of a client that cannot be asked about now.
var refuseBusy = &refusal{reason: packet.ServerBusy, text: "server busy"}

// login asks whether a client may connect; Pending has parked it. A client without
// a user name may where anonymous ones may, and so may any where there is nobody to
// ask.
func (b *Broker) login(c *Client, cn *packet.ConnectBody, now Time) Verdict {
	l := c.Listener
	switch {
	case c.extra != nil && c.extra.verdict != Pending && c.extra.rules == b.rules: // else it may be another one now
		return c.extra.verdict
	case l.Identity != nil:
		return Accepted // see identify
	case l.Login != nil && cn.HasUsername:
		v := l.Login.Check(c, cn.Username, cn.Password)
		if v == Pending {
			b.park(c, string(cn.ClientID), now)
		}
		return v
	case l.Anonymous:
		return Accepted
	}
	return Refused
}

// refusal is that of a client that may not connect, nil for one that may.
func (v Verdict) refusal() *refusal {
	switch v {
	case Accepted:
		return nil
	case Busy:
		return refuseBusy
	}
	return refuseLogin
}

// park has a client wait for its verdict. Its CONNECT has not been, so to speak:
// it stays where its bytes are, and is handled again when the verdict is there.
func (b *Broker) park(c *Client, id string, now Time) {
	c.flags |= flagParked
	c.more().claim = id
	c.extra.asked = c.Listener.Login // which may get another one
	c.heard = now
	b.keepVigil(c, now)
	b.stats.Connections--
	b.stats.MessagesReceived--
}

// Admit has the verdict on a client that is parked. Then the bytes that its transport
// kept are to be given to Receive: the client has More.
func (b *Broker) Admit(c *Client, v Verdict, now Time) {
	if !c.Parked() {
		return
	}
	c.flags = c.flags&^flagParked | flagMore
	c.extra.verdict, c.extra.rules = v, b.rules
	c.heard = now
	b.keepVigil(c, now)
}

// unpark ends the waiting of a client that is gone.
func (c *Client) unpark() {
	if c.Parked() {
		c.flags &^= flagParked
		c.extra.asked.Cancel(c)
	}
}

// Parked says that the client waits for its login to be decided: nothing is to be
// read from it, and what it sent is to be kept.
func (c *Client) Parked() bool { return c.flags&flagParked != 0 }

// causeUnwanted ends a client that was admitted and would not be any more. Its line is
// not that of a failed login, which scripts count.
var causeUnwanted = cause{reason: packet.NotAuthorized}

// Recheck ends the connections of clients that a new configuration would not admit,
// and forgets what the others were allowed. It is called when listeners changed.
func (b *Broker) Recheck(now Time) {
	b.newRules()
	var unwanted []string
	strange := make(map[*Listener]bool)
	for id, s := range b.sessions {
		if s.client == nil {
			continue
		}
		strange[s.client.Listener] = true
		if !b.keeps(s.client) {
			unwanted = append(unwanted, id)
		}
	}
	slices.Sort(unwanted)
	for _, id := range unwanted {
		if s := b.sessions[id]; s != nil && s.client != nil { // a will may have ended it
			b.close(s.client, causeUnwanted, now)
			b.commit()
		}
	}
	for l := range strange {
		l.strangers = false
	}
}

// keeps says whether a connected client may stay.
func (b *Broker) keeps(c *Client) bool {
	l, user := c.Listener, c.Username()
	if l.Identity != nil {
		name, ok := l.Identity(c)
		return ok && name == user
	}
	if l.Login == nil || user == "" {
		return l.Anonymous
	}
	return !l.strangers && l.Login.Keeps(user)
}
