package core

import (
	"encoding/hex"
	"strings"

	"midge/broker/topic"
	"midge/packet"
	"midge/persist"
)

// refusal of a CONNECT: what the client is told, and the words for the log.
type refusal struct {
	reason packet.Reason
	text   string
	mute   bool // a client before v5 is told nothing
}

// The refusals.
var (
	refuseVersion   = &refusal{reason: packet.UnsupportedProtocolVersion, text: "protocol error"}
	refuseID        = &refusal{reason: packet.ClientIDNotValid, text: causeBadID.text}
	refuseEmptyID   = &refusal{reason: packet.UnspecifiedError, text: causeBadID.text}
	refuseIdentity  = &refusal{reason: packet.BadUsernameOrPassword, text: "bad username or password"}
	refuseLogin     = &refusal{reason: packet.NotAuthorized, text: "not authorised"}
	refuseMethod    = &refusal{reason: packet.BadAuthenticationMethod, text: disallowed}
	refuseWillQoS   = &refusal{reason: packet.QoSNotSupported, text: disallowed, mute: true}
	refuseWillKept  = &refusal{reason: packet.RetainNotSupported, text: disallowed, mute: true}
	refuseWillSize  = &refusal{reason: packet.PacketTooLarge, text: "oversize payload"}
	refuseWillTopic = &refusal{reason: packet.TopicNameInvalid, text: causeProtocol.text, mute: true}
	refuseKeepAlive = &refusal{reason: packet.ClientIDNotValid, text: causeBadID.text}
	refuseSmall     = &refusal{reason: packet.PacketTooLarge, text: causeOversize.text}
	refuseMemory    = &refusal{reason: packet.QuotaExceeded, text: "quota exceeded"}
	refuseClients   = &refusal{reason: packet.ServerBusy, text: "server busy", mute: true}
)

// code is the refusal in a CONNACK of that version; ok is false when it has none
// for it, and the connection is just closed (3.1.1 [MQTT-3.2.2-6]).
func (r *refusal) code(v packet.Version) (code byte, ok bool) {
	if v == packet.V5 {
		return byte(r.reason), true
	}
	if r.mute {
		return 0, false
	}
	switch r.reason {
	case packet.UnsupportedProtocolVersion:
		return 1, true
	case packet.ClientIDNotValid, packet.UnspecifiedError:
		return 2, true
	case packet.ServerUnavailable, packet.ServerBusy, packet.QuotaExceeded, packet.UseAnotherServer,
		packet.ServerMoved, packet.ConnectionRateExceeded:
		return 3, true
	case packet.BadUsernameOrPassword:
		return 4, true
	case packet.NotAuthorized, packet.Banned, packet.BadAuthenticationMethod, packet.PacketTooLarge:
		return 5, true
	}
	return 0, false
}

// connect takes a client in, or refuses it.
func (b *Broker) connect(c *Client, p *packet.Packet, now Time) error {
	if c.state != opened {
		return b.secondConnect(c)
	}
	b.stats.Connections++
	cn := &p.Connect
	c.version = cn.Version
	if p.Props.Has(packet.MaximumPacketSize) {
		c.maxPacket = int32(min(p.Props.MaximumPacketSize, anyPacket))
	}
	if cn.Bridge {
		c.flags |= flagBridge
	}
	if r := identify(c, cn); r != nil {
		b.reject(c, string(cn.ClientID), r, now)
		return nil
	}
	if r := b.admit(c, p); r != nil {
		b.reject(c, string(cn.ClientID), r, now)
		return nil
	}
	id, r := b.idFor(c, cn)
	if r != nil {
		b.reject(c, id, r, now)
		return nil
	}
	if v := b.login(c, cn, now); v == Pending {
		return nil
	} else if r := v.refusal(); r != nil {
		b.reject(c, id, r, now)
		return nil
	}
	if r := b.noRoom(c, id, p); r != nil {
		b.reject(c, id, r, now)
		return nil
	}
	if b.waits(c, id, cn.CleanStart, now) {
		return nil
	}
	c.extra = nil // what it had was for the login
	b.welcome(c, id, p, now)
	return nil
}

