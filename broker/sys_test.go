package broker_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"midge/packet"
)

// sysTopics are the topics under $SYS that mosquitto_sub is sent by the broker at a
// port, up to uptime's that many times.
func sysTopics(t *testing.T, port int, updates int) []string {
	t.Helper()
	sub := background(t, []string{"mosquitto_sub", "-p", strconv.Itoa(port), "-q", "2", "-t", "$SYS/#", "-F", "%t"})
	defer sub.cmd.Process.Kill()
	topics := map[string]bool{}
	for seen := 0; seen < updates; {
		topic, ok := sub.out.find(func(string) bool { return true })
		if !ok {
			t.Fatalf("no topics from port %d: %q", port, sub.out.all())
		}
		topics[topic] = true
		if topic == "$SYS/broker/uptime" {
			seen++
		}
	}
	var all []string
	for topic := range topics {
		all = append(all, topic)
	}
	slices.Sort(all)
	return all
}

// TestSysInterop: midge has every topic that Debian's mosquitto has.
func TestSysInterop(t *testing.T) {
	t.Parallel()
	mosquitto := "/usr/sbin/mosquitto"
	for _, program := range []string{mosquitto, "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
	s := serve(t, "sys_interval 1")
	port, _ := freePorts(t)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nsys_interval 1\nuser root\n", port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	other := background(t, []string{mosquitto, "-c", file})
	for up := false; !up; {
		line, ok := other.out.find(func(string) bool { return true })
		if !ok {
			t.Fatalf("mosquitto does not start: %q", other.out.all())
		}
		up = strings.HasSuffix(line, " running")
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		c.Close() // so that something counts up
	}
	ours, theirs := sysTopics(t, s.port, 2), sysTopics(t, port, 2)
	if len(theirs) < 50 {
		t.Errorf("mosquitto has %d topics only: %q", len(theirs), theirs)
	}
	for _, topic := range theirs {
		if _, ok := slices.BinarySearch(ours, topic); !ok {
			t.Errorf("missing: %s", topic)
		}
	}
}

// tape is a connection with all that went over it.
type tape struct {
	net.Conn
	read, written bytes.Buffer
}

func (t *tape) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.read.Write(b[:n])
	return n, err
}

func (t *tape) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	t.written.Write(b[:n])
	return n, err
}

// taped records what goes over the client's connection.
func (c *client) taped() *tape {
	t := &tape{Conn: c.conn}
	c.conn = t
	return t
}

// tally is what packets count as in the tree.
type tally struct{ packets, bytes, publishes, payloads int }

func (n *tally) count(t *testing.T, stream []byte, from packet.Side) {
	t.Helper()
	n.bytes += len(stream)
	for len(stream) > 0 {
		h, err := packet.ReadHeader(stream, 4)
		if err != nil || h.Size == 0 || h.Len() > len(stream) {
			t.Fatalf("no packet: %x, %v", stream, err)
		}
		var p packet.Packet
		if err := p.Decode(4, from, h.First, stream[h.Size:h.Len()]); err != nil {
			t.Fatal(err)
		}
		n.packets++
		if p.Type == packet.Publish {
			n.publishes++
			n.payloads += len(p.Payload)
		}
		stream = stream[h.Len():]
	}
}

// TestSysCounted: what the tree says is what went over the sockets. The client that
// makes the traffic is sent the uptime, which is the first value of an update.
func TestSysCounted(t *testing.T) {
	t.Parallel()
	s := serve(t, "sys_interval 1")
	c := s.dial("c", 4)
	tapes := []*tape{c.taped()}
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	c.send("SUBSCRIBE 1 t qos=2")
	c.expect("SUBACK 1 02")
	for i, payload := range []string{"''", "'a'", "'hello'", "'x'*100000"} {
		id := strconv.Itoa(i + 1)
		c.send("PUBLISH t " + payload + " + PUBLISH t " + payload + " qos=1 id=" + id + " + PUBLISH nobody " + payload + " qos=1 id=" + id)
		c.expect("PUBLISH t "+payload, "PUBLISH t "+payload+" qos=1 id="+id, "PUBACK "+id, "PUBACK "+id)
		c.send("PUBACK " + id)
	}
	c.lives()
	c.send("SUBSCRIBE 2 $SYS/broker/uptime")
	c.expect("SUBACK 2 00")
	c.next() // retained
	for {
		uptime := string(c.next().Payload)
		var in, out tally
		for _, tape := range tapes {
			in.count(t, tape.written.Bytes(), packet.FromClient)
			out.count(t, tape.read.Bytes(), packet.FromServer)
		}
		last := 2 + 2 + len("$SYS/broker/uptime") + len(uptime) // it is not written yet when the bytes are counted
		w := s.dial("w", 4)
		tapes = append(tapes, w.taped())
		tree := w.tree()
		if tree["uptime"] != uptime { // too late for this update
			c.send("PINGREQ")
			for c.next().Type != packet.Pingresp { // updates that do not know, or know in part, of w
			}
			continue
		}
		sockets := len(tapes) - 1
		for name, v := range map[string]int{
			"messages/received": in.packets, "bytes/received": in.bytes,
			"publish/messages/received": in.publishes, "publish/bytes/received": in.payloads,
			"messages/sent": out.packets, "bytes/sent": out.bytes - last,
			"publish/messages/sent": out.publishes, "publish/bytes/sent": out.payloads,
			"publish/messages/dropped": 0, "connections/socket/count": sockets,
			"clients/connected": 1, "clients/total": 1, "clients/disconnected": 0, "subscriptions/count": 2,
		} {
			if tree[name] != strconv.Itoa(v) {
				t.Errorf("%s is %s, not %d", name, tree[name], v)
			}
		}
		return
	}
}

// tree reads the tree as it is and leaves.
func (c *client) tree() map[string]string {
	c.s.t.Helper()
	c.send("CONNECT clean + SUBSCRIBE 1 $SYS/broker/# + PINGREQ")
	values := map[string]string{}
	for values["version"] == "" { // the last by its name
		if p := c.next(); p.Type == packet.Publish && p.Retain {
			values[strings.TrimPrefix(string(p.Topic), "$SYS/broker/")] = string(p.Payload)
		}
	}
	c.send("UNSUBSCRIBE 2 $SYS/broker/# + DISCONNECT")
	for {
		if _, err := c.tryNext(); err != nil {
			return values
		}
	}
}
