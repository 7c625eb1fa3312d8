// Package transport stands between the bytes of a wire and those of MQTT: the PROXY
// header, TLS, and WebSocket with the HTTP around it, in this order. Plain connections
// do without.
//
// A Conn is one connection's way. It owns no descriptor and no goroutine but that
// of its TLS handshake, and little while it is idle: what comes in is unwrapped into
// the loop's buffer, what goes out is wrapped in buffers that all connections of the
// loop share (Scratch), and only what a socket did not take is kept.
//
//	wire ──▶ Unwrap ──▶ bytes of MQTT
//	wire ◀── Write  ◀── bytes of MQTT
//
// All methods are for the loop's goroutine. A handshake runs beside it (see
// Handshakes) and reports by mail.
//
// It knows no MQTT and no listener; what of it a listener wants is put together in
// broker's way.go. Begin with Conn below, then proxy.go, tls.go or ws.go.
package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"midge/broker/loop"
)

// Slack is by how much dst must exceed wire in Unwrap, in bytes: what of a record of
// TLS came earlier.
const Slack = 20 << 10

// Scratch is what the connections of one loop share.
type Scratch struct {
	plain  []byte   // gathered to be encrypted
	sealed []byte   // encrypted, on the way to the socket
	bufs   [][]byte // of one write
}

// Conn is one connection's way between wire and MQTT.
type Conn struct {
	// Handle is the caller's own name for the connection, for the notices of
	// Handshakes.
	Handle int32

	scratch *Scratch
	proxy   *proxy  // the PROXY header; nil without
	secure  *secure // TLS; nil without
	web     *web    // WebSocket; nil without
	out     []byte  // wire bytes that the socket did not take
}

// New makes the way of a connection without any layer.
func New(handle int32, scratch *Scratch) *Conn {
	return &Conn{Handle: handle, scratch: scratch}
}

// Secure makes the connection one of TLS, as config has it. h runs its handshake.
func (c *Conn) Secure(h *Handshakes, config *tls.Config) {
	c.secure = &secure{shake: &shake{conn: c, of: h, config: config}}
}

// Proxy has the connection begin with a PROXY header.
func (c *Conn) Proxy(config *Proxy) { c.proxy = &proxy{config: config} }

// Web makes the connection, over TLS or not, one of WebSocket.
func (c *Conn) Web(config *Web) {
	c.web = &web{conn: c, config: config, code: closeNormal}
	if config.Folder != nil {
		config.Folder.users++
	}
}

// InPlace says that in Unwrap dst may, and should, begin where wire does, and needs
// no Slack.
func (c *Conn) InPlace() bool { return c.secure == nil }

// Unwrap takes in wire, which came from the socket, and puts the bytes of MQTT in it
// at the front of dst, which must be larger than wire by Slack and apart from it, but
// see InPlace. Without wire it goes on after a notice of Handshakes. An error ends the connection,
// after the n bytes; it is io.EOF where the peer said that it sends nothing more: then all
// but Unwrap goes on until Finish; or it is what End was told. There may be something to
// Write then, an alert for instance.
func (c *Conn) Unwrap(dst, wire []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil { // over the bytes of a stranger: it is his connection that ends
			n, err = 0, fmt.Errorf("transport failed: %v", r)
		}
	}()
	if c.proxy != nil {
		if wire, err = c.proxy.take(wire); err != nil {
			return 0, err
		}
	}
	switch {
	case c.secure != nil:
		n, err = c.secure.open(dst, wire)
	case c.proxy != nil:
		n = copy(dst, wire)
	default:
		n = len(wire)
	}
	if err == nil && len(c.out) > unsentMax {
		err = errors.New("TLS: answers to key updates are not read")
	}
	if c.web == nil {
		return n, err
	}
	n, webErr := c.web.unwrap(dst[:n])
	if webErr != nil {
		err = webErr
	}
	return n, err
}

// Write writes the bytes of MQTT in runs to the socket fd, wrapped, as far as it
// takes them; before them what was Unsent. The first n bytes of runs are done with
// then, and the slices in runs are changed. Errors are those of loop.Write without
// ErrAgain, or the error that End was told.
func (c *Conn) Write(fd int, runs [][]byte) (n int, err error) {
	if c.secure == nil {
		return c.writeFrames(fd, runs)
	}
	if err := c.secure.gone(); err != nil {
		return 0, err
	}
	for {
		if err := c.drain(fd); err != nil || len(c.out) > 0 {
			return n, err
		}
		plain := c.gather(runs)
		if len(plain) == 0 {
			return n, nil
		}
		if err := c.seal(fd, plain); err != nil {
			return n, err
		}
		k := c.took(len(plain))
		runs = skip(runs, k)
		n += k
	}
}

// writeFrames is Write without TLS.
func (c *Conn) writeFrames(fd int, runs [][]byte) (n int, err error) {
	for {
		bufs := c.next(runs)
		whole := size(bufs)
		if whole == 0 {
			return n, nil
		}
		k, err := loop.Writev(fd, bufs)
		if err != nil && err != loop.ErrAgain {
			return n, err
		}
		m := c.took(max(k, 0))
		n += m
		if k < whole {
			return n, nil
		}
		runs = skip(runs, m)
	}
}

// next is what goes into TLS, or out, next.
func (c *Conn) next(runs [][]byte) [][]byte {
	if c.web == nil {
		return runs
	}
	c.web.goOn()
	c.scratch.bufs = c.web.next(c.scratch.bufs[:0], runs)
	return c.scratch.bufs
}

