package packet

import "bytes"

// Property is the identifier of a version 5 property.
type Property byte

// The properties. [MQTT 2.2.2.2]
const (
	PayloadFormat           Property = 1
	MessageExpiry           Property = 2
	ContentType             Property = 3
	ResponseTopic           Property = 8
	CorrelationData         Property = 9
	SubscriptionID          Property = 11
	SessionExpiry           Property = 17
	AssignedClientID        Property = 18
	ServerKeepAlive         Property = 19
	AuthMethod              Property = 21
	AuthData                Property = 22
	RequestProblemInfo      Property = 23
	WillDelay               Property = 24
	RequestResponseInfo     Property = 25
	ResponseInfo            Property = 26
	ServerReference         Property = 28
	ReasonString            Property = 31
	ReceiveMaximum          Property = 33
	TopicAliasMaximum       Property = 34
	TopicAlias              Property = 35
	MaximumQoS              Property = 36
	RetainAvailable         Property = 37
	UserProperty            Property = 38
	MaximumPacketSize       Property = 39
	WildcardAvailable       Property = 40
	SubscriptionIDAvailable Property = 41
	SharedAvailable         Property = 42
)

// Properties is a property list. The values mean something only where Has says that the list has the property.
type Properties struct {
	// Raw is the encoded list without its length. It is all that counts for encoding.
	Raw []byte

	has uint64 // a bit for each property that is there

	MessageExpiry     uint32 // seconds
	SessionExpiry     uint32 // seconds, 0xFFFFFFFF for never
	WillDelay         uint32 // seconds
	MaximumPacketSize uint32 // bytes, not 0
	SubscriptionID    uint32 // the last one, where there are several; not 0

	ServerKeepAlive   uint16 // seconds
	ReceiveMaximum    uint16 // not 0
	TopicAliasMaximum uint16
	TopicAlias        uint16 // not 0

	// These are 0 or 1.
	PayloadFormat           byte
	RequestProblemInfo      byte
	RequestResponseInfo     byte
	MaximumQoS              byte
	RetainAvailable         byte
	WildcardAvailable       byte
	SubscriptionIDAvailable byte
	SharedAvailable         byte

	ContentType      []byte
	ResponseTopic    []byte // without wildcards
	CorrelationData  []byte
	AssignedClientID []byte
	AuthMethod       []byte
	AuthData         []byte
	ResponseInfo     []byte
	ServerReference  []byte
	ReasonString     []byte
}

// Has says whether the list has the property.
func (p *Properties) Has(id Property) bool { return p.has>>id&1 != 0 }

// Fields iterates over the list in the order of the wire.
func (p *Properties) Fields() Fields { return Fields{p.Raw} }

// reset empties the list; values are left as they are.
func (p *Properties) reset() { p.Raw, p.has = nil, 0 }

// form is how a property's value is encoded.
type form byte

const (
	unknown form = iota
	oneByte      // 0 or 1: the standard has no other
	twoBytes
	fourBytes
	variable
	text
	binaryData
	textPair
)

// will stands among the packet types for the will properties within CONNECT.
const will Type = 0

// packets is a set of packet types.
type packets uint16

const (
	inWill        packets = 1 << will
	inConnect     packets = 1 << Connect
	inConnack     packets = 1 << Connack
	inPublish     packets = 1 << Publish
	inSubscribe   packets = 1 << Subscribe
	inDisconnect  packets = 1 << Disconnect
	inAuth        packets = 1 << Auth
	inMessage             = inPublish | inWill
	inConnects            = inConnect | inConnack
	inAnswers             = inConnack | 1<<Puback | 1<<Pubrec | 1<<Pubrel | 1<<Pubcomp | 1<<Suback | 1<<Unsuback | inDisconnect | inAuth
	inAnyWithList         = inAnswers | inMessage | inConnect | inSubscribe | 1<<Unsubscribe
)

// properties says of each identifier how its value is encoded and in which packets it is legal. [MQTT 2.2.2.2]
var properties = [...]struct {
	form form
	in   packets
}{
	PayloadFormat:           {oneByte, inMessage},
	MessageExpiry:           {fourBytes, inMessage},
	ContentType:             {text, inMessage},
	ResponseTopic:           {text, inMessage},
	CorrelationData:         {binaryData, inMessage},
	SubscriptionID:          {variable, inPublish | inSubscribe},
	SessionExpiry:           {fourBytes, inConnects | inDisconnect},
	AssignedClientID:        {text, inConnack},
	ServerKeepAlive:         {twoBytes, inConnack},
	AuthMethod:              {text, inConnects | inAuth},
	AuthData:                {binaryData, inConnects | inAuth},
	RequestProblemInfo:      {oneByte, inConnect},
	WillDelay:               {fourBytes, inWill},
	RequestResponseInfo:     {oneByte, inConnect},
	ResponseInfo:            {text, inConnack},
	ServerReference:         {text, inConnack | inDisconnect},
	ReasonString:            {text, inAnswers},
	ReceiveMaximum:          {twoBytes, inConnects},
	TopicAliasMaximum:       {twoBytes, inConnects},
	TopicAlias:              {twoBytes, inPublish},
	MaximumQoS:              {oneByte, inConnack},
	RetainAvailable:         {oneByte, inConnack},
	UserProperty:            {textPair, inAnyWithList},
	MaximumPacketSize:       {fourBytes, inConnects},
	WildcardAvailable:       {oneByte, inConnack},
	SubscriptionIDAvailable: {oneByte, inConnack},
	SharedAvailable:         {oneByte, inConnack},
}

