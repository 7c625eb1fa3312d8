package persist

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The files in testdata were written by real brokers; users-2.0.11.db has had the
// contents of foreign memory in it overwritten with zeros. What was in the brokers
// then stands in the tables below.

// stored is a message as the tables have it. A message has the name of its payload.
type stored struct {
	source, user string
	qos          byte
	retain       bool
	topic        string
	payload      string
	expires      int64 // in seconds, 0: never
	properties   string
}

// line is it in words, with the listener it came by.
func (m stored) line(port int) string {
	return fmt.Sprintf("%s by %s/%s at %d q%d r%t %q, until %d, % x", m.topic, m.source, m.user, port, m.qos, m.retain, m.payload, m.expires, m.properties)
}

// delivered is a message to a client, or from it, that is not over.
type delivered struct {
	payload      string
	mid          uint16 // as the image has it: 0 for what waits
	qos          byte
	state        State
	retain       bool
	subscription uint32
}

type sessionTable struct {
	Session
	out  []delivered
	in   map[uint16]string        // payloads by packet identifier
	subs map[string]*Subscription // by filter, without the client id
}

type fileTable struct {
	name     string
	version  uint32
	port     int // of the listener that messages came by
	stopped  bool
	counts   counts
	messages []stored // in the order of arrival, all that are used
	retained []string // payloads
	sessions []sessionTable
}

// A property list of one property that is a string, and a user property.
func prop(id byte, s string) string { return string([]byte{id, 0, byte(len(s))}) + s }
func user(k, v string) string       { return prop(propUser, k) + prop(propUser, v)[1:] }

var retainedFile = fileTable{
	name: "retained-2.0.11", version: 6, port: 34183, stopped: true, counts: counts{messages: 13, retained: 13},
	messages: []stored{
		{"pub-v4", "alice", 0, true, "r/q0", "zero", 0, ""},
		{"pub-v4", "alice", 1, true, "r/q1", "one", 0, ""},
		{"pub-v4", "alice", 2, true, "r/q2", "two", 0, ""},
		{"pub-v4", "alice", 1, true, "r/replaced", "new", 0, ""},
		{"pub-v4", "alice", 1, true, "/lead/slash//double", "s", 0, ""},
		{"pub-v4", "alice", 1, true, "$dollar/x", "dollar", 0, ""},
		{"pub-v4", "alice", 1, true, "r/bin", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f" +
			"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\xff\x00\x80", 0, ""},
		{"pub-v4", "alice", 1, true, "r/ü/温度", "21.5 °C", 0, ""},
		{"pub-v5", "", 1, true, "r5/noprops", "np", 0, ""},
		{"pub-v5", "", 1, true, "r5/all", `{"t":1}`, 5795452776, "\x01\x01" + prop(propContentType, "application/json") +
			prop(propResponseTopic, "resp/here") + prop(propCorrelation, "\x00\x01corr") +
			user("k1", "v1") + user("k1", "v2") + user("k2", "")},
		{"pub-v5", "", 1, true, "r5/expiry-far", "far", 5795452776, ""},
		{"pub-v5", "", 1, true, "r5/expiry-1s", "soon", 1795452777, ""},
		{"pub-v5", "", 1, true, "r5/alias", "aliased", 0, ""},
	},
	retained: []string{"zero", "one", "two", "new", "s", "dollar", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f" +
		"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\xff\x00\x80",
		"21.5 °C", "np", `{"t":1}`, "far", "soon", "aliased"},
}

// oldMessages is what clients of 3.1 and 3.1.1 did.
var oldMessages = []stored{
	{"pub", "", 1, true, "keep/retained", "R", 0, ""},
	{"pub", "", 1, false, "in/q1", "A1", 0, ""},
	{"pub", "", 2, false, "in/q2", "A2", 0, ""},
	{"pub", "", 2, false, "in/q2", "A3", 0, ""},
	{"pub", "", 1, false, "in/q1", "A4", 0, ""},
	{"pub", "", 2, false, "in/q2", "A5", 0, ""},
	{"sess-v4", "", 2, false, "up/q2", "U1", 0, ""},
	{"pub", "", 1, false, "old/x", "O1", 0, ""},
	{"pub", "", 2, false, "old/z", "O3", 0, ""},
}

