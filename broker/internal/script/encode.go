package script

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"midge/packet"
)

// encoder makes the packets of clients:
//
//	CONNECT [v3|v4|v5] [clean] [bridge] [id=x] [keepalive=10] [user=x] [password=x]
//	        [will={topic 'payload' [qos=1] [retain] ..}] {..}
//	PUBLISH topic ['payload'] [qos=1] [id=7] [dup] [retain] {..}
//	SUBSCRIBE 1 filter [qos=1] [nl] [rap] [rh=2] filter .. {..}
//	UNSUBSCRIBE 1 filter filter .. {..}
//	PUBACK, PUBREC, PUBREL, PUBCOMP 7 [rc=10] {..}
//	PINGREQ, DISCONNECT [rc=04] {..}, AUTH [rc=18] {..}
//	hex ..
//
// {..} are properties, and only version 5 gets them. The client id is the
// client's name unless told otherwise.
type encoder struct {
	version packet.Version            // of a CONNECT that names none
	clients map[string]packet.Version // of the last CONNECT of each
}

// Encode makes the packets that a client of version v, whose client id is its
// name, sends with one line of a script.
func Encode(client, text string, v packet.Version) ([]byte, error) {
	e := encoder{version: v, clients: map[string]packet.Version{client: v}}
	return e.packets(client, text)
}

