package main

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (l *loop) readable(c *conn) {
	got := c.recv
	for again := true; again && c.fd >= 0; {
		again = l.readOnce(c)
	}
	if len(l.acks) > 0 && c.st == stUp {
		l.write(c, l.acks)
	}
	l.acks = l.acks[:0]
	if c.recv != got {
		l.lag -= c.recv - got
		l.progress = l.now
		if c.g != nil {
			c.g.mark()
		}
	}
	if c.onRead != nil && c.st == stUp {
		c.onRead(c)
	}
}

// readOnce does one read and reports whether another one is worth it.
func (l *loop) readOnce(c *conn) bool {
	if c.skip > 0 && l.size >= bigPayload { // MSG_TRUNC discards without copying
		r, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(l.rbuf))), uintptr(c.skip), unix.MSG_TRUNC, 0, 0)
		if e == unix.EAGAIN {
			return false
		} else if e != 0 || r == 0 {
			l.gone(c, e)
			return false
		}
		l.reads, l.totReads, l.bytes = l.reads+1, l.totReads+1, l.bytes+int(r)
		if c.skip -= int(r); c.skip == 0 {
			l.parse(c, c.rem, true)
			return true
		}
		return false
	}
	k := 0
	if c.skip == 0 {
		if k = copy(l.rbuf, c.rem); k > len(l.rbuf)-4096 {
			failf("client %s: oversized packet", c.id)
		}
	}
	want := l.rbuf[k:]
	if l.size >= bigPayload {
		want = want[:keepPrefix]
	}
	n, e := rawIO(unix.SYS_READ, c.fd, want)
	if e == unix.EAGAIN {
		return false
	} else if e != 0 || n == 0 {
		l.gone(c, e)
		return false
	}
	l.reads, l.totReads, l.bytes = l.reads+1, l.totReads+1, l.bytes+n
	if l.h != nil {
		l.now = time.Now()
	}
	b := l.rbuf[:k+n]
	if c.skip > 0 {
		if n < c.skip {
			c.skip -= n
			return n == len(want)
		}
		b = b[c.skip:]
		c.skip = 0
		l.parse(c, c.rem, true)
	}
	c.rem = c.rem[:0]
	l.parse(c, b, false)
	return n == len(want) && l.size >= bigPayload
}

// parse handles the packets in b and keeps an incomplete last one; with cut, b
// is the kept start of one packet whose rest has been skipped.
func (l *loop) parse(c *conn, b []byte, cut bool) {
	i, pkts := 0, 0
	for i+2 <= len(b) {
		h, rl, p := b[i], int(b[i+1]), i+2
		if rl >= 0x80 {
			v, n := getVar(b[i+1:])
			if n == 0 {
				break
			}
			rl, p = v, i+1+n
		}
		end := p + rl
		if end > len(b) {
			if cut {
				end = len(b)
			} else if h>>4 == tPublish && len(b)-i >= keepPrefix && rl > 2*keepPrefix {
				c.rem = append(c.rem[:0], b[i:i+keepPrefix]...)
				c.skip = end - len(b)
				l.pkts += pkts
				return
			} else {
				break
			}
		}
		pkts++
		if h>>4 == tPublish {
			l.publish(c, h, b[p:end], rl)
		} else {
			l.control(c, h, b[p:end])
		}
		if c.fd < 0 {
			return
		}
		i = end
	}
	l.pkts += pkts
	if cut {
		c.rem = c.rem[:0]
	} else if i < len(b) {
		c.rem = append(c.rem[:0], b[i:]...)
	}
}

