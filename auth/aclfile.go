package auth

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"midge/broker/topic"
	"midge/conf"
)

// LoadACL reads an ACL file. The lines are warnings for the log, those before an
// error included. The error is a *conf.Error, which has the lines to be logged and the
// exit status for a process that starts.
func LoadACL(name string) (*ACL, []conf.Line, error) {
	data, lines, err := readFile(name)
	if err != nil {
		e := conf.Errorf(exitOpen, "Error: Unable to open acl_file %q.", name)
		e.Add("Error: %v.", err)
		e.Add("Error opening acl file %q.", name)
		return nil, lines, e
	}
	return parseACL(name, data, lines)
}

func parseACL(name string, data []byte, lines []conf.Line) (*ACL, []conf.Line, error) {
	p := aclParser{name: name, lines: lines, users: make(map[string][]rule)}
	for line := range bytes.Lines(data) {
		p.number++
		if complaint := p.read(string(line)); complaint != "" {
			e := conf.Errorf(conf.Exit, "Error: %s", complaint)
			e.Add("Error opening acl file %q.", name)
			e.Add("Error found at %s:%d.", name, p.number)
			return nil, p.lines, e
		}
	}
	return p.finish(), p.lines, nil
}

// aclParser reads an ACL file line by line:
//
//	# comment, in the first column
//	topic [read|write|readwrite|deny] FILTER
//	user NAME
//	pattern [read|write|readwrite|deny] FILTER
//
// A word ends with a space, a tab does not end it. FILTER and NAME are the rest of the
// line and may have spaces inside.
type aclParser struct {
	name   string
	number int // of the line
	lines  []conf.Line

	user      string // whose section it is; "": nobody's yet
	anonymous []rule
	users     map[string][]rule
	patterns  []rule
}

// read takes in a line. It returns what is wrong with it, in mosquitto's words.
func (p *aclParser) read(line string) (complaint string) {
	line = strings.TrimRight(line, cSpace)
	if strings.HasPrefix(line, "#") {
		return ""
	}
	word, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
	rest = trim(rest)
	switch {
	case word == "":
		return ""
	case strings.IndexByte(line, 0) >= 0:
		return fmt.Sprintf("Invalid line in acl_file %q: %s.", p.name, "it has a NUL")
	case word == "user":
		return p.section(rest)
	case word == "topic" || word == "pattern":
		return p.rule(word, rest)
	}
	return fmt.Sprintf("Invalid line in acl_file %q: %s.", p.name, excerpt(word))
}

func (p *aclParser) section(user string) (complaint string) {
	if user == "" {
		return fmt.Sprintf("Missing username in acl_file %q.", p.name)
	}
	p.user = user
	if _, again := p.users[user]; !again {
		p.users[user] = nil
	}
	return ""
}

// accesses are the words for what a rule grants.
var accesses = map[string]grant{
	"read": grant(Read), "write": grant(Write), "readwrite": grant(Read | Write), "deny": deny,
}

func (p *aclParser) rule(kind, rest string) (complaint string) {
	if rest == "" {
		return fmt.Sprintf("Empty topic in acl_file %q.", p.name)
	}
	what, filter := accesses["readwrite"], rest
	if word, more, ok := strings.Cut(rest, " "); ok { // a lone word is the filter, whatever it is
		if what, ok = accesses[word]; !ok {
			return fmt.Sprintf("Invalid topic access type %q in acl_file %q.", excerpt(word), p.name)
		}
		filter = trim(more)
	}
	if len(filter) > stringMax || topic.CheckFilter([]byte(filter)) != nil {
		return fmt.Sprintf("Invalid ACL topic %q in acl_file %q.", excerpt(filter), p.name)
	}
	p.warn(kind, filter)
	r := newRule(filter, what)
	switch {
	case kind == "pattern":
		p.patterns = append(p.patterns, r)
	case p.user == "":
		p.anonymous = append(p.anonymous, r)
	default:
		p.users[p.user] = append(p.users[p.user], r)
	}
	return ""
}

// warn points out rules that do not what they seem to do.
func (p *aclParser) warn(kind, filter string) {
	if !utf8.ValidString(filter) || strings.ContainsFunc(filter, unicode.IsControl) {
		p.say("Warning: The ACL topic at %s:%d has characters that no topic may have.", p.name, p.number)
	}
	if kind != "pattern" {
		return
	}
	whole, part := 0, 0
	for level := range strings.SplitSeq(filter, "/") {
		switch {
		case rank(level, true) == clientLevel || rank(level, true) == userLevel:
			whole++
		case strings.Contains(level, "%c") || strings.Contains(level, "%u"):
			part++
		}
	}
	if part > 0 {
		p.say("Warning: In the ACL pattern '%s' at %s:%d '%%c' or '%%u' is only a part of a level and is not replaced.",
			excerpt(filter), p.name, p.number)
	}
	if whole+part == 0 {
		p.say("Warning: ACL pattern '%s' does not contain '%%c' or '%%u'.", excerpt(filter))
	}
}

// warningsMax is how many lines for the log one file may make.
const warningsMax = 100

func (p *aclParser) say(format string, args ...any) {
	if len(p.lines) < warningsMax {
		p.lines = append(p.lines, conf.Line{Class: conf.ClassWarning, Text: fmt.Sprintf(format, args...)})
	}
}

// excerpt is a part of a line for the log.
func excerpt(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func (p *aclParser) finish() *ACL {
	a := &ACL{anonymous: plant(p.anonymous, false), patterns: plant(p.patterns, true), users: make(map[string]*node, len(p.users))}
	for user, rules := range p.users {
		a.users[user] = plant(rules, false)
	}
	return a
}
