package transport

import (
	ec "crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"
)

// serverConfig is one with a certificate of its own.
func serverConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ec.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// opened makes a connection that is through its handshake, which is done by mail.
func opened(t testing.TB, h *Handshakes, mail chan func(), config *tls.Config) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	came := make(chan []byte)
	go func() {
		defer close(came)
		for {
			buf := make([]byte, 16<<10)
			n, err := ours.Read(buf)
			if err != nil {
				return
			}
			came <- buf[:n]
		}
	}()
	c := New(1, new(Scratch))
	c.Secure(h, config)
	dst := make([]byte, 64<<10)
	for c.secure.shake != nil {
		var wire []byte
		select {
		case wire = <-came:
		case f := <-mail:
			f()
		}
		if _, err := c.Unwrap(dst, wire); err != nil {
			t.Fatal(err)
		}
		if c.Unsent() {
			go ours.Write(c.out)
			c.out = nil
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ours.Close()
	for range came {
	}
	return c
}

// idleHeld is what an open TLS connection may hold, in bytes. Without lean it were twice
// as much.
const idleHeld = 4500

// TestIdleTLS: no more than that.
func TestIdleTLS(t *testing.T) {
	mail := make(chan func(), 100)
	h := NewHandshakes(func(f func()) { mail <- f }, func(*Conn) {})
	config := serverConfig(t)
	opened(t, h, mail, config)
	const n = 100
	conns := make([]*Conn, n)
	before := heap()
	for i := range conns {
		conns[i] = opened(t, h, mail, config)
		conns[i].scratch = nil
	}
	if each := (heap() - before) / n; each > idleHeld {
		t.Errorf("an idle connection holds %d bytes, more than %d", each, idleHeld)
	}
	runtime.KeepAlive(conns)
}

// heap is how many bytes are held.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
