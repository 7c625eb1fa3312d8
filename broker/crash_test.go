package broker_test

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"midge/packet"
)

// The crash test: clients publish and subscribe while the broker is killed and
// started, again and again. They do what MQTT asks of a client that lost its
// connection, and keep a record of what was acknowledged; in the end nothing of it is
// missing, nothing of QoS 2 came twice, and the order is kept.

var crashes = flag.Int("crashes", 25, "how often the crash test kills the broker")

// survivor is a client that connects again when its connection ends.
type survivor struct {
	t     *testing.T
	id    string
	v     packet.Version
	addr  string
	known bool // the broker has acknowledged its session
	conn  net.Conn
	buf   []byte
	work  func() error // what it does while it is connected; nil: it is done
}

// live connects and works until the work is done.
func (c *survivor) live() {
	for {
		err := c.connect()
		if err == nil {
			err = c.work()
		}
		if c.conn != nil {
			c.conn.Close()
		}
		if err == nil || c.t.Failed() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *survivor) connect() error {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	c.conn, c.buf = conn, nil
	p := &packet.Packet{Type: packet.Connect}
	p.Connect.Version, p.Connect.ClientID = c.v, []byte(c.id)
	if c.v == packet.V5 {
		p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, 3600)
	}
	if err := c.send(p); err != nil {
		return err
	}
	ack, err := c.next()
	if err != nil {
		return err
	}
	if ack.Type != packet.Connack || ack.Reason != 0 {
		return fmt.Errorf("%v %v", ack.Type, ack.Reason)
	}
	if c.known && !ack.SessionPresent {
		c.t.Errorf("the session of %s was acknowledged, and is lost", c.id)
	}
	c.known = true
	return nil
}

func (c *survivor) send(ps ...*packet.Packet) error {
	var b []byte
	for _, p := range ps {
		b = p.Append(b, c.v)
	}
	_, err := c.conn.Write(b)
	return err
}

// next is the next packet.
func (c *survivor) next() (*packet.Packet, error) {
	for {
		h, err := packet.ReadHeader(c.buf, c.v)
		if err != nil {
			return nil, err
		}
		if h.Size > 0 && h.Len() <= len(c.buf) {
			p := new(packet.Packet)
			body := slices.Clone(c.buf[h.Size:h.Len()])
			c.buf = c.buf[h.Len():]
			return p, p.Decode(c.v, packet.FromServer, h.First, body)
		}
		more := make([]byte, 4096)
		c.conn.SetReadDeadline(time.Now().Add(patience))
		n, err := c.conn.Read(more)
		if c.buf = append(c.buf, more[:n]...); n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return nil, err
		}
	}
}

// publisher publishes numbers, a few at a time, and knows which were acknowledged.
type publisher struct {
	survivor
	open   []*posting // not acknowledged, in order
	last   [3]int     // the number sent last, of each topic
	nextID uint16
	stop   *atomic.Bool
	rnd    *rand.Rand
	pause  time.Duration // after each acknowledgement
}

// posting is one message under way.
type posting struct {
	id       uint16
	kind     int // an index of topics
	number   int
	sent     bool
	released bool // PUBREC has come
}

// crashTopics are where each publisher publishes: QoS 1, QoS 2, and retained.
var crashTopics = [3]string{"q1/", "q2/", "r/"}

func (p *publisher) packet(m *posting) *packet.Packet {
	if m.released {
		return &packet.Packet{Type: packet.Pubrel, ID: m.id}
	}
	out := &packet.Packet{
		Type: packet.Publish, ID: m.id, QoS: 1, Dup: m.sent, Retain: m.kind == 2,
		Topic: []byte(crashTopics[m.kind] + p.id), Payload: []byte(strconv.Itoa(m.number)),
	}
	if m.kind == 1 {
		out.QoS = 2
	}
	m.sent = true
	return out
}

// publish goes on with what was open, and then with new messages until it is
// time to stop.
func (p *publisher) publish() error {
	for _, m := range p.open {
		if err := p.send(p.packet(m)); err != nil {
			return err
		}
	}
	for {
		for len(p.open) < 10 && !p.stop.Load() {
			if err := p.send(p.packet(p.fresh())); err != nil {
				return err
			}
		}
		if len(p.open) == 0 {
			return nil
		}
		got, err := p.next()
		if err != nil {
			return err
		}
		if err := p.acknowledged(got); err != nil {
			return err
		}
		time.Sleep(p.pause)
	}
}

func (p *publisher) fresh() *posting {
	m := &posting{kind: p.rnd.IntN(3)}
	p.last[m.kind]++
	m.number = p.last[m.kind]
	for used := true; used; {
		p.nextID = p.nextID%50 + 1
		m.id = p.nextID
		used = slices.ContainsFunc(p.open, func(o *posting) bool { return o.id == m.id })
	}
	p.open = append(p.open, m)
	return m
}

func (p *publisher) acknowledged(got *packet.Packet) error {
	i := slices.IndexFunc(p.open, func(m *posting) bool { return m.id == got.ID })
	if i < 0 {
		p.t.Errorf("%s: %v %d for nothing", p.id, got.Type, got.ID)
		return nil
	}
	if got.Reason.Failed() {
		p.t.Errorf("%s: %v %v", p.id, got.Type, got.Reason)
	}
	switch got.Type {
	case packet.Pubrec:
		p.open[i].released = true
		return p.send(p.packet(p.open[i]))
	case packet.Puback, packet.Pubcomp:
		p.open = slices.Delete(p.open, i, i+1)
	default:
		p.t.Errorf("%s: %v", p.id, got.Type)
	}
	return nil
}

