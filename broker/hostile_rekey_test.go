package broker_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	stdbinary "encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"midge/packet"
)

// records makes records of TLS 1.3 as a client sends them after the handshake, which
// crypto/tls does not make at will.
type records struct {
	t      *testing.T
	secret []byte
	iv     []byte
	seal   cipher.AEAD
	n      uint64 // records sealed with this key
	out    []byte
}

// secretLog notes a client's first secret.
type secretLog struct{ secret []byte }

func (l *secretLog) Write(b []byte) (int, error) {
	if words := strings.Fields(string(b)); words[0] == "CLIENT_TRAFFIC_SECRET_0" {
		l.secret, _ = hex.DecodeString(words[2])
	}
	return len(b), nil
}

// label is HKDF-Expand-Label of RFC 8446, without a context.
func (r *records) label(name string, n int) []byte {
	name = "tls13 " + name
	info := string([]byte{byte(n >> 8), byte(n), byte(len(name))}) + name + "\x00"
	key, err := hkdf.Expand(sha256.New, r.secret, info, n)
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

func (r *records) rekey(secret []byte) {
	r.secret = secret
	block, err := aes.NewCipher(r.label("key", 16))
	if err == nil {
		r.seal, err = cipher.NewGCM(block)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.iv, r.n = r.label("iv", 12), 0
}

// add makes a record: content, and its kind.
func (r *records) add(content string, kind byte) {
	nonce := bytes.Clone(r.iv)
	stdbinary.BigEndian.PutUint64(nonce[4:], stdbinary.BigEndian.Uint64(nonce[4:])^r.n)
	r.n++
	size := len(content) + 1 + r.seal.Overhead()
	head := []byte{23, 3, 3, byte(size >> 8), byte(size)}
	r.out = r.seal.Seal(append(r.out, head...), nonce, append([]byte(content), kind), head)
}

// data makes a record of MQTT.
func (r *records) data(b string) { r.add(b, 23) }

// update asks for a new key of the other side's, and takes one.
func (r *records) update() {
	r.add("\x18\x00\x00\x01\x01", 22)
	r.rekey(r.label("traffic upd", sha256.Size))
}

func (r *records) take() []byte {
	out := r.out
	r.out = nil
	return out
}

// rekeying is a connected client that makes its records by hand. It reads nothing
// more than what it is told to.
func (s *server) rekeying(t *testing.T, a *authority) (*client, *records) {
	var log secretLog
	config := a.clientConfig()
	config.KeyLogWriter, config.MinVersion = &log, tls.VersionTLS13
	c := s.dialSmall("rekeying", 4)
	under := c.conn
	c.conn = tls.Client(under, config)
	if err := c.conn.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := c.conn.(*tls.Conn).ConnectionState().CipherSuite; got != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("cipher suite %x", got)
	}
	c.conn = under
	r := &records{t: t}
	r.rekey(log.secret)
	return c, r
}

// ended waits for the end of the client's connection, whatever comes before it.
func (c *client) ended() {
	c.s.t.Helper()
	_, err := io.Copy(io.Discard, c.conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.s.t.Fatal("the connection goes on")
	}
}

// TestKeyUpdates: a client may ask for new keys, and for so many as nobody needs not.
func TestKeyUpdates(t *testing.T) {
	t.Parallel()
	a, conf := secured(t)
	s := serve(t, conf)
	watch := s.connectTLS("watch", 4, a.clientConfig())
	watch.send("SUBSCRIBE 1 t")
	watch.expect("SUBACK 1 00")

	few, r := s.rekeying(t, a)
	r.data(string(few.encode("CONNECT clean")))
	for range 10 {
		r.update()
		r.data(string(packet.AppendPublish(nil, 4, 0, "t", 0, "", []byte("x"))))
	}
	few.write(r.take())
	for range 10 {
		watch.expect("PUBLISH t 'x'")
	}

	many, r := s.rekeying(t, a)
	connect := string(many.encode("CONNECT clean user=" + strings.Repeat("u", 1000)))
	for i := range connect {
		for range 15 {
			r.update()
		}
		r.data(connect[i : i+1])
	}
	many.tryWrite(r.take())
	many.ended()
	s.await("Client 127.0.0.1 [" + many.peer() + "] disconnected: TLS: too many key updates.")
	watch.lives()
}

// TestKeyUpdatesUnread: who reads none of the answers is not read either, in the end.
func TestKeyUpdatesUnread(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes what sockets take")
	}
	a, conf := secured(t)
	s := serve(t, conf)
	watch := s.connectTLS("watch", 4, a.clientConfig())
	before := s.memory()
	c, r := s.rekeying(t, a)
	r.data(string(c.encode("CONNECT clean")))
	publish := string(packet.AppendPublish(nil, 4, 0, "t", 0, "", ""))
	for range 30_000 {
		for range 15 {
			r.update()
		}
		r.data(publish)
		c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.conn.Write(r.take()); err != nil {
			t.Logf("%v; memory grew by %d KiB", err, (s.memory()-before)>>10)
			break
		}
		if grown := s.memory() - before; grown > 8<<20 {
			t.Fatalf("memory grew by %d MiB", grown>>20)
		}
	}
	watch.lives()
}
