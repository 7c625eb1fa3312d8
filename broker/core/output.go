package core

import (
	"midge/packet"
	"midge/persist"
)

// Nothing in core writes to a socket: packets are appended to the client's
// output, the client is put on the dirty list, and the turn's end writes each
// once. An idle client holds no buffer; they come from and go back to a pool.

// output is what a connection has to send.
type output struct {
	buf  []byte
	off  int   // of buf is written already
	cuts *cuts // large payloads in between; nil mostly
}

func (o *output) len() int { return len(o.buf) - o.off + o.cuts.size() }

// pool keeps what was used for the next to use.
type pool struct {
	buffers  [][]byte
	buffered int // bytes of those
	chunks   *chunk
	chunked  int
	messages stock
	cuts     []*cuts
	windows  []*inflight
	slots    int // of those
	held     []*held
}

// What the pool keeps at most.
const (
	poolBuffers = 16 << 20  // bytes of all buffers; a fan-out to thousands needs as many
	poolBuffer  = 128 << 10 // larger buffers are given back to the collector
	poolChunks  = 2048
	poolSlots   = 1 << 16 // of all windows

	poolHeld       = 1024
	poolHeldBuffer = 4 << 10 // bytes
	firstBuffer    = 512
)

// addDirty puts c on the dirty list.
func (b *Broker) addDirty(c *Client) {
	if c.flags&flagDirty == 0 {
		c.flags |= flagDirty
		b.dirty = append(b.dirty, c)
	}
}

// touch readies c's output for appending: it gets a buffer, and a place on the
// dirty list.
func (b *Broker) touch(c *Client) {
	b.addDirty(c)
	if c.out.buf != nil {
		return
	}
	if n := len(b.free.buffers); n > 0 {
		c.out.buf = b.free.buffers[n-1]
		b.free.buffers = b.free.buffers[:n-1]
		b.free.buffered -= cap(c.out.buf)
		return
	}
	c.out.buf = make([]byte, 0, firstBuffer)
}

// Dirty gives the clients that have output or are closed, and starts a new
// list. The slice is valid until the next call.
func (b *Broker) Dirty() []*Client {
	clear(b.turn) // lest clients that are gone be kept
	b.turn, b.dirty = b.dirty, b.turn[:0]
	for _, c := range b.turn {
		c.flags &^= flagDirty
	}
	return b.turn
}

// Filled gives the clients whose output became full since the last call, or has a
// large payload on loan: write them at once. The slice is valid until the next call
// of any method but those that write.
func (b *Broker) Filled() []*Client {
	for _, c := range b.loans.to {
		b.fill(c)
	}
	clear(b.full) // lest clients that are gone be kept
	b.full, b.filled = b.filled, b.full[:0]
	for _, c := range b.full {
		c.flags &^= flagFilled
	}
	return b.full
}

// Pending is the size of what c has to send, in bytes.
func (c *Client) Pending() int { return c.out.len() }

// Output is what c has to send, in one piece or several; valid until the next call
// of any method.
func (b *Broker) Output(c *Client) [][]byte {
	clear(b.runs)
	b.runs = c.out.parts(b.runs[:0])
	return b.runs
}

// Flushed tells that the first n bytes of Output were written, and the socket took
// no more if there is a rest. What waits in queues for room follows into the
// output once it is empty, so Output may be asked again.
func (b *Broker) Flushed(c *Client, n int, now Time) {
	b.stats.BytesSent += uint64(n)
	b.wrote(&c.out, n)
	if r := c.resend(); r != nil {
		r.left(uint64(n), now)
		b.armResend(c)
	}
	if c.out.len() > 0 {
		c.flags |= flagStalled
		b.tighten(&c.out)
		b.charge(c, cap(c.out.buf))
		return
	}
	c.flags &^= flagStalled | flagPaused
	b.release(c)
	if c.state == connected && c.session.hungry() {
		b.pump(c, now)
		b.commit()
	}
}

// Keeps tells that c's transport has n bytes that the socket did not take, after what
// Flushed was told of: they, and what waits behind them, are part of the account.
func (b *Broker) Keeps(c *Client, n int) {
	if n > 0 || c.flags&flagStalled != 0 {
		n += cap(c.out.buf)
	}
	b.charge(c, n)
}

// tighten moves what a socket did not take to a buffer of its size, where it is
// much less than the one it is in, for it may stay there long; and else to the
// front, once as much was written as there is left.
func (b *Broker) tighten(o *output) {
	left := len(o.buf) - o.off
	old := o.buf
	switch {
	case cap(old) >= 4*max(left, firstBuffer):
		o.buf = append(make([]byte, 0, max(left, firstBuffer)), old[o.off:]...)
		b.giveBack(old)
	case o.off >= max(outHigh, left):
		o.buf = old[:copy(old, old[o.off:])]
	default:
		return
	}
	if o.cuts != nil {
		for i := range o.cuts.list {
			o.cuts.list[i].at -= o.off
		}
	}
	o.off = 0
}

// release gives c's empty buffer back.
func (b *Broker) release(c *Client) {
	b.giveBack(c.out.buf)
	b.charge(c, 0)
	c.out = output{}
}

func (b *Broker) giveBack(buf []byte) {
	if cap(buf) >= firstBuffer && cap(buf) <= poolBuffer && b.free.buffered+cap(buf) <= poolBuffers {
		b.free.buffers = append(b.free.buffers, buf[:0])
		b.free.buffered += cap(buf)
	}
}

// Discard throws away the output of a closed connection.
func (b *Broker) Discard(c *Client) {
	for c.out.cuts != nil {
		b.endCut(&c.out)
	}
	b.release(c)
}

// full says that PUBLISH packets for c should wait in its session's queue, where
// one message does for all who wait for it.
func (c *Client) full() bool {
	if c.flags&flagStalled != 0 {
		return true
	}
	n := len(c.out.buf) - c.out.off + c.out.cuts.own()
	if c.held != nil {
		n += len(c.held.buf)
	}
	return n >= outHigh
}

// answer sends a packet that is no PUBLISH, made in scratch: at once, or held in
// its place until the record it needs is safe. A client that sends and does not
// read is not read either, once its answers alone have outgrown the limit;
// PUBLISH packets wait elsewhere.
func (b *Broker) answer(c *Client, p passing, needs persist.Position, pkt []byte) {
	b.answerFor(c, p, needs, pkt, 0)
}

// answerFor is answer with a packet that belongs to a delivery, or to none.
func (b *Broker) answerFor(c *Client, p passing, needs persist.Position, pkt []byte, delivery uint16) {
	b.scratch = pkt[:0]
	if len(pkt) > int(c.maxPacket) { // v5 [MQTT-3.1.2-24], [MQTT-3.1.2-25]
		b.log.Logf(LogNotice, "Dropping too large outgoing %v for %s (%d bytes)", packet.Type(pkt[0]>>4), c.name(), len(pkt))
		return
	}
	b.stats.MessagesSent++
	buf, hold := b.target(c, needs, p)
	*buf = append(*buf, pkt...)
	if hold {
		c.seal(needs, p, delivery)
	} else {
		b.watchResend(c, delivery, true)
	}
	if !c.full() {
		c.over = 0
		return
	}
	if c.over += len(pkt); c.over > overHigh {
		c.flags |= flagPaused
	}
}