// subscriber keeps what it receives.
type subscriber struct {
	survivor
	subscribed bool
	pending    map[uint16]bool // QoS 2, until PUBREL
	got        map[string][]int
	until      func() bool // asked with mu held; nil: it leaves when it is subscribed
	mu         sync.Mutex
}

func (s *subscriber) receive() error {
	if !s.subscribed {
		both := packet.AppendSubscription(packet.AppendSubscription(nil, "q1/#", 1), "q2/#", 2)
		filters := packet.Filters{Raw: both, Options: true}
		if err := s.send(&packet.Packet{Type: packet.Subscribe, ID: 1, Filters: filters}); err != nil {
			return err
		}
	}
	for {
		s.mu.Lock()
		done := s.subscribed && (s.until == nil || s.until())
		s.mu.Unlock()
		if done {
			return nil
		}
		p, err := s.next()
		if err != nil {
			return err
		}
		if err := s.take(p); err != nil {
			return err
		}
	}
}

func (s *subscriber) take(p *packet.Packet) error {
	switch {
	case p.Type == packet.Suback:
		s.subscribed = true
	case p.Type == packet.Publish && p.QoS == 2:
		if !s.pending[p.ID] {
			s.pending[p.ID] = true
			s.note(p)
		}
		return s.send(&packet.Packet{Type: packet.Pubrec, ID: p.ID})
	case p.Type == packet.Publish:
		s.note(p)
		return s.send(&packet.Packet{Type: packet.Puback, ID: p.ID})
	case p.Type == packet.Pubrel:
		delete(s.pending, p.ID)
		return s.send(&packet.Packet{Type: packet.Pubcomp, ID: p.ID})
	}
	return nil
}

func (s *subscriber) note(p *packet.Packet) {
	n, _ := strconv.Atoi(string(p.Payload))
	s.mu.Lock()
	s.got[string(p.Topic)] = append(s.got[string(p.Topic)], n)
	s.mu.Unlock()
}

// complete fails unless a topic's numbers are all there, up to last, in order, and at
// QoS 2 once each.
func (s *subscriber) complete(topic string, last int, once bool) {
	most := 0
	for _, n := range s.got[topic] {
		if n > most+1 || once && n != most+1 {
			s.t.Errorf("%s received %d of %s after %d", s.id, n, topic, most)
		}
		most = max(most, n)
	}
	if most != last {
		s.t.Errorf("%s received %s up to %d; %d were acknowledged", s.id, topic, most, last)
	}
}

// TestCrash: see above.
func TestCrash(t *testing.T) {
	n := *crashes
	if testing.Short() {
		n = 4
	}
	for _, sync := range []string{"always", "off"} {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			crash(t, durable+"persistence_sync "+sync+"\nmax_queued_messages 0\nautosave_on_changes true\nautosave_interval 3000\n", n)
		})
	}
}

func crash(t *testing.T, conf string, n int) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := serve(t, conf)
	addr := s.expand("127.0.0.1:{port}")
	one := func(id string, v packet.Version) survivor { return survivor{t: t, id: id, v: v, addr: addr} }
	listen := func(id string, v packet.Version) *subscriber {
		c := &subscriber{survivor: one(id, v), pending: map[uint16]bool{}, got: map[string][]int{}}
		c.work = c.receive
		c.live()
		return c
	}
	live, late := listen("live", packet.V5), listen("late", packet.V311)

	var stop atomic.Bool
	var pubs []*publisher
	var running, reading sync.WaitGroup
	for i := range 4 {
		p := &publisher{survivor: one(fmt.Sprint("p", i), []packet.Version{packet.V311, packet.V5}[i%2]), stop: &stop,
			rnd: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		p.work = p.publish
		pubs = append(pubs, p)
		running.Go(p.live)
	}
	var ended atomic.Bool
	all := func(c *subscriber) func() bool {
		return func() bool {
			for _, p := range pubs {
				for kind, topic := range crashTopics[:2] {
					if got := c.got[topic+p.id]; !ended.Load() || p.last[kind] > 0 && !slices.Contains(got, p.last[kind]) {
						return false
					}
				}
			}
			return len(c.pending) == 0
		}
	}
	live.until, late.until = all(live), all(late)
	reading.Go(live.live)
	for range n {
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
		if rnd.IntN(4) == 0 {
			s.cmd.Process.Signal(syscall.SIGUSR1)
			time.Sleep(time.Duration(rnd.IntN(5000)) * time.Microsecond)
		}
		s.kill()
		s.again()
	}
	stop.Store(true)
	running.Wait()
	ended.Store(true)
	for _, c := range []*subscriber{live, late} { // one message more, to wake who has it all
		p := s.connect("wake-"+c.id, packet.V311, "clean")
		p.send("PUBLISH q1/wake '1' qos=1 id=1")
		p.expect("PUBACK 1")
	}
	late.live()
	reading.Wait()
	sent := 0
	for _, p := range pubs {
		for kind, topic := range crashTopics[:2] {
			live.complete(topic+p.id, p.last[kind], kind == 1)
			late.complete(topic+p.id, p.last[kind], kind == 1)
			sent += p.last[kind]
		}
		c := s.connect("look-"+p.id, packet.V311, "clean")
		c.send("SUBSCRIBE 1 r/" + p.id + " qos=0")
		c.expect("SUBACK 1 00", fmt.Sprintf("PUBLISH r/%s '%d' retain", p.id, p.last[2]))
	}
	t.Logf("%d crashes, %d messages", n, sent)
	if damaged, _ := os.ReadDir(s.dir); t.Failed() {
		t.Log(damaged)
	}
}
