package script

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

func TestNotation(t *testing.T) {
	for in, want := range map[string]string{
		`10 0E0004'MQTT' 05`:     "100e00044d51545405",
		`"ab" 'c'*3 ""`:          "000261626363630000",
		`'\xff\x00\'é'`:          "ff0027c3a9",
		`30 ## "t" {26 'x'} 'p'`: "30070001740226787" + "0",
		`E0 00; 30 ## "t"; C000`: "e0003003000174c000",
		`'x'*0`:                  "",
		`82 ## 0001 ~ "t"`:       "82060001000001" + "74",
	} {
		got, err := notation(in, packet.V5)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{`1`, `1g`, `'open`, `{26`, `'x'*99999999`, `'\q'`, `}`} {
		if got, err := notation(in, packet.V5); err == nil {
			t.Errorf("%s: %x, want an error", in, got)
		}
	}
	long, err := notation(`31 ## 'x'*200`, packet.V311)
	if err != nil || len(long) != 203 || long[1] != 0xC8 || long[2] != 1 {
		t.Errorf("a length of two bytes: %x %v", long[:4], err)
	}
}

func TestEncode(t *testing.T) {
	for _, row := range []struct {
		v         packet.Version
		line, hex string
	}{
		{packet.V5, "CONNECT clean keepalive=10", `10 0E "MQTT" 05 02 000A 00 "a"`},
		{packet.V311, "CONNECT id=''", `10 0C "MQTT" 04 00 0000 ""`},
		{packet.V5, "CONNECT v3 bridge", `10 0F "MQIsdp" 83 00 0000 "a"`},
		{packet.V5, "CONNECT user=u password='p q' will={w 'gone' qos=1 retain delay=3} {receive-max=2}",
			`10 ## "MQTT" 05 EC 0000 {21 0002} "a" {18 00000003} "w" "gone" "u" "p q"`},
		{packet.V5, "PUBLISH t 'x' qos=1 id=7 dup retain {alias=2 user=a:'b c'}", `3B ## "t" 0007 {23 0002; 26 "a" "b c"} 'x'`},
		{packet.V311, "PUBLISH t {alias=2}", `30 ## "t"`},
		{packet.V5, "PUBLISH 'a=b' 'retain'", `30 ## "a=b" 00 'retain'`},
		{packet.V5, "SUBSCRIBE 258 a qos=1 nl rap rh=2 'b c' {sub-id=128}", `82 ## 0102 {0B 8001} "a" 2D "b c" 00`},
		{packet.V311, "UNSUBSCRIBE 1 a b", `A2 ## 0001 "a" "b"`},
		{packet.V5, "PUBREC 7 rc=80", `50 03 0007 80`},
		{packet.V5, "PINGREQ + DISCONNECT rc=04", `C0 00; E0 01 04`},
		{packet.V5, "AUTH rc=18 {auth-method=m}", `F0 ## 18 {15 "m"}`},
		{packet.V5, "DISCONNECT {session-expiry=never}", `E0 ## 00 {11 FFFFFFFF}`},
		{packet.V5, "hex C0 00", `C000`},
	} {
		e := encoder{version: row.v, clients: map[string]packet.Version{"a": row.v}}
		got, err := e.packets("a", row.line)
		want, wantErr := notation(row.hex, row.v)
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Errorf("%s: %x %v\nwant %x %v", row.line, got, err, want, wantErr)
		}
	}
}

