package packet

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The reason codes in the order of the standard's table. [MQTT 2.4]
func TestReasonNames(t *testing.T) {
	names := []struct {
		r    Reason
		code byte
		text string
	}{
		{Success, 0x00, "success"}, {NormalDisconnection, 0x00, "success"}, {GrantedQoS0, 0x00, "success"},
		{GrantedQoS1, 0x01, "granted QoS 1"}, {GrantedQoS2, 0x02, "granted QoS 2"},
		{DisconnectWithWill, 0x04, "disconnect with will message"}, {NoMatchingSubscribers, 0x10, "no matching subscribers"},
		{NoSubscriptionExisted, 0x11, "no subscription existed"}, {ContinueAuthentication, 0x18, "continue authentication"},
		{Reauthenticate, 0x19, "re-authenticate"}, {UnspecifiedError, 0x80, "unspecified error"},
		{MalformedPacket, 0x81, "malformed packet"}, {ProtocolError, 0x82, "protocol error"},
		{ImplementationError, 0x83, "implementation specific error"}, {UnsupportedProtocolVersion, 0x84, "unsupported protocol version"},
		{ClientIDNotValid, 0x85, "client identifier not valid"}, {BadUsernameOrPassword, 0x86, "bad user name or password"},
		{NotAuthorized, 0x87, "not authorized"}, {ServerUnavailable, 0x88, "server unavailable"}, {ServerBusy, 0x89, "server busy"},
		{Banned, 0x8A, "banned"}, {ServerShuttingDown, 0x8B, "server shutting down"},
		{BadAuthenticationMethod, 0x8C, "bad authentication method"}, {KeepAliveTimeout, 0x8D, "keep alive timeout"},
		{SessionTakenOver, 0x8E, "session taken over"}, {TopicFilterInvalid, 0x8F, "topic filter invalid"},
		{TopicNameInvalid, 0x90, "topic name invalid"}, {PacketIDInUse, 0x91, "packet identifier in use"},
		{PacketIDNotFound, 0x92, "packet identifier not found"}, {ReceiveMaximumExceeded, 0x93, "receive maximum exceeded"},
		{TopicAliasInvalid, 0x94, "topic alias invalid"}, {PacketTooLarge, 0x95, "packet too large"},
		{MessageRateTooHigh, 0x96, "message rate too high"}, {QuotaExceeded, 0x97, "quota exceeded"},
		{AdministrativeAction, 0x98, "administrative action"}, {PayloadFormatInvalid, 0x99, "payload format invalid"},
		{RetainNotSupported, 0x9A, "retain not supported"}, {QoSNotSupported, 0x9B, "QoS not supported"},
		{UseAnotherServer, 0x9C, "use another server"}, {ServerMoved, 0x9D, "server moved"},
		{SharedSubscriptionsNotSupported, 0x9E, "shared subscriptions not supported"},
		{ConnectionRateExceeded, 0x9F, "connection rate exceeded"}, {MaximumConnectTime, 0xA0, "maximum connect time"},
		{SubscriptionIDsNotSupported, 0xA1, "subscription identifiers not supported"},
		{WildcardSubscriptionsNotSupported, 0xA2, "wildcard subscriptions not supported"},
	}
	known := map[Reason]bool{}
	for _, row := range names {
		known[row.r] = true
		if byte(row.r) != row.code || row.r.String() != row.text || row.r.Failed() != (row.code >= 0x80) {
			t.Errorf("%q is %02X %q, want %02X", row.text, byte(row.r), row.r, row.code)
		}
	}
	for r := range 256 {
		if !known[Reason(r)] && Reason(r).String() != fmt.Sprintf("reason code 0x%02X", r) {
			t.Errorf("%02X has the name %q", r, Reason(r))
		}
	}
}

func TestTypeNames(t *testing.T) {
	want := strings.Fields("RESERVED CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH")
	for i, name := range want {
		if got := Type(i).String(); got != name {
			t.Errorf("type %d is %q, want %q", i, got, name)
		}
	}
	if got := Type(16).String(); got != "type 16" {
		t.Error(got)
	}
}

// Which codes are legal in which packet of version 5, from which side, for all of the 256. [MQTT 2.4]
func TestReasonsLegal(t *testing.T) {
	const (
		received   = `00 10 80 83 87 90 91 97 99`
		disconnect = `00 80 81 82 83 90 93 94 95 96 97 98 99`
	)
	for _, row := range []struct {
		name  string
		wire  string // with the code in place of XX
		sides []Side
		legal string
	}{
		{"CONNACK", `20 03 00 XX 00`, []Side{FromServer}, `00 80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F`},
		{"PUBACK", `40 03 0001 XX`, []Side{FromClient, FromServer}, received},
		{"PUBREC", `50 03 0001 XX`, []Side{FromClient, FromServer}, received},
		{"PUBREL", `62 03 0001 XX`, []Side{FromClient, FromServer}, `00 92`},
		{"PUBCOMP", `70 03 0001 XX`, []Side{FromClient, FromServer}, `00 92`},
		{"SUBACK", `90 04 0001 00 XX`, []Side{FromServer}, `00 01 02 80 83 87 8F 91 97 9E A1 A2`},
		{"UNSUBACK", `B0 04 0001 00 XX`, []Side{FromServer}, `00 11 80 83 87 8F 91`},
		{"DISCONNECT", `E0 01 XX`, []Side{FromClient}, disconnect + ` 04`},
		{"DISCONNECT", `E0 01 XX`, []Side{FromServer}, disconnect + ` 87 89 8B 8D 8E 8F 9A 9B 9C 9D 9E 9F A0 A1 A2`},
		{"AUTH", `F0 ## XX {15 "m"}`, []Side{FromClient}, `18 19`},
		{"AUTH", `F0 ## XX {15 "m"}`, []Side{FromServer}, `00 18`},
	} {
		legal := wire(row.legal)
		for _, from := range row.sides {
			for code := range 256 {
				b := wire(strings.Replace(row.wire, "XX", hex.EncodeToString([]byte{byte(code)}), 1))
				p, err := decode(t, V5, from, b)
				if want := slices.Contains(legal, byte(code)); (err == nil) != want {
					t.Errorf("%s with %02X from side %d: %v", row.name, code, from, err)
				}
				if err == nil && p.Codes == nil && p.Reason != Reason(code) {
					t.Errorf("%s with %02X: reason %02X", row.name, code, byte(p.Reason))
				}
			}
		}
	}
}

// The return codes before version 5. [MQTT 3.2.2.3] and [MQTT 3.9.3] of 3.1.1
func TestReturnCodes(t *testing.T) {
	for _, v := range []Version{V31, V311} {
		for code := range 256 {
			p, err := decode(t, v, FromServer, []byte{0x20, 2, 0, byte(code)})
			if (err == nil) != (code <= 5) || err == nil && p.Reason != Reason(code) {
				t.Errorf("CONNACK %d in version %d: %v", code, v, err)
			}
			_, err = decode(t, v, FromServer, []byte{0x90, 3, 0, 1, byte(code)})
			if (err == nil) != (code <= 2 || code == 0x80) {
				t.Errorf("SUBACK %d in version %d: %v", code, v, err)
			}
		}
	}
}
