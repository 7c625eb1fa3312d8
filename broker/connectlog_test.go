package broker_test

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"midge/packet"
)

// The log's lines about connections, byte for byte: people's scripts read them.

const newConnection = "New connection from {peer} on port {port}."

// ending is a connection and how it ends.
type ending struct {
	name string
	v    packet.Version
	send []string // in a script's words; "eof" and "reset" are the client's own end
	recv []string
	log  []string // after newConnection
}

// testEndings runs connections one after the other against one broker.
func testEndings(t *testing.T, s *server, endings []ending) {
	failed := false // the last one
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			c := s.dial("a", tt.v)
			defer c.conn.Close()
			for _, line := range tt.send {
				switch line {
				case "eof":
					c.conn.(*net.TCPConn).CloseWrite()
				case "reset":
					c.reset()
				default:
					c.send(line)
				}
			}
			c.expect(tt.recv...)
			if failed { // do not find fault with its lines again
				s.log.find(func(line string) bool { return strings.HasPrefix(line, "New connection from "+c.peer()+" ") })
				s.log.next--
			}
			failed = true
			s.logs([]*client{c}, append([]string{newConnection}, tt.log...)...)
			failed = false
		})
	}
	s.stop(syscall.SIGTERM)
	s.logs(nil, "mosquitto version "+version+" terminating")
	if line, ok := s.log.at(s.log.next); ok {
		t.Errorf("one line too many: %s", line)
	}
}

func TestConnectionLines(t *testing.T) {
	t.Parallel()
	const as4 = "New client connected from {peer} as a (p4, c1, k0)."
	const as5 = "New client connected from {peer} as a (p5, c1, k0)."
	testEndings(t, serve(t, ""), []ending{
		{"DISCONNECT", 4, []string{"CONNECT clean keepalive=60", "DISCONNECT"}, []string{"CONNACK 00", "close"},
			[]string{"New client connected from {peer} as a (p4, c1, k60).", "Client a [{peer}] disconnected."}},
		{"3.1", 3, []string{"CONNECT clean keepalive=65535", "DISCONNECT"}, []string{"CONNACK 00", "close"},
			[]string{"New client connected from {peer} as a (p3, c1, k65535).", "Client a [{peer}] disconnected."}},
		{"user name", 5, []string{"CONNECT user=joe password=secret", "DISCONNECT rc=04"}, []string{"CONNACK 00", "close"},
			[]string{"New client connected from {peer} as a (p5, c0, k0, u'joe').", "Client a [{peer}] disconnected."}},
		{"bridge", 4, []string{"CONNECT clean bridge", "DISCONNECT"}, []string{"CONNACK 00", "close"},
			[]string{"New bridge connected from {peer} as a (p4, c1, k0).", "Client a [{peer}] disconnected."}},
		{"hang-up", 4, []string{"CONNECT clean", "eof"}, []string{"CONNACK 00", "close"},
			[]string{as4, "Client a [{peer}] disconnected: connection closed by client."}},
		{"hang-up before CONNECT", 4, []string{"eof"}, []string{"close"},
			[]string{"Client {host} [{peer}] disconnected: connection closed by client."}},
		{"hang-up in CONNECT", 4, []string{"hex 10", "eof"}, []string{"close"},
			[]string{"Client {host} [{peer}] disconnected: connection closed by client."}},
		{"reset before CONNECT", 4, []string{"reset"}, nil,
			[]string{"Client {host} [{peer}] disconnected: Connection reset by peer."}},
		{"protocol error", 5, []string{"CONNECT clean", "hex 32 ## \"t\" 0000 ~"}, []string{"CONNACK 00", "DISCONNECT 82", "close"},
			[]string{as5, "Protocol error from a: PUBLISH packet with mid = 0.", "Client a [{peer}] disconnected: protocol error."}},
		{"malformed packet", 5, []string{"CONNECT clean", "hex 30 ## \"a/+\" ~"}, []string{"CONNACK 00", "DISCONNECT 81", "close"},
			[]string{as5, "Client a [{peer}] disconnected: malformed packet."}},
		{"oversize packet", 5, []string{"CONNECT clean", "hex 30 81897A"}, []string{"CONNACK 00", "DISCONNECT 95", "close"},
			[]string{as5, "Client a [{peer}] disconnected: oversize packet."}},
		{"topic alias", 5, []string{"CONNECT clean", "PUBLISH t {alias=11}"}, []string{"CONNACK 00", "DISCONNECT 94", "close"},
			[]string{as5, "Client a [{peer}] disconnected: topic alias invalid."}},
		{"empty client id", 4, []string{"CONNECT id=''"}, []string{"CONNACK 02", "close"},
			[]string{"Client {host} [{peer}] disconnected: client identifier not valid."}},
		{"bad client id", 5, []string{`hex 10 ## "MQTT" 05 02 0000 ~ 0003 'a' 01 'b'`}, []string{"CONNACK 85", "close"},
			[]string{"Client {host} [{peer}] disconnected: client identifier not valid."}},
		{"authentication method", 5, []string{"CONNECT clean {auth-method=x}"}, []string{"CONNACK 8C", "close"},
			[]string{"Client a [{peer}] disconnected: used disallowed feature (QoS too high, retain not supported, or bad AUTH method)."}},
		{"version", 5, []string{`hex 10 ## "MQTT" 06 02 0000 ~ "a"`}, []string{"CONNACK 84", "close"},
			[]string{"Client {host} [{peer}] disconnected: protocol error."}},
	})
}

