package conf

import (
	"math"
	"strconv"
	"strings"
)

// listener is a listener under way: what its section said so far.
type listener struct {
	Listener
	security
	seen map[string]bool // texts that were given

	// What midge has not, as far as mosquitto checks it.
	pskHint bool
}

func newListener() *listener {
	return &listener{Listener: plainListener(), seen: make(map[string]bool)}
}

// setListener begins a listener. Its number is read strictly: something glued
// to the port may be the address to bind to, and must not get lost.
func setListener(s *statement) error {
	f := s.file
	host, ok := s.word()
	if !ok || strings.HasPrefix(host, "#") {
		host = ""
	}
	switch {
	case s.number == 0 && host == "":
		return fail("Error: A listener with port 0 must provide a Unix socket path.")
	case s.number < 0 || s.number > math.MaxUint16:
		return failValue("port", strconv.Itoa(s.number))
	}
	if err := f.section(); err != nil {
		return err
	}
	l := newListener()
	l.Port = s.number
	if l.Port == 0 {
		l.Path = host
	} else {
		l.Host = host
	}
	f.listeners = append(f.listeners, l)
	f.listener = l
	f.local = false
	return nil
}

// explicitDefault makes the default listener one that was asked for, and the
// current one unless there is another.
func (s *statement) explicitDefault() {
	f := s.file
	if f.defaultListener == nil {
		f.defaultListener = newListener()
	}
	if f.listener == nil {
		f.listener = f.defaultListener
	}
	f.implicit = position{}
	f.local = false
}

func setPort(s *statement) error {
	if s.number < 1 || s.number > math.MaxUint16 {
		return failValue(s.name, strconv.Itoa(s.number))
	}
	f := s.file
	again := f.port != 0
	f.port = s.number
	s.explicitDefault()
	if !again {
		return nil
	}
	return f.say(ClassWarning, "Warning: Default listener port specified multiple times. Only the latest will be used.")
}

func setBindAddress(s *statement) error {
	s.explicitDefault()
	s.file.defaultListener.Host = s.text
	if why := s.file.from.resolve(s.text); why != "" {
		return fail("Error: Error resolving %s: %s.", s.name, why)
	}
	return nil
}

func setBindInterface(s *statement) error {
	s.file.listener.BindInterface = s.text
	return nil
}

func setSocketDomain(s *statement) error {
	switch s.text {
	case "ipv4":
		s.file.listener.SocketDomain = IPv4
	case "ipv6":
		s.file.listener.SocketDomain = IPv6
	default:
		return failValue(s.name, s.text)
	}
	return nil
}

// whyAPI: mosquitto too may be built without it, and refuses such a listener then.
const whyAPI = "it has no HTTP interface, see $SYS and $CONTROL/broker/v1"

func setProtocol(s *statement) error {
	switch s.text {
	case "mqtt":
		s.file.listener.Web.On = false
	case "websockets":
		s.file.listener.Web.On = true
	case "http_api":
		s.judgeValue(never, whyAPI)
	default:
		return failValue(s.name, s.text)
	}
	return nil
}

// setAcceptProtocolVersions reads a list. What it does not know it skips, so a
// list may end up accepting nobody.
func setAcceptProtocolVersions(s *statement) error {
	list := strings.FieldsFunc(s.rest, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if len(list) == 0 {
		return failEmpty(s.name)
	}
	var accepted Versions
	for _, w := range list {
		switch w {
		case "3", "4", "5":
			accepted |= 1 << (w[0] - '0')
		}
	}
	s.file.listener.AcceptProtocolVersions = accepted
	return nil
}

func setMaxConnections(s *statement) error {
	s.file.listener.MaxConnections = max(s.number, 0)
	return nil
}

func setMaxQoS(s *statement) error {
	if s.number < 0 || s.number > 2 {
		return fail("Error: '%s' must be between 0 and 2 inclusive.", s.name)
	}
	s.file.listener.MaxQoS = s.number
	return nil
}

// aliases stores a number of topic aliases.
func aliases(field func(*Listener) *int) func(*statement) error {
	return func(s *statement) error {
		if s.number < 0 || s.number > math.MaxUint16 {
			return failRange(s.name)
		}
		*field(&s.file.listener.Listener) = s.number
		return nil
	}
}

// setMountPoint checks that a mount point can begin a topic. Glued to one, it makes
// filters that begin with a wildcard match nothing, which is said.
func setMountPoint(s *statement) error {
	if strings.ContainsAny(s.text, "+#") {
		return failValue(s.name, s.text)
	}
	s.file.listener.MountPoint = s.text
	if strings.HasSuffix(s.text, "/") {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: The '%s' value (%s) does not end with a slash, so '#' and '+' at the beginning of a filter match nothing.",
		s.name, s.text)
}

func setProxyTLS(s *statement) error {
	s.file.listener.Proxy.RequireTLS = s.yes
	return nil
}

// setProxyProtocol notes the version of the PROXY header.
func setProxyProtocol(s *statement) error {
	if s.number != 1 && s.number != 2 {
		return failRange(s.name)
	}
	s.file.listener.Proxy.Version = s.number
	return nil
}
