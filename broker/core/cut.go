package core

import (
	"unsafe"

	"midge/packet"
)

// A payload of cutMin bytes and more is not copied into an output. It is cut in:
// sent from where it lies, which for all that wait for it is one message. While
// the packet is being handled it lies in the bytes that were given to Receive: it is
// lent to clients that take what they are sent, and these are written before the
// bytes are used again. What a socket did not take then is copied, once for all
// (see Settle).

// cutMin is in bytes. A copy of less costs no more than the further entry in the
// vector of a write.
const cutMin = 32 << 10

// cut is a payload, or what is left of it, in an output.
type cut struct {
	at   int      // index in output.buf before which it goes
	data string   // a view
	msg  *message // whose it is; nil while it is lent
	loan int      // then: which of Broker.loans it is
}

// cuts are those of one output, in their order.
type cuts struct {
	list  []cut
	bytes int // of all
	lent  int // of those that are lent
}

func (k *cuts) size() int {
	if k == nil {
		return 0
	}
	return k.bytes
}

// own is the size of what is not lent.
func (k *cuts) own() int {
	if k == nil {
		return 0
	}
	return k.bytes - k.lent
}

// loans are the payloads that are lent to outputs.
type loans struct {
	list []loan
	to   []*Client // each as often as there are payloads for it
}

type loan struct {
	payload string
	copied  *message // made when somebody must keep it
}

// cutIn appends p's payload to c's output.
func (b *Broker) cutIn(c *Client, p *publication) {
	if c.out.cuts == nil {
		c.out.cuts = b.newCuts()
	}
	k := cut{at: len(c.out.buf), data: p.payload}
	if p.msg == nil && p.lends && c.flags&flagStalled == 0 {
		k.loan = b.lend(c, p.payload)
		c.out.cuts.lent += len(k.data)
	} else {
		k.msg = b.message(p).use()
		k.data = k.msg.Payload
	}
	c.out.cuts.list = append(c.out.cuts.list, k)
	c.out.cuts.bytes += len(k.data)
}

// lend notes that c has payload on loan, and which of the loans that is.
func (b *Broker) lend(c *Client, payload string) int {
	l := &b.loans
	l.to = append(l.to, c)
	last := len(l.list) - 1
	if last < 0 || unsafe.StringData(l.list[last].payload) != unsafe.StringData(payload) {
		l.list = append(l.list, loan{payload: payload})
		last++
	}
	return last
}

// Settle ends what Receive began: what outputs still have of the bytes it was
// given is copied, and these are the caller's again.
func (b *Broker) Settle() {
	l := &b.loans
	if len(l.to) == 0 {
		return
	}
	for i, c := range l.to {
		l.to[i] = nil
		if c.out.cuts != nil && c.out.cuts.lent > 0 {
			b.settle(c.out.cuts)
		}
	}
	for i := range l.list {
		if m := l.list[i].copied; m != nil {
			b.unuse(m)
		}
	}
	clear(l.list)
	l.list, l.to = l.list[:0], l.to[:0]
}

func (b *Broker) settle(of *cuts) {
	for i := range of.list {
		k := &of.list[i]
		if k.msg != nil {
			continue
		}
		l := &b.loans.list[k.loan]
		if l.copied == nil {
			l.copied = b.message(&publication{topic: "-", payload: l.payload}) // each has a topic: its room begins there
		}
		k.msg = l.copied.use()
		k.data = k.msg.Payload[len(k.msg.Payload)-len(k.data):]
	}
	of.lent = 0
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
		if k.msg == nil {
			o.cuts.lent -= took
		}
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
	} else {
		o.cuts.lent -= len(o.cuts.list[0].data)
	}
	o.cuts.bytes -= len(o.cuts.list[0].data)
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
