package persist

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
)

// fullImage has every field of every value set, each to what it has nowhere else.
func fullImage() (*Image, []any) {
	im := NewImage()
	origin := &Origin{ClientID: "publisher", Username: "pub's user", Listener: 1885}
	message := func(n uint64) *Message {
		return &Message{
			Topic: fmt.Sprint("topic/", n), Properties: prop(propContentType, "text/plain") + user("k", fmt.Sprint(n)),
			Payload: fmt.Sprint("payload ", n), Origin: origin, Expires: Time(n)*10_000 + 1, Stored: n, QoS: 2, Retain: true,
		}
	}
	session := Session{ClientID: "client", Username: "name", Listener: 1884, Expiry: 3600, Gone: 77_777, LastID: 500}
	sub := &Subscription{ClientID: "client", Filter: "$share/group/f/#", ID: 300, Options: 2 | OptionNoLocal | OptionRetainAsPublished | 2<<4}
	waits := Delivery{Message: message(11), Number: 21, SubscriptionID: 12, QoS: 2, Retain: true, Share: "$share/group/f/#"}
	sent := Delivery{Message: message(12), Number: 22, SubscriptionID: 13, ID: 501, QoS: 1, Retain: true, State: Sent, Share: "$share/group/f/#"}
	released := Delivery{Message: message(13), Number: 20, SubscriptionID: 14, ID: 503, QoS: 2, Retain: true, State: Released, Share: "$share/b/f"}
	will := &Will{Message: message(15), Delay: 16, Expiry: 17, Expires: true, Due: 18}
	cursor := Cursor{Filter: "+/#", Next: "next", Until: 19, Early: []string{"early", "too"}, SubscriptionID: 30, Options: 1}

	im.Retain(message(10))
	im.Session(session)
	im.Subscribe(sub)
	im.Deliver("client", waits)
	im.Deliver("client", sent)
	im.Deliver("client", released)
	im.Receive("client", 14, message(14))
	im.Will("client", will)
	im.Cursor("client", 31, cursor)
	im.numbered(1000)
	return im, []any{*message(10), *origin, session, *sub, sent, released, *will, cursor}
}

// TestSnapshotFields saves and loads an image with every field set. A field that
// is new fails here until it has been given a place.
func TestSnapshotFields(t *testing.T) {
	im, values := fullImage()
	stamp := Stamp{ID: 0xFEDCBA9876543210, Segment: 42, Now: 5000, Wall: 1795453000123}
	for _, v := range append(values, stamp) {
		for r, i := reflect.ValueOf(v), 0; i < r.NumField(); i++ {
			name := r.Type().Field(i).Name
			if r.Field(i).IsZero() && name != "Uses" && name != "Room" { // those two are core's
				t.Errorf("%s.%s is not set: add it to fullImage and to the snapshot", r.Type(), name)
			}
		}
	}
	s := rewrite(t, im, stamp)
	same(t, "image", s.image.lines(), im.lines())
	if s.image.Number() != im.Number() {
		t.Errorf("the highest number is %d, not %d", s.image.Number(), im.Number())
	}
}

// TestSnapshotNone: the same with what may be zero, Never or nil.
func TestSnapshotNone(t *testing.T) {
	im := NewImage()
	m := &Message{Topic: "t", Payload: "p", Expires: Never, Stored: 1}
	im.Retain(m)
	im.Session(Session{ClientID: "a", Gone: Never})
	im.Session(Session{ClientID: "b", Expiry: neverEnds, Gone: -5})
	im.Subscribe(&Subscription{ClientID: "b", Filter: "#"})
	im.Deliver("b", Delivery{Message: m, Number: 2})
	im.Will("a", &Will{Message: &Message{Topic: "w", Expires: Never, Stored: 3}, Due: Never})
	im.Cursor("a", 4, Cursor{})
	same(t, "image", rewrite(t, im, Stamp{}).image.lines(), im.lines())
	none := NewImage()
	same(t, "empty image", rewrite(t, none, Stamp{}).image.lines(), nil)
}