// packets makes what one line sends.
func (e *encoder) packets(client, text string) (all []byte, err error) {
	for _, part := range strings.Split(text, " + ") {
		b, err := e.packet(client, strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

func (e *encoder) packet(client, text string) ([]byte, error) {
	name, rest, _ := strings.Cut(text, " ")
	if name == "hex" {
		level, ok := e.clients[client]
		if !ok || strings.HasPrefix(rest, "10") {
			level = e.version
		}
		b, err := notation(rest, level)
		if v, ok := connectVersion(b); ok {
			e.clients[client] = v
		}
		return b, err
	}
	args, _, err := words(rest, 0)
	if err != nil {
		return nil, err
	}
	p := packet.Packet{}
	in := fields{words: args, packet: &p}
	switch name {
	case "CONNECT":
		in.connect(client, e.version)
		e.clients[client] = p.Connect.Version
	case "PUBLISH":
		in.publish()
	case "SUBSCRIBE", "UNSUBSCRIBE":
		in.subscribe(name == "SUBSCRIBE")
	case "PUBACK", "PUBREC", "PUBREL", "PUBCOMP":
		p.Type = map[string]packet.Type{"PUBACK": packet.Puback, "PUBREC": packet.Pubrec,
			"PUBREL": packet.Pubrel, "PUBCOMP": packet.Pubcomp}[name]
		p.ID = in.id()
		in.reason()
	case "PINGREQ":
		p.Type = packet.Pingreq
	case "DISCONNECT":
		p.Type = packet.Disconnect
		in.reason()
	case "AUTH":
		p.Type = packet.Auth
		in.reason()
	default:
		return nil, fmt.Errorf("a client sends no %q", name)
	}
	p.Props.Raw = in.properties()
	if in.err == nil && len(in.words) > 0 {
		in.err = fmt.Errorf("%s has no %s", name, &in.words[0])
	}
	if in.err != nil {
		return nil, in.err
	}
	return p.Append(nil, e.clients[client]), nil
}

// connectVersion is the version a CONNECT in b asks for.
func connectVersion(b []byte) (packet.Version, bool) {
	if len(b) == 0 || b[0]>>4 != byte(packet.Connect) {
		return 0, false
	}
	h, err := packet.ReadHeader(b, 0)
	if err != nil || h.Size == 0 {
		return 0, false
	}
	var p packet.Packet
	p.Decode(0, packet.FromClient, h.First, b[h.Size:min(h.Len(), len(b))])
	return p.Connect.Version, true
}

// fields reads the words of one packet; the first error stays.
type fields struct {
	words  []word
	packet *packet.Packet
	err    error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// take removes the word with that key, or the bare word that equals flag.
func (f *fields) take(match func(*word) bool) (word, bool) {
	for i := range f.words {
		if w := f.words[i]; match(&w) {
			f.words = append(f.words[:i:i], f.words[i+1:]...)
			return w, true
		}
	}
	return word{}, false
}

func (f *fields) text(key string) (string, bool) {
	w, ok := f.take(func(w *word) bool { return w.key == key && !w.lists })
	if w.pairs {
		return w.value + ":" + w.pair, ok
	}
	return w.value, ok
}

func (f *fields) flag(name string) bool {
	_, ok := f.take(func(w *word) bool { return w.key == "" && w.value == name && !w.quote })
	return ok
}

func (f *fields) number(key string, top int) int {
	s, ok := f.text(key)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > top {
		f.fail("%s is no number up to %d: %s", key, top, s)
	}
	return n
}

// next takes the first word, which is a value.
func (f *fields) next(what string) string {
	w, ok := f.take(func(w *word) bool { return w.key == "" && !w.lists })
	if !ok {
		f.fail("%s is missing", what)
	}
	return w.value
}

func (f *fields) id() uint16 {
	n, err := strconv.ParseUint(f.next("the packet identifier"), 10, 16)
	if err != nil {
		f.fail("the packet identifier is a number")
	}
	return uint16(n)
}

func (f *fields) reason() {
	s, ok := f.text("rc")
	if !ok {
		return
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 1 {
		f.fail("rc is two hexadecimal digits: %s", s)
		return
	}
	f.packet.Reason = packet.Reason(b[0])
}

// properties takes the list in braces, if there is one, encoded.
func (f *fields) properties() []byte {
	w, ok := f.take(func(w *word) bool { return w.key == "" && w.lists })
	if !ok {
		return nil
	}
	b, err := appendProperties(nil, w.list)
	if err != nil {
		f.fail("%w", err)
	}
	return b
}

func (f *fields) connect(client string, v packet.Version) {
	f.packet.Type = packet.Connect
	c := &f.packet.Connect
	c.Version = v
	for name, v := range map[string]packet.Version{"v3": packet.V31, "v4": packet.V311, "v5": packet.V5} {
		if f.flag(name) {
			c.Version = v
		}
	}
	c.ClientID = []byte(client)
	if id, ok := f.text("id"); ok {
		c.ClientID = []byte(id)
	}
	c.CleanStart = f.flag("clean")
	c.Bridge = f.flag("bridge")
	c.KeepAlive = uint16(f.number("keepalive", 65535))
	user, ok := f.text("user")
	c.Username, c.HasUsername = []byte(user), ok
	password, ok := f.text("password")
	c.Password, c.HasPassword = []byte(password), ok
	if w, ok := f.take(func(w *word) bool { return w.key == "will" }); ok {
		c.Will = true
		f.will(c, w.list)
	}
}

func (f *fields) will(c *packet.ConnectBody, list []word) {
	in := fields{words: list, err: f.err}
	c.WillTopic = []byte(in.next("the will's topic"))
	c.WillQoS = byte(in.number("qos", 3))
	c.WillRetain = in.flag("retain")
	if w, ok := in.take(func(w *word) bool { return w.key == "" && !w.lists }); ok {
		c.WillPayload = []byte(w.value)
	}
	raw, err := appendProperties(nil, in.words)
	if err != nil {
		in.fail("%w", err)
	}
	c.WillProps.Raw = raw
	f.err = in.err
}

func (f *fields) publish() {
	p := f.packet
	p.Type = packet.Publish
	p.Topic = []byte(f.next("the topic"))
	p.Dup = f.flag("dup")
	p.Retain = f.flag("retain")
	p.QoS = byte(f.number("qos", 3))
	p.ID = uint16(f.number("id", 65535))
	if w, ok := f.take(func(w *word) bool { return w.key == "" && !w.lists }); ok {
		p.Payload = []byte(w.value)
	}
}

// subscribe reads filters; what follows one are its options.
func (f *fields) subscribe(options bool) {
	p := f.packet
	p.Type = packet.Unsubscribe
	if options {
		p.Type = packet.Subscribe
	}
	p.ID = f.id()
	var raw []byte
	kept := f.words[:0:0]
	for _, w := range f.words {
		bit, isOption := option(&w)
		switch {
		case w.lists:
			kept = append(kept, w)
		case options && isOption && len(raw) > 0:
			raw[len(raw)-1] |= bit
		case w.key != "":
			f.fail("no such option: %s", &w)
		case options:
			raw = packet.AppendSubscription(raw, w.value, 0)
		default:
			raw = packet.AppendFilter(raw, w.value)
		}
	}
	f.words = kept
	p.Filters = packet.Filters{Raw: raw, Options: options}
}

// option gives the bits of a subscription option.
func option(w *word) (bits byte, ok bool) {
	if w.quote || w.lists {
		return 0, false
	}
	bits, ok = map[string]byte{"qos=0": 0, "qos=1": 1, "qos=2": 2, "qos=3": 3, "nl": 4, "rap": 8,
		"rh=0": 0, "rh=1": 0x10, "rh=2": 0x20, "rh=3": 0x30}[w.String()]
	return bits, ok
}
