package persist

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// database puts an image and a segment of a journal behind it into a folder.
func database(t *testing.T, im *Image) (path string) {
	t.Helper()
	dir := t.TempDir()
	stamp := Stamp{ID: 0xABC, Segment: 3, Now: 5000, Wall: 1795453000000}
	if _, err := SaveSnapshot(Folder(dir), "mosquitto.db", im, stamp, true); err != nil {
		t.Fatal(err)
	}
	s := segment{number: 3, snapshot: 0xABC, first: 1, clock: clock{5000, 1795453000000}}
	enc := &encoder{image: im.copy(), buf: s.append(nil)}
	enc.Retain(&Message{Topic: "topic/10", Payload: "\x1b[2J\u009b", Expires: Never, Stored: 2000})
	enc.Commit(1)
	enc.Forget("nobody")
	enc.Commit(2)
	enc.clock(6000, 1795453001000)
	if err := os.WriteFile(filepath.Join(dir, segmentName("mosquitto.db", 3)), enc.buf, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "mosquitto.db")
}

// fileSize is the beginning of a line about a file.
var fileSize = regexp.MustCompile(`(?m)^(mosquitto.db[a-z0-9.]*): [0-9]+ bytes,`)

// list is what List prints, without the folder and the sizes of files.
func list(t *testing.T, path string, all, asJSON bool) (text string, whole bool) {
	t.Helper()
	var b bytes.Buffer
	whole, err := writeList(&b, path, all, asJSON)
	if err != nil {
		t.Fatal(err)
	}
	return fileSize.ReplaceAllString(strings.ReplaceAll(b.String(), filepath.Dir(path)+"/", ""), "$1: N bytes,"), whole
}

const listed = `mosquitto.db: N bytes, version 6, written by midge when it stopped, 2026-11-23T16:56:40Z, id 0000000000000abc
mosquitto.db.journal.3: N bytes, 2 records, until 2026-11-23T16:56:41Z

         1 retained messages, 6 bytes
         1 sessions
         1 subscriptions
         3 messages to clients, 30 bytes
         1 messages from clients that are not released, 10 bytes
         1 wills
         1 retained deliveries under way

client    user    ends after  subscriptions  queued  bytes  in flight  bytes  from it  bytes  gone since
"client"  "name"  3600 s      1              1       10     2          20     1        10     2026-11-23T16:57:52Z

retained "topic/10", QoS 0, 6 bytes: "\x1b[2J\u009b"
subscription of "client": "$share/group/f/#", QoS 2, id 300, no local, retain as published, retain handling 2
to "client", number 20: released, QoS 2, packet id 503, retain, subscription id 14, by "$share/b/f": {13}
to "client", number 21: queued, QoS 2, retain, subscription id 12, by "$share/group/f/#": {11}
to "client", number 22: sent, QoS 1, packet id 501, retain, subscription id 13, by "$share/group/f/#": {12}
from "client", packet id 14: {14}
retained messages for "client", number 31: "+/#" from "next" on, stored up to 19, sent early ["early" "too"]
will of "client", delay 16 s, due 2026-11-23T16:56:35Z, expires 17 s later: {15}

All of it is whole.
`

func TestListText(t *testing.T) {
	im, _ := fullImage()
	path := database(t, im)
	want := listed
	for n, at := range map[string]string{"11": "16:58:25", "12": "16:58:35", "13": "16:58:45", "14": "16:58:55", "15": "16:59:05"} {
		want = strings.ReplaceAll(want, "{"+n+"}", `"topic/`+n+`", QoS 2, retain, by "publisher" of "pub's user", expires 2026-11-23T`+at+
			`Z, content-type "text/plain", user-property "k=`+n+`", 10 bytes: "payload `+n+`"`)
	}
	got, whole := list(t, path, true, false)
	if !whole || got != want {
		t.Errorf("whole %t, it says\n%s\nnot\n%s", whole, got, want)
	}
	short, _ := list(t, path, false, false)
	head, _, _ := strings.Cut(want, "retained \"")
	if short != head+"All of it is whole.\n" {
		t.Errorf("in short it says\n%s", short)
	}
}