// legal fills an image at random with what a broker may have.
func legal(rnd *rand.Rand, things int) *Image {
	im, number := NewImage(), uint64(rnd.IntN(1000))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	message := func() *Message {
		number += 1 + uint64(rnd.IntN(3))
		m := &Message{
			Topic: "t/" + fmt.Sprint(rnd.IntN(50)), Payload: string(bytes.Repeat([]byte{'x'}, 1+rnd.IntN(100))),
			Stored: number, Expires: Never, QoS: byte(rnd.IntN(3)), Retain: rnd.IntN(2) == 0,
			Properties: pick("", "", prop(propResponseTopic, "r"), user("k", "v")+"\x0B\x05", "\x0B\x81\x01\x0B\x03", "\x01\x00"),
		}
		if rnd.IntN(3) == 0 {
			m.Origin = &Origin{"c" + pick("1", "2"), pick("", "u"), 1883 * rnd.IntN(3)}
		}
		if rnd.IntN(3) == 0 {
			m.Expires = rnd.Int64N(1 << 40)
		}
		return m
	}
	recent := []*Message{message()}
	for range things {
		m := message()
		if rnd.IntN(3) > 0 {
			m = recent[rnd.IntN(len(recent))]
		} else if recent = append(recent, m); len(recent) > 10 {
			recent = recent[1:]
		}
		number++
		id := "c" + pick("1", "2", "3", "4", "5")
		switch rnd.IntN(8) {
		case 0:
			im.Retain(m)
		case 1:
			im.Session(Session{
				ClientID: id, Username: pick("", "u"), Listener: rnd.IntN(1 << 16), Expiry: rnd.Uint32(),
				Gone: Time(rnd.IntN(1000)), LastID: uint16(65000 + rnd.IntN(536)),
			})
		case 2:
			im.Subscribe(&Subscription{ClientID: id, Filter: pick("#", "a/+", "$share/g/t/#"), ID: uint32(rnd.IntN(3)), Options: byte(rnd.IntN(3) | rnd.IntN(4)<<2 | rnd.IntN(3)<<4)})
		case 3, 4, 5:
			d := Delivery{Message: m, Number: number, QoS: byte(rnd.IntN(3)), Retain: rnd.IntN(2) == 0}
			if d.QoS > 0 && rnd.IntN(2) == 0 {
				d.State, d.ID = Sent, uint16(number%65000)+1
				if d.QoS == 2 && rnd.IntN(2) == 0 {
					d.State = Released
				}
			}
			d.SubscriptionID = uint32(rnd.IntN(2) * rnd.IntN(1000))
			d.Share = pick("", "$share/g/t/#", "$share/h/#")
			im.Deliver(id, d)
		case 6:
			if m.QoS == 2 {
				im.Receive(id, uint16(1+rnd.IntN(100)), m)
			}
		case 7:
			if rnd.IntN(2) == 0 {
				im.Will(id, &Will{Message: message(), Delay: rnd.Uint32(), Expiry: rnd.Uint32(), Expires: rnd.IntN(2) == 0, Due: Time(rnd.IntN(1000))})
			} else {
				im.Cursor(id, number, Cursor{Filter: pick("#", "+"), Next: pick("", "n"), Until: number - 1, Options: byte(rnd.IntN(3))})
			}
		}
	}
	return im
}

// TestSnapshotRandom: whatever a broker may have is the same after it was saved.
func TestSnapshotRandom(t *testing.T) {
	for seed := range uint64(100) {
		im := legal(rand.New(rand.NewPCG(seed, 2)), 400)
		stamp := Stamp{ID: seed, Segment: 3, Now: Time(seed) * 1000, Wall: 1795453000000}
		s := rewrite(t, im, stamp)
		same(t, fmt.Sprint("seed ", seed), s.image.lines(), im.lines())
		if s.image.Number() != im.Number() {
			t.Fatalf("seed %d: the highest number is %d, not %d", seed, s.image.Number(), im.Number())
		}
	}
}