// noRoom is the refusal of a client that may connect, but for which there is no
// session, no disk or no memory now, or no answer that it can take.
func (b *Broker) noRoom(c *Client, id string, p *packet.Packet) *refusal {
	switch {
	case b.noPlace(c, id):
		return refuseClients
	case b.down != packet.Success && b.connectRecords(id, p):
		return refuseDown
	case b.tightForClient(id, &p.Connect), b.tooManyRetainedForWill(c, &p.Connect):
		return refuseMemory
	case len(b.connack(c, id, false, p)) > int(c.maxPacket):
		return refuseSmall
	}
	return nil
}

// identify gives the client the user name that its transport vouches for, where
// that is wanted. Then there is no password.
func identify(c *Client, cn *packet.ConnectBody) *refusal {
	if c.Listener.Identity == nil {
		return nil
	}
	name, ok := c.Listener.Identity(c)
	if !ok {
		return refuseIdentity
	}
	cn.Username, cn.HasUsername = []byte(name), true
	cn.Password, cn.HasPassword = nil, false
	return nil
}

// secondConnect is the fault of a client that connects twice on one connection [MQTT-3.1.0-2].
func (b *Broker) secondConnect(c *Client) error {
	b.log.Logf(LogNotice, "Bad client %s sending multiple CONNECT messages.", c.Peer())
	return faultUnexpected
}

// admit checks a CONNECT against the listener and the configuration. It touches
// no session: a refused client changes nothing [MQTT-3.1.4-5].
func (b *Broker) admit(c *Client, p *packet.Packet) *refusal {
	cn, l := &p.Connect, c.Listener
	switch {
	case l.Versions&(1<<cn.Version) == 0:
		return refuseVersion
	case len(cn.ClientID) > 0:
	case cn.Version == packet.V31, cn.Version == packet.V311 && !cn.CleanStart: // [MQTT-3.1.3-8]
		return refuseID
	case !l.EmptyClientID && cn.Version == packet.V5:
		return refuseEmptyID
	case !l.EmptyClientID:
		return refuseID
	}
	if p.Props.Has(packet.AuthMethod) { // v5 [MQTT-4.12.0-1]
		return refuseMethod
	}
	if r := b.admitWill(c, cn); r != nil {
		return r
	}
	return b.admitKeepAlive(cn)
}

// admitKeepAlive refuses a keep alive that is too long where the client cannot be told
// another. The answer speaks of the client id, so the log says what is meant.
func (b *Broker) admitKeepAlive(cn *packet.ConnectBody) *refusal {
	k := b.cfg.MaxKeepAlive
	if k == 0 || cn.Version == packet.V5 || 0 < cn.KeepAlive && cn.KeepAlive <= k {
		return nil
	}
	b.log.Logf(LogNotice, "Client %s asks for a keep alive of %d seconds, and max_keepalive is %d.", cn.ClientID, cn.KeepAlive, k)
	return refuseKeepAlive
}

// admitWill checks the will.
func (b *Broker) admitWill(c *Client, cn *packet.ConnectBody) *refusal {
	switch {
	case !cn.Will:
		return nil
	case !b.mayWill(c, cn.WillTopic):
		return refuseWillTopic
	case cn.WillQoS > c.Listener.MaxQoS: // v5 [MQTT-3.2.2-12]
		return refuseWillQoS
	case cn.WillRetain && !b.cfg.RetainAvailable: // v5 [MQTT-3.2.2-13]
		return refuseWillKept
	case b.cfg.MessageSizeLimit > 0 && len(cn.WillPayload) > b.cfg.MessageSizeLimit:
		b.log.Logf(LogDebug, "Client %s connected with too large Will payload", cn.ClientID)
		return refuseWillSize
	}
	return nil
}

// mayWill says whether the topic may be a will's.
func (b *Broker) mayWill(c *Client, name []byte) bool {
	if topic.CheckName(name) != nil {
		return false
	}
	whole, err := b.mount(c, view(name))
	return err == nil && !isControl(whole) && !b.tooDeep(whole)
}

