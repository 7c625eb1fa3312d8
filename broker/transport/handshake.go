package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Handshakes runs TLS handshakes beside the loop. At most one processor less than
// there are computes them, and shakingMax of them are under way; the others wait
// in a queue, in which they cost the bytes that came. While somebody waits, those
// that make their peers' acquaintance for longer than dawdling are ended: a client
// that begins and never goes on takes nobody's place. The end of a socket waits for those
// alone that are under way and have something to judge.
type Handshakes struct {
	post   func(func()) // runs a function on the loop
	notify func(*Conn)  // called on the loop when Unwrap and Write are to be called
	now    func() time.Time

	turns chan struct{} // one token for each that may compute
	under []*shake      // under way, the oldest first
	queue []*shake      // waiting to begin
	timed bool          // relieve will be called
}

const (
	shakingMax = 512
	dawdling   = time.Second

	// heldMax is how many bytes a handshake may leave unread before no more are
	// read from the socket.
	heldMax = 32 << 10
)

// NewHandshakes makes a Handshakes that posts its mail by post.
func NewHandshakes(post func(func()), notify func(*Conn)) *Handshakes {
	h := &Handshakes{post: post, notify: notify, now: time.Now}
	h.turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
	return h
}

// stage is how far a handshake is.
type stage uint8

const (
	collecting stage = iota // the first record is not whole
	queued                  // it is, and the others are in front
	shaking                 // on its goroutine
)

// shake is a handshake. Up to queued it is the loop's alone.
type shake struct {
	conn   *Conn
	of     *Handshakes
	config *tls.Config
	stage  stage
	begun  time.Time

	mu      sync.Mutex
	in, out []byte
	more    chan struct{} // tells read of bytes, and of the end
	reading bool          // read waits for them
	stopped error         // given up by the loop, and why
	over    error         // how the socket ended, behind in; written by the loop alone
	last    []byte        // the end of what was read, as long as an alert in plain
	done    bool
	err     error // then: what came of it
}

var (
	errNoTLS    = errors.New("tls: first record does not look like a TLS handshake")
	errDawdling = errors.New("tls: handshake took too long while others waited")
)

// collect keeps bytes until the first record is whole, and then begins.
func (h *shake) collect(wire []byte, s *secure) error {
	h.in = append(h.in, wire...)
	if len(h.in) == 0 {
		return nil
	}
	const handshakeRecord, headerLen = 22, 5
	if h.in[0] != handshakeRecord || len(h.in) > 1 && h.in[1] != 3 {
		return plainError(errNoTLS)
	}
	if len(h.in) < headerLen {
		return nil
	}
	n := int(h.in[3])<<8 | int(h.in[4])
	if n > 1<<14 {
		return plainError(errNoTLS)
	}
	if len(h.in) < headerLen+n {
		return nil
	}
	h.stage = queued
	s.conn, s.wire.shake = tls.Server(&s.wire, h.config), h
	h.of.queue = append(h.of.queue, h)
	h.of.relieve()
	return nil
}

// relieve begins handshakes that wait, where there is room or can be made.
func (of *Handshakes) relieve() {
	for len(of.queue) > 0 {
		if len(of.under) >= shakingMax && !of.endDawdler() {
			break
		}
		h := of.queue[0]
		of.queue = slices.Delete(of.queue, 0, 1)
		of.begin(h)
	}
	if len(of.queue) > 0 && !of.timed {
		of.timed = true
		time.AfterFunc(dawdling, func() {
			of.post(func() {
				of.timed = false
				of.relieve()
			})
		})
	}
}

// endDawdler ends the oldest handshake that waits for its peer, if it has had time
// enough.
func (of *Handshakes) endDawdler() bool {
	now := of.now()
	for _, h := range of.under {
		if now.Sub(h.begun) < dawdling {
			return false
		}
		if h.stop(errDawdling, true) {
			of.forget(h)
			return true
		}
	}
	return false
}

func (of *Handshakes) forget(h *shake) {
	if i := slices.Index(of.under, h); i >= 0 {
		of.under = slices.Delete(of.under, i, i+1)
	}
}