func TestLimitLines(t *testing.T) {
	t.Parallel()
	const disallowed = "Client a [{peer}] disconnected: used disallowed feature (QoS too high, retain not supported, or bad AUTH method)."
	s := serve(t, "message_size_limit 10\nmax_qos 1\nretain_available false\nmax_keepalive 60\nglobal_max_clients 1\npersistent_client_expiration 1h")
	testEndings(t, s, []ending{
		{"QoS of a message", 5, []string{"CONNECT clean keepalive=60", "PUBLISH t qos=2 id=1"}, []string{"CONNACK 00 {*}", "DISCONNECT 9B", "close"},
			[]string{"New client connected from {peer} as a (p5, c1, k60).", "Too high QoS in PUBLISH from a, disconnecting.", disallowed}},
		{"retained message", 5, []string{"CONNECT clean keepalive=60", "PUBLISH t retain"}, []string{"CONNACK 00 {*}", "DISCONNECT 9A", "close"},
			[]string{"New client connected from {peer} as a (p5, c1, k60).", disallowed}},
		{"QoS of a will", 5, []string{"CONNECT clean keepalive=60 will={t 'x' qos=2}"}, []string{"CONNACK 9B {max-qos=1}", "close"}, []string{disallowed}},
		{"retained will", 5, []string{"CONNECT clean keepalive=60 will={t 'x' retain}"}, []string{"CONNACK 9A {max-qos=1}", "close"}, []string{disallowed}},
		{"size of a will", 5, []string{"CONNECT clean keepalive=60 will={t '12345678901'}"}, []string{"CONNACK 95 {max-qos=1}", "close"},
			[]string{"Client a [{peer}] disconnected: oversize payload."}},
		{"size of a will, v3.1.1", 4, []string{"CONNECT clean keepalive=60 will={t '12345678901'}"}, []string{"CONNACK 05", "close"},
			[]string{"Client a [{peer}] disconnected: oversize payload."}},
		{"keep alive, v3.1.1", 4, []string{"CONNECT clean keepalive=61"}, []string{"CONNACK 02", "close"},
			[]string{"Client a asks for a keep alive of 61 seconds, and max_keepalive is 60.", "Client a [{peer}] disconnected: client identifier not valid."}},
		{"a session that stays", 4, []string{"CONNECT id=b keepalive=60", "DISCONNECT"}, []string{"CONNACK 00", "close"},
			[]string{"New client connected from {peer} as b (p4, c0, k60).", "Client b [{peer}] disconnected."}},
		{"too many clients", 5, []string{"CONNECT clean keepalive=60"}, []string{"CONNACK 89 {max-qos=1}", "close"},
			[]string{"Client a [{peer}] disconnected: server busy."}},
		{"too many clients, v3.1.1", 4, []string{"CONNECT clean keepalive=60"}, []string{"close"},
			[]string{"Client a [{peer}] disconnected: server busy."}},
	})
}

