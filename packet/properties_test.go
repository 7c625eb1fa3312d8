package packet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The standard's table of properties, as text: identifier, type, packets. C CONNECT, K CONNACK, W will, P PUBLISH, p PUBLISH
// from the server only, S SUBSCRIBE, U UNSUBSCRIBE, A the acknowledgements of any kind, D DISCONNECT, d DISCONNECT from the
// client only, X AUTH. [MQTT 2.2.2.2]
const standardTable = `
01 bit    PW
02 four   PW
03 text   PW
08 text   PW
09 binary PW
0B varint pS
11 four   CKd
12 text   K
13 two    K
15 text   CKX
16 binary CKX
17 bit    C
18 four   W
19 bit    C
1A text   K
1C text   KD
1F text   KADX
21 two    CK
22 two    CK
23 two    P
24 bit    K
25 bit    K
26 pair   CKWPSUADX
27 four   CK
28 bit    K
29 bit    K
2A bit    K`

// twin is a slow and obvious decoder of property lists.
type twin struct {
	types map[byte]string
	legal map[byte]string
}

func newTwin() twin {
	w := twin{map[byte]string{}, map[byte]string{}}
	for _, line := range strings.Split(strings.TrimSpace(standardTable), "\n") {
		f := strings.Fields(line)
		id := wire(f[0])[0]
		w.types[id], w.legal[id] = f[1], f[2]
	}
	return w
}

// twinField is a property as the twin has read it.
type twinField struct {
	id    byte
	value string // of any type, printed
	size  int
}

// letters are those of the table that stand for a packet.
func letters(in Type, from Side) string {
	s := map[Type]string{
		will: "W", Connect: "C", Connack: "K", Publish: "P", Puback: "A", Pubrec: "A", Pubrel: "A", Pubcomp: "A",
		Subscribe: "S", Suback: "A", Unsubscribe: "U", Unsuback: "A", Disconnect: "D", Auth: "X",
	}[in]
	if in == Publish && from == FromServer {
		s += "p"
	}
	if in == Disconnect && from == FromClient {
		s += "d"
	}
	return s
}

// read takes one property off b; false when it is malformed.
func (w twin) read(b []byte) (f twinField, ok bool) {
	typ, known := w.types[b[0]]
	if !known {
		return f, false
	}
	f.id = b[0]
	rest := b[1:]
	integer := func(n int) (v uint64, ok bool) {
		if len(rest) < n {
			return 0, false
		}
		for _, c := range rest[:n] {
			v = v*256 + uint64(c)
		}
		rest = rest[n:]
		return v, true
	}
	text := func() (string, bool) {
		n, ok := integer(2)
		if !ok || uint64(len(rest)) < n {
			return "", false
		}
		s := string(rest[:n])
		rest = rest[n:]
		return s, true
	}
	var n uint64
	switch typ {
	case "bit":
		n, ok = integer(1)
		f.value = fmt.Sprint(n)
	case "two":
		n, ok = integer(2)
		f.value = fmt.Sprint(n)
	case "four":
		n, ok = integer(4)
		f.value = fmt.Sprint(n)
	case "varint":
		h, bad := slowHeader(append([]byte{0}, rest...), V5)
		if ok = !bad && h.Size > 0; ok {
			f.value, rest = fmt.Sprint(h.Remaining), rest[h.Size-1:]
		}
	case "text", "binary":
		f.value, ok = text()
	case "pair":
		var name, value string
		if name, ok = text(); ok {
			value, ok = text()
		}
		f.value = name + "=" + value
		if ok && !(slowString([]byte(name)) && slowString([]byte(value))) {
			f.value = "\x00" // check sees to it, as it does for text
		}
	}
	f.size = len(b) - len(rest)
	return f, ok
}

// check gives the reason why f may not be in that packet after those before it; Success when it may.
func (w twin) check(f twinField, before []twinField, in Type, from Side) Reason {
	if !strings.ContainsAny(w.legal[f.id], letters(in, from)) {
		if in == Subscribe || in == Unsubscribe {
			return MalformedPacket
		}
		return ProtocolError
	}
	for _, b := range before {
		if b.id == f.id && w.types[f.id] != "pair" && !(f.id == 0x0B && in == Publish) {
			return ProtocolError
		}
	}
	switch typ := w.types[f.id]; {
	case typ == "bit" && f.value != "0" && f.value != "1":
		return ProtocolError
	case (typ == "text" || typ == "pair") && !slowString([]byte(f.value)):
		return MalformedPacket
	case f.value == "0" && strings.Contains("21 27 23 0B", fmt.Sprintf("%02X", f.id)):
		return ProtocolError
	case f.id == 0x08 && strings.ContainsAny(f.value, "+#"):
		return ProtocolError
	}
	return Success
}

