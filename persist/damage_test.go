package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".db")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// at puts bytes into a file, in a copy.
func at(b []byte, i int, put ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[i:], put)
	return b
}

// chunkAt is the offset of the n-th chunk of a kind, in a file of version 5 or 6.
func chunkAt(t testing.TB, b []byte, kind uint32, n int) int {
	t.Helper()
	for i := headerSize; i < len(b); i += headSize + int(binary.BigEndian.Uint32(b[i+4:])) {
		if binary.BigEndian.Uint32(b[i:]) == kind {
			if n--; n < 0 {
				return i
			}
		}
	}
	t.Fatalf("no chunk of kind %d", kind)
	return 0
}

// TestSnapshotDamage: what becomes of files that mosquitto's own would stop at, and of others.
func TestSnapshotDamage(t *testing.T) {
	whole := file(t, "sessions-2.0.11")
	v4 := file(t, "legacy-v4-1.5.9")
	own := written(t, load(t, "sessions-2.0.11").image, Stamp{ID: 1})
	head := func(kind, length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, kind), length), body...)
	}
	message := chunkAt(t, whole, kindMessage, 3)
	session := chunkAt(t, whole, kindSession, 1)
	filter := chunkAt(t, whole, kindSubscription, 2)
	lastOwn := chunkAt(t, own, kindOwn, 0)
	for _, c := range []struct {
		name    string
		file    []byte
		refused string // by a FormatError
		warning string
		damage  string // the beginning of it
		lost    int    // lines fewer than in the whole file; -1: all
	}{
		{name: "empty", warning: "Warning: Persistence file is empty.", lost: -1},
		{name: "1 byte", file: whole[:1], refused: "Unable to restore persistent database. Unrecognised file format."},
		{name: "22 bytes", file: whole[:22], refused: "Unable to restore persistent database. Unrecognised file format."},
		{name: "wrong magic", file: at(whole, 3, 'M'), refused: "Unable to restore persistent database. Unrecognised file format."},
		{name: "version 7", file: at(whole, 22, 7), refused: "Unsupported persistent database format version 7 (need version 6)."},
		{name: "version 1", file: at(whole, 22, 1), refused: "Unsupported persistent database format version 1 (need version 6)."},
		{name: "CRC field", file: at(whole, 15, 1, 2, 3, 4)},
		{name: "header only", file: whole[:23], lost: -1},
		{name: "ends within a head", file: whole[:23+24+4], damage: "the end is missing", lost: -1},
		{name: "ends within a body", file: whole[:23+24+20], damage: "1 broken or missing records, the first at byte 47; the end is missing", lost: -1},
		{name: "last byte missing", file: whole[:len(whole)-1], damage: "1 broken or missing records, the first at byte 2011; the end is missing", lost: 1},
		{name: "id size 4", file: at(whole, 23+8+9, 4), refused: "Incompatible database configuration (dbid size is 4 bytes, expected 8)"},
		{name: "unknown kind", file: append(bytes.Clone(whole), head(99, 3, "abc")...), warning: `Warning: Unsupported chunk "99" in persistent database file. Ignoring.`},
		{name: "unknown kind in version 4", file: append(bytes.Clone(v4), "\x00\x63\x00\x00\x00\x01x"...), warning: `Warning: Unsupported chunk "99" in persistent database file. Ignoring.`, lost: -2},
		{name: "unknown kind, too long", file: append(bytes.Clone(whole), head(99, 4, "abc")...), damage: "1 broken or missing records, the first at byte 2027; the end is missing"},
		{name: "message of FFFFFFFF bytes", file: at(whole, message+4, 0xFF, 0xFF, 0xFF, 0xFF), damage: fmt.Sprintf("1 broken or missing records, the first at byte %d", message), lost: 1},
		{name: "message that is longer than it says", file: at(whole, message+7, whole[message+7]+1), damage: fmt.Sprintf("1 broken or missing records, the first at byte %d", message), lost: 1},
		{name: "message without topic", file: at(whole, message+8+26, 0, 0), damage: fmt.Sprintf("1 broken or missing records, the first at byte %d", message), lost: 1},
		{name: "message of a wildcard", file: at(whole, message+8+32+4, '#'), damage: fmt.Sprintf("1 broken or missing records, the first at byte %d", message), lost: 1},
		{name: "filter of no sense", file: at(whole, filter+8+12+len("sess-v4")+4, 'x'), damage: fmt.Sprintf("1 broken or missing records, the first at byte %d", filter), lost: 1},
		{name: "client without id", file: append(bytes.Clone(whole), head(kindSession, 24, strings.Repeat("\x00", 24))...), warning: "Warning: Empty client entry found in persistence database, it may be corrupt."},
		{name: "missing message", file: append(bytes.Clone(whole), head(kindRetained, 8, "\x63\x00\x00\x00\x00\x00\x00\x00")...)},
		{name: "session that is not there", file: slices.Delete(bytes.Clone(whole), session, session+headSize+sessionSize6+len("sess-v31"))},
		{name: "midge's checksum", file: at(own, 15, 1), damage: "the checksum is wrong"},
		{name: "midge's chunk missing", file: own[:lastOwn], damage: "what only midge keeps is missing"},
		{name: "midge's chunk cut", file: own[:len(own)-1], damage: "1 broken or missing records"},
		{name: "midge's chunk damaged", file: at(own, lastOwn+20, 0xAA), damage: "1 broken or missing records"},
		{name: "more behind midge's chunk", file: append(bytes.Clone(own), head(kindRetained, 8, "12345678")...), damage: "1 broken or missing records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := readSnapshot(bytes.NewReader(c.file), int64(len(c.file)), nil)
			var format *FormatError
			if errors.As(err, &format) {
				if c.refused != err.Error() {
					t.Errorf("refused: %v", err)
				}
				if l := format.Lines(); l[0] != "Error: "+c.refused || l[1] != "Error: Couldn't open database." {
					t.Errorf("it says %q", l)
				}
				return
			}
			if err != nil || c.refused != "" {
				t.Fatalf("error %v", err)
			}
			if got := strings.Join(s.warnings, "\n"); got != c.warning {
				t.Errorf("warnings %q", got)
			}
			if got := fmt.Sprint(s.damage); s.damage == nil && c.damage != "" || s.damage != nil && (c.damage == "" || !strings.HasPrefix(got, c.damage)) {
				t.Errorf("damage %s", got)
			}
			want := load(t, "sessions-2.0.11")
			lost := len(tableLines(want.image)) - len(tableLines(s.image))
			switch {
			case c.lost == -1:
				if s.image.SessionsLen()+s.image.RetainedLen() > 0 {
					t.Errorf("there are %d sessions", s.image.SessionsLen())
				}
			case c.lost >= 0 && lost != c.lost:
				t.Errorf("%d lines are lost", lost)
			}
		})
	}
}

