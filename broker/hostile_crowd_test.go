package broker_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"midge/packet"
)

// The hostile crowd is a process of its own: this test binary, started once more by
// TestHostile with the orders in its environment. It has its own descriptors, and a
// lower priority than the others, as clients on other machines would take no time of
// the broker's.

const crowdOrders = "MIDGE_TEST_CROWD"

// orders say what the crowd does.
type orders struct {
	Plain, Web, Secure, Proxy string // addresses
	Silent                    int    // connections that say nothing
	Scale                     int    // of the others, in percent
	Only                      string // one load, for a look at it
	Expiry                    uint32 // of its sessions, in seconds
}

// crowd is the clients that mean no good.
type crowd struct {
	orders
	stop   atomic.Bool
	around sync.WaitGroup
	mu     sync.Mutex
	counts map[string]int
	kept   []*foe       // lest the collector close them
	fresh  atomic.Int64 // numbers client ids
}

// crowding is how many of mischiefs begin with connections that are to be there before
// the others begin.
const crowding = 5

// mischiefs are what it does, all at once.
var mischiefs = []struct {
	name string
	run  func(*crowd)
}{
	{"silent", (*crowd).silent},
	{"unread", (*crowd).unread},
	{"shares", (*crowd).shares},
	{"trickle", (*crowd).trickle},
	{"retained", (*crowd).retained},
	{"giants", (*crowd).giants},
	{"halves", (*crowd).halves},
	{"subscriptions", (*crowd).subscriptions},
	{"forks", (*crowd).forks},
	{"properties", (*crowd).properties},
	{"unreleased", (*crowd).unreleased},
	{"wills", (*crowd).wills},
	{"takeovers", (*crowd).takeovers},
	{"auths", (*crowd).auths},
	{"sessions", (*crowd).sessions},
	{"aliases", (*crowd).aliases},
	{"pings", (*crowd).pings},
	{"fragments", (*crowd).fragments},
	{"requests", (*crowd).requests},
	{"hellos", (*crowd).hellos},
	{"proxies", (*crowd).proxies},
}

// runCrowd is the process. It says "ready" when the crowd is there, does its worst
// until it may read something, and then says how often it did what.
func runCrowd(text string) {
	k := &crowd{counts: make(map[string]int)}
	if err := json.Unmarshal([]byte(text), &k.orders); err != nil {
		panic(err)
	}
	raiseFiles()
	var first sync.WaitGroup
	for i, m := range mischiefs {
		if k.Only != "" && !slices.Contains(strings.Split(k.Only, ","), m.name) {
			continue
		}
		if i < crowding {
			first.Go(func() { m.run(k) })
			continue
		}
		first.Wait()
		k.around.Go(func() { m.run(k) })
	}
	first.Wait()
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadByte()
	k.stop.Store(true)
	k.around.Wait()
	json.NewEncoder(os.Stdout).Encode(k.counts)
}

// raiseFiles raises the limit of open files as far as it goes.
func raiseFiles() uint64 {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	limit.Cur = limit.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur
}

func (k *crowd) count(what string, n int) {
	k.mu.Lock()
	k.counts[what] += n
	k.mu.Unlock()
}

// of is the crowd's share of n.
func (k *crowd) of(n int) int { return max(1, n*k.Scale/100) }

// many has n clients do the same until the end, each by connection after connection.
func (k *crowd) many(what string, n int, v packet.Version, visit func(c *foe, i int) error) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !k.stop.Load() {
				if c := k.meet(k.Plain, v); c != nil {
					visit(c, i)
					c.conn.Close()
					k.count(what, 1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	all.Wait()
}

// foe is one hostile client.
type foe struct {
	k    *crowd
	conn net.Conn
	v    packet.Version
	in   *bufio.Reader
	last bool // goes on when the others stop
}

// meet dials; nil when that fails.
func (k *crowd) meet(addr string, v packet.Version) *foe {
	return k.meetBy(&net.Dialer{}, addr, v)
}

// meetSmall is meet with a socket that takes in little.
func (k *crowd) meetSmall(v packet.Version) *foe {
	return k.meetBy(&net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		return err
	}}, k.Plain, v)
}

