// Package core is the broker itself: sessions, subscriptions, windows, queues,
// wills, retained messages, expiry, $SYS, for MQTT 3.1, 3.1.1 and 5.
//
// It is a machine without hands. Bytes and the time come in by calls, bytes and
// deadlines stay behind for the caller to pick up: core opens no socket and no
// file, starts no goroutine, takes no lock and reads no clock. One goroutine
// makes all calls. That keeps the message path free of locks, and lets a test
// run years of a broker's life in seconds.
//
// A turn of the caller's loop looks like this:
//
//	Open(c)             a connection was accepted
//	Receive(c, data)    it sent these bytes
//	Filled()            the clients to write at once, as below
//	Settle()            the bytes are the caller's again
//	Lost(c, err)        it is gone
//	Tick(now)           deadlines that are due
//	Synced(p, err)      the journal is safe up to p, or failed
//	Admit(c, verdict)   a login was decided beside the loop
//	Dirty()             the clients with output; for each: write Output, then Flushed
//	Next()              the time of the next deadline
//
// The way of a message: Receive frames and decodes it (receive.go), publish
// checks and acknowledges it (publish.go), route finds its receivers and encodes
// it once for all of them (route.go), deliver puts it into a receiver's output,
// window or queue (deliver.go), and ack.go takes it out of the window again.
//
// What core cannot know it asks its caller, by interfaces whose answers come at once:
// who may connect (Login, login.go) and do what (Access, access.go), who is at the
// other end (Remote), and what a request to $CONTROL/ means (Control, control.go).
//
// Every change of durable state is reported to a persist.Recorder, and packets
// that promise something durable are held until the recorder's position is safe
// (hold.go).
//
// Begin with Broker below and Session (client.go), then go the way of a message.
package core

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/btree"

	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// Broker is the state of a broker. Its methods are for one goroutine.
type Broker struct {
	cfg     Config
	log     Logger
	control Control
	rand    *rand.Rand

	sessions map[string]*Session // by client id
	online   int                 // sessions with a connection
	sockets  int                 // connections, with CONNECT or without

	lateWills []lateWill      // that were too much for their turn
	willWork  int             // work of the wills of this turn
	estates   []estate        // of sessions that ended, and were too much for their turn
	passed    int             // work of the estates of this turn
	remains   []*Session      // that ended, and have subscriptions yet
	removed   int             // subscriptions taken away at once in this turn
	remaining map[string]bool // their client ids
	expected  int             // clients that wait for these to be gone

	index  topic.Index[*Session, *persist.Subscription] // who wants what
	shared topic.Index[*share, struct{}]                // shared subscriptions, by the filter behind $share/group/
	groups map[string]*share                            // by the whole filter
	subs   *btree.BTreeG[*persist.Subscription]         // all subscriptions, by client id and filter
	near   btree.PathHint                               // where in subs the last was put: the next is often its neighbour

	retained topic.Retained[*message]
	kept     int    // retained messages that count for max_retained_messages
	number   uint64 // counts messages stored and deliveries, see persist.Message.Stored
	marks    uint64 // counts routed messages, see Session.mark

	guarded bool   // not everybody may do anything
	rules   uint64 // changes with what clients may do, from 1 on
	epoch   uint64 // changes with rules, subscriptions, and who a session's client is, from 1 on
	names   names

	timers *btree.BTreeG[due]
	timed  uint64          // numbers the timers
	vigils map[Time]*vigil // by their time

	work      int       // what was done since Receive began, see workMax
	share     int       // of it that Receive may do, see Share
	filled    []*Client // clients whose output became full
	receiving bool      // Receive is under way
	loans     loans     // what outputs have of the bytes that Receive was given
	full      []*Client // what Filled gave out last, reused
	dirty     []*Client // clients with output, each once
	turn      []*Client // what Dirty gave out last, reused
	busy      []*Client // clients to be fed again in the next turn, the first to go on first
	fed       int       // units of work for retained messages in this turn
	debug     bool      // the log wants debug lines

	rec     persist.Recorder
	changed bool                        // something was reported since the last commit
	pos     persist.Position            // of the newest record
	cleared persist.Position            // of the newest record that a topic retains nothing any more
	ended   map[string]persist.Position // of the records of sessions' ends that are not safe yet, by client id
	leans   persist.Position            // of an earlier record that made a change of the packet being handled needless
	safe    persist.Position            // up to which the recorder reported safety
	down    packet.Reason               // why nothing can be recorded, or Success
	owing   bool                        // the recorder has too much to do, see Owing
	owed    []*Client                   // those that are not read meanwhile
	crowd   crowd                       // publishers that wait for subscribers
	holding []*Client                   // clients with held packets
	freed   []*Client                   // the list before, reused

	packet   packet.Packet // the packet being handled
	pub      publication   // the message being routed
	forms    [16]form      // its encodings, by version and flags
	runs     [][]byte      // what Output gave out last
	scratch  []byte        // the packet that answer sends
	propsOut []byte        // the property list being made
	propsIn  []byte        // the one a message came with, less some
	mounted  []byte        // the topic of a message from behind a mount point
	codes    []byte        // of a SUBACK
	copies   []copyFor     // receivers of a message, where each gets one copy
	feed     feed          // the retained delivery going on
	free     pool          // buffers, chunks and windows to use again

	stats Stats
	sys   sysTree
	ears  int // subscriptions to the log, see HearsLog
	acct  account
	sweep sweeper
}

