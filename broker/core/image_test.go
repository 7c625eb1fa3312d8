package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"midge/packet"
	"midge/persist"
)

// chaos does random things to a broker.
type chaos struct {
	*rig
	*journal
	rnd   *rand.Rand
	peers []*peer // by client id; nil while not connected
}

var chaosNames = []string{"a", "b", "c", "d", "e"}

func (x *chaos) peer() *peer {
	i := x.rnd.IntN(len(x.peers))
	if p := x.peers[i]; p != nil && p.closed {
		x.peers[i] = nil
	}
	return x.peers[i]
}

func (x *chaos) pick(from ...string) string { return from[x.rnd.IntN(len(from))] }

func (x *chaos) topic() string { return x.pick("t/1", "t/2", "t/3", "u/1", "u", "$x/1") }

func (x *chaos) filter() string {
	return x.pick("t/1", "t/+", "#", "u/#", "+/1", "$share/g/t/#", "$share/h/#", "$share/g/u/1", "$x/#")
}

// step does one thing and gives it a name.
func (x *chaos) step() string {
	if x.rnd.IntN(12) == 0 {
		return x.connect()
	}
	if x.rnd.IntN(60) == 0 {
		cfg := x.cfg
		cfg.QueueQoS0 = !cfg.QueueQoS0
		x.Configure(cfg, x.now)
		return fmt.Sprintf("queue_qos0_messages %t", cfg.QueueQoS0)
	}
	if x.rnd.IntN(60) == 0 {
		rule := x.pick("topic #", "topic readwrite t/#", "topic deny u", "topic write #", "pattern %c/#")
		x.rules("topic read t/+", rule, "topic $x/#")
		return rule
	}
	p := x.peer()
	if p == nil {
		return x.pass()
	}
	switch x.rnd.IntN(14) {
	case 0:
		return x.end(p)
	case 1:
		f := x.filter()
		options := byte(x.rnd.IntN(3))
		if p.v == packet.V5 {
			options |= byte(x.rnd.IntN(2))<<3 | byte(x.rnd.IntN(3))<<4
			if !strings.HasPrefix(f, "$share/") {
				options |= byte(x.rnd.IntN(2)) << 2
			}
		}
		p.subscribe(f, options)
		return fmt.Sprintf("%s subscribes to %s, %02x", p.c.session.id, f, options)
	case 2:
		f := x.filter()
		p.unsubscribe(f)
		return "unsubscribe " + f
	case 3, 4, 5, 6:
		return x.publish(p)
	case 7, 8, 9:
		return x.answer(p)
	case 10:
		p.stalled = !p.stalled
		p.drain()
		return fmt.Sprintf("%s stalled=%t", p.c.name(), p.stalled)
	case 11:
		p.read(x.rnd.IntN(100_000))
		return "read"
	case 12:
		return x.sync()
	}
	return x.pass()
}

// pass lets time go on.
func (x *chaos) pass() string {
	d := Time(x.rnd.IntN(4000))
	x.wait(d)
	return fmt.Sprintf("%d ms pass", d)
}

// sync makes some of the records safe.
func (x *chaos) sync() string {
	p := x.Broker.safe + persist.Position(x.rnd.Uint64N(uint64(x.newest-x.Broker.safe+1)))
	x.Synced(p, nil, x.now)
	return fmt.Sprintf("synced %d of %d", p, x.newest)
}

func (x *chaos) connect() string {
	i := x.rnd.IntN(len(x.peers))
	v := []packet.Version{packet.V31, packet.V311, packet.V5, packet.V5}[x.rnd.IntN(4)]
	var opts []option
	if x.rnd.IntN(4) > 0 {
		opts = append(opts, lasting([]uint32{noExpiry, 3, 1, 0}[x.rnd.IntN(4)]))
	}
	if x.rnd.IntN(2) == 0 {
		opts = append(opts, withWill(x.topic(), "will", byte(x.rnd.IntN(3)), uint32(x.rnd.IntN(4))))
	}
	if v == packet.V5 && x.rnd.IntN(2) == 0 {
		opts = append(opts, receiveMaximum(uint16(1+x.rnd.IntN(4))))
	}
	if v == packet.V5 && x.rnd.IntN(6) == 0 {
		opts = append(opts, maxPacketSize(uint32(100+x.rnd.IntN(50_000))))
	}
	p := x.dial(v, chaosNames[i], opts...)
	x.peers[i] = p
	p.stalled = x.rnd.IntN(4) == 0
	return fmt.Sprintf("%s connects, version %d", chaosNames[i], v)
}