func (k *crowd) meetBy(d *net.Dialer, addr string, v packet.Version) *foe {
	d.Timeout = 5 * time.Second
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		k.count("failed dials", 1)
		return nil
	}
	return &foe{k: k, conn: conn, v: v}
}

// keep holds c until the end.
func (k *crowd) keep(c *foe) {
	k.mu.Lock()
	k.kept = append(k.kept, c)
	k.mu.Unlock()
}

var errStopped = errors.New("the crowd is told to stop")

// write gives up when nothing has been taken for a while.
func (c *foe) write(b []byte) error {
	wait := 500 * time.Millisecond
	if c.last {
		wait = patience
	} else if c.k.stop.Load() {
		return errStopped
	}
	c.conn.SetWriteDeadline(time.Now().Add(wait))
	_, err := c.conn.Write(b)
	return err
}

// connect connects, with an answer awaited.
func (c *foe) connect(change func(*packet.Packet)) error {
	p := packet.Packet{Type: packet.Connect}
	p.Connect = packet.ConnectBody{Version: c.v, CleanStart: true, ClientID: fmt.Appendf(nil, "foe%d", c.k.fresh.Add(1))}
	if change != nil {
		change(&p)
	}
	if err := c.write(p.Append(nil, c.v)); err != nil {
		return err
	}
	return c.skip(1)
}

// skip reads n packets, whatever they are.
func (c *foe) skip(n int) error {
	if c.in == nil {
		c.in = bufio.NewReaderSize(c.conn, 512)
	}
	for range n {
		c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.in.ReadByte(); err != nil {
			return err
		}
		size, shift := 0, 0
		for {
			b, err := c.in.ReadByte()
			if err != nil {
				return err
			}
			size |= int(b&127) << shift
			if shift += 7; b < 128 {
				break
			}
		}
		if _, err := c.in.Discard(size); err != nil {
			return err
		}
	}
	return nil
}

// swallow reads everything from now on.
func (c *foe) swallow() {
	c.conn.SetReadDeadline(time.Time{})
	go io.Copy(io.Discard, c.conn)
}

// filters makes a SUBSCRIBE or UNSUBSCRIBE of as many filters as fit; each comes from next.
func (c *foe) filters(t packet.Type, next func(i int) string) (b []byte, n int) {
	p := packet.Packet{Type: t, ID: 1}
	for len(p.Filters.Raw) < 99_000 {
		f := next(n)
		if f == "" {
			break
		}
		if n++; t == packet.Subscribe {
			p.Filters.Raw = packet.AppendSubscription(p.Filters.Raw, f, 0)
		} else {
			p.Filters.Raw = packet.AppendFilter(p.Filters.Raw, f)
		}
	}
	p.Filters.Options = t == packet.Subscribe
	return p.Append(nil, c.v), n
}

func (c *foe) subscribe(filter string, options byte) error {
	p := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: packet.AppendSubscription(nil, filter, options), Options: true}}
	if err := c.write(p.Append(nil, c.v)); err != nil {
		return err
	}
	return c.skip(1)
}

// silent connections never say anything. They are there before the rest begins.
func (k *crowd) silent() {
	for range k.Silent {
		if c := k.meet(k.Plain, 4); c != nil {
			k.keep(c)
			k.count("silent", 1)
		}
	}
}