// New makes a broker. now is the time of its start.
func New(cfg Config, opt Options, now Time) *Broker {
	b := &Broker{
		cfg:      cfg,
		log:      opt.Log,
		rec:      opt.Recorder,
		control:  opt.Control,
		rand:     opt.Rand,
		sessions: make(map[string]*Session),
		groups:   make(map[string]*share),

		remaining: make(map[string]bool),
		vigils:    make(map[Time]*vigil),
		subs:      btree.NewBTreeGOptions(lessSubscription, btree.Options{NoLocks: true}),
		timers:    btree.NewBTreeGOptions(lessDue, btree.Options{NoLocks: true, Degree: 64}),
		guarded:   cfg.Access != nil,
		rules:     1,
		epoch:     1,
		share:     workMax,
	}
	if b.log == nil {
		b.log = silent{}
	}
	if b.rand == nil {
		b.rand = rand.New(rand.NewPCG(uint64(now), 0))
	}
	b.feed.visit = b.feedOne
	b.debug = b.log.Enabled(LogDebug)
	b.startSys(now)
	b.startSweep(now)
	return b
}

// Configure replaces the configuration. Limits that got smaller apply from the
// next packet on; nothing that is queued is thrown away.
func (b *Broker) Configure(cfg Config, now Time) {
	b.cfg = cfg
	b.guarded = cfg.Access != nil
	b.newRules()
	b.debug = b.log.Enabled(LogDebug)
	b.startSys(now) // the first values may go to durable sessions
	b.startSweep(now)
	for _, s := range b.sessions {
		if c := s.client; c != nil && c.version != packet.V5 && s.durable() {
			b.limitExpiry(s)
		}
	}
	b.commit()
}

// limitExpiry gives the session of a connected client before version 5 the end that is
// configured now. One of version 5 keeps the one that it was told.
func (b *Broker) limitExpiry(s *Session) {
	if expiry := b.capExpiry(noExpiry); expiry != s.expiry {
		s.expiry = expiry
		b.recordSession(s, persist.Never)
		b.commit()
	}
}

// Open takes in a connection whose transport has set Handle and Listener.
// It has connectTimeout for its CONNECT.
func (b *Broker) Open(c *Client, now Time) {
	c.state = opened
	c.heard = now
	c.maxPacket = anyPacket
	if c.Listener.Mount != "" {
		c.flags |= flagMounted
	}
	b.sockets++
	b.stats.Sockets++
	b.account(costClient)
	b.keepVigil(c, now)
}

