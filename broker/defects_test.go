package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"midge/packet"
)

// What brokers have been brought down, filled up or opened by before. Each test is
// named by the class of the defect. Those that are not here are where their matter is:
// bad lines of password files in TestBadPasswordFile, rights over every kind of wire in
// TestRightsOverEveryWire, rights that are taken away in TestACLReload.

// TestDefects has the classes that need no configuration of their own.
func TestDefects(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	watch := s.connect("watch", 5, "clean")
	for _, tt := range []struct {
		name string
		run  func(*server)
	}{
		{"assertion on dollar topics", dollarTopics},
		{"65,000 levels", manyLevels},
		{"invalid UTF-8 and NUL passed on", badText},
		{"zero-length topic", emptyTopic},
		{"CONNACK from a client", serversPackets},
		{"will to $CONTROL", controlWill},
		{"will delay beyond the session", lateWill},
		{"large first packet", largeFirst},
		{"leak on malformed CONNECT", malformedConnects},
		{"thousands of user properties", manyProperties},
		{"shared and plain filters mixed", mixedFilters},
		{"QoS 2 identifiers never released", neverReleased},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(s.in(t))
			watch.s = s.in(t)
			watch.lives()
		})
	}
}

func dollarTopics(s *server) {
	for _, v := range allVersions {
		c := s.connect("dollar", v, "clean")
		for i, name := range []string{"$", "$x", "$/a", "$SYS", "$SYSx", "$SYS/broker/version", "$share", "$share/", "$share/g/t", "$CONTROL", "$CONTROL/x", "$a/$b"} {
			c.write(packet.AppendPublish(nil, v, 1<<1|1, name, uint16(i+1), "", "x"))
			if got, err := c.receive(); err != nil || !strings.HasPrefix(got, fmt.Sprintf("PUBACK %d", i+1)) {
				s.t.Errorf("v%d %s: %s, %v", v, name, got, err)
			}
		}
		c.lives()
	}
}

func manyLevels(s *server) {
	deep := "\xFF\xFF" + strings.Repeat("/", 65_535)
	for _, v := range allVersions {
		front, option := "\x00\x01", "\x00"
		if v == packet.V5 {
			front += "\x00"
		}
		for first, body := range map[byte]string{0x30: deep + "\x00x", 0x82: front + deep + option, 0xA2: front + deep} {
			c := s.connect("deep", v, "clean")
			n := len(body)
			c.tryWrite(append([]byte{first, byte(n) | 128, byte(n>>7) | 128, byte(n >> 14)}, body...))
			c.ends()
		}
	}
}

// ends waits for the end of the connection; a DISCONNECT may come before it.
func (c *client) ends() {
	c.s.t.Helper()
	for {
		got, err := c.receive()
		if err != nil {
			c.s.t.Fatalf("%s: %v", c.name, err)
		}
		if got == "close" {
			return
		}
		if !strings.HasPrefix(got, "DISCONNECT") {
			c.s.t.Fatalf("%s: %s", c.name, got)
		}
	}
}

func badText(s *server) {
	watch := s.connect("reads", 5, "clean")
	watch.send("SUBSCRIBE 1 #")
	watch.expect("SUBACK 1 00")
	defer watch.lives()
	for _, v := range allVersions {
		for _, bad := range []string{"a\x00b", "a\xFFb", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"} {
			c := s.connect("text", v, "clean")
			c.write(packet.AppendPublish(nil, v, 0, bad, 0, "", "x"))
			c.ends()
			c = s.dial("text", v)
			p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: v, CleanStart: true, ClientID: []byte("a"),
				Will: true, WillTopic: []byte(bad)}}
			c.write(p.Append(nil, v))
			if got, err := c.receive(); err != nil || strings.HasPrefix(got, "CONNACK 00") {
				s.t.Errorf("v%d, will %q: %s, %v", v, bad, got, err)
			}
			if v != packet.V5 {
				continue
			}
			c = s.connect("text", v, "clean")
			c.write(packet.AppendPublish(nil, v, 0, "t", 0, string(packet.AppendBytesProperty(nil, packet.ResponseTopic, []byte(bad))), "x"))
			c.ends()
		}
	}
}

func emptyTopic(s *server) {
	for _, v := range allVersions {
		c := s.connect("empty", v, "clean")
		c.write(packet.AppendPublish(nil, v, 0, "", 0, "", "x"))
		c.ends()
	}
}