func (of *Handshakes) begin(h *shake) {
	h.stage = shaking
	h.begun = of.now()
	h.more = make(chan struct{}, 1)
	of.under = append(of.under, h)
	conn := h.conn.secure.conn
	go func() {
		of.turns <- struct{}{}
		err := safely(conn.Handshake)
		<-of.turns
		h.end(err)
	}()
}

// safely makes a panic an error: the bytes are a stranger's.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("tls: handshake failed badly")
		}
	}()
	return f()
}

// end reports what came of it.
func (h *shake) end(err error) {
	h.mu.Lock()
	h.done, h.err = true, h.plainAlert(err)
	if h.stopped != nil {
		h.err = h.stopped
	}
	h.mu.Unlock()
	h.of.post(func() {
		h.of.forget(h)
		h.of.relieve()
		h.of.notify(h.conn)
	})
}

// read gives crypto/tls what came, and waits for it. While it waits another may
// compute.
func (h *shake) read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		full := len(h.in) > heldMax
		n, err := copy(p, h.in), h.stopped
		h.in = h.in[n:]
		h.remember(p[:n])
		full = full && len(h.in) <= heldMax
		if n == 0 && err == nil && h.over != nil {
			err = io.EOF
		}
		h.reading = n == 0 && err == nil
		h.mu.Unlock()
		if full {
			h.of.post(func() { h.of.notify(h.conn) }) // the socket can be read again
		}
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return n, nil
		}
		<-h.of.turns
		<-h.more
		h.of.turns <- struct{}{}
	}
}

// alertLen is the length of a record with an alert that is not encrypted, in bytes.
const alertLen = 7

// remember keeps the end of what was read.
func (h *shake) remember(b []byte) {
	h.last = append(h.last, b[max(0, len(b)-alertLen):]...)
	h.last = h.last[max(0, len(h.last)-alertLen):]
}

// plainAlert makes err the alert that the client has sent in plain, if it has: of TLS 1.3
// crypto/tls takes it for a record that is broken. OpenSSL sends one when it does not like
// the server's certificate, for it has not begun to encrypt by then.
func (h *shake) plainAlert(err error) error {
	const alertRecord, badRecordMAC = 21, tls.AlertError(20)
	var op *net.OpError
	if !errors.As(err, &op) || op.Err.Error() != badRecordMAC.Error() || len(h.last) < alertLen {
		return err
	}
	if b := h.last; b[0] != alertRecord || b[1] != 3 || b[3] != 0 || b[4] != 2 {
		return err
	}
	return &net.OpError{Op: "remote error", Err: tls.AlertError(h.last[6])}
}

// write takes what crypto/tls sends.
func (h *shake) write(p []byte) (int, error) {
	h.mu.Lock()
	first := len(h.out) == 0
	h.out = append(h.out, p...)
	h.mu.Unlock()
	if first {
		h.of.post(func() { h.of.notify(h.conn) })
	}
	return len(p), nil
}

// ended gives the handshake more bytes, or says that it is over.
func (h *shake) ended(wire []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in = append(h.in, wire...)
	if h.done {
		return true
	}
	if len(wire) > 0 {
		h.wake()
	}
	return false
}

// outlive notes that the socket has come to its end, and is false if the handshake has
// nothing to say of what came before.
func (h *shake) outlive(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stage != shaking || !h.done && h.reading && len(h.in) == 0 {
		return false
	}
	if h.over == nil {
		h.over = err
	}
	return true
}

// wake tells read to look again; under mu.
func (h *shake) wake() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// take appends what is to be sent to out.
func (h *shake) take(out []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	out = append(out, h.out...)
	h.out = nil
	return out
}

func (h *shake) held() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.in)
}

// stop has the handshake end with err. With idle set only if it waits for its peer;
// else nothing happens, and it is false.
func (h *shake) stop(err error, idle bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done || idle && (!h.reading || len(h.in) > 0) {
		return false
	}
	h.stopped = err
	if h.more != nil {
		h.wake()
	}
	return true
}

// cancel ends a handshake nobody waits for any more.
func (h *shake) cancel() {
	if i := slices.Index(h.of.queue, h); i >= 0 {
		h.of.queue = slices.Delete(h.of.queue, i, i+1)
	}
	h.stop(net.ErrClosed, false)
}
