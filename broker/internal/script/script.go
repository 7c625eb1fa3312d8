// Package script reads and runs conformance scripts: what clients send, and
// every packet the broker answers with, line by line.
//
//	test: wildcard-in-topic                  a case; each begins with a broker of its own
//	versions: 3 4 5                          it is run once for each; 5 alone by default
//	a> CONNECT clean                         a client sends; its connection is made when there is none
//	a< CONNACK 00                            and receives
//	a> SUBSCRIBE 1 t/# qos=1
//	a< SUBACK 1 01
//	b> CONNECT v5 clean + PUBLISH t/1 'x'    two packets in one write
//	b< CONNACK 00
//	a< PUBLISH t/1 'x'
//	a> hex 30 ## "a/+" 'x'                   bytes, see below
//	[v5] a< DISCONNECT 81                    a line for some versions only
//	a< close                                 the broker closed the connection
//
// Everything that comes after a step is listed before the next step, for each
// client in its order; how the lines of two clients lie is of no account. A
// packet that is not listed fails the case. A line that begins with # is a
// comment. $v is the version of the run, which is also that of a CONNECT which
// names none, and $name its protocol name.
//
// A [Target] is the broker, or a connection to one. One that has no virtual
// time, or none of the other powers, runs the cases that [Case.Portable] says.
//
// Sources: script.go reads files into cases, notation.go and words.go take lines
// apart, encode.go makes the packets of clients, print.go writes down those of
// the broker, run.go runs a case, rewrite.go puts what happened in place of what
// was listed. The statements about packets are in the scripts, not here.
package script

import (
	"fmt"
	"regexp"
	"strings"

	"midge/packet"
)

// Case is one named script.
type Case struct {
	File     string
	Line     int // of its "test:"
	Name     string
	Versions []packet.Version // to run it with, never empty
	Modes    []Mode           // to run it in, never empty

	lines []line                    // after "test:", in order
	steps map[packet.Version][]step // compiled
}

// line is one line of a case that says something.
type line struct {
	number int
	only   []packet.Version // nil: all
	kind   kind
	client string
	text   string // what follows the client's name, or the whole line
}

type kind uint8

const (
	send    kind = iota // a> ...
	receive             // a< ...
	exact               // a<= ...
	logged              // log: ...
	command             // anything else
)

// expects says that the line is about what happened, not what to do.
func (k kind) expects() bool { return k == receive || k == exact || k == logged }

func (l *line) applies(v packet.Version) bool {
	if l.only == nil {
		return true
	}
	for _, o := range l.only {
		if o == v {
			return true
		}
	}
	return false
}

// Portable says that the case needs nothing but connections: no virtual time,
// no stalled client, and a configuration only before the first client.
func (c *Case) Portable() bool {
	clients := false
	for i := range c.lines {
		l := &c.lines[i]
		switch l.kind {
		case send:
			clients = true
		case command:
			word, _, _ := strings.Cut(l.text, " ")
			if word != "config" && word != "listener" || clients {
				return false
			}
		}
	}
	return true
}

// Settings are the "config" and "listener" lines before the first client, without
// that word: option and value as in mosquitto.conf.
func (c *Case) Settings(v packet.Version) (config, listener []string) {
	for i := range c.lines {
		l := &c.lines[i]
		if l.kind == send {
			break
		}
		if l.kind != command || !l.applies(v) {
			continue
		}
		switch word, rest, _ := strings.Cut(l.text, " "); word {
		case "config":
			config = append(config, rest)
		case "listener":
			listener = append(listener, rest)
		}
	}
	return config, listener
}

// Parse reads the cases of a script. An error begins with file and line.
func Parse(file, text string) ([]*Case, error) {
	var cases []*Case
	for i, s := range strings.Split(text, "\n") {
		s = strings.TrimSpace(s)
		if s == "" || s[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(s, "test:"); ok {
			c := &Case{File: file, Line: i + 1, Name: strings.TrimSpace(name),
				Versions: []packet.Version{packet.V5}, Modes: allModes}
			if !caseName.MatchString(c.Name) {
				return nil, fmt.Errorf("%s:%d: a case is named in small letters, digits, points and hyphens: %q", file, i+1, c.Name)
			}
			cases = append(cases, c)
			continue
		}
		if len(cases) == 0 {
			return nil, fmt.Errorf("%s:%d: a script begins with test: and a name", file, i+1)
		}
		if err := cases[len(cases)-1].add(s, i+1); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return cases, compileAll(cases)
}

func compileAll(cases []*Case) error {
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.Name] {
			return fmt.Errorf("%s:%d: two cases are named %s", c.File, c.Line, c.Name)
		}
		seen[c.Name] = true
		c.steps = map[packet.Version][]step{}
		for _, v := range c.Versions {
			steps, err := c.compile(v)
			if err != nil {
				return err
			}
			c.steps[v] = steps
		}
	}
	return nil
}