func serversPackets(s *server) {
	for _, v := range allVersions {
		for _, b := range []string{"\x20\x02\x00\x00", "\x20\x03\x00\x00\x00", "\x90\x03\x00\x01\x00", "\xB0\x02\x00\x01", "\xD0\x00"} {
			c := s.dial("first", v)
			c.write([]byte(b))
			c.expect("close")
			c = s.connect("later", v, "clean")
			c.write([]byte(b))
			c.ends()
		}
	}
}

func controlWill(s *server) {
	for _, v := range allVersions {
		c := s.dial("will", v)
		c.send("CONNECT clean will={$CONTROL/broker/v1 'x'}")
		if v == packet.V5 {
			c.expect("CONNACK 90")
		}
		c.expect("close")
	}
}

func lateWill(s *server) {
	sub := s.connect("heir", 5, "clean")
	sub.send("SUBSCRIBE 1 late")
	sub.expect("SUBACK 1 00")
	c := s.connect("late", 5, "clean will={late 'x' delay=4000000}")
	c.conn.Close()
	sub.expect("PUBLISH late 'x'")
	c = s.connect("late", 5, "clean")
	c.lives()
}

func largeFirst(s *server) {
	for kind := range byte(16) {
		if kind == byte(packet.Connect) {
			continue
		}
		c := s.dial("large", 4)
		c.write([]byte{kind << 4, 0xFF, 0xFF, 0xFF, 0x7F})
		c.expect("close")
	}
}

