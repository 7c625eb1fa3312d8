package persist

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// text prints a listing for people.
func (l *listing) text(w *bufio.Writer, all bool) {
	l.textFiles(w)
	s := &l.sum
	fmt.Fprintf(w, "\n%10d retained messages, %d bytes\n%10d sessions\n%10d subscriptions\n", s.Retained, s.RetainedBytes, s.Sessions, s.Subscriptions)
	fmt.Fprintf(w, "%10d messages to clients, %d bytes\n%10d messages from clients that are not released, %d bytes\n",
		s.Deliveries, s.DeliveryBytes, s.Incoming, s.IncomingBytes)
	fmt.Fprintf(w, "%10d wills\n%10d retained deliveries under way\n\n", s.Wills, s.Cursors)
	if s.Sessions > 0 {
		l.textClients(w)
	}
	if all {
		l.textAll(w)
	}
	if len(l.wrong) == 0 {
		fmt.Fprintln(w, "All of it is whole.")
	}
	for _, line := range l.wrong {
		fmt.Fprintln(w, "Damage:", line)
	}
}

func (l *listing) textFiles(w *bufio.Writer) {
	if s := l.snapshot; s != nil {
		by := "mosquitto"
		if s.own {
			by = "midge"
		}
		when := "while it ran"
		if s.stopped {
			when = "when it stopped"
		}
		fmt.Fprintf(w, "%s: %d bytes, version %d, written by %s %s", l.path, s.size, s.version, by, when)
		if s.stamp.ID != 0 {
			fmt.Fprintf(w, ", %s, id %016x", stamp(s.stamp.Wall), s.stamp.ID)
		}
		fmt.Fprintln(w)
	}
	for _, s := range l.segments {
		fmt.Fprintf(w, "%s: %d bytes, %d records, until %s\n", s.name, s.size, s.records, stamp(s.wall))
	}
}

func (l *listing) textClients(w *bufio.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "client\tuser\tends after\tsubscriptions\tqueued\tbytes\tin flight\tbytes\tfrom it\tbytes\tgone since")
	for s := range l.image.Sessions() {
		c := l.of(s)
		user, ends, gone := "-", "never", "-"
		if c.Username != "" {
			user = strconv.Quote(c.Username)
		}
		if c.Expiry != nil {
			ends = fmt.Sprint(*c.Expiry, " s")
		}
		if c.Gone != "" {
			gone = c.Gone
		}
		fmt.Fprintf(t, "%q\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", c.ClientID, user, ends, c.Subscriptions,
			c.Queued, c.QueuedBytes, c.Inflight, c.InflightBytes, c.Incoming, c.IncomingBytes, gone)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// textAll prints each thing on a line.
func (l *listing) textAll(w *bufio.Writer) {
	for m := range l.image.Retained() {
		fmt.Fprintf(w, "retained %s\n", l.textMessage(m))
	}
	for sub := range l.image.Subscriptions() {
		fmt.Fprintf(w, "subscription of %q: %q, QoS %d", sub.ClientID, sub.Filter, sub.QoS())
		mark(w, sub.ID > 0, ", id %d", sub.ID)
		mark(w, sub.NoLocal(), ", no local")
		mark(w, sub.RetainAsPublished(), ", retain as published")
		mark(w, sub.RetainHandling() > 0, ", retain handling %d", sub.RetainHandling())
		fmt.Fprintln(w)
	}
	for s := range l.image.Sessions() {
		l.textSession(w, s.ClientID)
	}
	fmt.Fprintln(w)
}

func (l *listing) textSession(w *bufio.Writer, id string) {
	for d := range l.image.Deliveries(id) {
		fmt.Fprintf(w, "to %q, number %d: %s, QoS %d", id, d.Number, d.State.name(), d.QoS)
		mark(w, d.ID > 0, ", packet id %d", d.ID)
		mark(w, d.Retain, ", retain")
		mark(w, d.SubscriptionID > 0, ", subscription id %d", d.SubscriptionID)
		mark(w, d.Share != "", ", by %q", d.Share)
		fmt.Fprintf(w, ": %s\n", l.textMessage(d.Message))
	}
	for mid, m := range l.image.Incoming(id) {
		fmt.Fprintf(w, "from %q, packet id %d: %s\n", id, mid, l.textMessage(m))
	}
	for n, c := range l.image.Cursors(id) {
		fmt.Fprintf(w, "retained messages for %q, number %d: %q from %q on, stored up to %d", id, n, c.Filter, strings.ReplaceAll(c.Next, "\x00", "/"), c.Until)
		mark(w, len(c.Early) > 0, ", sent early %q", c.Early)
		fmt.Fprintln(w)
	}
	if will := l.image.WillOf(id); will != nil {
		fmt.Fprintf(w, "will of %q, delay %d s", id, will.Delay)
		mark(w, will.Due != Never, ", due %s", l.date(will.Due))
		mark(w, will.Expires, ", expires %d s later", will.Expiry)
		fmt.Fprintf(w, ": %s\n", l.textMessage(will.Message))
	}
}

func mark(w *bufio.Writer, on bool, format string, args ...any) {
	if on {
		fmt.Fprintf(w, format, args...)
	}
}

func (l *listing) textMessage(m *Message) string {
	b := fmt.Appendf(nil, "%q, QoS %d", m.Topic, m.QoS)
	if m.Retain {
		b = append(b, ", retain"...)
	}
	if o := m.Origin; o != nil {
		b = fmt.Appendf(b, ", by %q", o.ClientID)
		if o.Username != "" {
			b = fmt.Appendf(b, " of %q", o.Username)
		}
	}
	if m.Expires != Never {
		b = fmt.Appendf(b, ", expires %s", l.date(m.Expires))
	}
	for _, p := range propertiesOf(m) {
		b = fmt.Appendf(b, ", %s %q", p.name, p.value)
	}
	return string(strconv.AppendQuote(fmt.Appendf(b, ", %d bytes: ", len(m.Payload)), m.Payload))
}