// took says how many bytes of MQTT there are in the first k bytes of next.
func (c *Conn) took(k int) int {
	if c.web == nil {
		return k
	}
	return c.web.took(k)
}

// sealMax is how many bytes are encrypted at once, and so about the most that is
// kept for a socket that takes nothing.
const sealMax = 64 << 10

// unsentMax is how many bytes TLS may want to send of its own accord, beside that, to a
// client that does not read.
const unsentMax = sealMax + 128<<10

// gather is what is to be encrypted next of runs.
func (c *Conn) gather(runs [][]byte) []byte {
	if c.secure.shake != nil {
		return nil
	}
	runs = c.next(runs)
	if len(runs) == 1 {
		return runs[0][:min(len(runs[0]), sealMax)]
	}
	s := c.scratch
	s.plain = s.plain[:0]
	for _, r := range runs {
		s.plain = append(s.plain, r[:min(len(r), sealMax-len(s.plain))]...)
	}
	return s.plain
}

// seal encrypts plain and writes it to fd. What that does not take is kept.
func (c *Conn) seal(fd int, plain []byte) error {
	s := c.scratch
	s.sealed = s.sealed[:0]
	err := c.secure.seal(&s.sealed, plain)
	if err != nil {
		return err
	}
	k, err := loop.Write(fd, s.sealed)
	if err != nil && err != loop.ErrAgain {
		return err
	}
	if k < len(s.sealed) {
		c.out = append([]byte(nil), s.sealed[k:]...)
	}
	return nil
}

// skip takes n bytes off the front of runs.
func skip(runs [][]byte, n int) [][]byte {
	for len(runs) > 0 && n >= len(runs[0]) {
		n -= len(runs[0])
		runs = runs[1:]
	}
	if n > 0 {
		runs[0] = runs[0][n:]
	}
	return runs
}

// drain writes what the socket did not take before.
func (c *Conn) drain(fd int) error {
	c.fetch()
	if len(c.out) == 0 {
		return nil
	}
	k, err := loop.Write(fd, c.out)
	if err != nil && err != loop.ErrAgain {
		return err
	}
	switch {
	case k == len(c.out):
		c.out = nil
	case k > 0: // to a buffer of its size, for it may stay there long
		c.out = append([]byte(nil), c.out[k:]...)
	}
	return nil
}

// Kept is how many bytes of the wire wait for the socket to take them, in memory.
func (c *Conn) Kept() int { return cap(c.out) }

// fetch takes over what TLS itself wants to send.
func (c *Conn) fetch() {
	if c.secure != nil {
		c.out = c.secure.take(c.out)
	}
}

// Unsent says that wire bytes wait for the socket to take them, besides those of
// MQTT that were not given to Write yet.
func (c *Conn) Unsent() bool {
	c.fetch()
	return len(c.out) > 0 || c.web != nil && c.web.unsent()
}

// Full says that no more should be read from the socket before a notice, or before it
// has taken what is Unsent: what TLS answers of its own accord waits there too.
func (c *Conn) Full() bool { return c.secure != nil && (c.secure.full() || len(c.out) > 2*sealMax) }

// Shaking says that a handshake is under way, which gives notice when it has made
// something of what came, or has room for more.
func (c *Conn) Shaking() bool {
	return c.secure != nil && c.secure.shake != nil && c.secure.shake.stage == shaking
}

// End tells of the end of the socket: io.EOF, or the error of a read. It is true if a
// handshake under way has still to judge what came before. Then the connection is Full
// until a notice, and Unwrap tells what came of it.
func (c *Conn) End(err error) bool { return c.Shaking() && c.secure.shake.outlive(err) }

// Held is how many bytes are kept of a peer that is not through its handshake.
func (c *Conn) Held() int {
	n := 0
	if c.secure != nil {
		n = c.secure.held()
	}
	if c.web != nil {
		n += cap(c.web.request)
	}
	if c.proxy != nil {
		n += cap(c.proxy.head)
	}
	return n
}

// Finish writes the farewell of the layers, as far as the socket takes it. Nothing
// else can be written then.
func (c *Conn) Finish(fd int) {
	if c.web != nil {
		c.web.close()
		c.Write(fd, nil)
	}
	if c.secure != nil {
		c.secure.finish()
		c.drain(fd)
	}
}

// Source is who the PROXY header says the client is, told once, when the header has
// come. addr is not valid where the header does not say.
func (c *Conn) Source() (addr netip.AddrPort, ok bool) {
	if c.proxy == nil || !c.proxy.news {
		return addr, false
	}
	c.proxy.news = false
	return c.proxy.source, true
}

// Told is what the PROXY header says of the client's TLS.
func (c *Conn) Told() Told {
	if c.proxy == nil {
		return Told{}
	}
	return c.proxy.told
}

// Forwarded is the address that an HTTP proxy has told of, if it has.
func (c *Conn) Forwarded() netip.Addr {
	if c.web == nil {
		return netip.Addr{}
	}
	return c.web.forward
}

// Close ends what runs for the connection. The socket is the caller's.
func (c *Conn) Close() {
	if c.web != nil {
		c.web.drop()
		c.web.leave()
	}
	if c.secure != nil {
		c.secure.close()
	}
}

// TLS is the state of the connection's TLS; ok is false without, and before its
// handshake is done.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if c.secure == nil || c.secure.shake != nil {
		return state, false
	}
	return c.secure.conn.ConnectionState(), true
}

// wouldBlock is the error of a read that has nothing. crypto/tls forgets an error
// that says it is temporary.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var _ net.Error = wouldBlock{}