// reject answers a CONNECT with a refusal and ends the connection.
func (b *Broker) reject(c *Client, id string, r *refusal, now Time) {
	if code, ok := r.code(c.version); ok {
		b.log.Logf(LogDebug, "Sending CONNACK to %s (0, %d)", c.Host(), code)
		b.answer(c, follows, 0, packet.AppendConnack(b.scratch[:0], c.version, false, code, b.refusalProps(c)))
	}
	c.more().claim = id
	b.close(c, cause{text: r.text}, now)
	if r == refuseLogin && c.Listener.Refused != nil {
		c.Listener.Refused()
	}
}

// refusalProps are the properties of a CONNACK that refuses: mosquitto names the
// Maximum QoS in that too, so that a client refused for its will learns which it may have.
func (b *Broker) refusalProps(c *Client) []byte {
	if c.version != packet.V5 || c.Listener.MaxQoS == 2 {
		return nil
	}
	b.propsOut = packet.AppendByteProperty(b.propsOut[:0], packet.MaximumQoS, c.Listener.MaxQoS)
	return b.propsOut
}

// refuseConnect answers a CONNECT that could not be decoded: before v5 with
// nothing, but for the version ([MQTT-3.1.4-1], v5 4.13).
func (b *Broker) refuseConnect(c *Client, p *packet.Packet, err error, now Time) {
	f := faultOf(err)
	b.explain(c, p, err, f)
	c.version = p.Connect.Version
	text := f.cause.text
	if text == causeMalformed.text { // mosquitto's word for any bad CONNECT
		text = causeProtocol.text
	}
	r := &refusal{reason: f.cause.reason, text: text, mute: f.cause.reason != packet.UnsupportedProtocolVersion}
	if c.version == 0 {
		b.close(c, cause{text: text}, now)
		return
	}
	b.reject(c, "", r, now)
}

// idFor is the client id a CONNECT gets: its own, one made up, or the user name.
func (b *Broker) idFor(c *Client, cn *packet.ConnectBody) (string, *refusal) {
	id := string(cn.ClientID)
	if id == "" {
		id = b.newClientID(c.Listener.AutoIDPrefix)
	}
	if !strings.HasPrefix(id, b.cfg.ClientIDPrefix) {
		return id, refuseLogin
	}
	if c.Listener.UsernameAsID {
		if len(cn.Username) == 0 {
			return id, refuseLogin
		}
		id = string(cn.Username)
	}
	if (len(cn.ClientID) > 0 || c.Listener.UsernameAsID) && b.tooLong(id) {
		return id, refuseID
	}
	return id, nil
}

// newClientID makes up a client id: the prefix and 128 random bits, as
// mosquitto writes them.
func (b *Broker) newClientID(prefix string) string {
	for {
		var raw [16]byte
		for i := range raw {
			raw[i] = byte(b.rand.Uint32())
		}
		h := strings.ToUpper(hex.EncodeToString(raw[:]))
		id := prefix + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
		if b.sessions[id] == nil { // v5 [MQTT-3.2.2-16]
			return id
		}
	}
}

// welcome gives an accepted client its session: its own of before, or a new one.
func (b *Broker) welcome(c *Client, id string, p *packet.Packet, now Time) {
	cn := &p.Connect
	s := b.sessions[id]
	if s != nil {
		s = b.resumeOrEnd(s, cn.CleanStart, now)
	}
	present := s != nil
	if s == nil {
		s = &Session{id: id}
		b.sessions[id] = s
		b.account(s.cost())
		b.leans = b.ended[id] // one that this client had before is not to come back
	}
	b.attach(c, s, p, now)
	b.logConnect(c, p)
	b.logSecured(c)
	b.sendConnack(c, s, present, p)
	if present && s.hungry() {
		b.pump(c, now)
	}
}

// resumeOrEnd ends the session's connection, if it has one (the later CONNECT
// wins [MQTT-3.1.4-2], v5 [MQTT-3.1.4-3]), and then the session, unless the new
// connection goes on with it. The will is published when the session ends
// and dropped when it goes on.
func (b *Broker) resumeOrEnd(s *Session, clean bool, now Time) *Session {
	if c := s.client; c != nil {
		b.endConnection(c, causeTakenOver)
		s.client = nil
		b.online--
	}
	if clean || !s.durable() {
		b.endSession(s, now)
		return nil
	}
	b.dropWill(s)
	return s
}

