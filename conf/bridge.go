package conf

import (
	"math"
	"strconv"
	"strings"
)

// Bridges are not built yet. Their options are checked as mosquitto checks
// them while reading, and nothing of them is kept but what later checks need.

// bridge is a connection under way.
type bridge struct {
	name      string
	seen      map[string]bool // texts that were given
	addressed bool
	topics    bool
	remoteID  string
	localID   string

	certificate, identity, psk bool
}

// localClientID returns what the bridge is called inside the broker; host
// stands for the name of the machine.
func (b *bridge) localClientID(host string) string {
	switch {
	case b.localID != "":
		return b.localID
	case b.remoteID != "":
		return "local." + b.remoteID
	}
	return "local." + host + "." + b.name
}

func setConnection(s *statement) error {
	f := s.file
	for _, b := range f.bridges {
		if b.name == s.text {
			return fail("Error: Duplicate bridge name '%s'.", s.text)
		}
	}
	if err := f.section(); err != nil {
		return err
	}
	f.bridge = &bridge{name: s.text, seen: make(map[string]bool)}
	f.bridges = append(f.bridges, f.bridge)
	return nil
}

// setAddress reads host[:port] words, which may end with a comment.
func setAddress(s *statement) error {
	b := s.file.bridge
	if b.addressed {
		return fail("Error: Invalid bridge configuration.")
	}
	for {
		w, ok := s.word()
		if !ok || w[0] == '#' {
			break
		}
		b.addressed = true
		colon := strings.LastIndexByte(w, ':')
		if colon < 0 {
			continue
		}
		port, err := strconv.ParseInt(leadingDigits(w[colon+1:]), 10, 32)
		if err != nil || port < 1 || port > math.MaxUint16 {
			return failValue("port", w[colon+1:])
		}
	}
	if !b.addressed {
		return failEmpty(s.name)
	}
	return nil
}

// setTopic reads PATTERN [DIRECTION [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]].
func setTopic(s *statement) error {
	pattern, err := s.pattern()
	if err != nil {
		return err
	}
	direction, ok := s.word()
	if ok && !isDirection(direction) {
		return fail("Error: Invalid bridge topic direction '%s'.", direction)
	}
	qos, ok := s.comment()
	if ok {
		n, _ := strconv.Atoi(leadingDigits(qos)) // no digits: QoS 0
		if n < 0 || n > 2 {
			return fail("Error: Invalid bridge QoS level '%s'.", qos)
		}
	}
	local, _ := s.comment()
	remote, _ := s.comment()
	s.file.bridge.topics = true
	return checkMapping(pattern, local, remote)
}

// pattern reads a topic filter, in double quotes if it holds spaces.
func (s *statement) pattern() (string, error) {
	w, ok := s.word()
	if !ok {
		return "", failEmpty(s.name)
	}
	if w == `""` || w[0] != '"' {
		return w, nil
	}
	// A quoted pattern without a space does not end, for mosquitto.
	more, rest, ok := strings.Cut(s.rest, `"`)
	if !ok {
		return "", fail("Error: Missing closing quote in '%s' value in configuration.", s.name)
	}
	s.rest = rest
	return w[1:] + " " + more, nil
}

// comment reads a word, unless one with a '#' in front ends the line.
func (s *statement) comment() (string, bool) {
	w, ok := s.word()
	if ok && w[0] == '#' {
		s.rest = ""
		return "", false
	}
	return w, ok
}

func isDirection(w string) bool {
	return strings.EqualFold(w, "out") || strings.EqualFold(w, "in") || strings.EqualFold(w, "both")
}

// checkMapping checks the prefixes of a topic, alone and with the pattern.
// An empty prefix was not given, "" is one of no length.
func checkMapping(pattern, local, remote string) error {
	if pattern == `""` {
		if local == "" || remote == "" {
			return fail("Error: Invalid bridge remapping.")
		}
		pattern = ""
	}
	for _, side := range [...]struct{ name, prefix string }{{"local", local}, {"remote", remote}} {
		prefix := side.prefix
		if prefix == `""` {
			prefix = ""
		}
		if strings.ContainsAny(prefix, "+#") {
			return fail("Error: Invalid bridge topic %s prefix '%s'.", side.name, prefix)
		}
		if !validFilter(prefix + pattern) {
			return fail("Error: Invalid bridge topic %s prefix and pattern combination '%s'.", side.name, prefix+pattern)
		}
	}
	return nil
}

// validFilter tells whether s may be a topic filter of a bridge.
func validFilter(s string) bool {
	const maxSlashes = 200
	if s == "" || len(s) > maxText || strings.Count(s, "/") > maxSlashes || !validText(s) {
		return false
	}
	levels := strings.Split(s, "/")
	for i, level := range levels {
		switch {
		case level == "+":
		case level == "#":
			if i < len(levels)-1 {
				return false
			}
		case strings.ContainsAny(level, "+#"):
			return false
		}
	}
	return true
}

func setRemoteClientID(s *statement) error {
	s.file.bridge.remoteID = s.text
	return nil
}

func setLocalClientID(s *statement) error {
	s.file.bridge.localID = s.text
	return nil
}