// publish handles a PUBLISH of n bytes after the fixed header; b may be cut
// short behind the payload's first bytes.
func (l *loop) publish(c *conn, h byte, b []byte, n int) {
	if len(b) < 2 {
		failf("client %s: malformed PUBLISH", c.id)
	}
	q := 2 + (int(b[0])<<8 | int(b[1]))
	qos := h >> 1 & 3
	if qos != 0 {
		if q+2 > len(b) {
			failf("client %s: malformed PUBLISH", c.id)
		}
		pid := int(b[q])<<8 | int(b[q+1])
		if qos == 1 {
			l.acks = append(l.acks, 0x40, 2, b[q], b[q+1])
		} else {
			l.acks = append(l.acks, 0x50, 2, b[q], b[q+1])
			if c.rel == nil {
				c.rel = make([]uint64, 1024)
			}
			if c.rel[pid>>6]&(1<<(pid&63)) != 0 {
				l.v.redelivered++
				return
			}
			c.rel[pid>>6] |= 1 << (pid & 63)
			c.relOpen++
		}
		q += 2
	}
	if o.v5 {
		pl, k := 0, 0
		if q < len(b) {
			pl, k = getVar(b[q:])
		}
		if k == 0 {
			failf("client %s: malformed PUBLISH", c.id)
		}
		q += k + pl
	}
	if n-q != l.size || qos != l.subQos || (h&1 != 0) != l.retained {
		l.v.oddShape(h, n-q)
	}
	if l.size < 8 {
		c.recv++
		return
	}
	if q+8 > len(b) {
		return // wrong size, counted above
	}
	s, seq := binary.BigEndian.Uint32(b[q:]), binary.BigEndian.Uint32(b[q+4:])
	if i := c.base + int(s); s-c.lo < c.n && l.v.next[i] == seq {
		l.v.next[i] = seq + 1
		c.recv++
	} else {
		l.v.odd(c, s, seq)
	}
	if l.h != nil && q+16 <= len(b) {
		if ts := int64(binary.BigEndian.Uint64(b[q+8:])); ts >= l.warm {
			l.h.add(int64(l.now.Sub(l.epoch)) - ts)
		}
	}
}

func (l *loop) control(c *conn, h byte, b []byte) {
	switch h >> 4 {
	case tConnack:
		if len(b) < 2 || b[1] != 0 || c.st != stDialed {
			failf("client %s: CONNACK refused: % x", c.id, b)
		}
		c.present = b[0]&1 != 0
		c.props = connackProps{recvMax: 65535, maxQos: 2}
		if o.v5 {
			c.props = parseConnackProps(b[2:])
		}
		c.st = stUp
		l.up++
		l.pending--
		l.progress = l.now
		if c.onUp != nil {
			c.onUp(c)
		}
	case tSuback:
		codes := b[2:]
		if o.v5 {
			n, k := getVar(codes)
			codes = codes[k+n:]
		}
		for _, r := range codes {
			if r != l.subQos {
				failf("client %s: SUBACK code %#x, asked for QoS %d", c.id, r, l.subQos)
			}
		}
		c.subacks += len(codes)
		l.subacks += len(codes)
		l.progress = l.now
		if c.onSuback != nil {
			c.onSuback(c)
		}
	case tPuback, tPubrec, tPubcomp:
		if len(b) < 2 || c.p == nil {
			failf("client %s: unexpected packet %#x", c.id, h)
		}
		if len(b) > 2 && b[2] >= 0x80 {
			failf("client %s: packet %#x with reason code %#x", c.id, h, b[2])
		}
		c.p.ack(h>>4, int(b[0])<<8|int(b[1]))
	case tPubrel:
		if len(b) < 2 {
			failf("client %s: malformed PUBREL", c.id)
		}
		if pid := int(b[0])<<8 | int(b[1]); c.rel != nil && c.rel[pid>>6]&(1<<(pid&63)) != 0 {
			c.rel[pid>>6] &^= 1 << (pid & 63)
			c.relOpen--
		}
		l.acks = append(l.acks, 0x70, 2, b[0], b[1])
	case tPingresp:
		l.pongs++
		l.progress = l.now
	case tDisconnect:
		failf("client %s: DISCONNECT from the broker: % x", c.id, b)
	default:
		failf("client %s: unexpected packet %#x", c.id, h)
	}
}