func TestBadLines(t *testing.T) {
	for line, want := range map[string]string{
		"a> PUBLISH":                  "topic is missing",
		"a> PUBLISH t qos=x":          "qos is no number",
		"a> PUBLISH t x y":            "PUBLISH has no y",
		"a> PUBLISH t {colour=1}":     "no such property: colour",
		"a> PUBLISH t {alias=x}":      "alias is a number",
		"a> PUBLISH t {user=a}":       "user=name:value",
		"a> SUBSCRIBE t":              "identifier is a number",
		"a> SUBSCRIBE 1 t qos=4":      "no such option",
		"a> PUBACK 1 rc=128":          "two hexadecimal digits",
		"a> CONNECT keepalive=70000":  "keepalive is no number up to 65535",
		"a> CONNECT will={}":          "topic is missing",
		"a> CONNACK 00":               `sends no "CONNACK"`,
		"a> hex 3":                    "no byte",
		"a< PINGREQ":                  `sends no "PINGREQ"`,
		"a<= zz":                      "no byte",
		"log:":                        "empty log line",
		"tock 5s":                     "neither a client's line nor a command",
		"versions: 6":                 "no such version",
		"versions:":                   "no version is named",
		"modes: fast":                 "no such mode",
		"[v6] a> PINGREQ":             "versions are written",
		"test: Big":                   "a case is named",
		"test: one":                   "two cases are named one",
		"a> CONNECT\na< CONNACK 00 {": "",
	} {
		_, err := Parse("f.txt", "# nothing\ntest: one\na> PINGREQ\n"+line)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "f.txt:4:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want f.txt:4: .. %s", line, err, want)
		}
	}
	for text, want := range map[string]string{
		"a> PINGREQ":               "f.txt:1: a script begins",
		"test: one\na< PINGRESP":   "f.txt:2: nothing can come before",
		"test: one\nlog: anything": "f.txt:2: nothing can come before",
	} {
		if _, err := Parse("f.txt", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestPrint(t *testing.T) {
	for _, row := range []struct {
		v        packet.Version
		hex, out string
	}{
		{packet.V311, `20 02 01 00`, "CONNACK 00 present"},
		{packet.V311, `20 02 00 05`, "CONNACK 05"},
		{packet.V5, `20 ## 00 00 {22 000A; 27 001E8480; 21 0014}`, "CONNACK 00"},
		{packet.V5, `20 ## 00 00 {22 0005; 27 001E8480; 12 "auto"}`, "CONNACK 00 {alias-max=5 assigned-id=auto -receive-max}"},
		{packet.V5, `20 03 00 84 00`, "CONNACK 84"},
		{packet.V5, `30 ## "t/1" {} 'x'`, "PUBLISH t/1 'x'"},
		{packet.V5, `3D ## "a b" 0007 {02 00000005; 26 "k" "v:w"; 0B 8001} '\xff\x00\'é'`,
			`PUBLISH 'a b' '\xff\x00\'é' qos=2 id=7 dup retain {expiry=5 user=k:'v:w' sub-id=128}`},
		{packet.V311, `30 ## "t" 'x'*500`, "PUBLISH t 'x'*500"},
		{packet.V311, `30 ## "t" 'abcdefgh'*20`, "PUBLISH t 'abcdefghabcdefgh'..(160 bytes, crc 2695ce44)"},
		{packet.V311, `30 ## "t"`, "PUBLISH t ''"},
		{packet.V5, `40 02 0007`, "PUBACK 7"},
		{packet.V5, `50 03 0007 10`, "PUBREC 7 rc=10"},
		{packet.V311, `90 ## 0001 00 80`, "SUBACK 1 00 80"},
		{packet.V5, `B0 ## 0001 00 00 11`, "UNSUBACK 1 00 11"},
		{packet.V311, `B0 02 0001`, "UNSUBACK 1"},
		{packet.V5, `D0 00`, "PINGRESP"},
		{packet.V5, `E0 01 8E`, "DISCONNECT 8E"},
		{packet.V5, `F0 ## 18 {15 "m"}`, "AUTH 18 {auth-method=m}"},
		{packet.V311, `20 03 00 84 00`, "BAD protocol error: 20 03 00 84 00"},
		{packet.V5, `C0 00 00`, "BAD c0 00 00"},
	} {
		b, err := notation(row.hex, row.v)
		if err != nil {
			t.Fatal(err)
		}
		if got := Print(b, row.v); got != row.out {
			t.Errorf("%s: %s\nwant %s", row.hex, got, row.out)
		}
	}
}

// echo is a broker of sorts: it takes CONNECT and PINGREQ, and closes on anything
// else. What it takes in one write counts as one "write" in its log.
type echo struct {
	in, out map[string][]byte
	closed  map[string]bool
	log     []string
	deaf    bool
}

func newEcho() *echo {
	return &echo{in: map[string][]byte{}, out: map[string][]byte{}, closed: map[string]bool{}}
}

func (e *echo) Open(client string) error { delete(e.closed, client); return nil }
func (e *echo) Drop(string, bool) error  { return nil }
func (e *echo) Settle(string) error      { return nil }
func (e *echo) Logged() (lines []string, known bool) {
	lines, e.log = e.log, nil
	return lines, !e.deaf
}
func (e *echo) Command(name, args string) error       { return errors.New("cannot " + name) }
func (e *echo) Received(client string) ([]byte, bool) { return e.take(client), e.closed[client] }

func (e *echo) take(client string) []byte {
	b := e.out[client]
	delete(e.out, client)
	return b
}

func (e *echo) Send(client string, b []byte) error {
	e.log = append(e.log, "write")
	e.in[client] = append(e.in[client], b...)
	for {
		h, _ := packet.ReadHeader(e.in[client], 0)
		if h.Size == 0 || h.Len() > len(e.in[client]) {
			return nil
		}
		e.in[client] = e.in[client][h.Len():]
		switch h.Type() {
		case packet.Connect:
			e.out[client] = append(e.out[client], 0x20, 2, 0, 0)
		case packet.Pingreq:
			e.out[client] = append(e.out[client], 0xD0, 0)
		default:
			e.closed[client] = true
		}
	}
}

const echoScript = `test: all
versions: 3 4
a> CONNECT
a< CONNACK 00
log: write
a> PINGREQ
a< PINGRESP
a> PINGREQ + PINGREQ
a<= D0 00
a< PING*
b> CONNECT v4
b< CONNACK *
a> PINGREQ
a< PINGRESP
b< nothing
[v4] a> PINGREQ
a< PINGRESP
a> PUBLISH t
[v3 v4] a< close
a> CONNECT
a< CONNACK 00
`

func one(t *testing.T, text string) *Case {
	t.Helper()
	cases, err := Parse("f.txt", text)
	if err != nil || len(cases) != 1 {
		t.Fatal(cases, err)
	}
	return cases[0]
}

func TestRun(t *testing.T) {
	c := one(t, echoScript)
	if !slices.Equal(c.Versions, []packet.Version{packet.V31, packet.V311}) || len(c.Modes) != 3 {
		t.Fatal(c.Versions, c.Modes)
	}
	writes := map[Mode]int{}
	for _, m := range c.Modes {
		e := newEcho()
		total := &counter{echo: e}
		if err := c.Run(total, packet.V311, m); err != nil {
			t.Errorf("%v: %v", m, err)
		}
		writes[m] = total.writes
	}
	if writes[Whole] != 8 || writes[Together] != 4 || writes[Bytes] < 40 {
		t.Errorf("writes by mode: %v", writes)
	}
}

// counter counts the writes.
type counter struct {
	*echo
	writes int
}

func (c *counter) Send(client string, b []byte) error { c.writes++; return c.echo.Send(client, b) }

func TestRunFails(t *testing.T) {
	const head = "test: one\na> CONNECT v4\n"
	for text, want := range map[string]string{
		head:                                       "f.txt:2: a received\n\tCONNACK 00\nnot\n\tnothing",
		head + "a< CONNACK 01":                     "f.txt:3: a received\n\tCONNACK 00\nnot\n\tCONNACK 01",
		head + "a< CONNACK 00\na< PINGRESP":        "f.txt:4: a received\n\tnothing\nnot\n\tPINGRESP",
		head + "a<= 20 02 00 01":                   "f.txt:3: a received\n\tCONNACK 00\nnot\n\t20 02 00 01",
		head + "a< CONNACK 00\nb< close":           "f.txt:4: b was never connected",
		head + "a< CONNACK 00\nlog: read":          "f.txt:4: not in the log: read\n\twrite",
		head + "a< CONNACK 00\na< nothing\nb> eof": "f.txt:5: b is not connected",
		head + "a< CONNACK 00\ntick 5s":            "f.txt:4: cannot tick",
		head + "a< CONNACK 00\na> PUBLISH t":       "f.txt:4: a received\n\tclose\nnot\n\tnothing",
	} {
		err := one(t, text).Run(newEcho(), packet.V5, Whole)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n\t%v\nwant\n\t%s", text, err, want)
		}
	}
}

// TestDeaf: log lines are passed over where the target does not know them.
func TestDeaf(t *testing.T) {
	e := newEcho()
	e.deaf = true
	if err := one(t, "test: one\na> CONNECT v4\na< CONNACK 00\nlog: read").Run(e, packet.V5, Whole); err != nil {
		t.Error(err)
	}
}

func TestRewrite(t *testing.T) {
	const text = `test: one
versions: 3 4
# said first
a> CONNECT
a< CONNACK *
# said between
[v4] a> PINGREQ
a< close
# said after the list

a> PINGREQ + PUBLISH t
test: two
b> CONNECT v4
log: x
b< PINGRESP
`
	const want = `test: one
versions: 3 4
# said first
a> CONNECT
a< CONNACK *
# said between
[v4] a> PINGREQ
a< PINGRESP
# said after the list

a> PINGREQ + PUBLISH t
a< PINGRESP
a< close
test: two
b> CONNECT v4
b< CONNACK 00
log: write
`
	cases, err := Parse("f.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(*Case, packet.Version) (Target, error) { return newEcho(), nil }
	got, err := Rewrite(text, cases, fresh)
	if err != nil || got != want {
		t.Fatalf("%v\n%s", err, got)
	}
	cases, err = Parse("f.txt", got)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, v := range c.Versions {
			if err := c.Run(newEcho(), v, Whole); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOutcomeByVersion(t *testing.T) {
	o := outcome{versions: []packet.Version{3, 4, 5}, lists: [][]string{
		{"a< CONNACK 00", "a< close"}, {"a< CONNACK 00", "a< SUBACK 1", "a< close"}, {"a< CONNACK 00", "a< DISCONNECT 81", "a< close", "b< x"}}}
	want := []string{"a< CONNACK 00", "[v4] a< SUBACK 1", "[v5] a< DISCONNECT 81", "a< close", "[v5] b< x"}
	if got := o.text(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestPortable(t *testing.T) {
	for text, want := range map[string]bool{
		"config max_qos 1\nlistener max_qos 1\na> CONNECT": true,
		"a> CONNECT\nconfig max_qos 1":                     false,
		"a> CONNECT\ntick 1s":                              false,
		"a> CONNECT\nlog: x":                               true,
		"open a":                                           false,
	} {
		c := one(t, "test: one\n"+text)
		if got := c.Portable(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	config, listener := one(t, "test: one\nconfig a 1\n[v4] config b 2\nlistener c 3\na> CONNECT\nconfig d 4").Settings(packet.V5)
	if !slices.Equal(config, []string{"a 1"}) || !slices.Equal(listener, []string{"c 3"}) {
		t.Error(config, listener)
	}
}
