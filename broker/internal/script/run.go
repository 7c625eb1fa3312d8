package script

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"midge/packet"
)

// Target is what a script is run against: a broker, or the way to one.
type Target interface {
	Open(client string) error               // make a connection, not open yet
	Send(client string, b []byte) error     // one write
	Drop(client string, reset bool) error   // the client is gone: a reset, else an end of file
	Command(name string, args string) error // config, listener, tick, stall, flow, stop
	Settle(client string) error             // wait until all is there that was caused, by client if not ""
	// Received gives what came for the client since the last call, and whether
	// the broker closed the connection after it.
	Received(client string) (b []byte, closed bool)
	Logged() (lines []string, known bool) // since the last call; log lines are not compared where they are not known
}

// Mode is how the bytes of clients reach the broker.
type Mode uint8

// The modes. What the broker answers is the same in all.
const (
	Whole    Mode = iota // each line in one write
	Bytes                // each byte alone
	Together             // lines of one client that follow each other in one write
)

func (m Mode) String() string { return [...]string{"whole", "bytes", "together"}[m] }

var allModes = []Mode{Whole, Bytes, Together}

func parseModes(s string) (modes []Mode, err error) {
	for _, word := range strings.Fields(s) {
		i := slices.IndexFunc(allModes, func(m Mode) bool { return m.String() == word })
		if i < 0 {
			return nil, fmt.Errorf("no such mode: %s", word)
		}
		modes = append(modes, allModes[i])
	}
	if modes == nil {
		return nil, errors.New("no mode is named")
	}
	return modes, nil
}

// Run runs the case against a broker that nobody used yet. What happened
// otherwise than listed is told as errors that begin with file and line.
func (c *Case) Run(t Target, v packet.Version, m Mode) error {
	r := run{c: c, t: t, mode: m, clients: map[string]*peer{}}
	steps := c.steps[v]
	for len(steps) > 0 {
		n := 1
		if m == Together {
			n = together(steps)
		}
		if err := r.do(steps[:n]); err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s:%d: %w", c.File, steps[0].line.number, err))
			break
		}
		steps = steps[n:]
	}
	return errors.Join(r.errs...)
}

// run is a case being run.
type run struct {
	c       *Case
	t       Target
	mode    Mode
	clients map[string]*peer
	order   []string // clients as they appeared
	errs    []error
	deaf    bool                            // the target does not know its log
	keep    func(steps []step, got []event) // for Rewrite; else nil
}

// peer is a client as the run sees it.
type peer struct {
	open    bool
	version packet.Version
	rest    []byte // the beginning of a packet
}

// event is something that happened: a packet, a close, or a log line.
type event struct {
	client string // "" for the log
	text   string
	bytes  []byte
}

// together counts the steps at the start of steps that go in one write.
func together(steps []step) int {
	first := &steps[0]
	if first.bytes == nil {
		return 1
	}
	n := 1
	for ; n < len(steps); n++ {
		s := &steps[n]
		if s.bytes == nil || s.opens || s.line.client != first.line.client || steps[n-1].closes() {
			break
		}
	}
	return n
}

// closes says that the step is expected to end its client's connection.
func (s *step) closes() bool {
	return slices.ContainsFunc(s.expect, func(x expectation) bool {
		return x.line.client == s.line.client && x.text == "close"
	})
}

// do carries out steps at once and compares what came with what they list.
func (r *run) do(steps []step) error {
	r.t.Logged()
	var b []byte
	for i := range steps {
		b = append(b, steps[i].bytes...)
	}
	if err := r.act(&steps[0], b); err != nil {
		return err
	}
	acting := steps[0].line.client
	if p := r.clients[acting]; p == nil || !p.open {
		acting = ""
	}
	if err := r.t.Settle(acting); err != nil {
		return err
	}
	got := r.collect()
	if r.keep != nil {
		r.keep(steps, got)
	}
	r.compare(steps, got)
	return nil
}

// act does what a line says, with the bytes to send.
func (r *run) act(s *step, b []byte) error {
	l := s.line
	if l.kind == command {
		word, args, _ := strings.Cut(l.text, " ")
		if word == "open" {
			_, err := r.connect(args)
			return err
		}
		return r.t.Command(word, args)
	}
	p := r.clients[l.client]
	if s.bytes == nil { // drop, eof
		if p == nil || !p.open {
			return fmt.Errorf("%s is not connected", l.client)
		}
		p.open = false
		return r.t.Drop(l.client, l.text == "drop")
	}
	if p == nil || !p.open {
		var err error
		if p, err = r.connect(l.client); err != nil {
			return err
		}
	}
	if v, ok := connectVersion(b); ok && p.version == 0 {
		p.version = v
	}
	return r.send(l.client, b)
}

