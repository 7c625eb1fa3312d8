package hosts

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// pattern is one word of a list.
type pattern interface {
	match(c *Conn) bool
}

// list is patterns, one of which must match, and what takes it back.
type list struct {
	patterns []pattern
	except   *list
}

func (l *list) match(c *Conn) bool {
	for _, p := range l.patterns {
		if p.match(c) {
			return l.except == nil || !l.except.match(c)
		}
	}
	return false
}

// broker says that a list of daemons may match.
func (l *list) broker() bool {
	for _, p := range l.patterns {
		switch p := p.(type) {
		case daemon:
			if p.match(nil) {
				return true
			}
		case both:
			if p.a.match(nil) {
				return true
			}
		}
	}
	return false
}

// daemon is a pattern for the name of the broker, in small letters.
type daemon string

// daemonNames are what the broker is called: after the one whose place it takes, and itself.
var daemonNames = [...]string{"mosquitto", "midge"}

func (d daemon) match(*Conn) bool {
	for _, name := range daemonNames {
		if text(d).matches(name) {
			return true
		}
	}
	return false
}

// both must match.
type both struct{ a, b pattern }

func (p both) match(c *Conn) bool { return p.a.match(c) && p.b.match(c) }

// onServer turns the two ends round.
type onServer struct{ pattern }

func (p onServer) match(c *Conn) bool {
	c.client, c.server = c.server, c.client
	defer func() { c.client, c.server = c.server, c.client }()
	return p.pattern.match(c)
}

type always bool

func (p always) match(*Conn) bool { return bool(p) }

// address is one host.
type address netip.Addr

func (p address) match(c *Conn) bool { return c.client.addr == netip.Addr(p) }

// within is all hosts of an IPv6 net.
type within netip.Prefix

func (p within) match(c *Conn) bool { return netip.Prefix(p).Contains(c.client.addr) }

// masked is all hosts of an IPv4 net. A mask may be any bits.
type masked struct{ net, mask uint32 }

// fits says that there can be a host in the net.
func (p masked) fits() bool { return p.net&^p.mask == 0 }

func (p masked) match(c *Conn) bool {
	return c.client.addr.Is4() && number(c.client.addr)&p.mask == p.net
}

// number is an IPv4 address as a number.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// named is hosts whose name is known, or has no point.
type named struct{ local bool }

func (p named) match(c *Conn) bool {
	name := c.name()
	return name != "" && name != unknownName && name != paranoidName && (!p.local || !strings.Contains(name, "."))
}

// hostName is a pattern for what the host is called, nothing else.
type hostName string

func (p hostName) match(c *Conn) bool { return c.name() == string(p) }

// hostText is a pattern, in small letters, for the host's address as it is written, or
// for its name.
type hostText string

func (p hostText) match(c *Conn) bool {
	if text(p).matches(c.client.addr.String()) {
		return true
	}
	if strings.Trim(string(p), "0123456789./") == "" { // a part of an IPv4 address
		return false
	}
	name := c.name()
	return name != "" && text(p).matches(name)
}

// name is the client's name; without one it notes that it was asked for.
func (c *Conn) name() string {
	if c.client.name == "" {
		c.client.asked, c.unsure = true, true
	}
	return c.client.name
}

// text is a pattern, in small letters, for a string.
type text string

func (p text) matches(s string) bool {
	switch {
	case p == "":
		return false
	case strings.ContainsAny(string(p), "*?"):
		return glob(string(p), strings.ToLower(s))
	case p[0] == '.':
		return len(s) > len(p) && strings.EqualFold(s[len(s)-len(p):], string(p))
	case p == "all":
		return true
	case p == "known":
		return s != unknownName
	case p[len(p)-1] == '.':
		return len(s) >= len(p) && strings.EqualFold(s[:len(p)], string(p))
	}
	return strings.EqualFold(s, string(p))
}

// glob compares s with a pattern in which * is any number of characters and ? is one.
func glob(p, s string) bool {
	star, mark := -1, 0 // where to go on when it does not fit
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(p[i:], "*") == ""
}