func (x *chaos) end(p *peer) string {
	switch {
	case x.rnd.IntN(2) == 0:
		p.drop()
		return "drop"
	case p.v == packet.V5 && p.c.flags&flagBrief == 0 && x.rnd.IntN(2) == 0:
		left := uint32(x.rnd.IntN(3))
		p.send(&packet.Packet{Type: packet.Disconnect, Props: packet.Properties{
			Raw: packet.AppendUint32Property(nil, packet.SessionExpiry, left)}})
		return fmt.Sprintf("disconnect, expiry %d", left)
	case p.v == packet.V5 && x.rnd.IntN(2) == 0:
		p.send(&packet.Packet{Type: packet.Disconnect, Reason: packet.DisconnectWithWill})
		return "disconnect with will"
	}
	p.send(&packet.Packet{Type: packet.Disconnect})
	return "disconnect"
}

func (x *chaos) publish(p *peer) string {
	size := x.rnd.IntN(20)
	if x.rnd.IntN(6) == 0 {
		size = x.rnd.IntN(40_000)
	}
	pkt := p.publishing(x.topic(), strings.Repeat("x", size), byte(x.rnd.IntN(3)))
	pkt.Retain = x.rnd.IntN(3) == 0
	pkt.ID %= 8 // few, so that some come twice
	if pkt.QoS > 0 && pkt.ID == 0 {
		pkt.ID = 8
	}
	if p.v == packet.V5 && x.rnd.IntN(3) == 0 {
		pkt.Props.Raw = packet.AppendUint32Property(nil, packet.MessageExpiry, uint32(x.rnd.IntN(4)))
	}
	p.send(pkt)
	return fmt.Sprintf("%s publishes %s q%d retain=%t, %d bytes, id %d", p.c.name(), pkt.Topic, pkt.QoS, pkt.Retain, size, pkt.ID)
}

// answer acknowledges something that came, at random, and in time or not.
func (x *chaos) answer(p *peer) string {
	if len(p.got) == 0 {
		return "nothing to answer"
	}
	i := x.rnd.IntN(len(p.got))
	s := p.got[i]
	p.got = slices.Delete(p.got, i, i+1)
	reason := packet.Success
	if p.v == packet.V5 && x.rnd.IntN(6) == 0 {
		reason = packet.UnspecifiedError
	}
	reply := packet.Packet{ID: s.id}
	switch {
	case s.Type == packet.Publish && s.qos == 1:
		reply.Type, reply.Reason = packet.Puback, reason
	case s.Type == packet.Publish && s.qos == 2:
		reply.Type, reply.Reason = packet.Pubrec, reason
	case s.Type == packet.Pubrel:
		reply.Type = packet.Pubcomp
	case s.Type == packet.Pubrec:
		reply.Type = packet.Pubrel
	default:
		return "no answer to " + s.String()
	}
	p.send(&reply)
	return fmt.Sprintf("%s answers %v", p.c.name(), s)
}

// TestImage does random things and compares the image that the recorder was told
// with the broker's state after each of them.
func TestImage(t *testing.T) {
	kinds := map[string]struct{}{}
	for seed := range uint64(trim(t, 150, 15)) {
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { imageRun(t, seed, kinds) }) {
			break
		}
	}
	for _, k := range []string{"Retain", "Unretain", "Session", "Forget", "Subscribe", "Unsubscribe", "Deliver",
		"Delivered", "Receive", "Received", "Will", "Cursor", "CursorDone"} {
		if _, ok := kinds[k]; !ok && !t.Failed() {
			t.Errorf("%s was never called", k)
		}
	}
}