// TestWhyLines: "Protocol error from", and what other lines say what was wrong.
func TestWhyLines(t *testing.T) {
	t.Parallel()
	const as4 = "New client connected from {peer} as a (p4, c1, k0)."
	const as5 = "New client connected from {peer} as a (p5, c1, k0)."
	const bad, worse = "protocol error", "malformed packet"
	var endings []ending
	// One packet instead of a CONNECT, or as one.
	for _, tt := range []struct{ send, why string }{
		{"C0 00", "First packet not CONNECT (C0)."},
		{"'GET / HTTP/1.1' 0D0A", "First packet not CONNECT (47)."},
		{"00", "First packet not CONNECT (00)."},
		{`10 ## "MQTX" 04 02 0000 "a"`, `CONNECT with invalid protocol "MQTX".`},
		{`10 ## "MQTTT" 04 02 0000 "a"`, "CONNECT with incorrect protocol string length (5)."},
		{`10 ## "MQTT" 04 03 0000 "a"`, "CONNECT with non-zero connect reserved flag (03)."},
		{`11 ## "MQTT" 04 02 0000 "a"`, "CONNECT with non-zero reserved flags (11)."},
		{`10 ## "MQTT" 04 1E 0000 "a" "t" "x"`, "CONNECT with invalid Will QoS (3)."},
		{`10 ## "MQTT" 04 0A 0000 "a"`, "CONNECT without Will with non-zero QoS (1) or retain (0)."},
		{`10 ## "MQTT" 04 22 0000 "a"`, "CONNECT without Will with non-zero QoS (0) or retain (1)."},
		{`10 ## "MQTT" 04 06 0000 "a" "" "x"`, "Will with empty topic."},
		{`10 ## "MQTT" 04 82 0000 "a"`, "CONNECT with username flag but no username."},
		{`10 ## "MQTT" 04 02 0000 "a" 0001`, "CONNECT packet with overlong remaining length (13:15)."},
		{`10 ## 00`, "CONNECT with missing protocol string length."},
		{`10 ## 0004 'MQ'`, "CONNECT with missing protocol string."},
		{`10 ## "MQTT"`, "CONNECT with missing protocol version."},
		{`10 ## "MQTT" 04`, "CONNECT with missing connect flags."},
		{`10 ## "MQTT" 04 02 00`, "CONNECT with missing keepalive."},
	} {
		endings = append(endings, ending{tt.why, 4, []string{"hex " + tt.send}, []string{"close"},
			[]string{"Protocol error from {peer}: " + tt.why, "Client {host} [{peer}] disconnected: protocol error."}})
	}
	endings = append(endings, ending{"TLS", 4, []string{"hex 16 0301 0200 01 00"}, []string{"close"},
		[]string{"Client from {peer} appears to be using TLS to connect to a non-TLS listener.", "Client {host} [{peer}] disconnected: protocol error."}})
	// One packet after CONNECT.
	for _, tt := range []struct {
		send, line, text string // line: all of it, or what follows "Protocol error from a: "
		sent             string // to a version 5 client
	}{
		{"CONNECT clean", "Bad client {peer} sending multiple CONNECT messages.", bad, "82"},
		{"hex 00 00", "RESERVED packet.", bad, "82"},
		{`hex 32 ## "t" 0000 ~`, "PUBLISH packet with mid = 0.", bad, "82"},
		{`hex 36 ## "t" 0001 ~`, "Invalid QoS in PUBLISH from a, disconnecting.", worse, "81"},
		{`hex 38 ## "t" ~`, "Invalid PUBLISH (QoS=0 and DUP=1) from a, disconnecting.", worse, "81"},
		{`hex 82 ## 0001 ~ 0000 00`, "Empty subscription string from {host}, disconnecting.", worse, "81"},
		{`hex 82 ## 0001 ~ "a#" 00`, "Invalid subscription string from {host}, disconnecting.", worse, "81"},
		{`hex 82 ## 0001 ~ "a" 03`, "Invalid QoS in subscription command from {host}, disconnecting.", worse, "81"},
		{`hex A2 ## 0001 ~ 0000`, "Empty unsubscription string from a, disconnecting.", worse, "81"},
		{`hex A2 ## 0001 ~ "#a"`, "Invalid unsubscription string from a, disconnecting.", worse, "81"},
		{"hex 40 02 0000", "PUBACK with mid = 0.", bad, "82"},
		{"hex 60 02 0001", "PUBREL with non-zero reserved flags (60).", bad, "82"},
		{"hex E1 00", "DISCONNECT packet with incorrect flags E1.", bad, "82"},
		{"hex D0 00", "PINGRESP when not a bridge.", bad, "82"},
	} {
		line := tt.line
		if !strings.HasSuffix(line, "disconnecting.") && !strings.HasPrefix(line, "Bad") {
			line = "Protocol error from a: " + line
		}
		end := "Client a [{peer}] disconnected: " + tt.text + "."
		endings = append(endings,
			ending{tt.line, 4, []string{"CONNECT clean", tt.send}, []string{"CONNACK 00", "close"}, []string{as4, line, end}},
			ending{tt.line, 5, []string{"CONNECT clean", tt.send}, []string{"CONNACK 00", "DISCONNECT " + tt.sent, "close"}, []string{as5, line, end}})
	}
	for _, tt := range []struct{ send, why, text, sent string }{
		{"hex 20 03 000000", "CONNACK when not a bridge.", bad, "82"},
		{"PUBLISH '' {alias=3}", "PUBLISH invalid topic alias (3).", bad, "82"},
		{`hex 82 ## 0001 {02 00000001} "a" 00`, "SUBSCRIBE packet with invalid properties.", worse, "81"},
		{"SUBSCRIBE 1 $share/g/t nl", "$share subscription with no-local set.", bad, "82"},
		{"hex 40 03 0001 05", "PUBACK with reason code = 5.", bad, "82"},
		{"DISCONNECT {session-expiry=5}", "DISCONNECT packet with mismatched session-expiry-interval (0:5).", bad, "82"},
		{"AUTH rc=19 {auth-method=m}", "AUTH packet without existing auth-method.", bad, "82"},
	} {
		endings = append(endings, ending{tt.why, 5, []string{"CONNECT clean", tt.send}, []string{"CONNACK 00", "DISCONNECT " + tt.sent, "close"},
			[]string{as5, "Protocol error from a: " + tt.why, "Client a [{peer}] disconnected: " + tt.text + "."}})
	}
	endings = append(endings, ending{"AUTH", 4, []string{"CONNECT clean", "hex F0 00"}, []string{"CONNACK 00", "close"},
		[]string{as4, "Protocol error from a: AUTH packet when session not MQTT v5.0.", "Client a [{peer}] disconnected: protocol error."}})
	testEndings(t, serve(t, ""), endings)
}