// chunksOf lists what mosquitto would read of a file.
func chunksOf(t *testing.T, b []byte) (all []any) {
	t.Helper()
	c, err := newChunks(newSource(bytes.NewReader(b), int64(len(b)), nil), new(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	for c.next() {
		f := fields{b: bytes.Clone(c.body.b)}
		switch c.kind {
		case kindMessage:
			var m messageChunk
			if !m.decode(&f) {
				t.Fatalf("% x", f.b)
			}
			all = append(all, m)
		case kindDelivery:
			var d deliveryChunk
			if !d.decode(&f) {
				t.Fatalf("% x", f.b)
			}
			all = append(all, d)
		case kindSession:
			var s sessionChunk
			if !s.decode(&f, c.version) {
				t.Fatalf("% x", f.b)
			}
			all = append(all, s)
		}
	}
	return all
}

// TestSnapshotForMosquitto: what mosquitto finds where an image is not what it can hold.
func TestSnapshotForMosquitto(t *testing.T) {
	im := NewImage()
	ids := user("a", "b") + "\x0B\x81\x01\x0B\x03"
	m := &Message{Topic: "t", Payload: "p", Properties: ids, Expires: 2001, Stored: 9, QoS: 1}
	im.Session(Session{ClientID: "c", Expiry: 100, Gone: 500, LastID: 65534})
	im.Deliver("c", Delivery{Message: m, Number: 1, QoS: 1})
	im.Deliver("c", Delivery{Message: m, Number: 2, QoS: 0})
	im.Deliver("c", Delivery{Message: m, Number: 3, QoS: 2, SubscriptionID: 7})
	im.Deliver("c", Delivery{Message: m, Number: 4, QoS: 1, ID: 1, State: Sent})
	got := chunksOf(t, written(t, im, Stamp{Now: 1000, Wall: 1_000_000_000}))
	d := func(mid uint16, qos, state byte, dup bool, id uint32) deliveryChunk {
		return deliveryChunk{message: 9, client: "c", mid: mid, qos: qos, state: state, dup: dup, outgoing: true, subscriptionID: id}
	}
	want := []any{
		messageChunk{id: 9, expires: 1_000_002, topic: "t", payload: "p", properties: user("a", "b"), qos: 1},
		sessionChunk{expires: 1_000_100, expiry: 100, client: "c", last: 2},
		d(1, 1, stateAwaitPuback, true, 129),
		d(65535, 1, stateQueued, false, 129), // behind the last one,
		d(0, 0, stateQueued, false, 129),
		d(2, 2, stateQueued, false, 7), // and past the one under way
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("in the file\n%+v\nnot\n%+v", got, want)
	}
}

// TestSnapshotOnce: a message that waits for many is written once.
func TestSnapshotOnce(t *testing.T) {
	im := NewImage()
	m := &Message{Topic: "t", Payload: string(make([]byte, 10_000)), Expires: Never, Stored: 1, QoS: 1}
	im.Retain(m)
	for i := range 1000 {
		im.Deliver(fmt.Sprint("c", i), Delivery{Message: m, Number: uint64(i + 2), QoS: 1})
	}
	if n := len(written(t, im, Stamp{})); n > 200_000 {
		t.Errorf("%d bytes", n)
	}
	s := rewrite(t, im, Stamp{})
	seen := map[*Message]bool{s.image.RetainedAt("t"): true}
	for one := range s.image.Sessions() {
		for d := range s.image.Deliveries(one.ClientID) {
			seen[d.Message] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("it was read as %d messages", len(seen))
	}
}

// TestSnapshotLarge: lengths that do not fit into a window or buffer.
func TestSnapshotLarge(t *testing.T) {
	im := NewImage()
	for i, n := range []int{1, sinkSize - 1, sinkSize, windowSize - 100, windowSize, windowSize + 1, 3 << 20, 100} {
		m := &Message{Topic: fmt.Sprint("t/", i), Payload: string(bytes.Repeat([]byte{byte(i + 1)}, n)), Expires: Never, Stored: uint64(i + 1), Properties: user("k", "v")}
		im.Retain(m)
		im.Will(fmt.Sprint("c", i), &Will{Message: m, Due: 1})
	}
	same(t, "large", rewrite(t, im, Stamp{}).image.lines(), im.lines())
}

// TestSnapshotMemory: a snapshot takes no more memory than it says.
func TestSnapshotMemory(t *testing.T) {
	const n = 50_000
	im := million(n)
	for i := range n {
		im.Deliver(fmt.Sprint("c", i%10), Delivery{Message: &Message{Topic: "t", Payload: "p", Expires: 5, Stored: uint64(n + i), QoS: 1}, Number: uint64(n + i), QoS: 1})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := writeSnapshot(io.Discard, im, Stamp{}, false); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*2*n+512<<10 {
		t.Errorf("it took %d KiB for %d messages", took>>10, 2*n)
	}
}

// million is an image of retained messages.
func million(n int) *Image {
	im := NewImage()
	origin := &Origin{ClientID: "publisher"}
	for i := range n {
		s := fmt.Sprintf("plant/%03d/line/%02d/sensor/%05d21.5 °C", i%1000, i%100, i)
		im.Retain(&Message{Topic: s[:len(s)-8], Payload: s[len(s)-8:], Origin: origin, Expires: Never, Stored: uint64(i + 1), QoS: 1, Retain: true})
	}
	return im
}

func BenchmarkSnapshotWrite(b *testing.B) {
	im := million(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		n, err := writeSnapshot(io.Discard, im, Stamp{}, false)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

func BenchmarkSnapshotRead(b *testing.B) {
	file := written(b, million(1_000_000), Stamp{})
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := readSnapshot(bytes.NewReader(file), int64(len(file)), nil)
		if err != nil || s.image.RetainedLen() != 1_000_000 {
			b.Fatal(err)
		}
	}
}