// TestSnapshotCut: whatever is missing at the end, what is before it is there, and
// midge says that its own files are not whole.
func TestSnapshotCut(t *testing.T) {
	own := written(t, legal(rand.New(rand.NewPCG(1, 3)), 60), Stamp{ID: 1})
	for _, whole := range [][]byte{own, file(t, "sessions-2.1.2"), file(t, "legacy-v4-1.5.9")} {
		last := counts{}
		for n := headerSize; n <= len(whole); n++ {
			s, err := readSnapshot(bytes.NewReader(whole[:n]), int64(n), nil)
			if err != nil {
				t.Fatalf("at byte %d: %v", n, err)
			}
			if s.own && s.damage == nil != (n == len(whole)) {
				t.Errorf("%d of %d bytes: damage %v", n, len(whole), s.damage)
			}
			c := s.counts
			if c.messages < last.messages || c.retained < last.retained || c.sessions < last.sessions ||
				c.subscriptions < last.subscriptions || c.deliveries < last.deliveries {
				t.Errorf("%d bytes have %+v, one less had %+v", n, c, last)
			}
			last = c
		}
	}
}

// TestSnapshotFlip: one wrong bit anywhere in a file of midge's is noticed, and
// costs at most one chunk, with what refers to it or has its name now, or midge's own.
func TestSnapshotFlip(t *testing.T) {
	im := NewImage()
	number := uint64(0)
	message := func(topic string) *Message {
		number++
		return &Message{Topic: topic, Payload: "payload", Expires: Never, Stored: number, QoS: 2, Properties: user("k", "v")}
	}
	for _, id := range []string{"a", "b", "c"} {
		im.Retain(message("retained/" + id))
		im.Session(Session{ClientID: id, Expiry: 100, Gone: 5})
		im.Subscribe(&Subscription{ClientID: id, Filter: "t/#", Options: 1})
		m := message("queued/" + id)
		number++
		im.Deliver(id, Delivery{Message: m, Number: number, QoS: 1, ID: 1, State: Sent})
		im.Receive(id, 5, message("up/"+id))
	}
	whole, want := written(t, im, Stamp{ID: 1}), im.lines()
	own := chunkAt(t, whole, kindOwn, 0)
	for i := headerSize; i < len(whole); i++ {
		for bit := range 8 {
			b := at(whole, i, whole[i]^1<<bit)
			s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
			var format *FormatError
			switch {
			case errors.As(err, &format) && i < headerSize+headSize+configSize:
				continue
			case err != nil:
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			case s.damage == nil:
				t.Fatalf("byte %d bit %d: nothing is noticed", i, bit)
			}
			lost := 0
			have := s.image.lines()
			for _, l := range want {
				if _, ok := slices.BinarySearch(have, l); !ok {
					lost++
				}
			}
			if lost > 2 && i < own {
				t.Errorf("byte %d bit %d: %d things are lost, %v", i, bit, lost, s.damage)
			}
			if i >= own && (s.image.DeliveriesLen() != 3 || s.image.IncomingLen() != 3 || s.image.SubscriptionsLen() != 3 || s.image.RetainedLen() != 3) {
				t.Errorf("byte %d bit %d in midge's chunk cost more", i, bit)
			}
		}
	}
}

