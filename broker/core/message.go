package core

import (
	"math/bits"
	"unsafe"

	"midge/persist"
)

// A message is a persist.Message whose memory core may use again. Those who need
// it are counted: the routing that made it, each delivery that waits or is under
// way, a QoS 2 message until its PUBREL, the retained store, each output that sends its
// payload from where it lies. When the last of them is done the message goes to the
// stock and its bytes are written over, so a view of it must not outlive its user.
//
// A message that others than core have seen, a recorder or its image, is never
// written to again: it is kept, and the collector's in the end. So are retained
// messages and wills, which live long.
//
// Its Uses are the users, its Room the bytes behind the start of Topic, where all
// three parts lie; none when it is kept.
type message persist.Message

// view makes a string of b without copying it. The caller keeps b unchanged
// while the string is in use.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// raw is the other way round; the result is read only.
func raw(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// message makes the value that outlives the call, once. The publication is its
// first user, until done.
func (b *Broker) message(p *publication) *message {
	if p.msg != nil {
		return p.msg
	}
	t, e := len(p.topic), len(p.topic)+len(p.props)
	m := b.blank(e+len(p.payload), p.retain)
	data := m.buffer()
	data = append(append(append(data, p.topic...), p.props...), p.payload...)
	s := view(data)
	b.number++
	b.work += workMessage
	m.Topic, m.Properties, m.Payload = s[:t], s[t:e], s[e:]
	m.Origin, m.Expires, m.Stored = p.origin, p.expires, b.number
	m.QoS, m.Retain = p.qos, p.retain
	m.Uses = 1
	p.msg, p.made = m, true
	b.account(m.cost())
	return m
}

// blank is a message with room for n bytes: a new one, without any to spare, if it
// shall live long.
func (b *Broker) blank(n int, long bool) *message {
	n = (n + smallRoom - 1) &^ (smallRoom - 1)
	if !long {
		if m := b.free.messages.take(n); m != nil {
			return m
		}
	}
	return &message{Topic: view(make([]byte, n)), Room: int32(n)}
}

// buffer is the message's room, empty.
func (m *message) buffer() []byte {
	return unsafe.Slice(unsafe.StringData(m.Topic), m.Room)[:0]
}

// keep gives the value to one who is not counted.
func (m *message) keep() *persist.Message {
	m.Room = 0
	return (*persist.Message)(m)
}

// use counts one more user.
func (m *message) use() *message {
	m.Uses++
	return m
}

// unuse counts one user less; the last one puts the message back.
func (b *Broker) unuse(m *message) {
	if m.Uses--; m.Uses > 0 {
		return
	}
	b.account(-m.cost())
	if m.Room > 0 {
		b.free.messages.put(m)
	}
}

// stock holds messages to use again, on shelves by the size of their rooms.
type stock struct {
	shelves [shelves][]*message
	bytes   int            // of all rooms
	spoil   func(*message) // for tests: called with each message put back
}

const (
	shelves   = 4 * 32
	stockMax  = 4 << 20 // bytes of all rooms
	smallRoom = 16      // rooms are multiples of it
)

// shelf is where rooms of n bytes and more lie: four shelves for each doubling.
func shelf(n int) int {
	length := bits.Len(uint(n))
	return 4*length + n>>(length-3)&3
}

// take gives a message with room for n bytes, or nil.
func (s *stock) take(n int) *message {
	at := shelf(n)
	for _, there := range s.shelves[at : at+2] {
		if last := len(there) - 1; last >= 0 && int(there[last].Room) >= n {
			m := there[last]
			i := shelf(int(m.Room))
			s.shelves[i] = there[:last]
			s.bytes -= int(m.Room)
			return m
		}
	}
	return nil
}

// put takes a message that nobody uses any more, unless there are enough.
func (s *stock) put(m *message) {
	if s.spoil != nil {
		s.spoil(m)
	}
	if s.bytes+int(m.Room) > stockMax {
		return
	}
	m.Origin = nil
	i := shelf(int(m.Room))
	s.shelves[i] = append(s.shelves[i], m)
	s.bytes += int(m.Room)
}
