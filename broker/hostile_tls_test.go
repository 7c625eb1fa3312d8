package broker_test

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"
)

// hello is a ClientHello, as crypto/tls sends it.
func hello() []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		tls.Client(theirs, &tls.Config{ServerName: "localhost"}).Handshake()
		theirs.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := ours.Read(b)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

// TestHalfOpenTLS: clients that begin TLS and do not go on hold up nobody, whether
// they send nothing, a part of the ClientHello, or all of it.
func TestHalfOpenTLS(t *testing.T) {
	t.Parallel()
	n := 2000
	if testing.Short() || underRace {
		n = 1200 // half of them begin, more than may be under way
	}
	if raiseFiles() < uint64(n+500) {
		missing(t, "a limit of enough open files")
	}
	a, conf := secured(t)
	s := serve(t, conf+"connection_messages false\n")
	watch := s.connectTLS("watch", 4, a.clientConfig())
	before := s.memory()
	first := hello()
	halves := make([]*client, n)
	var pings []time.Duration
	for i := range halves {
		halves[i] = s.dial("half", 4)
		halves[i].tryWrite(first[:[]int{0, 1 + i%(len(first)-1), len(first), len(first)}[i%4]])
		if i%10 == 0 {
			start := time.Now()
			watch.lives()
			pings = append(pings, time.Since(start))
		}
	}
	slices.Sort(pings)
	t.Logf("a ping takes %v, p99 %v, at most %v; memory grew by %d KiB for each", pings[len(pings)/2], pings[len(pings)*99/100],
		pings[len(pings)-1], (s.memory()-before)/n>>10)
	if grown := s.memory() - before; grown > 96<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	s.connectTLS("later", 4, a.clientConfig()).lives()
	watch.lives()
}
