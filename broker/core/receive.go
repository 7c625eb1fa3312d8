package core

import (
	"bytes"
	"fmt"

	"midge/packet"
	"midge/persist"
)

// Receive handles the packets at the start of data, which c's transport read;
// the last fresh bytes of it are new, what is before was given in vain last time.
// It returns how many bytes it used up; the rest is the beginning of a packet
// and belongs in front of what is read next. need is the whole length of that
// packet in bytes where it is known already, else 0; it is within the limits. After
// an error, or a DISCONNECT, the client is Closed and everything is used up.
//
// It stops early, with whole packets left and c.More true, when outputs became
// full (see Filled: they are to be written, so that messages for those who read
// need not wait in queues and overflow them), or when it has done so much that others
// have waited long enough. It stops before a CONNECT whose login takes time, see
// Client.Parked. A large payload may be in
// outputs as a view of data until Settle is called, which must be before data
// changes and before the next Receive.
//
// A panic while the bytes are decoded ends this connection only; one in the
// broker itself goes on to the caller, for its state cannot be trusted then.
func (b *Broker) Receive(c *Client, data []byte, fresh int, now Time) (used, need int) {
	b.stats.BytesReceived += uint64(fresh)
	if c.Parked() {
		return 0, 0
	}
	b.work, b.receiving = 0, true
	c.flags &^= flagMore
	b.crowd.mine = false
	decoding := true
	defer func() {
		b.receiving = false
		if b.crowd.mine && c.state == connected {
			b.wait(c, now)
		}
		if decoding {
			if r := recover(); r != nil {
				b.fail(c, nil, &fault{cause: causeMalformed, why: fmt.Sprint("decoder failed: ", r)}, now)
				used, need = len(data), 0
			}
		}
	}()
	for used < len(data) && c.state != closed {
		if b.work > b.share || len(b.filled) > 0 || b.crowd.mine {
			c.flags |= flagMore
			return used, 0
		}
		h, err := b.frame(c, data[used:])
		if err != nil {
			decoding = false
			b.fail(c, nil, err, now)
			break
		}
		if h.Size == 0 {
			return used, 0
		}
		end := used + h.Len()
		if end > len(data) {
			c.progress(h.Len(), end-len(data), now)
			return used, h.Len()
		}
		p := &b.packet
		if c.state == opened {
			p.Connect.Version = 0 // so that it is not an earlier client's when this CONNECT is no good
		}
		if c.flags&flagPart != 0 && c.state == connected {
			c.extra.part.resume(p, h, data[used+h.Size:end])
		} else {
			err = p.Decode(c.version, packet.FromClient, h.First, data[used+h.Size:end])
		}
		if err == nil && c.state == opened && p.Connect.Version == packet.V5 && !h.Shortest() {
			err = faultLength
		}
		if err != nil {
			decoding = false
			b.refuse(c, p, err, now)
			break
		}
		used = end
		c.heard = now
		b.stats.MessagesReceived++
		decoding = false
		before := b.pos
		if err := b.handle(c, p, now); err != nil {
			b.fail(c, p, err, now)
		}
		if c.Parked() {
			return used - h.Len(), 0
		}
		b.commit()
		if c.flags&flagPart != 0 && c.state != closed {
			b.part(c, before)
			return used - h.Len(), 0
		}
		if b.owing && b.pos != before && c.state != closed {
			b.owe(c)
			return used, 0
		}
		decoding = true
	}
	if c.state == closed {
		b.commit()
		return len(data), 0
	}
	return used, 0
}

// Share has Receive stop sooner where n clients are waiting for their turn, and gives
// what one may do then, in the units of Work.
func (b *Broker) Share(n int) int {
	b.share = min(workMax, max(workMin, 4*WorkTurn/max(1, n)))
	return b.share
}

// Work is what the last Receive has done, in units of a delivery of QoS 0. One packet
// may come to more than a client's share.
func (b *Broker) Work() int { return b.work }

// part has a client go on with a packet that was not done.
func (b *Broker) part(c *Client, before persist.Position) {
	c.flags |= flagMore
	b.stats.MessagesReceived--
	if b.owing && b.pos != before {
		b.owe(c)
	}
}