func malformedConnects(s *server) {
	whole := largeConnect("leak", 70_000)
	whole[len(whole)-1] = 0xFF // the user name is no text
	var before int
	for i := range 600 {
		if i == 100 {
			before = s.memory()
		}
		c := s.dial("leak", 4)
		c.tryWrite(whole)
		c.expect("close")
		c.conn.Close()
	}
	if grown := s.memory() - before; grown > 16<<20 && !underRace { // 35 MB came
		s.t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

func manyProperties(s *server) {
	c := s.connect("properties", 5, "clean")
	one := packet.AppendUserProperty(nil, "k", "v")
	c.send("SUBSCRIBE 1 props")
	c.expect("SUBACK 1 00")
	props := strings.Repeat(string(one), 200_000)
	c.write(packet.AppendPublish(nil, 5, 0, "props", 0, props, "x"))
	if p := c.next(); string(p.Props.Raw) != props {
		s.t.Errorf("%d bytes of properties came", len(p.Props.Raw))
	}
	c.lives()
}

// mixedFilters takes and leaves the same filter, plain and by two groups, at random.
func mixedFilters(s *server) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	filters := []string{"m/t", "m/+", "$share/g/m/t", "$share/g/m/+", "$share/h/m/t"}
	has := make(map[string]bool)
	clients := []*client{s.connect("m0", 5, "clean"), s.connect("m1", 5, "clean"), s.connect("m2", 5, "clean {session-expiry=100}")}
	for range 600 {
		i := rnd.IntN(len(clients))
		c, f := clients[i], filters[rnd.IntN(len(filters))]
		key := c.name + " " + f
		switch rnd.IntN(8) {
		case 0, 1, 2:
			c.send("SUBSCRIBE 1 " + f)
			c.expect("SUBACK 1 00")
			has[key] = true
		case 3, 4, 5, 6:
			c.send("UNSUBSCRIBE 1 " + f)
			if has[key] {
				c.expect("UNSUBACK 1 00")
			} else {
				c.expect("UNSUBACK 1 11")
			}
			delete(has, key)
		default: // taken over: only the last one's session goes on
			clients[i] = s.dial(c.name, 5)
			if i < 2 {
				clients[i].send("CONNECT clean")
				clients[i].expect("CONNACK 00")
				for _, f := range filters {
					delete(has, c.name+" "+f)
				}
			} else {
				clients[i].send("CONNECT {session-expiry=100}")
				clients[i].expect("CONNACK 00 present")
			}
			c.conn.Close()
		}
	}
	for _, c := range clients {
		c.send("UNSUBSCRIBE 1 " + strings.Join(filters, " "))
		c.next()
	}
	c := s.connect("asks", 5, "clean")
	c.send("SUBSCRIBE 1 m/t")
	c.expect("SUBACK 1 00")
	c.send("UNSUBSCRIBE 2 m/t")
	c.expect("UNSUBACK 2 00")
	for _, c := range clients { // nobody is left
		c.write(packet.AppendPublish(nil, 5, 1<<1, "m/t", 1, "", "x"))
		c.expect("PUBACK 1 rc=10")
		c.lives()
	}
	if s.t.Failed() {
		s.t.Logf("seed %d", seed)
	}
}

func neverReleased(s *server) {
	const n = 5000
	c := s.connect("never", 4, "clean")
	payload := strings.Repeat("x", 1000)
	var before int
	for round := range 4 { // the same ones again: with DUP, then another message in their place
		if round == 1 {
			before = s.memory()
		}
		flags := byte(2 << 1)
		if round == 1 {
			flags |= 8
		}
		for id := uint16(1); id <= n; id++ {
			if c.tryWrite(packet.AppendPublish(nil, 4, flags, "q", id, "", payload+fmt.Sprint(round/2))) != nil {
				s.t.Fatal("closed")
			}
			c.expect(fmt.Sprintf("PUBREC %d", id))
		}
	}
	if grown := s.memory() - before; grown > 16<<20 && !underRace { // 15 MB came
		s.t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// TestDefectsOfACL has the classes of rights.
func TestDefectsOfACL(t *testing.T) {
	t.Parallel()
	t.Run("wildcards in substituted names", func(t *testing.T) {
		s := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file "+aclFile(t, "pattern readwrite own/%c/%u", "pattern readwrite of/%u")+"\n")
		good := s.connect("good", 5, "clean user=joe")
		for _, who := range [][2]string{{"+", "joe"}, {"#", "joe"}, {"good", "+"}, {"good/joe", "x"}, {"x", "#"}, {"own/+", "joe"}} {
			c := s.dial(who[0], 5)
			c.send("CONNECT clean id='" + who[0] + "x' user='" + who[1] + "'")
			c.expect("CONNACK 00")
			c.send("SUBSCRIBE 1 # of/+ own/+/+")
			c.next()
			good.write(packet.AppendPublish(nil, 5, 1<<1, "own/good/joe", 1, "", "x"))
			good.expect("PUBACK 1")
			c.lives()
			c.write(packet.AppendPublish(nil, 5, 1<<1, "own/good/joe", 1, "", "x"))
			c.expect("PUBACK 1 rc=87")
			c.lives()
		}
	})
	t.Run("empty ACL file", func(t *testing.T) {
		s := serve(t, "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file "+aclFile(t)+"\n")
		c := s.connect("a", 5, "clean")
		c.send("SUBSCRIBE 1 # qos=1")
		c.expect("SUBACK 1 01")
		c.write(packet.AppendPublish(nil, 5, 1<<1, "t", 1, "", "x"))
		c.expect("PUBACK 1 rc=87")
		c.lives()
	})
}

// TestDefectsOfConfiguration has the classes of options that opened more than they said.
func TestDefectsOfConfiguration(t *testing.T) {
	t.Parallel()
	t.Run("ACL file of the default listener", func(t *testing.T) {
		s := serve(t, "per_listener_settings true\nbind_address 127.0.0.1\nport {port}\nallow_anonymous true\nacl_file "+
			aclFile(t, "topic write only")+"\nlistener {second} 127.0.0.1\nallow_anonymous true")
		for _, tt := range []struct{ port, topic, want string }{
			{"{port}", "other", "PUBACK 1 rc=87"},
			{"{port}", "only", "PUBACK 1 rc=10"},
			{"{second}", "other", "PUBACK 1 rc=10"},
		} {
			c := s.dialTo("c", 5, "tcp", s.expand("127.0.0.1:"+tt.port))
			c.send("CONNECT clean")
			c.expect("CONNACK 00")
			c.write(packet.AppendPublish(nil, 5, 1<<1, tt.topic, 1, "", "x"))
			c.expect(tt.want)
		}
	})
	t.Run("$CONTROL of a bridge", func(t *testing.T) {
		s := serve(t, "enable_control_api true")
		for name, answers := range map[string]bool{"": true, " bridge": false} {
			c := s.connect("c", 4, "clean"+name)
			c.write(packet.AppendPublish(nil, 4, 0, "$CONTROL/broker/v1", 0, "", `{"commands":[]}`))
			c.send("PINGREQ")
			first := c.next()
			if (first.Type == packet.Publish) != answers {
				t.Errorf("a client that is%s: %v", name, first.Type)
			}
		}
	})
}