func (r *run) connect(client string) (*peer, error) {
	if r.clients[client] == nil {
		r.order = append(r.order, client)
	}
	p := &peer{open: true}
	r.clients[client] = p
	return p, r.t.Open(client)
}

// slowBytes is how much is sent byte by byte; the rest goes in larger pieces.
const slowBytes = 2000

func (r *run) send(client string, b []byte) error {
	if r.mode != Bytes {
		return r.t.Send(client, b)
	}
	for len(b) > 0 {
		n := 1
		if len(b) > slowBytes {
			n = min(len(b)-slowBytes, 4099)
		}
		if err := r.t.Send(client, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// collect takes in what the clients received.
func (r *run) collect() (got []event) {
	for _, name := range r.order {
		b, closed := r.t.Received(name)
		p := r.clients[name]
		p.rest = append(p.rest, b...)
		for {
			h, err := packet.ReadHeader(p.rest, 0)
			n := h.Len()
			if err != nil {
				n = len(p.rest)
			} else if h.Size == 0 || n > len(p.rest) {
				break
			}
			got = append(got, event{client: name, text: Print(p.rest[:n], p.version), bytes: p.rest[:n:n]})
			p.rest = p.rest[n:]
		}
		if closed {
			if len(p.rest) > 0 {
				got = append(got, event{client: name, text: fmt.Sprintf("BAD end: % x", p.rest)})
			}
			got = append(got, event{client: name, text: "close"})
			p.open, p.rest = false, nil
		}
	}
	lines, known := r.t.Logged()
	r.deaf = !known
	for _, s := range lines {
		got = append(got, event{text: s})
	}
	return got
}

// compare says what differs.
func (r *run) compare(steps []step, got []event) {
	for _, name := range r.order {
		want := wanted(steps, name)
		have := of(got, name)
		for i := range max(len(want), len(have)) {
			if i < len(want) && i < len(have) && want[i].fits(&have[i]) {
				continue
			}
			line, text := steps[len(steps)-1].line.number, "nothing"
			if i < len(want) {
				line, text = want[i].line.number, want[i].text
			}
			seen := "nothing"
			if i < len(have) {
				seen = have[i].text
			}
			r.errs = append(r.errs, fmt.Errorf("%s:%d: %s received\n\t%s\nnot\n\t%s", r.c.File, line, name, seen, text))
			break
		}
	}
	for i := range steps {
		for _, x := range steps[i].expect {
			if name := x.line.client; name != "" && r.clients[name] == nil {
				r.errs = append(r.errs, fmt.Errorf("%s:%d: %s was never connected", r.c.File, x.line.number, name))
			}
		}
	}
	if !r.deaf {
		r.compareLog(steps, of(got, ""))
	}
}

// compareLog looks for the listed log lines, in their order, among all.
func (r *run) compareLog(steps []step, have []event) {
	for i := range steps {
		for _, want := range steps[i].expect {
			if want.line.kind != logged {
				continue
			}
			at := slices.IndexFunc(have, func(e event) bool { return want.fits(&e) })
			if at < 0 {
				r.errs = append(r.errs, fmt.Errorf("%s:%d: not in the log: %s\n\t%s", r.c.File, want.line.number, want.text, texts(have)))
				return
			}
			have = have[at+1:]
		}
	}
}

func texts(all []event) string {
	s := make([]string, len(all))
	for i := range all {
		s[i] = all[i].text
	}
	return strings.Join(s, "\n\t")
}

// wanted lists what the client is to receive; "nothing" is that.
func wanted(steps []step, client string) (want []expectation) {
	for i := range steps {
		for _, x := range steps[i].expect {
			if x.line.client == client && x.line.kind != logged && (x.text != "nothing" || x.line.kind != receive) {
				want = append(want, x)
			}
		}
	}
	return want
}

func of(got []event, client string) (have []event) {
	for _, e := range got {
		if e.client == client {
			have = append(have, e)
		}
	}
	return have
}

// fits says that the event is the one listed. * stands for anything.
func (x *expectation) fits(e *event) bool {
	if x.line.kind == exact {
		return string(x.bytes) == string(e.bytes)
	}
	if !strings.Contains(x.text, "*") || x.text == e.text {
		return x.text == e.text
	}
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(x.text), `\*`, ".*") + "$"
	ok, _ := regexp.MatchString(pattern, e.text)
	return ok
}