// newMessages is what clients of 5 did after that; the messages that expire do so then.
func newMessages(b2, b5 int64) []stored {
	return append(slices.Clone(oldMessages), []stored{
		{"pub5", "", 1, false, "opt/nl", "B1", 0, prop(propContentType, "text/plain") + user("a", "b")},
		{"pub5", "", 2, true, "opt/rap", "B2", b2, ""},
		{"pub5", "", 1, false, "opt/rh1", "B3", 0, ""},
		{"pub5", "", 2, false, "opt/all/x", "B4", 0, ""},
		{"pub5", "", 1, false, "opt/nl", "B5-expires", b5, ""},
		{"pub5", "", 1, false, "sh/t", "S1", 0, ""},
	}...)
}

func subs(list ...Subscription) map[string]*Subscription {
	m := map[string]*Subscription{}
	for i := range list {
		m[list[i].Filter] = &list[i]
	}
	return m
}

// oldSessions are the two of 3.1 and 3.1.1. They are gone since then, in milliseconds.
func oldSessions(port int, gone4, gone31 Time) []sessionTable {
	return []sessionTable{
		{
			Session: Session{ClientID: "sess-v4", Listener: port, Expiry: neverEnds, Gone: gone4, LastID: 5},
			out: []delivered{
				{"A1", 1, 1, Sent, false, 0}, {"A2", 2, 2, Sent, false, 0}, {"A3", 3, 2, Released, false, 0},
				{"A4", 0, 1, Queued, false, 0}, {"A5", 0, 2, Queued, false, 0},
			},
			in:   map[uint16]string{77: "U1"},
			subs: subs(Subscription{Filter: "in/q1", Options: 1}, Subscription{Filter: "in/q2", Options: 2}, Subscription{Filter: "in/+/w/#"}),
		}, {
			Session: Session{ClientID: "sess-v31", Listener: port, Expiry: neverEnds, Gone: gone31, LastID: 2},
			out:     []delivered{{"O1", 0, 1, Queued, false, 0}, {"O3", 0, 1, Queued, false, 0}},
			subs:    subs(Subscription{Filter: "old/#", Options: 1}),
		},
	}
}

// newSessions are all that go on; retain handling is 0 where it was not written.
func newSessions(port int, gone Time, handling byte) []sessionTable {
	return append(oldSessions(port, Never, Never), []sessionTable{
		{
			Session: Session{ClientID: "sess-v5", Listener: port, Expiry: neverEnds, Gone: Never, LastID: 6},
			out: []delivered{
				{"B1", 0, 1, Queued, false, 5}, {"B2", 0, 2, Queued, true, 0}, {"B3", 0, 1, Queued, false, 128},
				{"B4", 0, 2, Queued, false, 268435455}, {"B5-expires", 0, 1, Queued, false, 5}, {"S1", 0, 1, Queued, false, 0},
			},
			subs: subs(
				Subscription{Filter: "opt/nl", Options: 1 | 0x04, ID: 5},
				Subscription{Filter: "opt/rap", Options: 2 | 0x08},
				Subscription{Filter: "opt/rh1", Options: 1 | 0x10&handling, ID: 128},
				Subscription{Filter: "opt/rh2", Options: 1 | 0x20&handling, ID: 128},
				Subscription{Filter: "opt/all/#", Options: 2 | 0x0c | 0x20&handling, ID: 268435455}),
		}, {
			Session: Session{ClientID: "sess-v5-exp", Listener: port, Expiry: 4000000000, Gone: gone, LastID: 1},
			out:     []delivered{{"B2", 1, 1, Sent, false, 0}},
			subs:    subs(Subscription{Filter: "opt/rap", Options: 1}),
		},
	}...)
}

func named(id, username, filter string) sessionTable {
	return sessionTable{
		Session: Session{ClientID: id, Username: username, Listener: 34183, Expiry: neverEnds, Gone: Never},
		subs:    subs(Subscription{Filter: filter, Options: 1}),
	}
}

