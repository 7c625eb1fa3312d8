package auth

import (
	"bytes"
	"strings"

	"midge/conf"
)

// Passwords is what a password file says. It is not changed once it is made.
type Passwords struct {
	users map[string]Hash
	decoy Hash // costs what most of them cost; of nobody
}

// LoadPasswords reads a password file. The lines are warnings for the log. The error
// is a *conf.Error, which has the lines to be logged and the exit status for a
// process that starts.
func LoadPasswords(name string) (*Passwords, []conf.Line, error) {
	data, lines, err := readFile(name)
	if err != nil {
		return nil, lines, cannotOpen(name, err)
	}
	p, err := parsePasswords(name, data)
	return p, lines, err
}

func cannotOpen(name string, err error) error {
	e := conf.Errorf(exitOpen, "password-file: Error: Unable to open pwfile \"%s\".", name)
	e.Add("Error: %v.", err)
	return e
}

// parsePasswords reads the lines "user:hash". A '#' in the first column begins a
// comment, what has no colon is no entry, and a further colon ends the hash.
func parsePasswords(file string, data []byte) (*Passwords, error) {
	p := &Passwords{users: make(map[string]Hash)}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line[0] == '#' || bytes.IndexByte(line, ':') < 0 {
			continue
		}
		if err := p.add(file, string(line)); err != nil {
			err.Add("Error found at %s:%d.", file, number)
			return nil, err
		}
	}
	p.chooseDecoy()
	return p, nil
}

// add takes in an entry, or says in mosquitto's words what is wrong with it.
func (p *Passwords) add(file, line string) *conf.Error {
	name, rest, _ := strings.Cut(line, ":")
	text, _, _ := strings.Cut(rest, ":")
	name, text = trim(name), trim(text)
	switch {
	case line[0] == ':', text == "":
		return conf.Errorf(conf.Exit, "password-file: Error: Invalid line in password file '%s'.", file)
	case name == "":
		return conf.Errorf(conf.Exit, "password-file: Error: Empty username in password file '%s'.", file)
	case len(name) > stringMax:
		return conf.Errorf(conf.Exit, "password-file: Error: Username of more than %d bytes in password file '%s'.", stringMax, file)
	}
	if _, twice := p.users[name]; twice {
		return conf.Errorf(conf.Exit, "password-file: Error: Duplicate user '%s' in password file '%s'.", printable(name), file)
	}
	h, err := ParseHash(text)
	if err != nil {
		return conf.Errorf(conf.Exit, "password-file: Error: Unable to decode line in password file '%s'.", file)
	}
	p.users[name] = h
	return nil
}

// cSpace is what C calls white space.
const cSpace = " \t\n\v\f\r"

func trim(s string) string { return strings.Trim(s, cSpace) }

// printable is a user name that may be shown: short, and without control characters.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), 256)]
}

// chooseDecoy makes the hash that a login of an unknown user is checked against. It
// costs what the hashes of most users cost, so that the time does not tell whether
// there is such a user.
func (p *Passwords) chooseDecoy() {
	count := make(map[string]int)
	best := ""
	for _, h := range p.users {
		c := h.cost()
		count[c]++
		if best == "" || count[c] > count[best] || count[c] == count[best] && c < best {
			best = c
			p.decoy = h
		}
	}
	if best != "" {
		p.decoy = p.decoy.decoy()
	}
}

// Len is how many users there are.
func (p *Passwords) Len() int { return len(p.users) }

// Find is the hash of a user's password. For an unknown user it is one that takes as
// long as most do and is of no password; it is the zero Hash where there are no users.
func (p *Passwords) Find(user string) (h Hash, known bool) {
	if h, known = p.users[user]; known {
		return h, true
	}
	return p.decoy, false
}
