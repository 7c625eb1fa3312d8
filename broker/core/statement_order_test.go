package core

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
)

// TestOrder publishes 10,000 numbered messages of each QoS on several topics to a
// subscriber that reads slowly, acknowledges at random and is gone now and then.
// For each QoS the numbers ascend, and at QoS 1 and 2 none is missing; after a
// reconnect what is sent again comes first, in its first order (v3
// [MQTT-4.6.0-1], [MQTT-4.6.0-5], [MQTT-4.6.0-6]; v5 [MQTT-4.6.0-5],
// [MQTT-4.6.0-6]).
func TestOrder(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		t.Run(fmt.Sprint("v", v), func(t *testing.T) {
			k := &talk{target: newTarget(), t: t}
			k.cfg.MaxQueuedMessages, k.cfg.QueueQoS0 = 0, true
			k.b.Configure(k.cfg, k.now)
			k.mustOpen("pub", v)
			s := &slowReader{talk: k, v: v, rnd: rand.New(rand.NewPCG(uint64(v), 0)), known: map[uint16]int{}}
			k.publishEach(v, "o/first", 1, true)
			s.connect()
			k.exchange("sub", (&packet.Packet{Type: packet.Subscribe, ID: 1,
				Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "o/#", 2), Options: true}}).Append(nil, v))
			s.read(1 << 20)
			s.acknowledge()
			for i := 2; i <= n; i++ {
				k.publishEach(v, []string{"o", "o/a", "o/a/b", "o/a/b/c", "o//"}[s.rnd.IntN(5)], i, false)
				if s.rnd.IntN(3) == 0 {
					s.read(s.rnd.IntN(500))
				}
				if s.rnd.IntN(2) == 0 {
					s.acknowledge()
				}
				if s.rnd.IntN(n/10) == 0 {
					s.leave()
				}
				if s.conns["sub"].closed && s.rnd.IntN(n/50) == 0 {
					s.connect()
				}
			}
			s.finish()
			if s.newest[1] != n || s.newest[2] != n || s.newest[0] < n/2 {
				t.Errorf("the newest numbers are %v, not %d", s.newest, n)
			}
			if s.again < 20 || s.waited == 0 {
				t.Errorf("%d packets were sent again, %d waited: the test shows little", s.again, s.waited)
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// publishEach publishes message i of each QoS. Retained messages have a topic each.
func (k *talk) publishEach(v packet.Version, topic string, i int, retain bool) {
	var b []byte
	for qos := range byte(3) {
		p := packet.Packet{Type: packet.Publish, QoS: qos, Retain: retain, Topic: []byte(topic), Payload: fmt.Appendf(nil, "%d %d", qos, i)}
		if retain {
			p.Topic = fmt.Appendf(p.Topic, "%d", qos)
		}
		if qos > 0 {
			p.ID = uint16(qos)
		}
		b = p.Append(b, v)
	}
	k.exchange("pub", packet.AppendAck(b, v, packet.Pubrel, 2, 0))
	k.receivedBy("pub")
}

// slowReader is the subscriber of TestOrder.
type slowReader struct {
	*talk
	v      packet.Version
	rnd    *rand.Rand
	in     []byte         // the beginning of a packet
	newest [3]int         // number by QoS
	known  map[uint16]int // open exchanges: in which order they came first
	count  int            // of those
	owed   [][]byte       // acknowledgements not yet sent

	// on this connection
	began    map[uint16]bool // exchanges that had a packet
	resent   int             // the last one of what was sent again, by its first order
	fresh    bool            // something came that is not sent again
	again    int             // how many packets were sent again, on all connections
	waited   int             // the most that waited
	finished bool            // reads all
}

func (s *slowReader) connect() {
	if err := s.Open("sub"); err != nil {
		s.t.Fatal(err)
	}
	s.in, s.owed, s.began, s.resent, s.fresh = nil, nil, map[uint16]bool{}, 0, false
	s.conns["sub"].stalled = !s.finished
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: s.v, ClientID: []byte("sub")}}
	if s.v == packet.V5 {
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, noExpiry)
	}
	s.exchange("sub", p.Append(nil, s.v))
}

func (s *slowReader) leave() {
	if !s.conns["sub"].closed {
		if err := s.Drop("sub", true); err != nil {
			s.t.Fatal(err)
		}
	}
}

// read takes n bytes.
func (s *slowReader) read(n int) {
	c := s.conns["sub"]
	if c.closed {
		return
	}
	s.waited = max(s.waited, s.b.sessions["sub"].waiting.len())
	if !s.finished {
		if err := s.flowOn(c, strconv.Itoa(n), true); err != nil {
			s.t.Fatal(err)
		}
	}
	s.in = append(s.in, s.receivedBy("sub")...)
	for {
		h, err := packet.ReadHeader(s.in, s.v)
		if err != nil {
			s.t.Fatal(err)
		}
		if h.Size == 0 || h.Len() > len(s.in) {
			return
		}
		var p packet.Packet
		if err := p.Decode(s.v, packet.FromServer, h.First, s.in[h.Size:h.Len()]); err != nil {
			s.t.Fatal(err)
		}
		s.take(&p)
		s.in = s.in[h.Len():]
	}
}

