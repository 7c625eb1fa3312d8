package broker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"midge/packet"
)

// The soak: a mixed load for some time. What is acknowledged arrives, in order; and
// when the clients and their sessions are gone the broker has no more in memory and
// no other descriptors than it had after a short load.

var soakTime = flag.Duration("soak", 0, "how long the soak lasts; 0: as short as in every run")

// soakTimes are how long the load lasts, for the first and the second time.
func soakTimes() (warm, main time.Duration) {
	switch {
	case *soakTime > 0:
		return max(*soakTime/10, time.Second), *soakTime
	case testing.Short():
		return 300 * time.Millisecond, 300 * time.Millisecond
	}
	return 500 * time.Millisecond, 1500 * time.Millisecond
}

// soak is one load on a broker.
type soak struct {
	t     *testing.T
	s     *server
	addr  string
	seed  uint64
	stop  atomic.Bool // nothing new
	ended atomic.Bool // all that is to come has been sent
	pubs  []*publisher
	subs  []*subscriber
}

func (k *soak) client(id string, v packet.Version) survivor {
	return survivor{t: k.t, id: id, v: v, addr: k.addr}
}

// complete says whether c has received the last of everything. It is asked with c's
// lock held.
func (k *soak) complete(c *subscriber) bool {
	if !k.ended.Load() || len(c.pending) > 0 {
		return false
	}
	for _, p := range k.pubs {
		for kind, topic := range crashTopics[:2] {
			got := c.got[topic+p.id]
			if last := p.last[kind]; last > 0 && (len(got) == 0 || got[len(got)-1] != last) {
				return false
			}
		}
	}
	return true
}

// subscriber has a session and its subscriptions from now on.
func (k *soak) subscriber(id string, v packet.Version) *subscriber {
	c := &subscriber{survivor: k.client(id, v), pending: map[uint16]bool{}, got: map[string][]int{}}
	c.work = c.receive
	c.live()
	k.subs = append(k.subs, c)
	return c
}

// listen has a subscriber receive until it has everything. Every so many packets,
// if any, it rests, or, where it is flighty, goes away and comes back.
func (k *soak) listen(c *subscriber, every int, rest time.Duration, flighty bool) {
	for done := false; !done && !k.t.Failed(); time.Sleep(rest) {
		n := 0
		c.until = func() bool {
			done = k.complete(c)
			n++
			switch {
			case every == 0 || n%every != 0:
			case flighty:
				return true
			default:
				time.Sleep(rest)
			}
			return done
		}
		c.live()
	}
}

