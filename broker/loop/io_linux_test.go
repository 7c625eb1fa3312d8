package loop

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadWrite(t *testing.T) {
	a, b := pair(t)
	buf := make([]byte, 16)
	if n, err := Read(a, buf); n != 0 || err != ErrAgain {
		t.Errorf("read of an empty socket: %d, %v", n, err)
	}
	if n, err := Write(b, []byte("hello")); n != 5 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := Read(a, buf[:3]); err != nil || string(buf[:n]) != "hel" {
		t.Errorf("short read: %q, %v", buf[:n], err)
	}
	if n, err := Read(a, buf); err != nil || string(buf[:n]) != "lo" {
		t.Errorf("the rest: %q, %v", buf[:n], err)
	}
	must(t, unix.Shutdown(b, unix.SHUT_WR))
	if n, err := Read(a, buf); n != 0 || err != nil {
		t.Errorf("end of the stream: %d, %v", n, err)
	}
}

func TestShortWrite(t *testing.T) {
	a, b := pair(t)
	big := make([]byte, 8<<20)
	n, err := Write(a, big)
	if err != nil || n == 0 || n == len(big) {
		t.Fatalf("write of more than the socket holds: %d, %v", n, err)
	}
	fill(t, a)
	if n, err := Write(a, big); n != 0 || err != ErrAgain {
		t.Errorf("write to a full socket: %d, %v", n, err)
	}
	if n, err := Writev(a, [][]byte{big}); n != 0 || err != ErrAgain {
		t.Errorf("writev to a full socket: %d, %v", n, err)
	}
	must(t, unix.Shutdown(b, unix.SHUT_RD))
	if _, err := Write(a, big); err != error(unix.EPIPE) {
		t.Errorf("write to a peer that is gone: %v", err)
	}
}

func TestWritev(t *testing.T) {
	many := make([][]byte, iovecsMax+9)
	for i := range many {
		many[i] = []byte{byte(i)}
	}
	for _, c := range []struct {
		name string
		bufs [][]byte
		want []byte
	}{
		{"none", nil, nil},
		{"only empty", [][]byte{{}, nil}, nil},
		{"some empty", [][]byte{nil, []byte("ab"), {}, []byte("c"), nil}, []byte("abc")},
		{"more than one call takes", many, bytes.Join(many[:iovecsMax], nil)},
		{"empty ones do not count", append(make([][]byte, iovecsMax), []byte("z")), []byte("z")},
	} {
		a, b := pair(t)
		n, err := Writev(a, c.bufs)
		if err != nil || n != len(c.want) {
			t.Errorf("%s: took %d bytes, %v", c.name, n, err)
		}
		buf := make([]byte, 256)
		n, _ = Read(b, buf)
		if !bytes.Equal(buf[:n], c.want) {
			t.Errorf("%s: got %q, want %q", c.name, buf[:n], c.want)
		}
	}
}

func TestReadv(t *testing.T) {
	for _, c := range []struct {
		sent, a, b string
	}{
		{"ab", "ab", ""},
		{"abc", "abc", ""},
		{"abcde", "abc", "de"},
		{"abcdefgh", "abc", "defg"}, // the rest waits
	} {
		r, w := pair(t)
		Write(w, []byte(c.sent))
		a, b := make([]byte, 3), make([]byte, 4)
		n, err := Readv(r, a, b)
		if err != nil || n != len(c.a)+len(c.b) {
			t.Errorf("%s: %d bytes, %v", c.sent, n, err)
		}
		if string(a[:len(c.a)]) != c.a || string(b[:len(c.b)]) != c.b {
			t.Errorf("%s: got %q and %q", c.sent, a, b)
		}
	}
	r, w := pair(t)
	Write(w, []byte("ab"))
	a := make([]byte, 1)
	if n, err := Readv(r, a, nil); n != 1 || err != nil || a[0] != 'a' {
		t.Errorf("without a second buffer: %d bytes, %v, %q", n, err, a)
	}
	Readv(r, a, nil)
	if _, err := Readv(r, a, a); err != ErrAgain {
		t.Errorf("of an empty socket: %v", err)
	}
}

