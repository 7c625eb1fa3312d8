package packet

// ConnectBody is what CONNECT has beside its properties: [Packet.Props]. Slices point into the packet.
type ConnectBody struct {
	// ProtocolName is MQIsdp or MQTT. It does not count for encoding: Version does.
	ProtocolName []byte
	// Version is the level without the bridge bit. When the level is not supported, which Decode answers with
	// [UnsupportedProtocolVersion], it is the version whose CONNACK is to tell so: V311 or V5.
	Version Version
	// Bridge is bit 7 of the level, by which mosquitto's bridges make themselves known in 3.1 and 3.1.1.
	Bridge bool
	// CleanStart is Clean Session before version 5.
	CleanStart bool
	KeepAlive  uint16 // seconds, 0 for none
	ClientID   []byte // may be empty

	Will        bool // the fields below count only with it
	WillQoS     byte
	WillRetain  bool
	WillTopic   []byte // never empty
	WillPayload []byte
	WillProps   Properties // empty before version 5

	HasUsername bool
	Username    []byte
	HasPassword bool
	Password    []byte
}

// Flags of CONNECT. [MQTT 3.1.2.3]
const (
	connectReserved   = 0x01
	connectClean      = 0x02
	connectWill       = 0x04
	connectWillQoS    = 0x18
	connectWillRetain = 0x20
	connectPassword   = 0x40
	connectUsername   = 0x80

	shiftWillQoS = 3
	bridgeBit    = 0x80
)

// Protocol names.
const (
	nameV31 = "MQIsdp"
	name    = "MQTT"
)

// decodeConnect takes CONNECT apart. [MQTT-3.1.3-1]
func (p *Packet) decodeConnect(first byte, body []byte) error {
	c := &p.Connect
	*c = ConnectBody{}
	p.Props.reset()
	rest, err := c.takeProtocol(body)
	if err != nil {
		return err
	}
	if first != Connect.first() && c.Version != V31 {
		return flagsError(Connect, first)
	}
	if len(rest) == 0 {
		return errFlagsMissing
	}
	flags := rest[0]
	if err := c.checkFlags(flags); err != nil {
		return err
	}
	var ok bool
	if c.KeepAlive, rest, ok = takeUint16(rest[1:]); !ok {
		return errKeepAlive
	}
	if rest, err = p.takeProps(c.Version, FromClient, rest); err != nil {
		return err
	}
	if rest, err = c.takePayload(flags, rest); err != nil {
		return err
	}
	if len(rest) != 0 {
		return errorf(MalformedPacket, "CONNECT packet with overlong remaining length (%d:%d).", len(body)-len(rest), len(body))
	}
	return nil
}

// takeProtocol reads protocol name and level. [MQTT-3.1.2-1], [MQTT-3.1.2-2]
func (c *ConnectBody) takeProtocol(b []byte) (rest []byte, err error) {
	n, _, ok := takeUint16(b)
	if !ok {
		return nil, errNameLength
	}
	if n != uint16(len(name)) && n != uint16(len(nameV31)) {
		return nil, errorf(MalformedPacket, "CONNECT with incorrect protocol string length (%d).", n)
	}
	if c.ProtocolName, rest, ok = takeBytes(b); !ok {
		return nil, errNameCut
	}
	if string(c.ProtocolName) != name && string(c.ProtocolName) != nameV31 {
		return nil, errorf(MalformedPacket, "CONNECT with invalid protocol %q.", string(c.ProtocolName))
	}
	if len(rest) == 0 {
		return nil, errLevelMissing
	}
	level := rest[0]
	c.Version, c.Bridge = Version(level&^bridgeBit), level&bridgeBit != 0
	if c.supported() {
		return rest[1:], nil
	}
	// Only a peer that is off the mark among the old levels understands an old answer.
	if c.Version < V31 || c.Version > V5 || c.Bridge && c.Version == V5 {
		c.Version = V5
	} else {
		c.Version = V311
	}
	return nil, errLevel
}

// supported says whether name and level belong together and the level may have the bridge bit if it does.
func (c *ConnectBody) supported() bool {
	switch c.Version {
	case V31:
		return string(c.ProtocolName) == nameV31
	case V311:
		return string(c.ProtocolName) == name
	case V5:
		return string(c.ProtocolName) == name && !c.Bridge
	}
	return false
}

// checkFlags checks CONNECT's flags and keeps those that stand for themselves. 3.1 leaves unused bits alone.
func (c *ConnectBody) checkFlags(flags byte) error {
	qos, retain := flags&connectWillQoS>>shiftWillQoS, flags&connectWillRetain != 0
	c.CleanStart, c.Will = flags&connectClean != 0, flags&connectWill != 0
	if flags&connectReserved != 0 && c.Version != V31 { // [MQTT-3.1.2-3]
		return errorf(MalformedPacket, "CONNECT with non-zero connect reserved flag (%02X).", flags)
	}
	if qos == 3 { // [MQTT-3.1.2-12]; in 3.1.1 [MQTT-3.1.2-14]
		return errorf(MalformedPacket, "CONNECT with invalid Will QoS (%d).", qos)
	}
	if c.Will {
		c.WillQoS, c.WillRetain = qos, retain
	} else if (qos != 0 || retain) && c.Version != V31 { // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; in 3.1.1 -13, -15
		return errorf(MalformedPacket, "CONNECT without Will with non-zero QoS (%d) or retain (%d).", qos, flags&connectWillRetain>>5)
	}
	if c.Version != V5 && flags&connectPassword != 0 && flags&connectUsername == 0 {
		return ErrPasswordWithoutUsername
	}
	return nil
}