// decode reads a whole list.
func (w twin) decode(b []byte, in Type, from Side) (fields []twinField, r Reason) {
	method, data := false, false
	for len(b) > 0 {
		f, ok := w.read(b)
		if !ok {
			return nil, MalformedPacket
		}
		if r := w.check(f, fields, in, from); r != Success {
			return nil, r
		}
		method, data = method || f.id == 0x15, data || f.id == 0x16
		fields = append(fields, f)
		b = b[f.size:]
	}
	if data && !method {
		return nil, ProtocolError
	}
	return fields, Success
}

// valueOf is the value p keeps for a property, printed.
func valueOf(p *Properties, id Property) string {
	switch id {
	case PayloadFormat:
		return fmt.Sprint(p.PayloadFormat)
	case MessageExpiry:
		return fmt.Sprint(p.MessageExpiry)
	case ContentType:
		return string(p.ContentType)
	case ResponseTopic:
		return string(p.ResponseTopic)
	case CorrelationData:
		return string(p.CorrelationData)
	case SubscriptionID:
		return fmt.Sprint(p.SubscriptionID)
	case SessionExpiry:
		return fmt.Sprint(p.SessionExpiry)
	case AssignedClientID:
		return string(p.AssignedClientID)
	case ServerKeepAlive:
		return fmt.Sprint(p.ServerKeepAlive)
	case AuthMethod:
		return string(p.AuthMethod)
	case AuthData:
		return string(p.AuthData)
	case RequestProblemInfo:
		return fmt.Sprint(p.RequestProblemInfo)
	case WillDelay:
		return fmt.Sprint(p.WillDelay)
	case RequestResponseInfo:
		return fmt.Sprint(p.RequestResponseInfo)
	case ResponseInfo:
		return string(p.ResponseInfo)
	case ServerReference:
		return string(p.ServerReference)
	case ReasonString:
		return string(p.ReasonString)
	case ReceiveMaximum:
		return fmt.Sprint(p.ReceiveMaximum)
	case TopicAliasMaximum:
		return fmt.Sprint(p.TopicAliasMaximum)
	case TopicAlias:
		return fmt.Sprint(p.TopicAlias)
	case MaximumQoS:
		return fmt.Sprint(p.MaximumQoS)
	case RetainAvailable:
		return fmt.Sprint(p.RetainAvailable)
	case MaximumPacketSize:
		return fmt.Sprint(p.MaximumPacketSize)
	case WildcardAvailable:
		return fmt.Sprint(p.WildcardAvailable)
	case SubscriptionIDAvailable:
		return fmt.Sprint(p.SubscriptionIDAvailable)
	case SharedAvailable:
		return fmt.Sprint(p.SharedAvailable)
	}
	return ""
}

// print is the value of a field as the twin prints it.
func (f *Field) print() string {
	switch properties[f.ID].form {
	case text, binaryData:
		return string(f.Bytes)
	case textPair:
		return string(f.Bytes) + "=" + string(f.Value)
	}
	return fmt.Sprint(f.Int)
}

// against decodes b both ways and holds the results against each other.
func (w twin) against(t *testing.T, b []byte, in Type, from Side) {
	t.Helper()
	var p Properties
	err := p.decode(b, in, from)
	fields, reason := w.decode(b, in, from)
	var e *Error
	if errors.As(err, &e) != (reason != Success) || e != nil && e.Reason != reason {
		t.Fatalf("% x in %v from side %d: %v, want %v", b, in, from, err, reason)
	}
	if e != nil {
		return
	}
	last := map[byte]string{}
	it, joined := p.Fields(), []byte(nil)
	for i, want := range fields {
		got, ok := it.Next()
		if !ok || byte(got.ID) != want.id || got.print() != want.value || len(got.Raw) != want.size {
			t.Fatalf("% x: property %d is %+v, want %+v", b, i, got, want)
		}
		joined = append(joined, got.Raw...)
		last[want.id] = want.value
	}
	if extra, ok := it.Next(); ok || string(joined) != string(b) {
		t.Fatalf("% x: %+v after the last, joined % x", b, extra, joined)
	}
	for id := range 256 {
		want, there := last[byte(id)]
		if p.Has(Property(id)) != there {
			t.Fatalf("% x: Has(%d) = %v", b, id, !there)
		}
		if there && Property(id) != UserProperty && valueOf(&p, Property(id)) != want {
			t.Fatalf("% x: property %d has the value %q, want %q", b, id, valueOf(&p, Property(id)), want)
		}
	}
}

// packetsWithLists are the types that have properties; will stands for the list inside CONNECT.
var packetsWithLists = []Type{
	will, Connect, Connack, Publish, Puback, Pubrec, Pubrel, Pubcomp, Subscribe, Suback, Unsubscribe, Unsuback, Disconnect, Auth,
}