// attach binds a connection to its session, with what the CONNECT asks for.
func (b *Broker) attach(c *Client, s *Session, p *packet.Packet, now Time) {
	cn := &p.Connect
	c.session, s.client = s, c
	c.state = connected
	b.online++
	c.keepAlive = b.keepAlive(cn)
	c.window = b.windowFor(p)
	if p.Props.Has(packet.TopicAliasMaximum) {
		c.aliasMax = min(p.Props.TopicAliasMaximum, c.Listener.MaxAliasOut)
	}
	asked := sessionExpiry(p)
	if asked == 0 {
		c.flags |= flagBrief
	}
	s.expiry = b.capExpiry(asked)
	s.dropping = false
	b.endAbsence(s)
	before := s.cost()
	s.identify(c, cn)
	b.account(s.cost() - before)
	b.epoch++
	s.window.rewind()
	if c.keepAlive > 0 {
		b.keepVigil(c, now)
	} else {
		c.leaveVigil()
	}
	b.stats.MaxClients = max(b.stats.MaxClients, len(b.sessions))
	b.recordSession(s, persist.Never)
	s.will = b.willOf(s, cn)
}

// identify says whose messages are those of the session from now on. One without a
// user name gets its origin with the first of them.
func (s *Session) identify(c *Client, cn *packet.ConnectBody) {
	port := c.Listener.Port
	if s.who != nil && s.who.Listener != port || s.username() != view(cn.Username) {
		s.who = &identity{Origin: persist.Origin{ClientID: s.id, Username: string(cn.Username), Listener: port}}
	}
	if s.who != nil {
		s.who.rights.forget()
	}
}

// keepAlive is the keep alive in force, in seconds: a v5 client may be told a
// smaller one than it asked for.
func (b *Broker) keepAlive(cn *packet.ConnectBody) uint16 {
	k := b.cfg.MaxKeepAlive
	if cn.Version == packet.V5 && k > 0 && (cn.KeepAlive == 0 || cn.KeepAlive > k) {
		return k
	}
	return cn.KeepAlive
}

// receiveMaxDefault is what is meant where no Receive Maximum is said.
const receiveMaxDefault = 65535

// windowFor is how many QoS 1 and 2 messages the client is sent at once.
func (b *Broker) windowFor(p *packet.Packet) uint16 {
	if p.Props.Has(packet.ReceiveMaximum) {
		return p.Props.ReceiveMaximum
	}
	if n := b.cfg.MaxInflightMessages; n > 0 && n < receiveMaxDefault {
		return uint16(n)
	}
	return receiveMaxDefault
}

// sessionExpiry is the Session Expiry Interval a CONNECT asks for, in seconds.
func sessionExpiry(p *packet.Packet) uint32 {
	switch {
	case p.Connect.Version == packet.V5 && p.Props.Has(packet.SessionExpiry):
		return p.Props.SessionExpiry
	case p.Connect.Version == packet.V5 || p.Connect.CleanStart:
		return 0
	}
	return noExpiry
}

// capExpiry applies persistent_client_expiration.
func (b *Broker) capExpiry(seconds uint32) uint32 {
	if top := b.cfg.MaxSessionExpiry / 1000; top > 0 && Time(seconds) > top {
		return uint32(top)
	}
	return seconds
}

// sendConnack accepts the client.
func (b *Broker) sendConnack(c *Client, s *Session, present bool, p *packet.Packet) {
	present = present && c.version != packet.V31
	flag := 0
	if present {
		flag = 1
	}
	if b.debug {
		b.log.Logf(LogDebug, "Sending CONNACK to %s (%d, 0)", s.id, flag)
	}
	b.answer(c, barrier, max(b.own(), s.relies), b.connack(c, s.id, present, p))
	if c.held != nil {
		c.held.connack = true
	}
}

