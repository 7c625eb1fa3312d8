package hosts

import (
	"net/netip"
	"strconv"
	"strings"
)

// space separates what stands in a line, with commas.
const space = " \t\r\n"

// parse reads one line into t, if it is about the broker.
func (l *loader) parse(at, line string, t *table) error {
	daemons, rest, ok := cutColon(line)
	if !ok {
		l.note("%s: there is no colon in the line, which is passed over.", at)
		return nil
	}
	clients, options, some := cutColon(rest)
	r := &rule{}
	var err error
	if r.daemons, err = l.list(at, daemons, (*loader).daemon); err != nil || !r.daemons.broker() {
		return err
	}
	if r.clients, err = l.list(at, clients, (*loader).client); err != nil {
		return err
	}
	if some {
		r.turned = l.options(at, options)
	}
	t.add(r)
	return nil
}

// cutColon cuts at the first colon that is in no IPv6 address in brackets.
func cutColon(s string) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ':':
			return s[:i], s[i+1:], true
		case '[':
			if end := strings.IndexByte(s[i:], ']'); end > 0 && strings.Trim(s[i+1:i+end], ":.0123456789abcdefABCDEF") == "" {
				i += end
			}
		}
	}
	return s, "", false
}

// list reads "a b, c EXCEPT d EXCEPT e".
func (l *loader) list(at, s string, pattern func(*loader, string, string) (pattern, error)) (*list, error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r < 0x80 && strings.ContainsRune(space, r) })
	first := new(list)
	current := first
	for _, w := range words {
		if strings.EqualFold(w, "EXCEPT") {
			current.except = new(list)
			current = current.except
			continue
		}
		p, err := pattern(l, at, w)
		if err != nil {
			return nil, err
		}
		current.patterns = append(current.patterns, p)
	}
	return first, nil
}

// daemon reads a pattern for the broker: a name, maybe at an address of this machine.
func (l *loader) daemon(at, w string) (pattern, error) {
	name, host, ok := cutAt(w)
	if !ok {
		return daemon(strings.ToLower(name)), nil
	}
	h, err := l.host(at, host)
	return both{daemon(strings.ToLower(name)), onServer{h}}, err
}

// client reads a pattern for the other end: a host, maybe with a user.
func (l *loader) client(at, w string) (pattern, error) {
	user, host, ok := cutAt(w)
	if !ok {
		return l.host(at, user)
	}
	h, err := l.host(at, host)
	known := text(strings.ToLower(user)).matches(unknownName)
	if !known {
		l.note("%s: nobody is asked for the user %q, who matches nothing.", at, user)
	}
	return both{h, always(known)}, err
}

// cutAt cuts at the first @ but one at the beginning, which is a netgroup's.
func cutAt(w string) (before, after string, found bool) {
	i := strings.IndexByte(w[1:], '@')
	if i < 0 {
		return w, "", false
	}
	return w[:i+1], w[i+2:], true
}

// host reads a pattern for a host.
func (l *loader) host(at, w string) (pattern, error) {
	low := strings.ToLower(w)
	switch {
	case w == "":
		return always(false), nil
	case w[0] == '@':
		l.note("%s: the netgroup %q is not looked up and matches nothing.", at, w)
		return always(false), nil
	case w[0] == '/':
		s, err := l.file(at, w)
		return s, err
	case low == "all":
		return always(true), nil
	case low == "known":
		return named{}, nil
	case low == "local":
		return named{local: true}, nil
	case low == unknownName, low == paranoidName:
		return hostName(low), nil
	case w[0] != '.' && w[len(w)-1] != '.' && strings.ContainsRune(w, '/'):
		return l.net(at, w), nil
	}
	if a, ok := parseAddr(w); ok {
		return address(a.Unmap()), nil
	}
	return hostText(low), nil
}

// parseAddr reads an IPv4 address, or an IPv6 address in brackets.
func parseAddr(w string) (netip.Addr, bool) {
	inner, open := strings.CutPrefix(w, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.Zone() == "" && open == closed && open == a.Is6()
}

// net reads net/mask, net/length or [net]/length. As in libwrap, an IPv4 net with bits
// beyond its mask matches nothing, nor do the masks 255.255.255.255 and /0.
func (l *loader) net(at, w string) pattern {
	ip, mask, _ := strings.Cut(w, "/")
	addr, ok := parseAddr(ip)
	bits, err := strconv.ParseUint(mask, 10, 8)
	dotted, err4 := netip.ParseAddr(mask)
	switch {
	case !ok:
	case addr.Is6() && err == nil && bits <= 128:
		return within(netip.PrefixFrom(addr, int(bits)).Masked())
	case addr.Is4() && err == nil && 0 < bits && bits <= 32:
		if p := (masked{number(addr), ^uint32(0) << (32 - bits)}); p.fits() {
			return p
		}
	case addr.Is4() && err4 == nil && dotted.Is4() && number(dotted) != ^uint32(0):
		if p := (masked{number(addr), number(dotted)}); p.fits() {
			return p
		}
	}
	l.note("%s: %q matches nothing.", at, w)
	return always(false)
}

// turn is what an option makes of a line's verdict.
type turn uint8

const (
	unturned turn = iota
	toAllow
	toDeny
)

func (t turn) verdict() Verdict {
	if t == toAllow {
		return Allowed
	}
	return Denied
}

// The options, by whether they have a value. It may be left out where it says maybe.
const (
	noValue = iota
	someValue
	maybeValue
)

// options reads what stands behind the clients. What libwrap would not carry out, it
// answers by keeping the client out; so does this.
func (l *loader) options(at, s string) turn {
	fields := splitOptions(s)
	for i, f := range fields {
		name, value := cutOption(f)
		values, harmless := map[string]int{
			"allow": noValue, "deny": noValue, "keepalive": noValue, "spawn": someValue, "severity": someValue, "banners": someValue,
			"linger": someValue, "setenv": someValue, "umask": someValue, "user": someValue, "group": someValue,
			"rfc931": maybeValue, "nice": maybeValue,
		}[name]
		final := name == "allow" || name == "deny"
		switch {
		case !harmless || values == noValue && value != "" || values == someValue && value == "" || final && i < len(fields)-1:
			l.note("%s: the option %q cannot be carried out, so the line keeps out whom it matches.", at, f)
			return toDeny
		case name == "allow":
			return toAllow
		case name == "deny":
			return toDeny
		}
		l.note("%s: the option %q is passed over.", at, name)
	}
	return unturned
}

// cutOption splits "name value", "name=value" and "name = value".
func cutOption(f string) (name, value string) {
	i := strings.IndexAny(f, "="+space)
	if i < 0 {
		return strings.ToLower(f), ""
	}
	value = strings.TrimLeft(f[i:], space)
	value = strings.TrimPrefix(value, "=")
	return strings.ToLower(f[:i]), strings.TrimLeft(value, space)
}

// splitOptions cuts at colons that have no backslash in front.
func splitOptions(s string) []string {
	var all []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			all = append(all, strings.Trim(s[from:i], space))
			from = i + 1
		}
	}
	return append(all, strings.Trim(s[from:], space))
}