// TestPasswordWithoutUsername: the one protocol error that is of the error class.
func TestPasswordWithoutUsername(t *testing.T) {
	t.Parallel()
	s := start(t, (*server).reachable, "log_timestamp false\nlog_type error\nlistener {port} 127.0.0.1\nallow_anonymous true\n", "-c", "{conf}")
	c := s.dial("a", 4)
	c.send(`hex 10 ## "MQTT" 04 42 0000 "a" "secret"`)
	c.expect("close")
	s.stop(syscall.SIGTERM)
	equalLines(t, s.log.all(), []string{"Protocol error from 127.0.0.1: password without username, closing connection."})
}

// TestNotAuthorisedLines: fail2ban's filters match either both lines or the
// second, which is 2.1's.
func TestNotAuthorisedLines(t *testing.T) {
	t.Parallel()
	s := serve(t, "allow_anonymous false\nlistener {port} 127.0.0.1")
	const end = "Client a [{peer}] disconnected: not authorised."
	testEndings(t, s, []ending{
		{"3.1", 3, []string{"CONNECT clean"}, []string{"CONNACK 05", "close"}, []string{end}},
		{"3.1.1", 4, []string{"CONNECT clean"}, []string{"CONNACK 05", "close"}, []string{end}},
		{"5", 5, []string{"CONNECT clean"}, []string{"CONNACK 87", "close"}, []string{end}},
		{"with credentials", 5, []string{"CONNECT clean user=joe password=secret"}, []string{"CONNACK 87", "close"}, []string{end}},
	})
	s = serve(t, "password_file "+passwordFile(t, "joe:secret")+"\nlistener {port} 127.0.0.1")
	testEndings(t, s, []ending{
		{"wrong password, 3.1", 3, []string{"CONNECT clean user=joe password=wrong"}, []string{"CONNACK 05", "close"}, []string{end}},
		{"wrong password, 3.1.1", 4, []string{"CONNECT clean user=joe password=wrong"}, []string{"CONNACK 05", "close"}, []string{end}},
		{"wrong password, 5", 5, []string{"CONNECT clean user=joe password=wrong"}, []string{"CONNACK 87", "close"}, []string{end}},
		{"unknown user", 5, []string{"CONNECT clean user=ann password=secret"}, []string{"CONNACK 87", "close"}, []string{end}},
		{"no user name", 5, []string{"CONNECT clean"}, []string{"CONNACK 87", "close"}, []string{end}},
		{"right password", 5, []string{"CONNECT clean user=joe password=secret", "DISCONNECT"}, []string{"CONNACK 00", "close"},
			[]string{"New client connected from {peer} as a (p5, c1, k0, u'joe').", "Client a [{peer}] disconnected."}},
	})
}