func (s *slowReader) take(p *packet.Packet) {
	switch p.Type {
	case packet.Publish:
		s.publish(p)
	case packet.Pubrel:
		if !s.began[p.ID] {
			s.repeated(p.ID)
		}
		s.owe(packet.Pubcomp, p.ID)
	}
}

func (s *slowReader) publish(p *packet.Packet) {
	text, number, _ := strings.Cut(string(p.Payload), " ")
	i, err := strconv.Atoi(number)
	if err != nil || text != fmt.Sprint(p.QoS) {
		s.t.Fatalf("%q came at QoS %d", p.Payload, p.QoS)
	}
	_, known := s.known[p.ID]
	switch {
	case p.QoS > 0 && known && p.Dup:
		s.repeated(p.ID)
	case p.QoS > 0 && (known || i != s.newest[p.QoS]+1), i <= s.newest[p.QoS]:
		s.t.Fatalf("QoS %d: number %d after %d, identifier %d", p.QoS, i, s.newest[p.QoS], p.ID)
	default:
		s.newest[p.QoS] = i
		if p.QoS > 0 {
			s.count++
			s.known[p.ID] = s.count
		}
		if p.Dup { // the earlier connection ended before it came
			s.repeated(p.ID)
		} else if p.QoS > 0 {
			s.fresh = true
		}
	}
	switch s.began[p.ID] = true; p.QoS {
	case 1:
		s.owe(packet.Puback, p.ID)
	case 2:
		s.owe(packet.Pubrec, p.ID)
	}
}

// repeated checks the place of a packet that is sent again.
func (s *slowReader) repeated(id uint16) {
	s.again++
	at, known := s.known[id]
	if !known || s.fresh || at <= s.resent {
		s.t.Fatalf("identifier %d (%d) is sent again after %d; something new came before: %t", id, at, s.resent, s.fresh)
	}
	s.resent = at
	s.began[id] = true
}

func (s *slowReader) owe(t packet.Type, id uint16) {
	s.owed = append(s.owed, packet.AppendAck(nil, s.v, t, id, 0))
}

// acknowledge sends some of what is owed, in any order.
func (s *slowReader) acknowledge() {
	if s.conns["sub"].closed {
		return
	}
	for n := s.rnd.IntN(len(s.owed) + 1); n > 0; n-- {
		i := s.rnd.IntN(len(s.owed))
		pkt := s.owed[i]
		s.owed = append(s.owed[:i:i], s.owed[i+1:]...)
		if t := packet.Type(pkt[0] >> 4); t != packet.Pubrec {
			delete(s.known, uint16(pkt[2])<<8|uint16(pkt[3]))
		}
		s.exchange("sub", pkt)
	}
}

// finish reads and acknowledges all there is, on a new connection.
func (s *slowReader) finish() {
	s.leave()
	s.finished = true
	s.connect()
	for s.read(0); len(s.owed) > 0; s.read(0) {
		s.acknowledge()
	}
	if w := s.b.sessions["sub"].window; w != nil || s.b.stats.Queued != 0 {
		s.t.Errorf("%d messages are left", s.b.stats.Queued)
	}
}

// TestAcknowledgementOrder: a hundred messages in one write are acknowledged in
// their order (v3 [MQTT-4.6.0-2], [MQTT-4.6.0-3]).
func TestAcknowledgementOrder(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		t.Run(fmt.Sprint("v", v), func(t *testing.T) {
			k := &talk{target: newTarget(), t: t}
			k.mustOpen("c", v)
			ids := rand.New(rand.NewPCG(4, 6)).Perm(1000)[:100]
			var publish, puback, pubrec, pubrel, pubcomp []byte
			for _, i := range ids {
				id := uint16(i + 1)
				p := packet.Packet{Type: packet.Publish, ID: id, QoS: 1, Topic: []byte("t")}
				publish = p.Append(publish, v)
				puback = packet.AppendAck(puback, v, packet.Puback, id, packet.NoMatchingSubscribers)
			}
			for _, i := range ids {
				id := uint16(i + 1)
				p := packet.Packet{Type: packet.Publish, ID: id, QoS: 2, Topic: []byte("t")}
				publish = p.Append(publish, v)
				pubrec = packet.AppendAck(pubrec, v, packet.Pubrec, id, 0)
				pubrel = packet.AppendAck(pubrel, v, packet.Pubrel, id, 0)
				pubcomp = packet.AppendAck(pubcomp, v, packet.Pubcomp, id, 0)
			}
			for _, step := range []struct{ send, want string }{
				{string(publish), string(puback) + string(pubrec)},
				{string(pubrel), string(pubcomp)},
			} {
				if err := k.Send("c", []byte(step.send)); err != nil {
					t.Fatal(err)
				}
				if err := k.Settle("c"); err != nil {
					t.Fatal(err)
				}
				if got := string(k.receivedBy("c")); got != step.want {
					t.Errorf("the answers are\n% x\nnot\n% x", got, step.want)
				}
			}
		})
	}
}