var fileTables = []fileTable{
	{name: "empty-2.0.11", version: 6, stopped: true},
	retainedFile,
	{
		name: "sessions-2.0.11", version: 6, port: 34183, counts: counts{15, 2, 5, 11, 17},
		messages: newMessages(5795452781, 1795452783), retained: []string{"R", "B2"},
		sessions: newSessions(34183, Never, 0),
	}, {
		name: "sessions-2.1.2", version: 6, port: 34184, counts: counts{15, 2, 4, 10, 15},
		messages: newMessages(5795452816, 1795452818), retained: []string{"R", "B2"},
		sessions: newSessions(34184, 1795452817000, 0x30),
	}, {
		name: "legacy-v5-1.6.9", version: 5, port: 34185, stopped: true, counts: counts{16, 3, 5, 11, 17},
		messages: append(newMessages(5795452837, 1795452838), stored{"sess-v5-exp", "", 1, true, "will/t", "WILL", 0, ""}),
		retained: []string{"R", "B2", "WILL"}, sessions: newSessions(0, Never, 0),
	}, {
		name: "legacy-v4-1.5.9", version: 4, port: 34185, stopped: true, counts: counts{9, 1, 2, 4, 8},
		messages: oldMessages, retained: []string{"R"}, sessions: oldSessions(0, 1795452832000, 1795452831000),
	}, {
		name: "legacy-v3-1.5.5", version: 3, stopped: true, counts: counts{9, 1, 2, 4, 8},
		messages: oldMessages, retained: []string{"R"}, sessions: oldSessions(0, 1795452828000, 1795452827000),
	}, {
		name: "users-2.0.11", version: 6, port: 34183, stopped: true, counts: counts{4, 4, 4, 4, 0},
		messages: []stored{
			{"c-alice", "alice", 1, true, "from/c-alice", "p", 0, ""}, {"c-none", "", 1, true, "from/c-none", "p", 0, ""},
			{"c-bob", "bob", 1, true, "from/c-bob", "p", 0, ""}, {"c-none2", "", 1, true, "from/c-none2", "p", 0, ""},
		},
		retained: []string{"p", "p", "p", "p"},
		sessions: []sessionTable{
			named("c-alice", "alice", "u/0"), named("c-none", "", "u/1"), named("c-bob", "bob", "u/2"), named("c-none2", "", "u/3"),
		},
	},
}

// lines is what a table says, in the order of the file's own.
func (f *fileTable) lines() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	find := func(payload string) string {
		for _, m := range f.messages {
			if m.payload == payload {
				return m.line(f.port)
			}
		}
		return "?"
	}
	for i, payload := range f.retained {
		if payload == "p" {
			say("retained %s", f.messages[i].line(f.port))
		} else {
			say("retained %s", find(payload))
		}
	}
	for _, s := range f.sessions {
		id := s.ClientID
		say("session %+v", s.Session)
		for _, sub := range s.subs {
			sub.ClientID = id
			say("%s subscription %+v", id, *sub)
		}
		for i, d := range s.out {
			say("%s %d: id %d q%d state %d r%t, subscription %d: %s", id, i, d.mid, d.qos, d.state, d.retain, d.subscription, find(d.payload))
		}
		for mid, payload := range s.in {
			say("%s incoming %d: %s", id, mid, find(payload))
		}
	}
	slices.Sort(out)
	return out
}

// messageLine is the same of a message of an image.
func messageLine(m *Message) string {
	s, port := stored{"", "", m.QoS, m.Retain, m.Topic, m.Payload, 0, m.Properties}, 0
	if m.Origin != nil {
		s.source, s.user, port = m.Origin.ClientID, m.Origin.Username, m.Origin.Listener
	}
	if m.Expires != Never {
		s.expires = m.Expires / 1000
	}
	return s.line(port)
}

// tableLines is the same of an image.
func tableLines(im *Image) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for m := range im.Retained() {
		say("retained %s", messageLine(m))
	}
	for s := range im.Sessions() {
		id := s.ClientID
		say("session %+v", *s)
		for sub := range im.SubscriptionsOf(id) {
			say("%s subscription %+v", id, *sub)
		}
		i := 0
		for d := range im.Deliveries(id) {
			say("%s %d: id %d q%d state %d r%t, subscription %d: %s", id, i, d.ID, d.QoS, d.State, d.Retain, d.SubscriptionID, messageLine(d.Message))
			i++
		}
		for mid, m := range im.Incoming(id) {
			say("%s incoming %d: %s", id, mid, messageLine(m))
		}
		if im.WillOf(id) != nil {
			say("%s has a will", id)
		}
	}
	slices.Sort(out)
	return out
}

