package core

// delivery is one message for one session, waiting or under way; the state of a
// persist.Delivery in the shape the message path wants.
type delivery struct {
	msg   *message
	num   uint64 // its place in the session's order
	share *share // the group it came by, or nil
	subID uint32 // Subscription Identifier, 0 for none
	id    uint16 // packet identifier, 0 while it waits
	qos   byte
	flags deliveryFlags
}

type deliveryFlags uint8

const (
	deliverRetain   deliveryFlags = 1 << iota // goes out with RETAIN 1
	deliverAgain                              // to be sent again on this connection
	deliverReleased                           // PUBREL is out
	deliverRecorded                           // the recorder knows of it
)

func (d *delivery) retain() bool   { return d.flags&deliverRetain != 0 }
func (d *delivery) released() bool { return d.flags&deliverReleased != 0 }

// size is that of the parts a packet's length depends on, in bytes.
func (d *delivery) size() int {
	return len(d.msg.Topic) + len(d.msg.Properties) + len(d.msg.Payload)
}

// backlog is what waits for a session. The queues are apart so that QoS 0 can
// go on while the window is closed; between them the older number goes first.
type backlog struct {
	acked queue // QoS 1 and 2
	plain queue // QoS 0
	since Time  // when the first had to wait, see crowd
}

func (w *backlog) len() int {
	if w == nil {
		return 0
	}
	return w.acked.n + w.plain.n
}

func (w *backlog) plainLen() int {
	if w == nil {
		return 0
	}
	return w.plain.n
}

func (w *backlog) bytes() int {
	if w == nil {
		return 0
	}
	return w.acked.bytes + w.plain.bytes
}

// queue is a list of deliveries, first in, first out, in chunks: no slack of a
// doubling slice, and a chunk goes back to the pool when it is empty.
type queue struct {
	head, tail  *chunk
	first, last int // the head's first entry, the end of the tail's entries
	n           int
	bytes       int // of payloads
}

const chunkLen = 31

type chunk struct {
	next *chunk
	d    [chunkLen]delivery
}

// push adds d at the end, one more user of its message.
func (b *Broker) push(q *queue, d delivery) {
	if q.tail == nil || q.last == chunkLen {
		c := b.newChunk()
		if q.tail == nil {
			q.head, q.first = c, 0
		} else {
			q.tail.next = c
		}
		q.tail, q.last = c, 0
	}
	d.msg.use()
	q.tail.d[q.last] = d
	q.last++
	q.n++
	q.bytes += len(d.msg.Payload)
	b.stats.Queued++
	b.stats.QueuedBytes += int64(len(d.msg.Payload))
}

// front is the oldest entry; nil when there is none.
func (q *queue) front() *delivery {
	if q.n == 0 {
		return nil
	}
	return &q.head.d[q.first]
}

// pop removes the front. The caller takes over its use of the message.
func (b *Broker) pop(q *queue) {
	d := &q.head.d[q.first]
	q.n--
	q.bytes -= len(d.msg.Payload)
	b.stats.Queued--
	b.stats.QueuedBytes -= int64(len(d.msg.Payload))
	*d = delivery{}
	q.first++
	switch {
	case q.n == 0:
		b.freeChunk(q.head)
		*q = queue{}
	case q.first == chunkLen:
		next := q.head.next
		b.freeChunk(q.head)
		q.head, q.first = next, 0
	}
}

// filter keeps the entries keep says yes to, in their order. keep must not
// touch the queue.
func (b *Broker) filter(q *queue, keep func(*delivery) bool) {
	for range q.n {
		d := *q.front()
		b.pop(q)
		if keep(&d) {
			b.push(q, d)
		}
		b.unuse(d.msg)
	}
}

func (b *Broker) newChunk() *chunk {
	b.account(costChunk)
	c := b.free.chunks
	if c == nil {
		return new(chunk)
	}
	b.free.chunks = c.next
	b.free.chunked--
	c.next = nil
	return c
}

func (b *Broker) freeChunk(c *chunk) {
	b.account(-costChunk)
	c.next = nil
	if b.free.chunked < poolChunks {
		c.next = b.free.chunks
		b.free.chunks = c
		b.free.chunked++
	}
}