// decode validates the list raw of a packet of type in, sent by from, and keeps its values.
func (p *Properties) decode(raw []byte, in Type, from Side) error {
	p.Raw, p.has = raw, 0
	var f Field
	for len(raw) > 0 {
		var ok bool
		if raw, ok = f.take(raw); !ok {
			return errProperty
		}
		if !legal(f.ID, in, from) {
			return misplaced(in)
		}
		if p.Has(f.ID) && f.ID != UserProperty && (f.ID != SubscriptionID || in != Publish) {
			return errPropertyTwice
		}
		if err := f.check(); err != nil {
			return err
		}
		p.has |= 1 << f.ID
		p.keep(&f)
	}
	if p.Has(AuthData) && !p.Has(AuthMethod) {
		return errAuthMethod
	}
	return nil
}

// legal says whether a property may be in a packet of type in from that side. [MQTT-3.3.4-6], [MQTT-3.14.2-2]
func legal(id Property, in Type, from Side) bool {
	switch {
	case id == SubscriptionID && in == Publish:
		return from == FromServer
	case id == SessionExpiry && in == Disconnect:
		return from == FromClient
	}
	return properties[id].in>>in&1 != 0
}

// misplaced is the refusal of a property not legal in a packet of type in.
func misplaced(in Type) *Error {
	switch in {
	case Subscribe:
		return errSubscribeMisplaced
	case Unsubscribe:
		return errUnsubMisplaced
	}
	return errPropertyMisplaced
}

// check checks the value of a property.
func (f *Field) check() error {
	switch properties[f.ID].form {
	case oneByte:
		if f.Int > 1 {
			return errPropertyValue
		}
	case text:
		if !validString(f.Bytes) {
			return errString
		}
	case textPair: // [MQTT-1.5.7-1]
		if !validString(f.Bytes) || !validString(f.Value) {
			return errString
		}
	}
	switch f.ID {
	case ReceiveMaximum, MaximumPacketSize, TopicAlias, SubscriptionID:
		if f.Int == 0 {
			return errPropertyValue
		}
	case ResponseTopic: // [MQTT-3.3.2-14]
		if bytes.IndexByte(f.Bytes, '+') >= 0 || bytes.IndexByte(f.Bytes, '#') >= 0 {
			return errPropertyValue
		}
	}
	return nil
}

// keep copies the value of f to where it belongs.
func (p *Properties) keep(f *Field) {
	switch f.ID {
	case PayloadFormat:
		p.PayloadFormat = byte(f.Int)
	case MessageExpiry:
		p.MessageExpiry = f.Int
	case ContentType:
		p.ContentType = f.Bytes
	case ResponseTopic:
		p.ResponseTopic = f.Bytes
	case CorrelationData:
		p.CorrelationData = f.Bytes
	case SubscriptionID:
		p.SubscriptionID = f.Int
	case TopicAlias:
		p.TopicAlias = uint16(f.Int)
	case WillDelay:
		p.WillDelay = f.Int
	case ReasonString:
		p.ReasonString = f.Bytes
	case UserProperty: // only in the list
	default:
		p.keepConnection(f)
	}
}

// keepConnection does keep's work for what only CONNECT, CONNACK, AUTH and DISCONNECT have.
func (p *Properties) keepConnection(f *Field) {
	switch f.ID {
	case SessionExpiry:
		p.SessionExpiry = f.Int
	case AssignedClientID:
		p.AssignedClientID = f.Bytes
	case ServerKeepAlive:
		p.ServerKeepAlive = uint16(f.Int)
	case AuthMethod:
		p.AuthMethod = f.Bytes
	case AuthData:
		p.AuthData = f.Bytes
	case RequestProblemInfo:
		p.RequestProblemInfo = byte(f.Int)
	case RequestResponseInfo:
		p.RequestResponseInfo = byte(f.Int)
	case ResponseInfo:
		p.ResponseInfo = f.Bytes
	case ServerReference:
		p.ServerReference = f.Bytes
	case ReceiveMaximum:
		p.ReceiveMaximum = uint16(f.Int)
	case TopicAliasMaximum:
		p.TopicAliasMaximum = uint16(f.Int)
	case MaximumQoS:
		p.MaximumQoS = byte(f.Int)
	case RetainAvailable:
		p.RetainAvailable = byte(f.Int)
	case MaximumPacketSize:
		p.MaximumPacketSize = f.Int
	case WildcardAvailable:
		p.WildcardAvailable = byte(f.Int)
	case SubscriptionIDAvailable:
		p.SubscriptionIDAvailable = byte(f.Int)
	case SharedAvailable:
		p.SharedAvailable = byte(f.Int)
	}
}
