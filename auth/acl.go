package auth

import (
	"strings"
)

// Action is what a client does with a topic.
type Action uint8

// The actions.
const (
	Read  Action = 1 << iota // it is delivered a message
	Write                    // it publishes one
)

// Verdict is the answer of an ACL.
type Verdict uint8

// The verdicts.
const (
	Denied Verdict = iota
	Allowed
	DeniedName // denied without a look at the patterns, for the name of the client has a wildcard
)

// ACL is what an ACL file says. It is not changed once it is made.
type ACL struct {
	anonymous *node            // the rules above the first user; nil: there are none, as in all of these
	users     map[string]*node // the section of each user
	patterns  *node            // the rules for everybody
}

// May says whether a client may do something with a topic, a legal name; username is
// "" for a client without one. It allocates nothing.
//
// The client's own rules decide: its user's section, or those above all sections for
// a client without a user name. Where they say nothing the patterns do, and after
// them the answer is no. In each list a denial that matches goes before anything else.
//
// In a pattern %c stands for the client id and %u for the user name, each as a whole
// level. What they are replaced by is compared and never read as a filter. A name with
// '+' or '#' gets nothing from patterns all the same, as mosquitto has it. A user
// name with '/' stands for several levels. A client id with '/' stands for none: clients
// choose their ids, and could reach what belongs to others.
func (a *ACL) May(clientID, username string, do Action, topic string) Verdict {
	own := a.anonymous
	if username != "" {
		own = a.users[username]
	}
	s := search{topic: topic}
	if own != nil {
		s.visit(own, 0)
		if said, v := s.verdict(do); said {
			return v
		}
	}
	if a.patterns == nil {
		return Denied
	}
	if Dangerous(username) || Dangerous(clientID) {
		return DeniedName
	}
	s = search{topic: topic, substitutes: true, username: username}
	if strings.IndexByte(clientID, '/') < 0 {
		s.clientID = clientID
	}
	s.visit(a.patterns, 0)
	_, v := s.verdict(do)
	return v
}

// verdict is what the rules that were found say, if they do.
func (s *search) verdict(do Action) (said bool, v Verdict) {
	switch {
	case s.found&deny != 0:
		return true, Denied
	case s.found&grant(do) != 0:
		return true, Allowed
	}
	return false, Denied
}

// Dangerous says that a name would be a wildcard in the place of %c or %u.
func Dangerous(name string) bool {
	return strings.IndexByte(name, '+') >= 0 || strings.IndexByte(name, '#') >= 0
}