func imageRun(t *testing.T, seed uint64, kinds map[string]struct{}) {
	x := &chaos{journal: newJournal(t), rnd: rand.New(rand.NewPCG(seed, 0)), peers: make([]*peer, len(chaosNames))}
	x.kinds = kinds
	cfg := plain()
	cfg.MaxInflightMessages = x.rnd.IntN(5)
	cfg.MaxInflightBytes = []int{0, 0, 10_000}[x.rnd.IntN(3)]
	cfg.MaxQueuedMessages = []int{0, 3, 20}[x.rnd.IntN(3)]
	cfg.QueueQoS0 = x.rnd.IntN(2) == 0
	cfg.AllowDuplicates = x.rnd.IntN(2) == 0
	cfg.UpgradeQoS = x.rnd.IntN(4) == 0
	cfg.RetainSweep = 2000
	cfg.SysInterval = 1000
	x.rig = newRig(t, cfg, x.journal)
	var did []string
	for range 400 {
		did = append(did, x.step())
		if x.rnd.IntN(3) > 0 {
			x.settle()
		}
		wrong := x.differs(x.Broker)
		if err := x.check(); err != nil {
			wrong += err.Error()
		}
		if wrong != "" {
			t.Fatalf("after %d steps, the last being\n\t%s\n%s", len(did), strings.Join(did[max(0, len(did)-8):], "\n\t"), wrong)
		}
	}
	x.Synced(x.newest, nil, x.now)
	for _, p := range x.peers {
		if p != nil && !p.closed {
			p.drop()
		}
	}
	x.settle()
	if wrong := x.restored(); wrong != "" {
		t.Fatalf("after a restart:\n%s", wrong)
	}
	x.bare()
	x.Synced(x.newest, nil, x.now)
	if len(x.safe.sessions) > 0 {
		t.Errorf("sessions are left in the image:\n%s", strings.Join(x.safe.lines(), "\n"))
	}
}

// TestImagePlain: QoS 0 that waits is durable with queue_qos0_messages only; switched
// off, it goes with the connection, and from the image.
func TestImagePlain(t *testing.T) {
	r := newDurableRig(t)
	cfg := plain()
	s, p := r.reader(packet.V311, "s", 0), r.join(packet.V311, "p")
	s.stalled = true
	before := r.newest
	p.say("t/1", strings.Repeat("x", outHigh), 0)
	p.say("t/1", "1", 0)
	if r.stats.Queued != 1 || r.newest != before {
		t.Errorf("%d messages wait, %d records were made", r.stats.Queued, r.newest-before)
	}
	cfg.QueueQoS0 = true
	r.Configure(cfg, r.now)
	p.say("t/1", "2", 0)
	if r.stats.Queued != 2 || r.newest != before+1 {
		t.Errorf("%d messages wait, %d records were made", r.stats.Queued, r.newest-before)
	}
	cfg.QueueQoS0 = false
	r.Configure(cfg, r.now)
	s.drop()
	if wrong := r.differs(r.Broker); wrong != "" || r.stats.Queued != 0 {
		t.Errorf("%d messages wait; %s", r.stats.Queued, wrong)
	}
}

// image is what was recorded, for a broker to begin with.
func (im *image) image(p persist.Position) *persist.Image {
	out := persist.NewImage()
	for _, m := range im.retained {
		out.Retain(m)
	}
	for id, s := range im.sessions {
		out.Session(*s.self)
		for _, sub := range s.subs {
			out.Subscribe(sub)
		}
		for _, d := range s.queue {
			out.Deliver(id, d)
		}
		for mid, m := range s.incoming {
			out.Receive(id, mid, m)
		}
		out.Will(id, s.will)
		for n, c := range s.cursors {
			out.Cursor(id, n, c)
		}
	}
	out.Commit(p)
	return out
}

// unused has all messages of the image be as if they were read from a disk, until
// the returned function is called.
func (im *image) unused() (again func()) {
	uses := map[*persist.Message]int32{}
	for _, m := range im.retained {
		uses[m] = m.Uses
	}
	for _, s := range im.sessions {
		for _, d := range s.queue {
			uses[d.Message] = d.Message.Uses
		}
		for _, m := range s.incoming {
			uses[m] = m.Uses
		}
	}
	for m := range uses {
		m.Uses = 0
	}
	return func() {
		for m, n := range uses {
			m.Uses = n
		}
	}
}

// restored compares the broker that begins with what was recorded with the one that
// goes on.
func (x *chaos) restored() string {
	j := newJournal(x.journal.tb)
	j.newest = x.newest
	r := newRig(x.journal.tb, x.cfg, j)
	defer x.safe.unused()()
	r.Restore(x.safe.image(x.newest), x.now)
	have, want := r.durableState().lines(), x.durableState().lines()
	out := ""
	for _, l := range want {
		if _, ok := slices.BinarySearch(have, l); !ok {
			out += "not restored: " + l + "\n"
		}
	}
	for _, l := range have {
		if _, ok := slices.BinarySearch(want, l); !ok {
			out += "restored:     " + l + "\n"
		}
	}
	if err := r.check(); err != nil {
		out += err.Error()
	}
	if r.stats.Queued != x.stats.Queued || r.stats.QueuedBytes != x.stats.QueuedBytes {
		out += fmt.Sprintf("%d deliveries of %d bytes, not %d of %d", r.stats.Queued, r.stats.QueuedBytes, x.stats.Queued, x.stats.QueuedBytes)
	}
	return out
}