func TestBadDescriptor(t *testing.T) {
	buf := make([]byte, 1)
	_, readvErr := Readv(-1, buf, buf)
	_, readErr := Read(-1, buf)
	_, writeErr := Write(-1, buf)
	_, writevErr := Writev(-1, [][]byte{buf})
	for _, err := range []error{readErr, readvErr, writeErr, writevErr} {
		if err != error(unix.EBADF) {
			t.Errorf("got %v, want EBADF itself", err)
		}
	}
	if err := Close(-1); !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "close:") {
		t.Errorf("close: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	must(t, p.Add(a, Readable))
	buf := make([]byte, 64)
	bufs := [][]byte{buf[:10], buf[10:20]}
	f := func() {}
	p.Post(f)
	p.RunMail()
	if n := testing.AllocsPerRun(100, func() {
		Write(b, buf)
		Writev(b, bufs)
		p.Wait(-1)
		for {
			if _, err := Read(a, buf); err == ErrAgain {
				break
			}
		}
		p.Post(f)
		p.Wait(-1)
		p.RunMail()
	}); n != 0 {
		t.Errorf("%v allocations in a turn", n)
	}
}

// entries are the two ways into the kernel: past the Go scheduler, as this
// package goes, and through it, as package unix does.
var entries = []struct {
	name        string
	read, write func(int, []byte) (int, error)
}{
	{"raw", Read, Write},
	{"scheduler", unix.Read, unix.Write},
}

// BenchmarkPing is 64 bytes over a socket pair, one way.
func BenchmarkPing(b *testing.B) {
	for _, entry := range entries {
		b.Run(entry.name, func(b *testing.B) {
			from, to := pair(b)
			buf := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				entry.write(from, buf)
				entry.read(to, buf)
			}
		})
	}
	b.Run("polled", func(b *testing.B) {
		p := newPoller(b)
		from, to := pair(b)
		must(b, p.Add(to, Readable))
		buf := make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			Write(from, buf)
			events, err := p.Wait(-1)
			if len(events) != 1 || err != nil {
				b.Fatal(events, err)
			}
			Read(to, buf)
		}
	})
}

// BenchmarkPingBesideHelpers is 64 KiB at a time over TCP while twice as many
// goroutines as there are processors compute, as in a storm of logins. The mean
// says little; the percentiles show who loses its processor, and how often.
func BenchmarkPingBesideHelpers(b *testing.B) {
	for _, entry := range entries {
		b.Run(entry.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			from, to := tcpPair(b)
			stop := make(chan struct{})
			defer close(stop)
			for range 2 * runtime.GOMAXPROCS(0) {
				go compute(stop)
			}
			buf := make([]byte, 64<<10)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				entry.write(from, buf)
				for got := 0; got < len(buf); {
					n, _ := entry.read(to, buf)
					got += max(n, 0)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(float64(took[len(took)*999/1000]), "p99.9-ns")
		})
	}
}

func compute(stop <-chan struct{}) {
	for sum := [32]byte{}; ; sum = sha256.Sum256(sum[:]) {
		select {
		case <-stop:
			return
		default:
		}
	}
}

func tcpPair(b *testing.B) (from, to int) {
	b.Helper()
	l, err := Listen("tcp4", "127.0.0.1:0", 1, 0)
	must(b, err)
	defer Close(l)
	at, err := unix.Getsockname(l)
	must(b, err)
	from, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(b, err)
	must(b, unix.Connect(from, at))
	must(b, unix.SetNonblock(from, true))
	to, _, err = Accept(l)
	must(b, err)
	b.Cleanup(func() { Close(from); Close(to) })
	return from, to
}

// BenchmarkLook is a poll that finds nothing: the price of looking before
// blocking.
func BenchmarkLook(b *testing.B) {
	p := newPoller(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Wait(0)
	}
}

// BenchmarkPost is mail there and back: post, wake-up, run.
func BenchmarkPost(b *testing.B) {
	p := newPoller(b)
	f := func() {}
	b.ReportAllocs()
	for b.Loop() {
		p.Post(f)
		p.Wait(-1)
		p.RunMail()
	}
}