// trickle is clients that send a byte of their CONNECT each second.
func (k *crowd) trickle() {
	connect := largeConnect("trickle", 99_999)
	var all []*foe
	for range k.of(200) {
		if c := k.meet(k.Plain, 4); c != nil {
			all = append(all, c)
		}
	}
	k.around.Go(func() {
		for i := 0; !k.stop.Load(); i++ {
			for _, c := range all {
				if c.write(connect[i:i+1]) == nil {
					k.count("trickle", 1)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// giants announce what is far too large.
func (k *crowd) giants() {
	k.many("giants", 2, 5, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		c.write([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F})
		return c.skip(1)
	})
}

// halves send a part of a large PUBLISH, and no more.
func (k *crowd) halves() {
	whole := packet.AppendPublish(nil, 4, 0, "half", 0, "", string(make([]byte, 1_900_000)))
	var all sync.WaitGroup
	for range k.of(50) {
		all.Go(func() {
			for !k.stop.Load() {
				c := k.meet(k.Plain, 4)
				if c != nil && c.connect(nil) == nil && c.write(whole[:1_800_000]) == nil {
					k.count("halves", 1)
					for !k.stop.Load() && c.skip(1) != io.EOF {
						time.Sleep(10 * time.Millisecond)
					}
				}
				if c != nil {
					c.conn.Close()
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	all.Wait()
}

// subscriptions come by the 100,000, and go in one packet after the other, or all with
// the connection.
func (k *crowd) subscriptions() {
	k.many("subscriptions", 2, 4, func(c *foe, i int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		var gone [][]byte
		for at := 0; at < 95_000; {
			name := func(n int) string { return fmt.Sprintf("%s%x", []string{"", "+/"}[n%2], at+n) }
			b, n := c.filters(packet.Subscribe, name)
			if err := c.write(b); err != nil {
				return err
			}
			if err := c.skip(1); err != nil {
				return err
			}
			k.count("filters", n)
			b, _ = c.filters(packet.Unsubscribe, name)
			gone = append(gone, b)
			at += n
		}
		if i == 0 {
			return nil
		}
		for _, b := range gone {
			if err := c.write(b); err != nil {
				return err
			}
			if err := c.skip(1); err != nil {
				return err
			}
		}
		return nil
	})
}

// forks are filters with every way to have a level or a plus, each of which matches
// what is then published.
func (k *crowd) forks() {
	bits := 12
	if k.Scale >= 100 {
		bits = 15
	}
	fork := func(n int) string {
		if n >= 1<<bits {
			return ""
		}
		levels := make([]string, bits)
		for i := range levels {
			levels[i] = string("a+"[n>>i&1])
		}
		return strings.Join(levels, "/")
	}
	sub := k.meetSmall(4)
	if sub == nil || sub.connect(nil) != nil {
		return
	}
	for at := 0; at < 1<<bits; {
		b, n := sub.filters(packet.Subscribe, func(i int) string { return fork(at + i) })
		if sub.write(b) != nil || sub.skip(1) != nil {
			return
		}
		at += n
	}
	burst := bytes.Repeat(packet.AppendPublish(nil, 4, 0, strings.TrimSuffix(strings.Repeat("a/", bits), "/"), 0, "", "x"), 20)
	k.many("forks", 2, 4, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		for !k.stop.Load() {
			if err := c.write(burst); err != nil {
				return err
			}
			k.count("forked messages", 20)
		}
		return nil
	})
}

// unread is a fan-out to many who do not read, and to some who do.
func (k *crowd) unread() {
	for i := range k.of(1000) {
		c := k.meetSmall(4)
		if c == nil || c.connect(nil) != nil || c.subscribe("fan/#", byte(i%2)) != nil {
			continue
		}
		if i%10 == 0 {
			c.swallow()
		}
		k.keep(c)
		k.count("unread", 1)
	}
	k.publish("fan/out", "fans", "fanned messages")
}

// shares is a group with a great many members, none of which reads.
func (k *crowd) shares() {
	for range k.of(1000) {
		c := k.meetSmall(5)
		if c != nil && c.connect(nil) == nil && c.subscribe("$share/g/share/+/#", 1) == nil {
			k.keep(c)
			k.count("shares", 1)
		}
	}
	k.publish("share/a/b", "dealers", "dealt messages")
}

// publish has a few clients, counted as who, publish to name at QoS 1 as fast as they are answered.
func (k *crowd) publish(name, who, messages string) {
	k.around.Go(func() {
		b := bytes.Repeat(packet.AppendPublish(nil, 4, 2, name, 1, "", strings.Repeat("x", 1000)), 10)
		k.many(who, 2, 4, func(c *foe, _ int) error {
			if err := c.connect(nil); err != nil {
				return err
			}
			for !k.stop.Load() {
				if err := c.write(b); err != nil {
					return err
				}
				if err := c.skip(10); err != nil {
					return err
				}
				k.count(messages, 10)
			}
			return nil
		})
	})
}

// retained is asked for again and again, by clients who read and who do not.
func (k *crowd) retained() {
	n := k.of(20_000)
	store := func(payload string) {
		c := k.meet(k.Plain, 4)
		if c == nil {
			return
		}
		defer c.conn.Close()
		if c.last = payload == ""; c.connect(nil) != nil {
			return
		}
		for i := range n {
			c.write(packet.AppendPublish(nil, 4, 1, fmt.Sprintf("r/%d/%d/%d", i%100, i%10, i), 0, "", payload))
		}
		c.write([]byte{0xC0, 0})
		c.skip(1)
	}
	store(strings.Repeat("x", 100))
	k.around.Go(func() {
		k.asks()
		store("")
	})
}

// asks subscribes to what is retained, again and again.
func (k *crowd) asks() {
	filters := []string{"#", "r/#", "+/+/+/#", "r/+/5/+", "+/+/+/1999"}
	k.many("retained", 4, 4, func(c *foe, i int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		if i%2 == 0 {
			c.swallow()
		}
		var b []byte
		for j := range 500 {
			p := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: packet.AppendSubscription(nil, filters[j%len(filters)], 0), Options: true}}
			b = p.Append(b, c.v)
		}
		for range 200 {
			if err := c.write(b); err != nil || k.stop.Load() {
				return err
			}
			k.count("retained asked for", 500)
		}
		return nil
	})
}

// properties come by the thousand, to the readers of unread.
func (k *crowd) properties() {
	props := strings.Repeat(string(packet.AppendUserProperty(nil, "", "")), 20_000)
	b := packet.AppendPublish(nil, 5, 0, "fan/properties", 0, props, "")
	k.many("properties", 1, 5, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		for !k.stop.Load() {
			if err := c.write(b); err != nil {
				return err
			}
			k.count("messages with 20,000 properties", 1)
		}
		return nil
	})
}

// unreleased messages of QoS 2 use all identifiers there are, again and again.
func (k *crowd) unreleased() {
	k.many("unreleased", 1, 4, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		c.swallow()
		for round := 0; !k.stop.Load(); round++ {
			var b []byte
			for id := range 10_000 {
				b = packet.AppendPublish(b, 4, 4, "q", uint16(id+1), "", fmt.Sprint(round, "of the payload"))
			}
			if err := c.write(b); err != nil {
				return err
			}
			k.count("never released", 10_000)
		}
		return nil
	})
}

// wills are those of clients that all go at the same moment.
func (k *crowd) wills() {
	for !k.stop.Load() {
		var all []*foe
		for range k.of(1000) {
			c := k.meet(k.Plain, 5)
			if c == nil {
				continue
			}
			c.conn.(*net.TCPConn).SetLinger(0)
			if c.connect(func(p *packet.Packet) {
				p.Connect.Will, p.Connect.WillTopic, p.Connect.WillPayload, p.Connect.WillQoS = true, []byte("fan/will"), []byte("gone"), 1
			}) == nil {
				all = append(all, c)
			}
		}
		for _, c := range all {
			c.conn.Close()
		}
		k.count("wills", len(all))
	}
}

// takeovers: everybody is the same client.
func (k *crowd) takeovers() {
	k.many("takeovers", 8, 5, func(c *foe, i int) error {
		return c.connect(func(p *packet.Packet) {
			p.Connect.ClientID, p.Connect.CleanStart = []byte("same"), i%4 == 0
			p.Connect.Will, p.Connect.WillTopic = true, []byte("takeover")
		})
	})
}

// auths wants to authenticate itself all the time.
func (k *crowd) auths() {
	k.many("auths", 2, 5, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		c.write(bytes.Repeat([]byte{0xF0, 2, 0x19, 0}, 1000))
		return c.skip(1)
	})
}

// sessions are each a new one that is to be kept.
func (k *crowd) sessions() {
	k.many("sessions", 4, 5, func(c *foe, _ int) error {
		return c.connect(func(p *packet.Packet) { p.Props.Raw = packet.AppendUint32Property(nil, packet.SessionExpiry, k.Expiry) })
	})
}

// aliases stand for the longest names, for new ones each time, and for more than allowed.
func (k *crowd) aliases() {
	k.many("aliases", 2, 5, func(c *foe, _ int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		c.swallow()
		for i := range 200 {
			name := fmt.Sprint(strings.Repeat("n", 60_000), i)
			props := packet.AppendUint16Property(nil, packet.TopicAlias, uint16(1+i%10))
			if err := c.write(packet.AppendPublish(nil, 5, 0, name, 0, string(props), "")); err != nil || k.stop.Load() {
				return err
			}
		}
		c.write(packet.AppendPublish(nil, 5, 0, "", 0, string(packet.AppendUint16Property(nil, packet.TopicAlias, 65535)), ""))
		return nil
	})
}

// pings come as fast as they can, from clients that read and those that do not.
func (k *crowd) pings() {
	b := bytes.Repeat([]byte{0xC0, 0}, 32<<10)
	k.many("pings", k.of(100), 4, func(c *foe, i int) error {
		if err := c.connect(nil); err != nil {
			return err
		}
		if i%2 == 0 {
			c.swallow()
		}
		for !k.stop.Load() {
			if err := c.write(b); err != nil {
				return err
			}
			k.count("ping", 32<<10)
		}
		return nil
	})
}

// fragments are packets over WebSocket in frames of one byte, with control frames in
// between.
func (k *crowd) fragments() {
	for !k.stop.Load() {
		c := k.meet(k.Web, 4)
		if c == nil {
			continue
		}
		w, err := speakWeb(c.conn, "")
		if err != nil {
			c.conn.Close()
			continue
		}
		var b bytes.Buffer
		connect := packet.Packet{Type: packet.Connect}
		connect.Connect = packet.ConnectBody{Version: 4, CleanStart: true, ClientID: []byte("fragments")}
		all := packet.AppendPublish(connect.Append(nil, 4), 4, 0, "fan/fragment", 0, "", strings.Repeat("x", 10_000))
		w.Conn = &writeOnly{Conn: c.conn, to: &b}
		for i := range all {
			first := byte(0)
			if i == 0 {
				first = 2
			}
			w.frame(first, all[i:i+1])
			w.frame(0x89, []byte("ping"))
		}
		c.swallow()
		for !k.stop.Load() && c.write(b.Bytes()) == nil {
			k.count("fragments", len(all))
		}
		c.conn.Close()
	}
}

// writeOnly gathers what is written.
type writeOnly struct {
	net.Conn
	to io.Writer
}

func (w *writeOnly) Write(b []byte) (int, error) { return w.to.Write(b) }

// requests of HTTP come by the thousand in a row.
func (k *crowd) requests() {
	b := bytes.Repeat([]byte("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n"), 2000)
	long := append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 60_000)...)
	for !k.stop.Load() {
		for _, b := range [][]byte{b, long} {
			if c := k.meet(k.Web, 4); c != nil {
				c.write(b)
				c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				io.Copy(io.Discard, c.conn)
				c.conn.Close()
				k.count("requests", 1)
			}
		}
	}
}

// hellos begin TLS and do not go on.
func (k *crowd) hellos() {
	first := hello()
	for i := 0; !k.stop.Load(); i++ {
		var all []*foe
		for range k.of(300) {
			if c := k.meet(k.Secure, 4); c != nil {
				c.write(first[:[]int{0, 1 + i%(len(first)-1), len(first), len(first)}[len(all)%4]])
				all = append(all, c)
			}
		}
		time.Sleep(200 * time.Millisecond)
		for _, c := range all {
			c.conn.Close()
		}
		k.count("hellos", len(all))
	}
}

// proxies send headers that make no sense, or end early.
func (k *crowd) proxies() {
	for !k.stop.Load() {
		c := k.meet(k.Proxy, 4)
		if c == nil {
			continue
		}
		b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xFF\xFF")
		for range rand.IntN(2000) {
			b = append(b, byte(rand.Uint32()))
		}
		c.write(b[:1+rand.IntN(len(b))])
		time.Sleep(time.Millisecond)
		c.conn.Close()
		k.count("proxies", 1)
	}
}
