package core

import (
	"cmp"
	"slices"
)

// inflight is a session's window: the deliveries that were sent and are not
// acknowledged, found by packet identifier in one step. The table is a power of
// two and an identifier lives in the slot of its low bits; identifiers are given
// out in turn, so they rarely meet, and one whose slot is taken is passed over.
type inflight struct {
	slots []delivery // id 0: free
	n     int
	bytes int      // of payloads
	again int      // how many are still to be sent again on this connection
	order []uint16 // identifiers to send again, in the order of their numbers
}

const firstWindow = 16

// at is the delivery with that identifier, or nil.
func (w *inflight) at(id uint16) *delivery {
	if w == nil || id == 0 {
		return nil
	}
	d := &w.slots[int(id)&(len(w.slots)-1)]
	if d.id != id {
		return nil
	}
	return d
}

// open is how many messages are under way on this connection.
func (w *inflight) open() int {
	if w == nil {
		return 0
	}
	return w.n - w.again
}

func (w *inflight) held() (n, bytes int) {
	if w == nil {
		return 0, 0
	}
	return w.n, w.bytes
}

// grow doubles the table.
func (w *inflight) grow() {
	old := w.slots
	w.slots = make([]delivery, 2*len(old))
	for _, d := range old {
		if d.id != 0 {
			w.slots[int(d.id)&(len(w.slots)-1)] = d
		}
	}
}

// put gives d the next unused identifier of s and keeps it, one more user of its
// message. At most 65,535 may be open ([MQTT-2.3.1-2], v5 [MQTT-2.2.1-4]).
func (b *Broker) put(s *Session, d delivery) *delivery {
	w := s.window
	if w == nil {
		w = b.newWindow()
		s.window = w
		b.account(w.cost())
	}
	if 2*w.n >= len(w.slots) && len(w.slots) < 1<<16 {
		w.grow()
		b.account(w.cost() / 2)
	}
	for {
		s.nextID++
		if s.nextID == 0 {
			s.nextID = 1
		}
		slot := &w.slots[int(s.nextID)&(len(w.slots)-1)]
		if slot.id != 0 {
			continue
		}
		d.id = s.nextID
		d.msg.use()
		*slot = d
		w.n++
		w.bytes += len(d.msg.Payload)
		b.stats.Queued++
		b.stats.QueuedBytes += int64(len(d.msg.Payload))
		return slot
	}
}

// take removes a delivery that is over.
func (b *Broker) take(s *Session, d *delivery) {
	w := s.window
	if b.recording(s) {
		b.rec.Delivered(s.id, d.num)
	}
	w.n--
	w.bytes -= len(d.msg.Payload)
	b.stats.Queued--
	b.stats.QueuedBytes -= int64(len(d.msg.Payload))
	if d.flags&deliverAgain != 0 {
		w.again--
	}
	b.unuse(d.msg)
	*d = delivery{}
	if w.n == 0 {
		b.account(-w.cost())
		b.freeWindow(w)
		s.window = nil
	}
}

// inOrder lists the window in the order of its numbers.
func (w *inflight) inOrder() []*delivery {
	if w == nil {
		return nil
	}
	all := make([]*delivery, 0, w.n)
	for i := range w.slots {
		if w.slots[i].id != 0 {
			all = append(all, &w.slots[i])
		}
	}
	slices.SortFunc(all, func(a, b *delivery) int { return cmp.Compare(a.num, b.num) })
	return all
}

// rewind readies the window for a new connection: all of it is to be sent again,
// in its first order ([MQTT-4.4.0-1], [MQTT-4.6.0-1]).
func (w *inflight) rewind() {
	if w == nil {
		return
	}
	w.order = w.order[:0]
	for _, d := range w.inOrder() {
		d.flags |= deliverAgain
		w.order = append(w.order, d.id)
	}
	w.again = w.n
}

func (b *Broker) newWindow() *inflight {
	if n := len(b.free.windows); n > 0 {
		w := b.free.windows[n-1]
		b.free.windows = b.free.windows[:n-1]
		b.free.slots -= len(w.slots)
		return w
	}
	return &inflight{slots: make([]delivery, firstWindow)}
}

func (b *Broker) freeWindow(w *inflight) {
	if len(w.slots) > 16*firstWindow || b.free.slots+len(w.slots) > poolSlots {
		return
	}
	b.free.slots += len(w.slots)
	w.again, w.order = 0, nil
	b.free.windows = append(b.free.windows, w)
}
