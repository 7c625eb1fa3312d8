package core

import (
	"maps"
	"midge/packet"
	"midge/persist"
)

// A packet that promises something durable (CONNACK, PUBACK, PUBREC, PUBREL,
// PUBCOMP, SUBACK, UNSUBACK, and QoS 2 PUBLISH to a session that outlives its
// connection) leaves only when the record it relies on is safe. Those of one
// connection keep their order. PINGRESP and PUBLISH of QoS 0 and 1 pass them,
// but never a CONNACK, which is first on the wire [MQTT-3.2.0-1], nor a SUBACK,
// which they follow. Without a recorder nothing is ever held.

// held are packets in the order they were made.
type held struct {
	buf      []byte
	marks    []mark
	barriers int // CONNACK and SUBACK among them
	connack  bool
}

// mark is the end of one packet in held.buf.
type mark struct {
	end   int
	needs persist.Position
	pass  passing
	id    uint16 // of the delivery whose PUBLISH or PUBREL it is, for retry_interval
}

// passing says how a packet stands to those that are held.
type passing uint8

const (
	follows passing = iota // PUBLISH, PINGRESP: passes what is no barrier
	ordered                // waits its turn
	barrier                // CONNACK, SUBACK: nothing passes it
)

// target gives the slice to append a packet to that needs the record of that
// position, and whether it is held; then seal must be called after appending.
func (b *Broker) target(c *Client, needs persist.Position, p passing) (buf *[]byte, hold bool) {
	h := c.held
	if h == nil && needs <= b.safe || h != nil && p == follows && needs <= b.safe && h.barriers == 0 {
		b.touch(c)
		return &c.out.buf, false
	}
	if h == nil {
		h = b.newHeld()
		c.held = h
		b.holding = append(b.holding, c)
	}
	return &h.buf, true
}

func (b *Broker) newHeld() *held {
	n := len(b.free.held)
	if n == 0 {
		return new(held)
	}
	h := b.free.held[n-1]
	b.free.held = b.free.held[:n-1]
	return h
}

func (b *Broker) freeHeld(h *held) {
	if len(b.free.held) < poolHeld && cap(h.buf) <= poolHeldBuffer {
		*h = held{buf: h.buf[:0], marks: h.marks[:0]}
		b.free.held = append(b.free.held, h)
	}
}

// seal ends a packet that was appended to held. id is that of the delivery it
// belongs to, if any.
func (c *Client) seal(needs persist.Position, p passing, id uint16) {
	h := c.held
	h.marks = append(h.marks, mark{end: len(h.buf), needs: needs, pass: p, id: id})
	if p == barrier {
		h.barriers++
	}
}

// awaitsConnack says that the connection's CONNACK is still held: nothing may
// be sent before it.
func (c *Client) awaitsConnack() bool { return c.held != nil && c.held.connack }

// Synced tells that every record up to p is as safe as configured. What waited
// for them goes to the outputs. With an error nothing more becomes safe until it is
// called without: see down.go.
func (b *Broker) Synced(p persist.Position, err error, now Time) {
	b.down = reasonDown(err)
	b.safe = max(b.safe, p)
	maps.DeleteFunc(b.ended, func(_ string, end persist.Position) bool { return end <= b.safe })
	if len(b.ended) == 0 {
		b.ended = nil // a map keeps the room that it once needed
	}
	var waited []*Client
	waited, b.holding = b.holding, b.freed[:0]
	for _, c := range waited {
		if c.held == nil {
			continue
		}
		b.letGo(c)
		if c.held != nil {
			b.holding = append(b.holding, c)
		} else if c.state == connected {
			b.pump(c, now) // may hold again
			b.commit()
		}
	}
	clear(waited)
	b.freed = waited
}

// letGo moves to the output what is safe, up to the first packet that is not,
// and behind that what may pass it.
func (b *Broker) letGo(c *Client) {
	h := c.held
	blocked, walled := false, false
	kept, from, end := h.marks[:0], 0, 0
	for _, m := range h.marks {
		pkt := h.buf[from:m.end]
		from = m.end
		if m.needs <= b.safe && !walled && (!blocked || m.pass == follows) {
			b.touch(c)
			c.out.buf = append(c.out.buf, pkt...)
			b.watchResend(c, m.id, packet.Type(pkt[0]>>4) == packet.Pubrel)
			if m.pass == barrier {
				h.barriers--
				h.connack = false // it is the first barrier there is
			}
			continue
		}
		blocked, walled = true, walled || m.pass == barrier
		end += copy(h.buf[end:], pkt)
		m.end = end
		kept = append(kept, m)
	}
	h.buf, h.marks = h.buf[:end], kept
	if len(kept) == 0 {
		c.held = nil
		b.freeHeld(h)
	}
}

// record says that something of s, or of nobody's (nil), was reported to the
// recorder; the packets that rely on it wait for the record being made.
func (b *Broker) record(s *Session) {
	b.changed = true
	if s != nil {
		s.relies = b.pos + 1
	}
}

// recording says that changes of s are recorded, and that one follows.
func (b *Broker) recording(s *Session) bool {
	if b.rec == nil || !s.durable() {
		return false
	}
	b.record(s)
	return true
}

// commit ends the record, if there is one.
func (b *Broker) commit() {
	b.leans = 0
	if b.changed {
		b.changed = false
		b.pos++
		b.rec.Commit(b.pos)
	}
}

// own is the position a packet relies on that answers what is being handled.
func (b *Broker) own() persist.Position {
	if b.changed {
		return b.pos + 1
	}
	return b.leans
}
