package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// secure is the TLS of one connection. crypto/tls runs over wire, a net.Conn in
// memory:
//
//	collecting ──whole ClientHello──▶ shaking, on a goroutine of its own ──▶ open
//
// Until the client has sent the whole of its first record it costs those bytes and
// no goroutine. When it is open, everything happens on the loop: a read that finds
// nothing says so at once, what is written is appended to a buffer.
type secure struct {
	conn  *tls.Conn // nil while collecting
	wire  wire
	shake *shake // nil when open
}

// wire is the net.Conn that crypto/tls has.
type wire struct {
	shake *shake  // as in secure
	in    []byte  // to be read
	out   *[]byte // what is written is appended to it, or to rest
	rest  []byte  // written while nobody waited for it: an alert, an answer to a key update
	said  int     // bytes of that since open began
}

// saidMax is how many bytes TLS may say of its own accord while it takes in what one
// read brought: enough for some dozens of answers to key updates. Who asks for more is
// only after our time and memory.
const saidMax = 1 << 10

var errUpdates = errors.New("tls: too many key updates")

func (w *wire) Read(p []byte) (int, error) {
	if w.shake != nil {
		return w.shake.read(p)
	}
	switch {
	case len(w.in) == 0:
		return 0, wouldBlock{}
	case w.said > saidMax:
		return 0, errUpdates
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.shake != nil:
		return w.shake.write(p)
	case w.out != nil:
		*w.out = append(*w.out, p...)
	default:
		w.rest = append(w.rest, p...)
		w.said += len(p)
	}
	return len(p), nil
}

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// open decrypts what came. All of wire is used up, for dst has room for it.
func (s *secure) open(dst, wire []byte) (n int, err error) {
	var over error
	if h := s.shake; h != nil {
		if done, err := s.handshake(wire); !done || err != nil {
			return 0, err
		}
		wire, over = nil, h.over
		defer lean(s.conn)
	}
	if len(s.wire.in) == 0 {
		s.wire.in = wire
	} else {
		s.wire.in = append(s.wire.in, wire...)
	}
	s.wire.said = 0
	for n < len(dst) {
		k, err := s.conn.Read(dst[n:])
		n += k
		if err == (wouldBlock{}) {
			s.wire.in = nil
			return n, over
		}
		if err != nil {
			return n, plainError(err)
		}
	}
	return n, errors.New("TLS: no room for a record") // dst was too small
}

// handshake takes in bytes before the connection is open.
func (s *secure) handshake(wire []byte) (done bool, err error) {
	h := s.shake
	switch h.stage {
	case collecting:
		return false, h.collect(wire, s)
	case queued:
		h.in = append(h.in, wire...)
		return false, nil
	}
	if !h.ended(wire) {
		return false, nil
	}
	s.shake, s.wire.shake = nil, nil
	s.wire.in, s.wire.rest = h.in, h.out
	if h.err != nil {
		if err = plainError(h.err); err == io.EOF && h.over != nil {
			err = h.over
		}
		return false, err
	}
	return true, nil
}

// seal encrypts plain and appends the records to out.
func (s *secure) seal(out *[]byte, plain []byte) error {
	s.wire.out = out
	_, err := s.conn.Write(plain)
	s.wire.out = nil
	return err
}

// take appends what TLS wants to send of its own accord to out.
func (s *secure) take(out []byte) []byte {
	if s.shake != nil {
		return s.shake.take(out)
	}
	if len(s.wire.rest) > 0 {
		out = append(out, s.wire.rest...)
		s.wire.rest = nil
	}
	return out
}

func (s *secure) full() bool {
	return s.shake != nil && (s.shake.over != nil || s.shake.held() > heldMax)
}

// gone is the error with which the socket has ended while the handshake was under way.
func (s *secure) gone() error {
	if s.shake == nil || s.shake.over == io.EOF {
		return nil
	}
	return s.shake.over
}

func (s *secure) held() int {
	if s.shake == nil {
		return 0
	}
	return s.shake.held()
}

// finish says good-bye.
func (s *secure) finish() {
	if s.shake == nil {
		s.conn.CloseWrite()
	}
}

func (s *secure) close() {
	if s.shake != nil {
		s.shake.cancel()
	}
}

// plainError is an error of crypto/tls as it is told in the log.
func plainError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	prefix := "TLS: "
	var op *net.OpError
	if errors.As(err, &op) {
		if err = op.Err; op.Op == "remote error" {
			prefix = "TLS: the client says: "
		}
	}
	return errors.New(prefix + strings.TrimPrefix(err.Error(), "tls: "))
}