// TestListJSON: a program reads the same.
func TestListJSON(t *testing.T) {
	im, _ := fullImage()
	text, whole := list(t, database(t, im), true, true)
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U is in the output", r)
		}
	}
	var v struct {
		Whole    bool
		Problems []string
		Snapshot fileJSON
		Journal  []segmentJSON
		Totals   totals
		Sessions []client
		Retained []messageJSON

		Subscriptions []subscriptionJSON
		Deliveries    []deliveryJSON
		Incoming      []incomingJSON
		Cursors       []cursorJSON `json:"retained_deliveries"`
		Wills         []willJSON
	}
	d := json.NewDecoder(strings.NewReader(strings.Replace(text, `"file": "mosquitto.db",`, "", 1)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !v.Whole || !whole || len(v.Problems) > 0 || v.Snapshot.Writer != "midge" || len(v.Journal) != 1 || v.Journal[0].Records != 2 {
		t.Errorf("%+v", v)
	}
	want := totals{Retained: 1, RetainedBytes: 6, Sessions: 1, Subscriptions: 1, Deliveries: 3, DeliveryBytes: 30, Incoming: 1, IncomingBytes: 10, Wills: 1, Cursors: 1}
	if v.Totals != want {
		t.Errorf("totals %+v", v.Totals)
	}
	if n := len(v.Sessions) + len(v.Retained) + len(v.Subscriptions) + len(v.Deliveries) + len(v.Incoming) + len(v.Cursors) + len(v.Wills); n != 9 {
		t.Errorf("there are %d things\n%s", n, text)
	}
	if p := v.Retained[0].Payload; p == nil || *p != "\x1b[2J\u009b" {
		t.Errorf("the payload is %v", p)
	}
}

// TestListDamage: what is not whole is said, and nothing is changed.
func TestListDamage(t *testing.T) {
	const db, journal = "mosquitto.db", "mosquitto.db.journal.3"
	for _, tt := range []struct {
		name, file string
		change     func([]byte) []byte // nil: it is taken away
		says       string
	}{
		{"bit", db, func(b []byte) []byte { b[100] ^= 1; return b }, "Damage: mosquitto.db: "},
		{"end", db, func(b []byte) []byte { return b[:len(b)-3] }, "the end is missing"},
		{"journal's end", journal, func(b []byte) []byte { return b[:len(b)-3] }, "Damage: mosquitto.db.journal.3: the last 22 bytes are torn or damaged"},
		{"journal's header", journal, func(b []byte) []byte { b[0] ^= 1; return b }, "Damage: mosquitto.db.journal.3: has no header"},
		{"no snapshot", db, nil, "Damage: mosquitto.db: there is none, only its journal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			im, _ := fullImage()
			path := database(t, im)
			file := filepath.Join(filepath.Dir(path), tt.file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if tt.change == nil {
				os.Remove(file)
			} else if err := os.WriteFile(file, tt.change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			before := contents(t, filepath.Dir(path))
			text, whole := list(t, path, false, false)
			if whole || !strings.Contains(text, tt.says) {
				t.Errorf("whole %t, it says\n%s", whole, text)
			}
			if contents(t, filepath.Dir(path)) != before {
				t.Error("the files are not what they were")
			}
		})
	}
}

// contents is all of a folder's files.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all += e.Name() + "\n" + string(b) + "\n"
	}
	return all
}

func TestListNone(t *testing.T) {
	if _, err := writeList(new(bytes.Buffer), filepath.Join(t.TempDir(), "mosquitto.db"), false, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	if _, err := writeList(new(bytes.Buffer), path, false, false); !errors.As(err, &format) {
		t.Errorf("error %v", err)
	}
}