func setBridgeProtocolVersion(s *statement) error {
	switch s.text {
	case "mqttv31", "mqttv311", "mqttv50":
		return nil
	}
	return failValue(s.name, s.text)
}

func setStartType(s *statement) error {
	switch s.text {
	case "automatic", "lazy", "once":
		return nil
	case "manual":
		return fail("Error: Manual start_type not supported.")
	}
	return failValue(s.name, s.text)
}

func setReloadType(s *statement) error {
	if s.text != "lazy" && s.text != "immediate" {
		return failValue(s.name, s.text)
	}
	return nil
}

// raised says that a number below the least is taken for that.
func raised(what string, least int, unit string) func(*statement) error {
	return func(s *statement) error {
		if s.number >= least {
			return nil
		}
		return s.file.say(ClassNotice, "%s too low, using %d %s.", what, least, unit)
	}
}

func setKeepaliveInterval(s *statement) error {
	if s.number > math.MaxUint16 {
		return fail("Error: Bridge keepalive value too high.")
	}
	return raised("keepalive interval", 5, "seconds")(s)
}

// setRestartTimeout reads a base, a cap and a time after which the delay goes
// back to the base, all in seconds.
func setRestartTimeout(s *statement) error {
	const maxBase, maxCap = 3600, 7200
	base, ok := s.digits()
	if !ok {
		return failEmpty(s.name)
	}
	if base > maxBase {
		base = maxBase
		if err := s.file.say(ClassNotice, "%s interval too high, using %d seconds.", s.name, base); err != nil {
			return err
		}
	}
	if base < 1 {
		base = 1
		if err := s.file.say(ClassNotice, "%s interval too low, using 1 second.", s.name); err != nil {
			return err
		}
	}
	limit, ok := s.digits()
	if !ok {
		return nil
	}
	if limit < base {
		return fail("Error: backoff cap is lower than the base in %s.", s.name)
	}
	if limit > maxCap {
		if err := s.file.say(ClassError, "Error: backoff cap in %s is too high, using %d seconds.", s.name, maxCap); err != nil {
			return err
		}
	}
	if stable, ok := s.digits(); ok && stable < 0 {
		return fail("Error: the stable time in %s is negative.", s.name)
	}
	return nil
}

// digits reads a word and returns the number it begins with, 0 for none.
func (s *statement) digits() (int, bool) {
	w, ok := s.word()
	n, err := strconv.ParseInt(leadingDigits(w), 10, 32)
	if err != nil && !isRange(err) {
		n = 0
	}
	return int(n), ok
}

// setTCPKeepalive reads three numbers of 1 or more.
func setTCPKeepalive(s *statement) error {
	for range 3 {
		if err := s.readInteger(); err != nil {
			return err
		}
		if s.number < 1 {
			return failValue(s.name, strconv.Itoa(s.number))
		}
	}
	return nil
}

// setNonNegative refuses numbers below 0.
func setNonNegative(s *statement) error {
	if s.number < 0 {
		return failValue(s.name, strconv.Itoa(s.number))
	}
	return nil
}

// span refuses numbers outside a range.
func span(least, most int) func(*statement) error {
	return func(s *statement) error {
		if s.number < least || s.number > most {
			return failRange(s.name)
		}
		return nil
	}
}

func setBridgeInsecure(s *statement) error {
	if !s.yes {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: Bridge %s using insecure mode.", s.file.bridge.name)
}

func setBridgeCertificate(s *statement) error {
	if s.file.bridge.identity || s.file.bridge.psk {
		return fail("Error: Cannot use both certificate and psk encryption in a single bridge.")
	}
	s.file.bridge.certificate = true
	return nil
}

func setBridgeIdentity(s *statement) error {
	if s.file.bridge.certificate {
		return fail("Error: Cannot use both certificate and identity encryption in a single bridge.")
	}
	s.file.bridge.identity = true
	return nil
}

func setBridgePSK(s *statement) error {
	if s.file.bridge.certificate {
		return fail("Error: Cannot use both certificate and psk encryption in a single bridge.")
	}
	s.file.bridge.psk = true
	return nil
}

// check finds what a connection lacks, at the end of the file.
func (b *bridge) check() error {
	const intro = "Error: Invalid bridge configuration: "
	switch {
	case !b.addressed:
		return fail(intro + "no remote addresses defined.")
	case !b.topics:
		return fail(intro + "no topics defined.")
	case b.psk && !b.identity:
		return fail(intro + "missing bridge_identity.")
	case b.identity && !b.psk:
		return fail(intro + "missing bridge_psk.")
	}
	return nil
}

// checkLocalClientIDs makes sure that the bridges' names inside the broker
// differ.
func checkLocalClientIDs(bridges []*bridge) error {
	// A name no text can hold: two default ids differ as their bridges do.
	const host = "\x00"
	taken := make(map[string]bool, len(bridges))
	for _, b := range bridges {
		id := b.localClientID(host)
		if taken[id] {
			return fail("Error: Bridge local_clientid '%s' is not unique. "+
				"Try changing or setting the local_clientid value for one of the bridges.", id)
		}
		taken[id] = true
	}
	return nil
}