// TestSnapshotHole: a part of the file that is zeros costs what was there.
func TestSnapshotHole(t *testing.T) {
	whole := written(t, million(500), Stamp{ID: 1})
	const hole, smallest = 1000, 80 // bytes; a message has more
	for i := 1000; i < 30_000; i += 997 {
		b := at(whole, i, make([]byte, hole)...)
		s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
		if err != nil || s.damage == nil {
			t.Fatalf("%v, at byte %d nothing is noticed", err, i)
		}
		if lost := 500 - s.image.RetainedLen(); lost < hole/100 || lost > hole/smallest+2 {
			t.Errorf("at byte %d, %d messages are lost, %v", i, lost, s.damage)
		}
	}
}

// TestSnapshotForged: what looks like chunks within a payload is none, wherever the
// file is cut, and however much longer a length is.
func TestSnapshotForged(t *testing.T) {
	forged := sessionChunk{client: "forged", expiry: neverEnds}
	sub := subscriptionChunk{client: "forged", filter: "#", qos: 1}
	bait := string(bytes.Repeat(sub.append(forged.append(nil)), 5))
	for _, payload := range []string{bait, bait + strings.Repeat("x", windowSize)} {
		im := NewImage()
		for i, topic := range []string{"a", "b", "c"} {
			im.Retain(&Message{Topic: topic, Payload: payload, Expires: Never, Stored: uint64(i + 1), Properties: user("k", "v")})
		}
		whole := written(t, im, Stamp{ID: 1})
		look := func(b []byte) {
			t.Helper()
			s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.image.SessionsLen() > 0 || s.image.SubscriptionsLen() > 0 {
				t.Errorf("there is a session, %v", s.damage)
			}
		}
		at2 := chunkAt(t, whole, kindMessage, 1)
		for n := at2; n < at2+headSize+messageSize+len(bait); n++ {
			look(whole[:n])
		}
		for _, i := range []int{at2 + 4, at2 + headSize + 16} { // the chunk's length, the payload's
			for bit := range 32 {
				if b := at(whole, i+bit/8, whole[i+bit/8]|128>>(bit%8)); !bytes.Equal(b, whole) {
					look(b)
				}
			}
		}
	}
}

// TestSnapshotNumbersLost: where midge's chunk is missing, deliveries get numbers that
// neither those that were lost nor later ones can be.
func TestSnapshotNumbersLost(t *testing.T) {
	im := NewImage()
	message := func(n uint64) *Message {
		return &Message{Topic: "t", Payload: fmt.Sprint(n), Expires: Never, Stored: n, QoS: 1}
	}
	first, second, third := message(10), message(20), message(30)
	for n, m := range map[uint64]*Message{11: first, 12: first, 21: second, 31: third, 32: third} {
		im.Deliver("c", Delivery{Message: m, Number: n, QoS: 1})
	}
	im.numbered(99)
	b := written(t, im, Stamp{ID: 1})
	b = b[:chunkAt(t, b, kindOwn, 0)]
	s, err := readSnapshot(bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	var payloads []string
	for d := range s.image.Deliveries("c") {
		got = append(got, d.Number)
		payloads = append(payloads, d.Message.Payload)
	}
	if want := []uint64{10, 20, 30, farOff, farOff + 1}; !slices.Equal(got, want) {
		t.Errorf("numbers %v", got)
	}
	slices.Sort(payloads)
	if want := []string{"10", "10", "20", "30", "30"}; !slices.Equal(payloads, want) {
		t.Errorf("messages %v", payloads)
	}
}

// failing is a reader that fails.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// TestSnapshotReadError: a disk that fails is not a file that ends.
func TestSnapshotReadError(t *testing.T) {
	b := file(t, "sessions-2.0.11")
	broken := errors.New("broken")
	for n := range b {
		_, err := readSnapshot(&failing{bytes.NewReader(b[:n]), broken}, int64(len(b)), nil)
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// TestSnapshotBounded: lengths that a file claims cost no memory.
func TestSnapshotBounded(t *testing.T) {
	b := append([]byte(magic), 0, 0, 0, 0, 0, 0, 0, 6)
	for _, kind := range []uint32{kindMessage, kindOwn, 99} {
		claims := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(bytes.Clone(b), kind), 0xFFFFFFF0)
		claims = append(claims, bytes.Repeat([]byte{0xFF}, 100)...)
		before := testing.AllocsPerRun(1, func() { readSnapshot(bytes.NewReader(claims), int64(len(claims)), nil) })
		if before > 100 {
			t.Errorf("kind %d: %v allocations", kind, before)
		}
	}
}

// TestSnapshotProgress: somebody who waits is told.
func TestSnapshotProgress(t *testing.T) {
	b := written(t, million(20_000), Stamp{})
	var told []int64
	_, err := readSnapshot(bytes.NewReader(b), int64(len(b)), func(done, total int64) {
		if total != int64(len(b)) || len(told) > 0 && done < told[len(told)-1] {
			t.Errorf("%d of %d after %v", done, total, told)
		}
		told = append(told, done)
	})
	if err != nil || len(told) < 4 || told[len(told)-1] != int64(len(b)) {
		t.Errorf("told %v, %v", told, err)
	}
}
