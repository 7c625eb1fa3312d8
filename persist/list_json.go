package persist

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// json prints a listing for programs: one object. What there may be much of is
// written as it is read.
func (l *listing) json(w *bufio.Writer, all bool) {
	o := &object{w: w}
	o.begin()
	o.field("file", l.path)
	o.field("whole", len(l.wrong) == 0)
	o.field("problems", append([]string{}, l.wrong...))
	if l.snapshot != nil {
		o.field("snapshot", snapshotJSON(l.snapshot))
	}
	o.list("journal", func(item func(any)) {
		for _, s := range l.segments {
			item(segmentJSON{s.name, s.size, s.good, s.records, stamp(s.wall)})
		}
	})
	o.field("totals", l.sum)
	o.list("sessions", func(item func(any)) {
		for s := range l.image.Sessions() {
			item(l.of(s))
		}
	})
	if all {
		l.jsonAll(o)
	}
	o.end()
}

type segmentJSON struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Whole   int64  `json:"whole_bytes"`
	Records int    `json:"records"`
	Until   string `json:"until"`
}

type fileJSON struct {
	Version uint32 `json:"version"`
	Writer  string `json:"writer"`
	Bytes   int64  `json:"bytes"`
	Stopped bool   `json:"stopped"`
	ID      string `json:"id,omitempty"`
	Written string `json:"written,omitempty"`
}

func snapshotJSON(s *snapshot) fileJSON {
	f := fileJSON{Version: s.version, Writer: "mosquitto", Bytes: s.size, Stopped: s.stopped}
	if s.own {
		f.Writer = "midge"
	}
	if s.stamp.ID != 0 {
		f.ID, f.Written = fmt.Sprintf("%016x", s.stamp.ID), stamp(s.stamp.Wall)
	}
	return f
}

type messageJSON struct {
	Topic      string         `json:"topic"`
	Payload    *string        `json:"payload,omitempty"`
	Base64     []byte         `json:"payload_base64,omitempty"` // when it is not UTF-8
	QoS        byte           `json:"qos"`
	Retain     bool           `json:"retain"`
	Number     uint64         `json:"number"`
	Publisher  string         `json:"publisher,omitempty"`
	Username   string         `json:"username,omitempty"`
	Listener   int            `json:"listener,omitempty"`
	Expires    string         `json:"expires,omitempty"`
	Properties []propertyJSON `json:"properties,omitempty"`
}

type propertyJSON struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Base64 []byte `json:"value_base64,omitempty"`
}

func (l *listing) jsonMessage(m *Message) messageJSON {
	v := messageJSON{Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Number: m.Stored, Expires: l.date(m.Expires)}
	if utf8.ValidString(m.Payload) {
		v.Payload = &m.Payload
	} else {
		v.Base64 = raw(m.Payload)
	}
	if o := m.Origin; o != nil {
		v.Publisher, v.Username, v.Listener = o.ClientID, o.Username, o.Listener
	}
	for _, p := range propertiesOf(m) {
		j := propertyJSON{Name: p.name, Value: p.value}
		if !utf8.ValidString(p.value) {
			j.Value, j.Base64 = "", raw(p.value)
		}
		v.Properties = append(v.Properties, j)
	}
	return v
}

type deliveryJSON struct {
	ClientID       string      `json:"client_id"`
	Number         uint64      `json:"number"`
	State          string      `json:"state"`
	PacketID       uint16      `json:"packet_id,omitempty"`
	QoS            byte        `json:"qos"`
	Retain         bool        `json:"retain"`
	SubscriptionID uint32      `json:"subscription_id,omitempty"`
	Share          string      `json:"share,omitempty"`
	Message        messageJSON `json:"message"`
}

type incomingJSON struct {
	ClientID string      `json:"client_id"`
	PacketID uint16      `json:"packet_id"`
	Message  messageJSON `json:"message"`
}

type subscriptionJSON struct {
	ClientID          string `json:"client_id"`
	Filter            string `json:"filter"`
	QoS               byte   `json:"qos"`
	ID                uint32 `json:"subscription_id,omitempty"`
	NoLocal           bool   `json:"no_local"`
	RetainAsPublished bool   `json:"retain_as_published"`
	RetainHandling    byte   `json:"retain_handling"`
}

type cursorJSON struct {
	ClientID string   `json:"client_id"`
	Number   uint64   `json:"number"`
	Filter   string   `json:"filter"`
	Next     string   `json:"next"`
	Until    uint64   `json:"stored_up_to"`
	Early    []string `json:"sent_early,omitempty"`
}

type willJSON struct {
	ClientID string      `json:"client_id"`
	Delay    uint32      `json:"delay"`
	Due      string      `json:"due,omitempty"`
	Expiry   *uint32     `json:"message_expiry,omitempty"`
	Message  messageJSON `json:"message"`
}

func (l *listing) jsonAll(o *object) {
	o.list("retained", func(item func(any)) {
		for m := range l.image.Retained() {
			item(l.jsonMessage(m))
		}
	})
	o.list("subscriptions", func(item func(any)) {
		for s := range l.image.Subscriptions() {
			item(subscriptionJSON{s.ClientID, s.Filter, s.QoS(), s.ID, s.NoLocal(), s.RetainAsPublished(), s.RetainHandling()})
		}
	})
	of := func(name string, one func(id string, item func(any))) {
		o.list(name, func(item func(any)) {
			for s := range l.image.Sessions() {
				one(s.ClientID, item)
			}
		})
	}
	of("deliveries", func(id string, item func(any)) {
		for d := range l.image.Deliveries(id) {
			item(deliveryJSON{id, d.Number, d.State.name(), d.ID, d.QoS, d.Retain, d.SubscriptionID, d.Share, l.jsonMessage(d.Message)})
		}
	})
	of("incoming", func(id string, item func(any)) {
		for mid, m := range l.image.Incoming(id) {
			item(incomingJSON{id, mid, l.jsonMessage(m)})
		}
	})
	of("retained_deliveries", func(id string, item func(any)) {
		for n, c := range l.image.Cursors(id) {
			item(cursorJSON{id, n, c.Filter, strings.ReplaceAll(c.Next, "\x00", "/"), c.Until, c.Early})
		}
	})
	of("wills", func(id string, item func(any)) {
		if w := l.image.WillOf(id); w != nil {
			j := willJSON{ClientID: id, Delay: w.Delay, Due: l.date(w.Due), Message: l.jsonMessage(w.Message)}
			if w.Expires {
				j.Expiry = &w.Expiry
			}
			item(j)
		}
	})
}

// object writes a JSON object field by field, and lists item by item.
type object struct {
	w    *bufio.Writer
	more bool
}

func (o *object) begin() { o.w.WriteByte('{') }

func (o *object) end() { o.w.WriteString("\n}\n") }

func (o *object) name(name string) {
	if o.more {
		o.w.WriteByte(',')
	}
	o.more = true
	fmt.Fprintf(o.w, "\n  %q: ", name)
}

func (o *object) field(name string, v any) {
	o.name(name)
	o.value(v)
}

func (o *object) list(name string, items func(item func(any))) {
	o.name(name)
	o.w.WriteByte('[')
	separator := "\n    "
	items(func(v any) {
		o.w.WriteString(separator)
		separator = ",\n    "
		o.value(v)
	})
	o.w.WriteByte(']')
}

// value writes what can always be encoded. What a terminal may take for a command
// is escaped, beyond what JSON asks for.
func (o *object) value(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case unicode.IsPrint(r):
			o.w.Write(b[:n])
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(o.w, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(o.w, `\u%04x`, r)
		}
		b = b[n:]
	}
}