// load reads a file of testdata.
func load(t testing.TB, name string) *snapshot {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func TestMosquittoFiles(t *testing.T) {
	for _, f := range fileTables {
		t.Run(f.name, func(t *testing.T) {
			s := load(t, f.name)
			if s.damage != nil || len(s.warnings) > 0 || s.own || s.stamp != (Stamp{}) {
				t.Errorf("damage %v, warnings %q, midge's %t, %+v", s.damage, s.warnings, s.own, s.stamp)
			}
			if s.version != f.version || s.stopped != f.stopped || s.counts != f.counts {
				t.Errorf("version %d, stopped %t, %+v", s.version, s.stopped, s.counts)
			}
			same(t, f.name, tableLines(s.image), f.lines())
			inOrder(t, s.image, f.messages, f.port)
		})
	}
}

// TestMosquittoVersion2: the oldest format is the next one without the time in
// sessions. There is no file of a broker's.
func TestMosquittoVersion2(t *testing.T) {
	b := file(t, "legacy-v3-1.5.5")
	two := bytes.Clone(b[:headerSize])
	two[headerSize-1] = 2
	for rest := b[headerSize:]; len(rest) > 0; {
		n := headSizeOld + int(binary.BigEndian.Uint32(rest[2:]))
		c := bytes.Clone(rest[:n])
		if c[1] == kindSession {
			c = c[:n-8]
			binary.BigEndian.PutUint32(c[2:], uint32(len(c)-headSizeOld))
		}
		two, rest = append(two, c...), rest[n:]
	}
	s, err := readSnapshot(bytes.NewReader(two), int64(len(two)), nil)
	if err != nil || s.damage != nil || s.version != 2 {
		t.Fatalf("%v, %+v", err, s)
	}
	f := fileTable{messages: oldMessages, retained: []string{"R"}, sessions: oldSessions(0, Never, Never)}
	same(t, "version 2", tableLines(s.image), f.lines())
}

// inOrder fails where messages are not numbered in the order of their arrival.
func inOrder(t *testing.T, im *Image, want []stored, port int) {
	t.Helper()
	numbers := map[string]uint64{}
	note := func(m *Message) { numbers[messageLine(m)] = m.Stored }
	for m := range im.Retained() {
		note(m)
	}
	for s := range im.Sessions() {
		for d := range im.Deliveries(s.ClientID) {
			note(d.Message)
		}
		for _, m := range im.Incoming(s.ClientID) {
			note(m)
		}
	}
	last := uint64(0)
	for _, m := range want {
		n := numbers[m.line(port)]
		if n <= last {
			t.Errorf("%s has number %d, the one before it %d", m.line(port), n, last)
		}
		last = n
	}
	if im.Number() < last {
		t.Errorf("the highest number is %d, there is %d", im.Number(), last)
	}
}

// TestMosquittoOrigins: messages of one client share what says so.
func TestMosquittoOrigins(t *testing.T) {
	seen := map[*Origin]bool{}
	for m := range load(t, "retained-2.0.11").image.Retained() {
		seen[m.Origin] = true
	}
	if len(seen) != 2 {
		t.Errorf("there are %d origins of 2 publishers", len(seen))
	}
}

// TestMosquittoAgain: what midge makes of the files of others is the same when
// midge has written and read it.
func TestMosquittoAgain(t *testing.T) {
	for _, f := range fileTables {
		first := load(t, f.name)
		again := rewrite(t, first.image, Stamp{ID: 1})
		same(t, f.name, again.image.lines(), first.image.lines())
	}
}

// rewrite writes an image and reads it.
func rewrite(t testing.TB, im *Image, stamp Stamp) *snapshot {
	t.Helper()
	b := written(t, im, stamp)
	s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.damage != nil || len(s.warnings) > 0 || !s.own {
		t.Fatalf("damage %v, warnings %s, midge's %t", s.damage, strings.Join(s.warnings, "; "), s.own)
	}
	if s.stamp != stamp {
		t.Fatalf("the stamp %+v was read as %+v", stamp, s.stamp)
	}
	return s
}

func written(t testing.TB, im *Image, stamp Stamp) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := writeSnapshot(&b, im, stamp, false)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d bytes are said to be %d, %v", b.Len(), n, err)
	}
	return b.Bytes()
}
