package logging

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"midge/broker/core"
)

// A pipe that nobody reads: the loop goes on, memory stays bounded, and later
// one line says how many are missing.
func TestBlockedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const limit, total = 256 << 10, 20000
	l := newLog(Options{Stdout: true, Classes: usual}, time.Now, w, io.Discard, limit)
	pad := strings.Repeat("x", 50)
	for i := range total {
		l.Logf(core.LogNotice, "%d %s", i, pad)
		if i%7 == 0 {
			l.Flush()
		}
		if held := l.writer.state().backlog + len(l.buf); held > limit {
			t.Fatalf("%d bytes are held, %d allowed", held, limit)
		}
	}
	if l.syncWithin(0) {
		t.Fatal("synced although nobody reads")
	}

	lines := make(chan []string)
	go func() {
		defer close(lines)
		var all []string
		for s := bufio.NewScanner(r); s.Scan(); {
			all = append(all, s.Text())
		}
		lines <- all
	}()
	if !l.Sync() {
		t.Fatal("not synced although somebody reads")
	}
	l.Logf(core.LogNotice, "back")
	l.Close()
	w.Close()
	all := <-lines

	kept := len(all) - 2
	if kept < limit/2/len(pad)/2 || kept >= total {
		t.Fatalf("%d of %d lines were kept", kept, total)
	}
	for i, line := range all[:kept] {
		if want := fmt.Sprintf("%d %s", i, pad); line != want {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if want := fmt.Sprintf("Warning: %d log lines were lost because they could not be written.", total-kept); all[kept] != want {
		t.Errorf("got %q, want %q", all[kept], want)
	}
	if all[kept+1] != "back" {
		t.Errorf("last line %q", all[kept+1])
	}
}

// A full backlog that has been written meanwhile costs no line.
func TestBacklogIsLookedAtAgain(t *testing.T) {
	var out bytes.Buffer
	const limit = 16 << 10
	l := newLog(Options{Stdout: true, Classes: usual}, time.Now, &out, io.Discard, limit)
	defer l.Close()
	lines := 0
	for range 50 {
		for len(l.buf)+l.backlog+lineMax+1 <= limit {
			l.Logf(core.LogNotice, "line")
			lines++
		}
		l.Flush()
		<-l.writer.sync() // written, but the log has not heard of it
	}
	l.Sync()
	if got := strings.Count(out.String(), "line\n"); got != lines || strings.Contains(out.String(), "lost") {
		t.Errorf("%d of %d lines were written", got, lines)
	}
}

// A burst within one turn is handed over in pieces, in order.
func TestLongTurn(t *testing.T) {
	var out bytes.Buffer
	l := newLog(Options{Stdout: true, Classes: usual}, time.Now, &out, io.Discard, backlogMax)
	defer l.Close()
	const total = 10000
	var want bytes.Buffer
	for i := range total {
		l.Logf(core.LogNotice, "line %d of a long turn", i)
		fmt.Fprintf(&want, "line %d of a long turn\n", i)
		if cap(l.buf) > 2*jobSize {
			t.Fatalf("the buffer has grown to %d bytes", cap(l.buf))
		}
	}
	l.Sync()
	if !bytes.Equal(out.Bytes(), want.Bytes()) {
		t.Error("lines are missing or out of order")
	}
}

// flaky fails each write whose error is not nil, after taking n bytes of it.
type flaky struct {
	bytes.Buffer
	fail bool
	n    int
}

func (f *flaky) Write(p []byte) (int, error) {
	if !f.fail {
		return f.Buffer.Write(p)
	}
	n := min(f.n, len(p))
	f.Buffer.Write(p[:n])
	return n, errors.New("disk full")
}

func TestDiskFull(t *testing.T) {
	var out flaky
	var other bytes.Buffer
	l := newLog(Options{Stdout: true, Stderr: true, Classes: usual}, time.Now, &out, &other, backlogMax)
	defer l.Close()
	l.Logf(core.LogNotice, "one")
	l.Sync()
	out.fail, out.n = true, len("two\nth")
	l.Logf(core.LogNotice, "two")
	l.Logf(core.LogNotice, "three")
	l.Sync()
	out.n = 0
	l.Logf(core.LogNotice, "four")
	l.Sync()
	out.fail = false
	l.Logf(core.LogNotice, "five")
	l.Sync()
	warning := "Warning: 2 log lines were lost because they could not be written.\n"
	if got, want := out.String(), "one\ntwo\nth\nfive\n"+warning; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := other.String(), "one\ntwo\nthree\nfour\nfive\n"+warning; got != want {
		t.Errorf("the destination that works got %q, want %q", got, want)
	}
}

// Two buffers are enough when the goroutine keeps up.
func TestReusesBuffers(t *testing.T) {
	l := newLog(Options{Stdout: true, Classes: usual}, time.Now, io.Discard, io.Discard, backlogMax)
	defer l.Close()
	buffers := map[*byte]bool{}
	for range 50 {
		l.Logf(core.LogNotice, "a line")
		buffers[&l.buf[0]] = true
		l.Flush()
		<-l.writer.sync()
	}
	if len(buffers) > 2 {
		t.Errorf("%d buffers were used", len(buffers))
	}
}

func BenchmarkLog(b *testing.B) {
	for _, c := range []struct {
		name  string
		class core.Class
	}{{"logged", core.LogNotice}, {"unwanted", core.LogDebug}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLog(Options{Stdout: true, Classes: usual, Timestamp: true}, time.Now, io.Discard, io.Discard, backlogMax)
			defer l.Close()
			b.ReportAllocs()
			for b.Loop() {
				if l.Enabled(c.class) {
					l.Logf(c.class, "Received PUBLISH from %s (d%d, q%d, r%d, m%d, '%s', ... (%d bytes))", "client", 0, 1, 0, 7, "a/b/c", 100)
				}
				l.Flush()
			}
		})
	}
}