var (
	caseName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	toClient = regexp.MustCompile(`^([a-z][a-z0-9]*)(>|<=|<)\s*(.*)$`)
)

// add takes in a line of the case.
func (c *Case) add(s string, number int) error {
	l := line{number: number, kind: command, text: s}
	if s[0] == '[' {
		inside, rest, ok := strings.Cut(s[1:], "]")
		versions, err := parseVersions(strings.ReplaceAll(inside, "v", ""))
		if !ok || err != nil {
			return fmt.Errorf("versions are written as in [v3 v4]: %s", s)
		}
		l.only, l.text = versions, strings.TrimSpace(rest)
	}
	switch word, rest, _ := strings.Cut(l.text, ":"); word {
	case "versions":
		versions, err := parseVersions(rest)
		c.Versions = versions
		return err
	case "modes":
		modes, err := parseModes(rest)
		c.Modes = modes
		return err
	case "log":
		l.kind, l.text = logged, strings.TrimSpace(rest)
	}
	if m := toClient.FindStringSubmatch(l.text); m != nil && l.kind == command {
		l.client, l.text = m[1], m[3]
		l.kind = map[string]kind{">": send, "<": receive, "<=": exact}[m[2]]
	}
	c.lines = append(c.lines, l)
	return nil
}

func parseVersions(s string) (versions []packet.Version, err error) {
	for _, word := range strings.Fields(s) {
		v, ok := map[string]packet.Version{"3": packet.V31, "4": packet.V311, "5": packet.V5}[word]
		if !ok {
			return nil, fmt.Errorf("no such version: %s", word)
		}
		versions = append(versions, v)
	}
	if versions == nil {
		return nil, fmt.Errorf("no version is named")
	}
	return versions, nil
}

// step is a line to carry out, and what is expected of it, for one version.
type step struct {
	line   *line
	bytes  []byte // to send
	opens  bool   // with a CONNECT
	expect []expectation
}

// expectation is a packet to come, or a log line.
type expectation struct {
	line  *line
	text  string
	bytes []byte // of an exact one
}

// compile makes the steps of a run.
func (c *Case) compile(v packet.Version) ([]step, error) {
	var steps []step
	e := encoder{version: v, clients: map[string]packet.Version{}}
	for i := range c.lines {
		l := &c.lines[i]
		text := expand(l.text, v)
		fail := func(err error) error { return fmt.Errorf("%s:%d: %w", c.File, l.number, err) }
		if !l.kind.expects() {
			s := step{line: l}
			if l.applies(v) && l.kind == send && text != "drop" && text != "eof" {
				var err error
				if s.bytes, err = e.packets(l.client, text); err != nil {
					return nil, fail(err)
				}
				s.opens = strings.HasPrefix(text, "CONNECT")
			}
			if l.applies(v) && l.kind == command && !knownCommand(text) {
				return nil, fail(fmt.Errorf("neither a client's line nor a command: %s", text))
			}
			steps = append(steps, s)
			continue
		}
		x, err := expectationOf(l, text, v)
		if err != nil {
			return nil, fail(err)
		}
		if len(steps) == 0 {
			return nil, fail(fmt.Errorf("nothing can come before the first step"))
		}
		last := &steps[len(steps)-1]
		if l.applies(v) && last.line.applies(v) {
			last.expect = append(last.expect, x)
		}
	}
	kept := steps[:0]
	for _, s := range steps {
		if s.line.applies(v) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// expand puts in the version and its protocol name.
func expand(s string, v packet.Version) string {
	name := "MQTT"
	if v == packet.V31 {
		name = "MQIsdp"
	}
	return strings.NewReplacer("$v", fmt.Sprint(v), "$name", name).Replace(s)
}

func expectationOf(l *line, text string, v packet.Version) (expectation, error) {
	x := expectation{line: l, text: text}
	word, _, _ := strings.Cut(text, " ")
	switch {
	case l.kind == logged && text == "":
		return x, fmt.Errorf("an empty log line")
	case l.kind == receive && !answers[word] && !strings.Contains(word, "*"):
		return x, fmt.Errorf("a broker sends no %q", word)
	case l.kind == exact:
		b, err := notation(text, v)
		x.bytes = b
		return x, err
	}
	return x, nil
}

// answers are the words a received line may begin with.
var answers = map[string]bool{
	"CONNACK": true, "PUBLISH": true, "PUBACK": true, "PUBREC": true, "PUBREL": true, "PUBCOMP": true, "SUBACK": true,
	"UNSUBACK": true, "PINGRESP": true, "DISCONNECT": true, "AUTH": true, "close": true, "nothing": true,
}

// commands are the steps that are no client's.
var commands = map[string]bool{
	"config": true, "listener": true, "open": true, "tick": true, "stall": true, "flow": true, "stop": true,
}

func knownCommand(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	return commands[word]
}