// frame reads a packet's fixed header and applies the limits to it, before
// anything is kept for the packet. Size is 0 when the header is not whole.
func (b *Broker) frame(c *Client, data []byte) (packet.Header, error) {
	if c.state == opened && (packet.Type(data[0]>>4) != packet.Connect || isTLS(data)) {
		return packet.Header{}, b.notConnect(c, data) // [MQTT-3.1.0-1]
	}
	h, err := packet.ReadHeader(data, c.version)
	if err != nil || h.Size == 0 {
		return h, err
	}
	return h, b.limit(c, h)
}

// notConnect says what came in place of a CONNECT; nothing is answered.
func (b *Broker) notConnect(c *Client, data []byte) error {
	if isTLS(data) {
		b.log.Logf(LogNotice, "Client from %s appears to be using TLS to connect to a non-TLS listener.", c.Peer())
		return faultUnexpected
	}
	return &fault{cause: causeProtocol, why: fmt.Sprintf("First packet not CONNECT (%02X).", data[0])}
}

// isTLS says that a connection begins with a TLS handshake. No CONNECT looks
// like that: its Remaining Length would be 3.
func isTLS(data []byte) bool { return bytes.HasPrefix(data, []byte{0x16, 3}) }

// limit refuses a packet that is too large by its header.
func (b *Broker) limit(c *Client, h packet.Header) error {
	if b.cfg.MaxPacketSize > 0 && h.Len() > b.cfg.MaxPacketSize {
		return faultOversize // v5 [MQTT-3.2.2-15]
	}
	return h.Check(c.version)
}

// progress counts the arrival of a large packet's parts as a sign of life, as
// mosquitto does: with more than 1,000 bytes missing.
func (c *Client) progress(whole, missing int, now Time) {
	if c.state == connected && missing > 1000 {
		c.heard = now
	}
}

// refuse answers a packet that could not be decoded.
func (b *Broker) refuse(c *Client, p *packet.Packet, err error, now Time) {
	if c.state == opened {
		b.refuseConnect(c, p, err, now)
		return
	}
	if p.Type == packet.Connect { // its own error has a code for CONNACK, maybe none for DISCONNECT
		err = b.secondConnect(c)
	}
	b.fail(c, p, err, now)
}

// handle does what a decoded packet asks for.
func (b *Broker) handle(c *Client, p *packet.Packet, now Time) error {
	b.work++
	switch p.Type {
	case packet.Publish:
		return b.publish(c, p, now)
	case packet.Puback:
		return b.puback(c, p, now)
	case packet.Pubrec:
		return b.pubrec(c, p, now)
	case packet.Pubrel:
		return b.pubrel(c, p, now)
	case packet.Pubcomp:
		return b.pubcomp(c, p, now)
	case packet.Subscribe:
		return b.subscribe(c, p, now)
	case packet.Unsubscribe:
		return b.unsubscribe(c, p, now)
	case packet.Pingreq:
		b.ping(c)
		return nil
	case packet.Disconnect:
		return b.disconnect(c, p, now)
	case packet.Connect:
		return b.connect(c, p, now)
	case packet.Auth:
		return faultAuth
	}
	return &fault{cause: causeProtocol, why: fmt.Sprintf("%v when not a bridge.", p.Type)}
}

// ping answers a PINGREQ [MQTT-3.12.4-1].
func (b *Broker) ping(c *Client) {
	if b.debug {
		b.log.Logf(LogDebug, "Received PINGREQ from %s", c.session.id)
		b.log.Logf(LogDebug, "Sending PINGRESP to %s", c.session.id)
	}
	b.answer(c, follows, 0, packet.AppendPingresp(b.scratch[:0]))
}

// disconnect is the client's own end: no will, unless it asks for it with a
// reason other than 0 ([MQTT-3.14.4-3]; v5 3.14.2.1).
func (b *Broker) disconnect(c *Client, p *packet.Packet, now Time) error {
	s := c.session
	if b.debug {
		b.log.Logf(LogDebug, "Received DISCONNECT from %s", s.id)
	}
	if p.Props.Has(packet.SessionExpiry) {
		if c.flags&flagBrief != 0 && p.Props.SessionExpiry != 0 {
			return &fault{cause: causeProtocol, why: fmt.Sprintf(
				"DISCONNECT packet with mismatched session-expiry-interval (0:%d).", p.Props.SessionExpiry)}
		}
		s.expiry = b.capExpiry(p.Props.SessionExpiry)
	}
	if p.Reason == packet.Success {
		b.dropWill(s)
	}
	b.close(c, causeLeft, now)
	return nil
}
