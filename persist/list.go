package persist

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// writeList prints what the file at path and the journal beside it hold, as text or
// as one JSON value: the counts, each session's too, or with all everything. It
// tells whether the files are whole, and changes nothing. Names and payloads are
// printed so that a terminal takes them for nothing else.
func writeList(w io.Writer, path string, all, asJSON bool) (whole bool, err error) {
	disk, name := Folder(filepath.Dir(path)), filepath.Base(path)
	r, err := Recover(disk, name, nil)
	if err != nil {
		return false, err
	}
	if r.snapshot == nil && len(r.segments)+len(r.aside) == 0 {
		return false, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
	}
	l := &listing{path: path, Recovery: r, image: r.Image}
	l.problems()
	l.count()
	out := bufio.NewWriter(w)
	if asJSON {
		l.json(out, all)
	} else {
		l.text(out, all)
	}
	return len(l.wrong) == 0, out.Flush()
}

// listing is what is to be printed.
type listing struct {
	*Recovery
	path  string
	image *Image
	wrong []string // what is not whole
	sum   totals
}

// totals are numbers of things, and the bytes of their payloads.
type totals struct {
	Retained      int   `json:"retained"`
	RetainedBytes int64 `json:"retained_bytes"`
	Sessions      int   `json:"sessions"`
	Subscriptions int   `json:"subscriptions"`
	Deliveries    int   `json:"deliveries"`
	DeliveryBytes int64 `json:"delivery_bytes"`
	Incoming      int   `json:"incoming"`
	IncomingBytes int64 `json:"incoming_bytes"`
	Wills         int   `json:"wills"`
	Cursors       int   `json:"retained_deliveries"`
}

// problems finds out what is wrong with the files.
func (l *listing) problems() {
	say := func(format string, args ...any) { l.wrong = append(l.wrong, fmt.Sprintf(format, args...)) }
	switch {
	case l.snapshot == nil:
		say("%s: there is none, only its journal", l.path)
	case l.snapshot.damage != nil:
		say("%s: %v", l.path, l.snapshot.damage)
	}
	for _, s := range l.segments {
		if s.good < s.size {
			say("%s: the last %d bytes are torn or damaged", s.name, s.size-s.good)
		}
	}
	for _, a := range l.aside {
		say("%s: %s", a.from, a.why)
	}
	if l.lost > 0 {
		say("the journal tells of %d messages that are in no file", l.lost)
	}
}

// count adds up.
func (l *listing) count() {
	im := l.image
	l.sum.Retained, l.sum.Sessions = im.RetainedLen(), im.SessionsLen()
	l.sum.Subscriptions, l.sum.Deliveries, l.sum.Incoming = im.SubscriptionsLen(), im.DeliveriesLen(), im.IncomingLen()
	for m := range im.Retained() {
		l.sum.RetainedBytes += int64(len(m.Payload))
	}
	for s := range im.Sessions() {
		c := l.of(s)
		l.sum.DeliveryBytes += c.QueuedBytes + c.InflightBytes
		l.sum.IncomingBytes += c.IncomingBytes
		l.sum.Cursors += c.Cursors
		if c.Will {
			l.sum.Wills++
		}
	}
}

// client is a session and what it has.
type client struct {
	ClientID      string  `json:"client_id"`
	Username      string  `json:"username,omitempty"`
	Listener      int     `json:"listener,omitempty"`
	Expiry        *uint32 `json:"session_expiry"` // nil: never
	Gone          string  `json:"disconnected,omitempty"`
	LastID        uint16  `json:"last_packet_id"`
	Subscriptions int     `json:"subscriptions"`
	Queued        int     `json:"queued"`
	QueuedBytes   int64   `json:"queued_bytes"`
	Inflight      int     `json:"inflight"`
	InflightBytes int64   `json:"inflight_bytes"`
	Incoming      int     `json:"incoming"`
	IncomingBytes int64   `json:"incoming_bytes"`
	Cursors       int     `json:"retained_deliveries"`
	Will          bool    `json:"will"`
}

// of counts what a session has.
func (l *listing) of(s *Session) client {
	c := client{ClientID: s.ClientID, Username: s.Username, Listener: s.Listener, Gone: l.date(s.Gone), LastID: s.LastID}
	if s.Expiry != neverEnds {
		c.Expiry = &s.Expiry
	}
	for range l.image.SubscriptionsOf(s.ClientID) {
		c.Subscriptions++
	}
	for d := range l.image.Deliveries(s.ClientID) {
		if d.State == Queued {
			c.Queued++
			c.QueuedBytes += int64(len(d.Message.Payload))
		} else {
			c.Inflight++
			c.InflightBytes += int64(len(d.Message.Payload))
		}
	}
	for _, m := range l.image.Incoming(s.ClientID) {
		c.Incoming++
		c.IncomingBytes += int64(len(m.Payload))
	}
	for range l.image.Cursors(s.ClientID) {
		c.Cursors++
	}
	c.Will = l.image.WillOf(s.ClientID) != nil
	return c
}

// date is wall time, "" for never.
func (l *listing) date(t Time) string {
	if t == Never {
		return ""
	}
	return stamp(t - l.clock.now + l.clock.wall)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// names of the states of a delivery.
func (s State) name() string {
	switch s {
	case Sent:
		return "sent"
	case Released:
		return "released"
	}
	return "queued"
}

// property is one of a message in words.
type property struct{ name, value string }

// propertiesOf takes a message's properties apart. A user property is its name and
// value, with = between them.
func propertiesOf(m *Message) (out []property) {
	eachProperty(m.Properties, func(id byte, all string) {
		f := fields{b: raw(all[1:])}
		switch id {
		case propPayloadFormat:
			out = append(out, property{"payload-format-indicator", fmt.Sprint(f.byte())})
		case propContentType:
			out = append(out, property{"content-type", f.string16()})
		case propResponseTopic:
			out = append(out, property{"response-topic", f.string16()})
		case propCorrelation:
			out = append(out, property{"correlation-data", f.string16()})
		case propUser:
			out = append(out, property{"user-property", f.string16() + "=" + f.string16()})
		case propSubscriptionID:
			out = append(out, property{"subscription-identifier", fmt.Sprint(f.mqttVarint())})
		}
	})
	return out
}