// TestConnectionMessagesOff: what connection_messages false keeps back, and what
// it does not.
func TestConnectionMessagesOff(t *testing.T) {
	t.Parallel()
	s := serve(t, "connection_messages false\nmax_connections 1", "-v")
	c := s.connect("a", 4, "clean will={t 'x'}")
	full := s.dial("b", 4)
	full.expect("close")
	c.send("DISCONNECT")
	c.expect("close")
	c = s.dial("c", 4)
	c.write([]byte{0xC0, 0})
	c.expect("close")
	s.stop(syscall.SIGTERM)
	s.logs([]*client{c}, "Sending CONNACK to a (0, 0)", "Received DISCONNECT from a",
		"Protocol error from {peer}: First packet not CONNECT (C0).", "mosquitto version "+version+" terminating")
}

func TestTakeoverLines(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	old, young, youngest := s.connect("a", 5, "clean"), s.dial("a", 4), s.dial("a", 5)
	young.send("CONNECT clean")
	young.expect("CONNACK 00")
	old.expect("DISCONNECT 8E", "close")
	youngest.send("CONNECT clean")
	youngest.expect("CONNACK 00")
	young.expect("close")
	s.logs([]*client{old, young, youngest}, newConnection, "New client connected from {peer} as a (p5, c1, k0).",
		"New connection from {peer2} on port {port}.", "New connection from {peer3} on port {port}.",
		"Client a [{peer}] disconnected: session taken over.", "New client connected from {peer2} as a (p4, c1, k0).",
		"Client a [{peer2}] disconnected: session taken over.", "New client connected from {peer3} as a (p5, c1, k0).")
}

// TestKeepAliveLines: one and a half times the keep alive.
func TestKeepAliveLines(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	c := s.dial("a", 4)
	c.send("CONNECT clean keepalive=1 will={gone 'x' qos=1}")
	c.expect("CONNACK 00")
	w := s.connect("w", 4, "clean")
	w.send("SUBSCRIBE 1 gone")
	w.expect("SUBACK 1 00")
	c.expect("close")
	w.expect("PUBLISH gone 'x'")
	d := s.connect("b", 5, "clean keepalive=1") // not before, or both may end in the same millisecond
	d.expect("DISCONNECT 8D", "close")
	s.logs([]*client{c, w, d}, newConnection, "New client connected from {peer} as a (p4, c1, k1).",
		"New connection from {peer2} on port {port}.", "New client connected from {peer2} as w (p4, c1, k0).",
		"Client a [{peer}] disconnected: exceeded timeout.",
		"New connection from {peer3} on port {port}.", "New client connected from {peer3} as b (p5, c1, k1).",
		"Client b [{peer3}] disconnected: exceeded timeout.")
	w.lives()
}

// TestSessionEndLine: a session that ends by itself.
func TestSessionEndLine(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	c := s.connect("a", 5, "clean {session-expiry=1}")
	c.send("DISCONNECT")
	c.expect("close")
	s.logs([]*client{c}, newConnection, "New client connected from {peer} as a (p5, c1, k0).", "Client a [{peer}] disconnected.",
		"Expiring client a due to timeout.")
}

// TestStopIsTold: at a stop wills are published, version 5 clients are told, and
// nothing is logged about the connections.
func TestStopIsTold(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	w := s.connect("w", 5, "clean")
	w.send("SUBSCRIBE 1 gone")
	w.expect("SUBACK 1 00")
	c := s.connect("a", 4, "clean will={gone 'x'}")
	s.logs([]*client{w, c}, newConnection, "New client connected from {peer} as w (p5, c1, k0).",
		"New connection from {peer2} on port {port}.", "New client connected from {peer2} as a (p4, c1, k0).")
	s.stop(syscall.SIGINT)
	w.expect("PUBLISH gone 'x'", "DISCONNECT 8B", "close")
	c.expect("close")
	s.logs(nil, "mosquitto version "+version+" terminating")
	if line, ok := s.log.at(s.log.next); ok {
		t.Errorf("one line too many: %s", line)
	}
}

// TestTimestamps: the forms a line may begin with.
func TestTimestamps(t *testing.T) {
	t.Parallel()
	for format, front := range map[string]string{"%%Y %Y": "%Y 2", "%": "", "": ""} {
		conf := "listener {port} 127.0.0.1\n"
		if format != "" {
			conf += "log_timestamp_format " + format + "\n"
		}
		s := start(t, (*server).running, conf, "-c", "{conf}")
		line := s.log.all()[1]
		if format == "" && !stamped.MatchString(line) || !strings.HasPrefix(line, front) || !strings.HasSuffix(line, ": mosquitto version "+version+" starting") {
			t.Errorf("%q: %s", format, line)
		}
	}
}