// samples has, for an identifier, good and bad values.
func (w twin) samples(id byte) []string {
	switch w.types[id] {
	case "bit":
		return []string{`00`, `01`, `02`, `FF`, ``}
	case "two":
		return []string{`0001`, `FFFF`, `0000`, `00`, ``}
	case "four":
		return []string{`00000001`, `FFFFFFFF`, `00000000`, `000000`}
	case "varint":
		return []string{`01`, `7F`, `8001`, `FFFFFF7F`, `00`, `8100`, `80808080`, `80`}
	case "text":
		return []string{`"x"`, `""`, `"a/+"`, `"#"`, `0001 01`, `0002 C080`, `0001 00`, `0002 'x'`, `00`}
	case "binary":
		return []string{`"x"`, `""`, `0002 C080`, `0001 00`, `0002 'x'`}
	case "pair":
		return []string{`"n" "v"`, `"" ""`, `0001 80 "v"`, `"n" 0001 00`, `"n" 0002 'v'`, `"n"`}
	}
	return []string{``, `00`, `0001 'x'`}
}

// Each identifier there is and is not, in each packet from each side, with each kind of value, once and twice.
func TestPropertiesEach(t *testing.T) {
	w := newTwin()
	for id := range 256 {
		for _, sample := range w.samples(byte(id)) {
			one := append([]byte{byte(id)}, wire(sample)...)
			lists := [][]byte{one, append(one[:len(one):len(one)], one...), append([]byte{0x15, 0, 1, 'm'}, one...)}
			for _, in := range packetsWithLists {
				for _, from := range []Side{FromClient, FromServer} {
					for _, b := range lists {
						w.against(t, b, in, from)
					}
				}
			}
		}
	}
}

// Lists at random: most properties legal where they are, some bytes wrong.
func TestPropertiesRandom(t *testing.T) {
	const seed = 3
	random := rand.New(rand.NewPCG(seed, seed))
	w := newTwin()
	accepted := 0
	for range 40000 {
		in, from := packetsWithLists[random.IntN(len(packetsWithLists))], Side(random.IntN(2))
		var b []byte
		for range random.IntN(7) {
			id := byte(random.IntN(len(properties)))
			if !strings.ContainsAny(w.legal[id], letters(in, from)) && random.IntN(10) > 0 {
				continue
			}
			samples := w.samples(id)
			if random.IntN(10) > 0 {
				samples = samples[:1]
			}
			b = append(append(b, id), wire(samples[random.IntN(len(samples))])...)
		}
		if len(b) > 0 && random.IntN(20) == 0 {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		if _, r := w.decode(b, in, from); r == Success && len(b) > 0 {
			accepted++
		}
		w.against(t, b, in, from)
	}
	if accepted < 5000 {
		t.Errorf("seed %d: only %d lists were accepted", seed, accepted)
	}
}

func FuzzProperties(f *testing.F) {
	w := newTwin()
	for id := range 256 {
		for _, sample := range w.samples(byte(id)) {
			for _, in := range packetsWithLists {
				if id < len(properties) && properties[id].in>>in&1 != 0 || in == Publish {
					f.Add(append([]byte{byte(id)}, wire(sample)...), byte(in), true)
				}
			}
		}
	}
	f.Add(wire(everyConnackProperty), byte(Connack), true)
	f.Add(wire(everyPublishProperty), byte(Publish), false)
	f.Fuzz(func(t *testing.T, b []byte, in byte, fromServer bool) {
		from := FromClient
		if fromServer {
			from = FromServer
		}
		w.against(t, b, packetsWithLists[int(in)%len(packetsWithLists)], from)
	})
}

// What the Append functions build is what Decode reads.
func TestAppendProperties(t *testing.T) {
	b := AppendByteProperty(nil, PayloadFormat, 1)
	b = AppendUint16Property(b, TopicAlias, 0x1234)
	b = AppendUint32Property(b, MessageExpiry, 0xFFFFFFFE)
	b = AppendVarintProperty(b, SubscriptionID, MaxRemaining)
	b = AppendVarintProperty(b, SubscriptionID, 5)
	b = AppendBytesProperty(b, ContentType, "text")
	b = AppendBytesProperty(b, CorrelationData, []byte{0, 0xFF})
	b = AppendUserProperty(b, "name", []byte("value"))
	want := wire(`01 01 23 1234 02 FFFFFFFE 0B FFFFFF7F 0B 05 03 "text" 09 0002 00FF 26 "name" "value"`)
	if string(b) != string(want) {
		t.Fatalf("% x\nwant % x", b, want)
	}
	var p Properties
	if err := p.decode(b, Publish, FromServer); err != nil {
		t.Fatal(err)
	}
	if p.SubscriptionID != 5 || p.MessageExpiry != 0xFFFFFFFE {
		t.Errorf("subscription id %d, want the last one; expiry %d", p.SubscriptionID, p.MessageExpiry)
	}
}

// The cost of a list is linear: one of the largest CONNECT's size is read to its end, property by property.
func TestManyUserProperties(t *testing.T) {
	const count = 20000
	var raw []byte
	for range count {
		raw = AppendUserProperty(raw, "", "")
	}
	var p Properties
	if err := p.decode(raw, Connect, FromClient); err != nil {
		t.Fatal(err)
	}
	n := 0
	for it := p.Fields(); ; n++ {
		if _, ok := it.Next(); !ok {
			break
		}
	}
	if n != count {
		t.Errorf("%d of %d", n, count)
	}
}