// takePayload reads what follows the properties: client id, will, user name, password.
func (c *ConnectBody) takePayload(flags byte, b []byte) (rest []byte, err error) {
	var ok bool
	if c.ClientID, rest, ok = takeBytes(b); !ok {
		return nil, errCut
	}
	if !validName(c.ClientID) {
		return nil, errClientID // [MQTT-3.1.3-4]
	}
	if c.Will {
		if rest, err = c.takeWill(rest); err != nil {
			return nil, err
		}
	}
	return c.takeLogin(flags, rest)
}

// takeWill reads the will. [MQTT-3.1.2-9], [MQTT-3.1.3-11]; in 3.1.1 [MQTT-3.1.3-10]
func (c *ConnectBody) takeWill(b []byte) (rest []byte, err error) {
	if c.Version == V5 {
		list, after, ok := takeList(b)
		if !ok {
			return nil, errProperty
		}
		if err := c.WillProps.decode(list, will, FromClient); err != nil {
			return nil, err
		}
		b = after
	}
	var ok bool
	if c.WillTopic, rest, ok = takeBytes(b); !ok {
		return nil, errCut
	}
	if len(c.WillTopic) == 0 {
		return nil, errWillTopicEmpty
	}
	if !validName(c.WillTopic) {
		return nil, errString
	}
	if c.WillPayload, rest, ok = takeBytes(rest); !ok {
		return nil, errCut
	}
	return rest, nil
}

// takeLogin reads user name and password. In 3.1 the packet's length wins over the flags: what is missing at its end is
// taken as not announced. [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT-3.1.3-12]; in 3.1.1 -18 to -21 and -11
func (c *ConnectBody) takeLogin(flags byte, b []byte) (rest []byte, err error) {
	rest = b
	announced := func(flag byte) bool { return flags&flag != 0 && (c.Version != V31 || len(rest) != 0) }
	if c.HasUsername = announced(connectUsername); c.HasUsername {
		if c.Username, rest, c.HasUsername = takeBytes(rest); !c.HasUsername {
			return nil, errUsernameMissing
		}
		if !validName(c.Username) {
			return nil, errString
		}
	}
	if c.HasPassword = announced(connectPassword); c.HasPassword {
		if c.Password, rest, c.HasPassword = takeBytes(rest); !c.HasPassword {
			return nil, errPasswordMissing
		}
	}
	return rest, nil
}

// flags are the flags of CONNECT that encode c.
func (c *ConnectBody) flags() (flags byte) {
	if c.CleanStart {
		flags |= connectClean
	}
	if c.Will {
		flags |= connectWill | c.WillQoS<<shiftWillQoS
		if c.WillRetain {
			flags |= connectWillRetain
		}
	}
	if c.HasUsername {
		flags |= connectUsername
	}
	if c.HasPassword {
		flags |= connectPassword
	}
	return flags
}

// remaining is the Remaining Length of a CONNECT with the protocol name proto and props bytes of properties.
func (c *ConnectBody) remaining(proto string, props int) int {
	n := 2 + len(proto) + 4 + listSize(c.Version, props) + 2 + len(c.ClientID)
	if c.Will {
		n += listSize(c.Version, len(c.WillProps.Raw)) + 2 + len(c.WillTopic) + 2 + len(c.WillPayload)
	}
	if c.HasUsername {
		n += 2 + len(c.Username)
	}
	if c.HasPassword {
		n += 2 + len(c.Password)
	}
	return n
}

// append encodes a CONNECT of c with the property list props.
func (c *ConnectBody) append(dst, props []byte) []byte {
	proto, level := name, byte(c.Version)
	if c.Version == V31 {
		proto = nameV31
	}
	if c.Bridge {
		level |= bridgeBit
	}
	dst = appendHeader(dst, Connect.first(), c.remaining(proto, len(props)))
	dst = appendBytes(dst, proto)
	dst = append(dst, level, c.flags(), byte(c.KeepAlive>>8), byte(c.KeepAlive))
	if c.Version == V5 {
		dst = appendList(dst, props)
	}
	dst = appendBytes(dst, c.ClientID)
	if c.Will {
		if c.Version == V5 {
			dst = appendList(dst, c.WillProps.Raw)
		}
		dst = appendBytes(appendBytes(dst, c.WillTopic), c.WillPayload)
	}
	if c.HasUsername {
		dst = appendBytes(dst, c.Username)
	}
	if c.HasPassword {
		dst = appendBytes(dst, c.Password)
	}
	return dst
}
