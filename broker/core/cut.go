package core

import "midge/packet"

// A payload of cutMin bytes and more is not copied into an output. It is cut in:
// sent from where it lies, which for all that wait for it is one message. While
// the packet is being handled it lies in the bytes that were given to Receive; a
// client with nothing else to send is lent it there, and written at once. What
// the socket did not take then is copied, once for all (see Settle).

// cutMin is in bytes. A copy of less costs no more than the further entry in the
// vector of a write.
const cutMin = 32 << 10

// cut is a payload, or what is left of it, in an output.
type cut struct {
	at   int      // index in output.buf before which it goes
	data string   // a view
	msg  *message // whose it is; nil while it is lent
}

// cuts are those of one output, in their order.
type cuts struct {
	list  []cut
	bytes int // of all
}

func (k *cuts) size() int {
	if k == nil {
		return 0
	}
	return k.bytes
}

// loan is the payload that is lent to outputs.
type loan struct {
	payload string
	to      []*Client
}

// cutIn appends p's payload to c's output.
func (b *Broker) cutIn(c *Client, p *publication) {
	k := cut{at: len(c.out.buf), data: p.payload}
	if p.msg == nil && p.lends && c.out.cuts == nil && c.flags&flagStalled == 0 {
		b.loan.payload = p.payload
		b.loan.to = append(b.loan.to, c)
	} else {
		k.msg = b.message(p).use()
		k.data = k.msg.Payload
	}
	if c.out.cuts == nil {
		c.out.cuts = b.newCuts()
	}
	c.out.cuts.list = append(c.out.cuts.list, k)
	c.out.cuts.bytes += len(k.data)
	b.fill(c)
}

// Settle ends what Receive began: what outputs still have of the bytes it was
// given is copied, and these are the caller's again.
func (b *Broker) Settle() {
	if len(b.loan.to) == 0 {
		return
	}
	var own *message
	for i, c := range b.loan.to {
		b.loan.to[i] = nil
		if c.out.cuts == nil || c.out.cuts.list[0].msg != nil {
			continue // it was written
		}
		if own == nil {
			own = b.message(&publication{payload: b.loan.payload})
		}
		k := &c.out.cuts.list[0]
		k.msg = own.use()
		k.data = own.Payload[len(own.Payload)-len(k.data):]
	}
	b.loan.payload, b.loan.to = "", b.loan.to[:0]
	if own != nil {
		b.unuse(own)
	}
}

// wrote takes n bytes off the output's beginning.
func (b *Broker) wrote(o *output, n int) {
	for o.cuts != nil {
		k := &o.cuts.list[0]
		before := k.at - o.off
		if n < before {
			break
		}
		o.off, n = k.at, n-before
		took := min(n, len(k.data))
		k.data = k.data[took:]
		o.cuts.bytes -= took
		if n -= took; len(k.data) > 0 {
			return
		}
		b.endCut(o)
	}
	o.off += n
}

// endCut drops the first cut.
func (b *Broker) endCut(o *output) {
	if m := o.cuts.list[0].msg; m != nil {
		b.unuse(m)
	}
	n := copy(o.cuts.list, o.cuts.list[1:])
	o.cuts.list[n] = cut{}
	o.cuts.list = o.cuts.list[:n]
	if n == 0 {
		b.free.cuts = append(b.free.cuts, o.cuts)
		o.cuts = nil
	}
}

func (b *Broker) newCuts() *cuts {
	n := len(b.free.cuts)
	if n == 0 {
		return new(cuts)
	}
	k := b.free.cuts[n-1]
	b.free.cuts = b.free.cuts[:n-1]
	return k
}

// parts appends the output's runs of bytes to list.
func (o *output) parts(list [][]byte) [][]byte {
	from := o.off
	if o.cuts != nil {
		for i := range o.cuts.list {
			k := &o.cuts.list[i]
			if k.at > from {
				list = append(list, o.buf[from:k.at])
			}
			list = append(list, raw(k.data))
			from = k.at
		}
	}
	if from < len(o.buf) {
		list = append(list, o.buf[from:])
	}
	return list
}

// appendPublish appends a PUBLISH to an output, its payload copied or cut in.
func (b *Broker) appendPublish(c *Client, buf *[]byte, flags byte, topic string, id uint16, props string, p *publication) {
	if len(p.payload) < cutMin || buf != &c.out.buf {
		*buf = packet.AppendPublish(*buf, c.version, flags, topic, id, props, p.payload)
		return
	}
	*buf = packet.AppendPublishHead(*buf, c.version, flags, topic, id, props, len(p.payload))
	b.cutIn(c, p)
}