// steal takes the sessions of a subscriber over, for a moment each time.
func (k *soak) steal(id string) {
	for !k.stop.Load() {
		thief := k.client(id, packet.V5)
		if thief.connect() == nil {
			thief.next()
		}
		if thief.conn != nil {
			thief.conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// waver subscribes and unsubscribes wildcards, shared ones too, and does not care
// for what it receives.
func (k *soak) waver(id string, v packet.Version) {
	filters := []string{"q1/+", "#", "$share/g/q2/#", "+/p0", "r/#", "churn/+/x"}
	c := k.client(id, v)
	c.work = func() error {
		for i := uint16(1); !k.stop.Load(); i++ {
			i = max(i, 1)
			sub := packet.Packet{Type: packet.Subscribe, ID: i}
			sub.Filters = packet.Filters{Raw: packet.AppendSubscription(nil, filters[int(i)%len(filters)], 0), Options: true}
			unsub := packet.Packet{Type: packet.Unsubscribe, ID: i}
			unsub.Filters = packet.Filters{Raw: packet.AppendFilter(nil, filters[int(i)%len(filters)])}
			if err := c.send(&sub, &unsub); err != nil {
				return err
			}
			for p := new(packet.Packet); p.Type != packet.Unsuback; {
				var err error
				if p, err = c.next(); err != nil {
					return err
				}
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	c.live()
}

// churn comes and goes: with a will, with a subscription whose messages it never
// reads, with retained messages that it takes back, with a farewell or without.
func (k *soak) churn(id string, rnd *rand.Rand) {
	for n := 0; !k.stop.Load(); n++ {
		c := k.client(fmt.Sprintf("%s-%d", id, n%10), packet.Version(3+rnd.IntN(3)))
		conn, err := net.Dial("tcp", k.addr)
		if err != nil {
			k.t.Error(err)
			return
		}
		c.conn = conn
		hello := packet.Packet{Type: packet.Connect}
		hello.Connect = packet.ConnectBody{Version: c.v, CleanStart: true, ClientID: []byte(c.id), KeepAlive: 60,
			Will: true, WillTopic: []byte("churn/will"), WillPayload: []byte("gone"), WillQoS: byte(rnd.IntN(3))}
		sub := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "#", 1), Options: true}}
		topic := fmt.Sprintf("churn/%s/%d", id, rnd.IntN(1000))
		keep := packet.Packet{Type: packet.Publish, Retain: true, Topic: []byte(topic), Payload: make([]byte, 1+rnd.IntN(2000))}
		gone := packet.Packet{Type: packet.Publish, Retain: true, Topic: []byte(topic)}
		all := []*packet.Packet{&hello, &keep, &gone}
		if rnd.IntN(4) == 0 {
			all = append(all, &sub)
		}
		if rnd.IntN(2) == 0 {
			all = append(all, &packet.Packet{Type: packet.Disconnect})
		}
		if c.send(all...) == nil {
			c.next()
			time.Sleep(time.Duration(rnd.IntN(5000)) * time.Microsecond)
		}
		conn.Close()
	}
}

// run is the whole load.
func (k *soak) run(d time.Duration) {
	var working, reading, around sync.WaitGroup
	for i := range 4 {
		p := &publisher{survivor: k.client(fmt.Sprint("p", i), []packet.Version{packet.V311, packet.V5}[i%2]), stop: &k.stop,
			rnd: rand.New(rand.NewPCG(k.seed, uint64(i))), pause: 2 * time.Millisecond}
		p.work = p.publish
		k.pubs = append(k.pubs, p)
	}
	live, slow := k.subscriber("live", packet.V5), k.subscriber("slow", packet.V311)
	late, twin := k.subscriber("late", packet.V311), k.subscriber("twin", packet.V5)
	reading.Go(func() { k.listen(live, 0, 0, false) })
	reading.Go(func() { k.listen(slow, 100, 20*time.Millisecond, false) })
	reading.Go(func() { k.listen(late, 300, 50*time.Millisecond, true) })
	reading.Go(func() { k.listen(twin, 0, 0, false) })
	for _, p := range k.pubs {
		working.Go(p.live)
	}
	around.Go(func() { k.steal("twin") })
	around.Go(func() { k.waver("waver3", packet.V31) })
	around.Go(func() { k.waver("waver5", packet.V5) })
	for i := range 3 {
		around.Go(func() { k.churn(fmt.Sprint("churn", i), rand.New(rand.NewPCG(k.seed, uint64(10+i)))) })
	}
	time.Sleep(d)
	k.stop.Store(true)
	working.Wait()
	around.Wait()
	k.ended.Store(true)
	k.wake(&reading)
	k.account()
}

// wake publishes until all subscribers have seen that they have everything.
func (k *soak) wake(reading *sync.WaitGroup) {
	over := make(chan struct{})
	go func() {
		reading.Wait()
		close(over)
	}()
	p := k.s.connect("wake", packet.V311, "clean")
	for {
		p.send("PUBLISH q1/wake '1' qos=1 id=1")
		p.expect("PUBACK 1")
		select {
		case <-over:
			p.send("DISCONNECT")
			p.expect("close")
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// account sees that every message arrived, and ends the sessions.
func (k *soak) account() {
	n := 0
	for _, p := range k.pubs {
		for kind, topic := range crashTopics[:2] {
			n += p.last[kind]
			for _, c := range k.subs {
				c.complete(topic+p.id, p.last[kind], kind == 1)
			}
		}
	}
	k.t.Logf("%d messages to each of %d subscribers", n, len(k.subs))
	ids := []string{"waver3", "waver5"}
	for _, p := range k.pubs {
		ids = append(ids, p.id)
	}
	for _, c := range k.subs {
		ids = append(ids, c.id)
	}
	for _, id := range ids {
		c := k.s.connect(id, packet.V311, "clean")
		c.send("DISCONNECT")
		c.expect("close")
	}
}

// footprint is what a broker takes while nobody but the one who asks is there.
type footprint struct {
	account     int // $SYS/broker/heap/current, bytes
	heap        int // what is live after a collection, MiB
	descriptors int
	retained    string // how many messages
}

// collected is a line of GODEBUG=gctrace=1.
var collected = regexp.MustCompile(`^gc \d+ @.*->(\d+) MB, `)

// measure measures once it is calm. A snapshot being written has files open for a
// while: the descriptors are the least of some readings, and where there are more than
// there were, some more.
func (s *server) measure(was footprint) footprint {
	s.t.Helper()
	w := s.connect("measure", packet.V311, "clean")
	defer w.conn.Close()
	heap := s.collect(w)
	f := s.calm(w, was, patience)
	f.heap = heap
	return f
}

// calm waits for calm, that long, and measures all but the heap.
func (s *server) calm(w *client, was footprint, long time.Duration) footprint {
	s.t.Helper()
	f := footprint{descriptors: s.descriptors()}
	w.send("SUBSCRIBE 1 $SYS/broker/# qos=0")
	w.expect("SUBACK 1 00")
	said, ticks := map[string]string{}, 0
	more := func() bool { return was.descriptors > 0 && f.descriptors > was.descriptors }
	calm := func() bool { return said["clients/total"] == "1" && said["clients/connected"] == "1" }
	for late := time.Now().Add(long); ticks < 2 || !calm() || more(); {
		p := w.next()
		name := strings.TrimPrefix(string(p.Topic), "$SYS/broker/")
		said[name] = string(p.Payload)
		if name == "uptime" && !p.Retain {
			ticks++
			f.descriptors = min(f.descriptors, s.descriptors())
		}
		if time.Now().After(late) {
			s.t.Fatalf("the broker does not calm down: %d descriptors, which were %d; %q", f.descriptors, was.descriptors, said)
		}
	}
	f.account, _ = strconv.Atoi(said["heap/current"])
	f.retained = said["retained messages/count"]
	return f
}

// collect has the broker allocate until it has collected its garbage some times, and
// gives the least that was live then, in MiB.
func (s *server) collect(w *client) int {
	s.t.Helper()
	big := packet.Packet{Type: packet.Publish, QoS: 1, ID: 1, Retain: true, Topic: []byte("big"), Payload: make([]byte, 64<<10)}
	gone := packet.Packet{Type: packet.Publish, QoS: 1, ID: 1, Retain: true, Topic: []byte("big")}
	var live []int
	for s.log.next = len(s.log.all()); len(live) < 4; {
		w.write(gone.Append(big.Append(nil, w.v), w.v))
		w.expect("PUBACK 1", "PUBACK 1")
		for _, line := range s.log.all()[s.log.next:] {
			s.log.next++
			if m := collected.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				live = append(live, n)
			}
		}
	}
	least := live[0]
	for _, n := range live {
		least = min(least, n)
	}
	return least
}

// descriptors is how many the process has open.
func (s *server) descriptors() int {
	s.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(all)
}

// ballast is what is retained all the time, so that the heap is large enough to see
// a part of it: 24 MB.
func (s *server) ballast() {
	s.t.Helper()
	c := s.connect("ballast", packet.V311, "clean")
	p := packet.Packet{Type: packet.Publish, QoS: 1, ID: 1, Retain: true, Payload: make([]byte, 8000)}
	for i := range 3000 {
		p.Topic = fmt.Appendf(nil, "ballast/%d", i)
		c.write(p.Append(nil, c.v))
		c.expect("PUBACK 1")
	}
	c.send("DISCONNECT")
	c.expect("close")
}

// TestSoak: see above.
func TestSoak(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("the race detector has needs of its own")
	}
	s := launchBy(t, []string{"env", "GODEBUG=gctrace=1", "GOGC=25"}, "log_timestamp false\nconnection_messages false\nsys_interval 1\n"+
		"max_queued_messages 0\n"+ownListener(durable+"persistence_sync 1\n"), "-c", "{conf}")
	if !s.running() {
		t.Fatalf("midge does not start: %q", s.log.all())
	}
	s.ballast()
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	warm, long := soakTimes()
	var was footprint
	for i, d := range []time.Duration{warm, long} {
		k := &soak{t: t, s: s, addr: s.expand("127.0.0.1:{port}"), seed: seed + uint64(i)}
		k.run(d)
		if t.Failed() {
			return
		}
		is := s.measure(was)
		t.Logf("after %v: %+v", d, is)
		if i > 0 {
			is.compare(t, was)
		}
		was = is
	}
}

// compare fails where there is more than there was. The heap is known to a MiB; the
// numbers in $SYS have more digits now.
func (f footprint) compare(t *testing.T, was footprint) {
	t.Helper()
	if f.descriptors != was.descriptors {
		t.Errorf("%d descriptors, which were %d", f.descriptors, was.descriptors)
	}
	if f.heap > was.heap+max(1, was.heap/20) {
		t.Errorf("%d MiB are live, which were %d", f.heap, was.heap)
	}
	if f.account > was.account+2000 {
		t.Errorf("the account is %d bytes, which were %d", f.account, was.account)
	}
	if f.retained != was.retained {
		t.Errorf("%s messages are retained, which were %s", f.retained, was.retained)
	}
}