// connack makes the CONNACK that accepts a client, in scratch space. Where it is
// larger than the client takes (v5 [MQTT-3.1.2-24]), it leaves out what the
// client can do without: the limits of ours that it learns when it meets them.
func (b *Broker) connack(c *Client, id string, present bool, p *packet.Packet) []byte {
	if c.version != packet.V5 {
		return packet.AppendConnack(b.scratch[:0], c.version, present, 0, nil)
	}
	b.propsOut = b.connackProps(b.propsOut[:0], c, id, p, true)
	pkt := packet.AppendConnack(b.scratch[:0], c.version, present, 0, b.propsOut)
	if len(pkt) > int(c.maxPacket) {
		b.propsOut = b.connackProps(b.propsOut[:0], c, id, p, false)
		pkt = packet.AppendConnack(b.scratch[:0], c.version, present, 0, b.propsOut)
	}
	return pkt
}

// connackProps appends the properties of a CONNACK in mosquitto's order, with
// our limits or without.
func (b *Broker) connackProps(out []byte, c *Client, id string, p *packet.Packet, limits bool) []byte {
	if k := b.keepAlive(&p.Connect); k != p.Connect.KeepAlive {
		out = packet.AppendUint16Property(out, packet.ServerKeepAlive, k)
	}
	if n := c.Listener.MaxAlias; n > 0 && limits {
		out = packet.AppendUint16Property(out, packet.TopicAliasMaximum, n)
	}
	if len(p.Connect.ClientID) == 0 { // v5 [MQTT-3.1.3-7]
		out = packet.AppendBytesProperty(out, packet.AssignedClientID, raw(id))
	}
	if !b.cfg.RetainAvailable {
		out = packet.AppendByteProperty(out, packet.RetainAvailable, 0)
	}
	if n := b.cfg.MaxPacketSize; n > 0 && limits {
		out = packet.AppendUint32Property(out, packet.MaximumPacketSize, uint32(n))
	}
	if n := b.cfg.MaxInflightMessages; n > 0 && n < receiveMaxDefault && limits {
		out = packet.AppendUint16Property(out, packet.ReceiveMaximum, uint16(n))
	}
	if q := c.Listener.MaxQoS; q < 2 { // v5 [MQTT-3.2.2-9]
		out = packet.AppendByteProperty(out, packet.MaximumQoS, q)
	}
	asked := sessionExpiry(p)
	if given := b.capExpiry(asked); given != asked {
		out = packet.AppendUint32Property(out, packet.SessionExpiry, given)
	}
	return out
}

// logSecured names the version and cipher of a TLS connection.
func (b *Broker) logSecured(c *Client) {
	if c.Listener.Remote == nil {
		return
	}
	if version, cipher := c.Listener.Remote(c).Secured(); version != "" {
		b.log.Logf(LogNotice, "Client %s negotiated %s cipher %s", c.session.id, version, cipher)
	}
}

// logConnect writes mosquitto's lines for a new client.
func (b *Broker) logConnect(c *Client, p *packet.Packet) {
	if !b.cfg.ConnectionMessages || !b.log.Enabled(LogNotice) {
		return
	}
	cn := &p.Connect
	kind, clean, user := "client", 0, ""
	if cn.Bridge {
		kind = "bridge"
	}
	if cn.CleanStart {
		clean = 1
	}
	if cn.HasUsername {
		user = ", u'" + string(cn.Username) + "'"
	}
	b.log.Logf(LogNotice, "New %s connected from %s as %s (p%d, c%d, k%d%s).",
		kind, c.Peer(), c.session.id, c.version, clean, cn.KeepAlive, user)
	if !b.debug {
		return
	}
	if !cn.Will {
		b.log.Logf(LogDebug, "No will message specified.")
		return
	}
	retain := 0
	if cn.WillRetain {
		retain = 1
	}
	b.log.Logf(LogDebug, "Will message specified (%d bytes) (r%d, q%d).", len(cn.WillPayload), retain, cn.WillQoS)
	b.log.Logf(LogDebug, "\t%s", c.session.will.Message.Topic)
}