// Lost tells that the connection is gone without a DISCONNECT: err is nil when
// the peer closed it, else what went wrong. Nothing more can be written to it.
func (b *Broker) Lost(c *Client, err error, now Time) {
	why := causeHungUp
	if err != nil {
		why = cause{text: capital(err.Error()), theirs: true}
	}
	b.close(c, why, now)
	b.commit()
}

// Kick ends a connection for reason, with the text for the log.
func (b *Broker) Kick(c *Client, reason packet.Reason, text string, now Time) {
	b.close(c, cause{reason: reason, text: text}, now)
	b.commit()
}

// Dismiss ends a connection of which the transport has said all there is to say.
func (b *Broker) Dismiss(c *Client, now Time) {
	b.close(c, cause{quiet: true}, now)
	b.commit()
}

// Stop ends the broker: the wills of connected clients and those that are
// delayed are published, and v5 clients are told. The output is for the caller
// to write, as ever.
func (b *Broker) Stop(now Time) {
	for b.willWork = 0; len(b.lateWills) > 0; b.willWork = 0 {
		b.publishLate(now)
	}
	for b.passed = 0; len(b.estates) > 0; b.passed = 0 {
		b.settleEstates(now)
	}
	ids := slices.Sorted(maps.Keys(b.sessions))
	for _, id := range ids {
		if s := b.sessions[id]; s.will != nil {
			b.publishWill(s, now)
			b.commit()
		}
	}
	for _, id := range ids {
		if s := b.sessions[id]; s.client != nil {
			b.endConnection(s.client, cause{reason: packet.ServerShuttingDown, quiet: true})
		}
	}
}

// Next is the time of the next deadline, or persist.Never. It is in the past
// when there is work left over for the next turn.
func (b *Broker) Next() Time {
	if len(b.busy) > 0 || len(b.dirty) > 0 || len(b.remains) > 0 || len(b.lateWills) > 0 || len(b.estates) > 0 {
		return 0
	}
	next := persist.Never
	if len(b.crowd.waiting) > 0 {
		next = b.crowd.at + 1
	}
	if d, ok := b.timers.Min(); ok {
		next = min(next, d.at)
	}
	return next
}

// ticks is how many deadlines one Tick works off, so that no turn grows long.
const ticks = 512

// Tick does what is due at now, up to a bound: Next tells what is left.
func (b *Broker) Tick(now Time) {
	b.feedBusy(now)
	b.willWork, b.removed, b.passed = 0, 0, 0
	b.clearRemains()
	b.settleEstates(now)
	if now > b.crowd.at {
		b.disperse()
	}
	b.trim()
	b.watchLimit()
	b.runTimers(now)
	b.publishLate(now) // not before, for deadlines are not to wait for it
}

// runTimers works off deadlines.
func (b *Broker) runTimers(now Time) {
	for range ticks {
		d, ok := b.timers.Min()
		if !ok || d.at > now || b.busyWills() {
			return
		}
		b.timers.PopMin()
		d.what.due(b, now)
		b.commit()
	}
}

// trim gives back scratch space that a large packet has left behind.
func (b *Broker) trim() {
	if cap(b.propsIn) > scratchMax {
		b.propsIn = nil
	}
	if cap(b.propsOut) > scratchMax {
		b.propsOut = nil
	}
	if cap(b.mounted) > scratchMax {
		b.mounted = nil
	}
}

// Figures are the broker's counters.
func (b *Broker) Figures() Stats { return b.stats }

func lessSubscription(a, b *persist.Subscription) bool {
	if c := strings.Compare(a.ClientID, b.ClientID); c != 0 {
		return c < 0
	}
	return a.Filter < b.Filter
}

func itoa(n int) string { return strconv.Itoa(n) }

// capital makes a Go error text look like strerror's.
func capital(s string) string {
	if s != "" && 'a' <= s[0] && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}
