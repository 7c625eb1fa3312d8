package broker_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"midge/packet"
)

// The hostile load: everything that hostile clients do, all at once, for some time,
// while a client that behaves well goes on with what it does.

var (
	hostileTime = flag.Duration("hostile", 0, "how long the hostile load lasts; 0: as short as in every run")
	hostileOnly = flag.String("hostile-only", "", "parts of the hostile load, by their names, in place of all")
)

// bystander does round trips: it publishes to itself at QoS 1, and then it pings.
type bystander struct {
	*client
	n       int
	refused int // told that memory is short, and sent again
	trips   []time.Duration
	pings   []time.Duration
}

func (s *server) bystander() *bystander {
	b := &bystander{client: s.connect("bystander", 5, "clean")}
	b.send("SUBSCRIBE 1 bystander/# qos=1")
	b.expect("SUBACK 1 01")
	return b
}

// trip publishes the next number and waits until that has come back and is
// acknowledged.
func (b *bystander) trip() {
	b.s.t.Helper()
	b.n++
	topic := fmt.Sprint("bystander/", b.n%100)
	whole := packet.AppendPublish(nil, 5, 2, topic, uint16(1+b.n%60000), "", fmt.Sprint(b.n))
	begin := time.Now()
	b.write(whole)
	for acked, came := false, false; !acked || !came; {
		switch p := b.next(); {
		case p.Type == packet.Puback && p.Reason == packet.QuotaExceeded:
			b.refused++
			time.Sleep(5 * time.Millisecond)
			begin = time.Now()
			b.write(whole)
		case p.Type == packet.Puback && p.Reason == packet.Success:
			acked = true
		case p.Type == packet.Publish && string(p.Payload) == fmt.Sprint(b.n) && string(p.Topic) == topic:
			came = true
			ack := packet.Packet{Type: packet.Puback, ID: p.ID}
			b.write(ack.Append(nil, 5))
		default:
			b.s.t.Fatalf("message %d: %v %v %q %q", b.n, p.Type, p.Reason, p.Topic, p.Payload)
		}
	}
	b.trips = append(b.trips, time.Since(begin))
	begin = time.Now()
	b.lives()
	b.pings = append(b.pings, time.Since(begin))
}

// spread is the middle, the 99th percentile and the most.
func spread(d []time.Duration) (p50, p99, most time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100], d[len(d)-1]
}

// auditor hears what the broker says of its memory.
type auditor struct {
	*client
	most int // of $SYS/broker/heap/maximum
}

// audit reads what has come until done is closed.
func (a *auditor) audit(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		if p, err := a.tryNext(); err != nil {
			return
		} else if n, err := strconv.Atoi(string(p.Payload)); err == nil {
			a.most = max(a.most, n)
		}
	}
}

// crowded is the crowd's process.
type crowded struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// crowd starts it and waits until it is there.
func (s *server) crowd(o orders) *crowded {
	s.t.Helper()
	text, _ := json.Marshal(o)
	k := &crowded{cmd: exec.Command("nice", "-n", "20", os.Args[0])}
	k.cmd.Env = append(os.Environ(), crowdOrders+"="+string(text))
	k.cmd.Stderr = os.Stderr
	k.in, _ = k.cmd.StdinPipe()
	out, _ := k.cmd.StdoutPipe()
	k.out = bufio.NewReader(out)
	if err := k.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		k.in.Close()
		k.cmd.Process.Kill()
		k.cmd.Wait()
	})
	if line, err := k.out.ReadString('\n'); err != nil || line != "ready\n" {
		s.t.Fatalf("the crowd says %q, %v", line, err)
	}
	return k
}

// leave ends the crowd, and gives what it has done.
func (k *crowded) leave(t *testing.T) (counts map[string]int) {
	t.Helper()
	k.in.Close()
	late := time.AfterFunc(patience, func() { k.cmd.Process.Kill() })
	defer late.Stop()
	if err := json.NewDecoder(k.out).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	k.cmd.Wait()
	return counts
}

// memoryCap is the memory_limit under the hostile load, in bytes. Within the account
// that it bounds is what clients and messages are: sessions, subscriptions, queues,
// retained messages, wills, what sockets did not take, and what was sent in part.
// Outside are the program and its stacks (about 12 MiB), the buffers that a turn of the
// loop needs and the pools of those to be used again (32 MiB at most), handshakes of
// TLS, what clients have sent before their CONNECT was accepted (16 MiB at most), and
// what the garbage collector has not collected yet.
const memoryCap = 512 << 20

