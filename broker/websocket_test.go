package broker_test

import (
	"bufio"
	"bytes"
	bin "encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"midge/packet"
)

// websocket is a net.Conn over WebSocket, the client's side of it.
type websocket struct {
	net.Conn
	in   *bufio.Reader
	left int    // bytes of the frame that is being read
	code int    // of the Close frame that came
	pong []byte // the payload of the last one
	cut  int    // frames are of so many bytes; 0 is any number
}

// speakWeb asks for WebSocket on a connection.
func speakWeb(conn net.Conn, headers string) (*websocket, error) {
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n%s\r\n", headers)
	w := &websocket{Conn: conn, in: bufio.NewReader(conn)}
	answer, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != 101 || answer.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		answer.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
		return nil, fmt.Errorf("the answer is %v", answer)
	}
	return w, nil
}

// frame sends one frame.
func (w *websocket) frame(first byte, payload []byte) error {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = bin.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = bin.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := bin.NativeEndian.AppendUint32(nil, rand.Uint32())
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	_, err := w.Conn.Write(b)
	return err
}

func (w *websocket) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k := len(b) - n
		if w.cut > 0 {
			k = min(k, w.cut)
		}
		if err := w.frame(0x82, b[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

func (w *websocket) Read(b []byte) (int, error) {
	for w.left == 0 {
		if err := w.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

// nextFrame reads the header of a frame, and the whole of a control frame.
func (w *websocket) nextFrame() error {
	var head [2]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return err
	}
	n := int(head[1])
	if n > 125 {
		ext := make([]byte, 2+6*(n-126))
		if _, err := io.ReadFull(w.in, ext); err != nil {
			return err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | int(b)
		}
	}
	if head[0] == 0x82 {
		w.left = n
		return nil
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(w.in, payload); err != nil {
		return err
	}
	switch head[0] {
	case 0x88:
		w.code = int(bin.BigEndian.Uint16(payload))
		return io.EOF
	case 0x8A:
		w.pong = payload
		return nil
	}
	return fmt.Errorf("frame %x", head[0])
}

// dialWeb connects a client by WebSocket.
func (s *server) dialWeb(name string, v packet.Version, headers string) (*client, *websocket) {
	s.t.Helper()
	c := s.dial(name, v)
	w, err := speakWeb(c.conn, headers)
	if err != nil {
		s.t.Fatal(err)
	}
	c.conn = w
	return c, w
}

const webListener = "listener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n"

func TestWebSocket(t *testing.T) {
	t.Parallel()
	s := serve(t, webListener)
	for _, v := range allVersions {
		c, w := s.dialWeb("a", v, "")
		s.await("New connection from " + c.peer() + " on port {port}.")
		c.send("CONNECT clean")
		c.expect("CONNACK 00")
		c.send("SUBSCRIBE 1 t qos=2 + PUBLISH t 'hello' qos=1 id=7")
		c.lives2("SUBACK 1 02", "PUBLISH t 'hello' qos=1 id=1", "PUBACK 7")
		w.frame(0x89, []byte("ping")) // a ping of WebSocket
		c.lives()
		if string(w.pong) != "ping" {
			t.Errorf("the pong has %q", w.pong)
		}
		c.send("DISCONNECT")
		c.expect("close")
		if w.code != 1000 {
			t.Errorf("Close with %d", w.code)
		}
	}
	c, w := s.dialWeb("b", 4, "")
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	w.frame(0x88, []byte{0x03, 0xE9})
	c.expect("close")
	if w.code != 1001 {
		t.Errorf("Close with %d", w.code)
	}
	s.await("Client b [" + c.peer() + "] disconnected: connection closed by client.")
}

// TestWebSocketCut: packets in frames of any size, and frames in pieces of any size.
func TestWebSocketCut(t *testing.T) {
	t.Parallel()
	s := serve(t, webListener+"set_tcp_nodelay true\n")
	sub, _ := s.dialWeb("sub", 4, "")
	sub.send("CONNECT clean + SUBSCRIBE 1 t")
	sub.expect("CONNACK 00", "SUBACK 1 00")
	for _, cut := range [][2]int{{1, 1 << 20}, {3, 7}, {125, 100}, {1000, 999}, {70_000, 65_537}, {1 << 21, 1 << 20}, {1 << 21, 5000}} {
		c := s.dial("pub", 4)
		w, err := speakWeb(&dribble{c.conn, cut[1]}, "")
		if err != nil {
			t.Fatal(err)
		}
		w.cut, c.conn = cut[0], w
		c.send("CONNECT clean")
		c.expect("CONNACK 00")
		size := min(min(cut[0], cut[1])*300, 1900_000)
		body := bytes.Repeat([]byte("0123456789abcde"), size/15+1)
		for range 3 {
			c.write(append(packet.AppendPublish(nil, 4, 0, "t", 0, "", body), c.encode("PINGREQ")...))
			c.expect("PINGRESP")
			if p := sub.next(); !bytes.Equal(p.Payload, body) {
				t.Fatalf("cut by %d: %d bytes came", cut, len(p.Payload))
			}
		}
		c.send("DISCONNECT")
		c.expect("close")
	}
}

// TestWebSocketSlow: a reader that is slow is sent all of it in the end, in whole frames.
func TestWebSocketSlow(t *testing.T) {
	t.Parallel()
	s := serve(t, webListener+"max_queued_messages 0\n")
	slow := s.dialSmall("slow", 4)
	w, err := speakWeb(slow.conn, "")
	if err != nil {
		t.Fatal(err)
	}
	slow.conn = w
	slow.send("CONNECT clean + SUBSCRIBE 1 # qos=1")
	slow.expect("CONNACK 00", "SUBACK 1 01")
	pub, _ := s.dialWeb("pub", 4, "")
	pub.send("CONNECT clean")
	pub.expect("CONNACK 00")
	const n = 40
	for i := range n {
		pub.write(packet.AppendPublish(nil, 4, 1<<1, fmt.Sprint(i), 1, "", bytes.Repeat([]byte{byte(i)}, 1000<<(i%9))))
		pub.expect("PUBACK 1")
		w.frame(0x89, fmt.Append(nil, i))
	}
	for i := range n {
		p := slow.next()
		if string(p.Topic) != fmt.Sprint(i) || len(p.Payload) != 1000<<(i%9) || bytes.Count(p.Payload, []byte{byte(i)}) != len(p.Payload) {
			t.Fatalf("message %d: topic %s, %d bytes", i, p.Topic, len(p.Payload))
		}
		slow.send(fmt.Sprint("PUBACK ", p.ID))
	}
	slow.lives()
	if string(w.pong) != fmt.Sprint(n-1) {
		t.Errorf("the last pong has %q", w.pong)
	}
}

// TestSecureWebSocket: the same over TLS.
func TestSecureWebSocket(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf+"protocol websockets\n")
	sub := s.dialTLS("sub", 5, a.clientConfig())
	w, err := speakWeb(sub.conn, "")
	if err != nil {
		t.Fatal(err)
	}
	sub.conn = w
	sub.send("CONNECT clean + SUBSCRIBE 1 t")
	sub.expect("CONNACK 00", "SUBACK 1 00")
	s.await("Client sub negotiated TLSv1.3 cipher TLS_AES_128_GCM_SHA256")
	for _, size := range []int{0, 1, 1000, 16_384, 100_000, 1_900_000} {
		body := bytes.Repeat([]byte("x"), size)
		sub.write(packet.AppendPublish(nil, 5, 0, "t", 0, "", body))
		if p := sub.next(); len(p.Payload) != size {
			t.Fatalf("%d bytes came of %d", len(p.Payload), size)
		}
	}
	sub.send("DISCONNECT")
	sub.expect("close")
	if w.code != 1000 {
		t.Errorf("Close with %d", w.code)
	}
}

// TestWebSocketMisuse: what is no WebSocket, or a bad one. Each connection is closed
// with one line in the log.
func TestWebSocketMisuse(t *testing.T) {
	t.Parallel()
	s := serve(t, webListener+"websockets_origin https://a.example\n")
	for _, tt := range []struct{ name, send, answer, want string }{
		{"MQTT", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd", "", "HTTP: no request"},
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n", "HTTP request answered with 426"},
		{"endless headers", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 1<<20), "HTTP/1.1 431 ", "HTTP request answered with 431"},
	} {
		c := s.dial(tt.name, 4)
		go c.conn.Write([]byte(tt.send))
		got, err := io.ReadAll(c.conn)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(string(got), tt.answer) {
			t.Errorf("%s: %q %v", tt.name, got, err)
		}
		s.await("New connection from " + c.peer() + " on port {port}.")
		s.await("Client 127.0.0.1 [" + c.peer() + "] disconnected: " + tt.want + ".")
	}
	c := s.dial("c", 4)
	if _, err := speakWeb(c.conn, "Origin: https://a.example.org\r\n"); err == nil {
		t.Error("another origin may come in")
	}
	s.await("Client 127.0.0.1 [" + c.peer() + "] disconnected: non-matching http origin.")
	c, w := s.dialWeb("d", 4, "Origin: https://a.example\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n")
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	_, port, _ := net.SplitHostPort(c.peer())
	s.await("New client connected from 192.0.2.7:" + port + " as d (p4, c1, k0).")
	w.Conn.Write([]byte{0x82, 0x01, 0})
	c.expect("close")
	if w.code != 1002 {
		t.Errorf("Close with %d", w.code)
	}
	s.await("Client d [192.0.2.7:" + port + "] disconnected: WebSocket: an unmasked frame.")
}

// TestHTTPDir: files are served, and nothing else.
func TestHTTPDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	www := filepath.Join(dir, "www")
	large := bytes.Repeat([]byte("0123456789"), 100_000)
	for name, text := range map[string][]byte{"index.html": []byte("<p>hello"), "sub/index.html": []byte("sub"), "a b.js": []byte("let a"),
		"large": large, "empty.txt": nil, "../secret": []byte("secret")} {
		path := filepath.Join(www, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(www, "bare"), 0o700), os.Symlink("../secret", filepath.Join(www, "out")),
		os.Symlink("sub", filepath.Join(www, "in")), syscall.Mkfifo(filepath.Join(www, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := serve(t, webListener+"http_dir "+www+"\n", "-v")
	for _, tt := range []struct {
		request string
		status  int
		kind    string
		body    string
	}{
		{"GET /", 200, "text/html; charset=utf-8", "<p>hello"},
		{"GET /index.html?x=1", 200, "text/html; charset=utf-8", "<p>hello"},
		{"GET /sub", 200, "text/html; charset=utf-8", "sub"},
		{"GET /in/", 200, "text/html; charset=utf-8", "sub"},
		{"GET /a%20b.js", 200, "text/javascript; charset=utf-8", "let a"},
		{"GET /large", 200, "application/octet-stream", string(large)},
		{"GET /empty.txt", 200, "text/plain; charset=utf-8", ""},
		{"HEAD /large", 200, "application/octet-stream", ""},
		{"GET /nothing", 404, "", ""},
		{"GET /bare", 404, "", ""},
		{"GET /pipe", 404, "", ""},
		{"GET /out", 404, "", ""},
		{"GET /../secret", 404, "", ""},
		{"GET /%2e%2e/secret", 404, "", ""},
		{"GET /%00", 404, "", ""},
		{"POST /", 405, "", ""},
	} {
		c := s.dial(tt.request, 4)
		fmt.Fprintf(c.conn, "%s HTTP/1.1\r\nHost: x\r\n\r\n", tt.request)
		method, _, _ := strings.Cut(tt.request, " ")
		c.conn.SetDeadline(time.Now().Add(patience))
		answer, err := http.ReadResponse(bufio.NewReader(c.conn), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s: %v", tt.request, err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != tt.status || tt.status == 200 && (answer.Header.Get("Content-Type") != tt.kind || string(body) != tt.body) {
			t.Errorf("%s: %d, %s, %d bytes, %v", tt.request, answer.StatusCode, answer.Header.Get("Content-Type"), len(body), err)
		}
		s.await(fmt.Sprintf("Client 127.0.0.1 [%s] disconnected: HTTP request answered with %d.", c.peer(), tt.status))
	}
	if s.count(`http serving file "a b.js".`) != 1 {
		t.Error("no line for a file")
	}
	c, _ := s.dialWeb("c", 4, "")
	c.send("CONNECT clean")
	c.expect("CONNACK 00")
	bad := launch(t, "log_timestamp false\n"+webListener+"http_dir "+www+"/nothing\n", "-c", "{conf}")
	if status := bad.exit(); status != 3 || bad.count("Error: Unable to open http_dir "+www+"/nothing: No such file or directory") != 1 {
		t.Errorf("status %d, %q", status, bad.log.all())
	}
}