// siege is a broker and what is to come upon it.
type siege struct {
	t        *testing.T
	s        *server
	orders   orders
	duration time.Duration
	resident int // the most there was of RSS, bytes
	most     int // and of the account
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	_, secure := secured(t)
	third, fourth := freePorts(t)
	conf := fmt.Sprintf("log_timestamp false\nconnection_messages false\nlog_type error\nlog_type warning\nlog_type information\n"+
		"sys_interval 1\nmemory_limit %d\nlistener {port} 127.0.0.1\nallow_anonymous true\n"+
		"listener {second} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n%s"+
		"listener %d 127.0.0.1\nenable_proxy_protocol 2\nallow_anonymous true\n",
		memoryCap, strings.Replace(secure, "{port}", strconv.Itoa(third), 1), fourth)
	k := &siege{t: t, s: start(t, (*server).running, conf, "-c", "{conf}"), duration: time.Second}
	k.orders = orders{Silent: 300, Scale: 3}
	if *hostileTime > 0 {
		k.duration, k.orders = *hostileTime, orders{Silent: 10_000, Scale: 100}
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	k.orders.Plain, k.orders.Web, k.orders.Secure, k.orders.Proxy = at(k.s.port), at(k.s.second), at(third), at(fourth)
	k.orders.Only, k.orders.Expiry = *hostileOnly, uint32(k.duration.Seconds())+1
	return k
}

// endure has the crowd do its worst for the time, and a bystander its round trips.
func (k *siege) endure() (b *bystander) {
	k.t.Helper()
	b = k.s.bystander()
	look := &auditor{client: k.s.connect("auditor", 4, "clean")}
	look.send("SUBSCRIBE 1 $SYS/broker/heap/maximum")
	look.expect("SUBACK 1 00")
	over := make(chan struct{})
	go look.audit(over)
	before := k.s.memory()
	crowd := k.s.crowd(k.orders)
	k.t.Logf("RSS has grown by %d KiB when the crowd is there", (k.s.memory()-before)>>10)
	for end := time.Now().Add(k.duration); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		b.trip()
		k.resident = max(k.resident, k.s.memory())
	}
	counts := crowd.leave(k.t)
	close(over)
	k.most = max(k.most, look.most)
	k.t.Logf("the crowd: %v", counts)
	for _, m := range mischiefs {
		if k.orders.Only == "" && counts[m.name] == 0 && *hostileTime > 0 {
			k.t.Errorf("nobody has done %s", m.name)
		}
	}
	b.send("DISCONNECT")
	b.expect("close")
	look.conn.Close()
	p50, p99, most := spread(b.trips)
	k.t.Logf("%d round trips: p50 %v, p99 %v, at most %v; %d refused", len(b.trips), p50, p99, most, b.refused)
	p50, p99, most = spread(b.pings)
	k.t.Logf("pings: p50 %v, p99 %v, at most %v", p50, p99, most)
	k.t.Logf("at most RSS %d MiB, account %d MiB, of %d MiB", k.resident>>20, k.most>>20, memoryCap>>20)
	return b
}

// rest is what the broker has when nobody is there, and the crowd's sessions have expired.
func (k *siege) rest(was footprint) footprint {
	w := k.s.connect("measure", 4, "clean")
	defer w.conn.Close()
	return k.s.calm(w, was, patience+time.Duration(k.orders.Expiry)*time.Second)
}

// TestHostile: the bystander loses nothing, and the memory stays below the limit. How
// long its round trips take is for the long form, which has the machine for itself.
func TestHostile(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("the race detector has needs of its own")
	}
	raiseFiles()
	k := newSiege(t)
	was := k.rest(footprint{})
	b := k.endure()
	if b.refused > 0 {
		t.Errorf("%d messages were refused", b.refused)
	}
	if _, p99, _ := spread(b.trips); *hostileTime > 0 && p99 > 20*time.Millisecond {
		t.Errorf("the 99th percentile of the round trips is %v", p99)
	}
	if _, p99, _ := spread(b.pings); *hostileTime > 0 && p99 > 20*time.Millisecond {
		t.Errorf("the 99th percentile of the pings is %v", p99)
	}
	if k.resident > memoryCap || k.most > memoryCap {
		t.Errorf("RSS %d, account %d, of %d", k.resident, k.most, memoryCap)
	}
	is := k.rest(was)
	t.Logf("before %+v, after %+v, RSS %d MiB", was, is, k.s.memory()>>20)
	if is.descriptors != was.descriptors || is.account > was.account+2000 {
		t.Errorf("before it was %+v, now it is %+v", was, is)
	}
}
