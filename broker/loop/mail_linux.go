package loop

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

const (
	// mailBatch bounds the mail of one turn, so that a burst of it does not
	// keep the descriptors waiting.
	mailBatch = 128

	// mailKept is the capacity a slice of mail may keep after a burst.
	mailKept = 4 * mailBatch
)

// mailbox holds functions on their way to the loop's goroutine.
//
//	Post --> inbox --(swap when batch is empty)--> batch --> run
//
// One write to the eventfd is enough for all that is posted until the next
// swap: full says that it has been made.
type mailbox struct {
	mu    sync.Mutex
	inbox []func()    // posted, not yet seen by the loop; under mu
	wake  int         // eventfd, -1 once closed; written under mu
	full  atomic.Bool // inbox is not empty; set and cleared under mu

	batch []func() // taken from inbox; the loop's own
	next  int      // index in batch of the next one to run; the loop's own
}

// Post has f run on the loop's goroutine, by RunMail, after all that was
// posted before it, and wakes a Wait that blocks. It never blocks itself and
// may be called from any goroutine. After Close it does nothing.
func (p *Poller) Post(f func()) {
	m := &p.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake < 0 {
		return
	}
	m.inbox = append(m.inbox, f)
	if m.full.Load() {
		return
	}
	m.full.Store(true)
	// Under mu, lest the descriptor be closed and reused in between. It cannot
	// fail but for a full counter, and then the loop is awake anyway.
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	Write(m.wake, one[:])
}

// Mail reports whether RunMail has something to run.
func (p *Poller) Mail() bool {
	return p.mail.next < len(p.mail.batch) || p.mail.full.Load()
}

// RunMail runs what was posted, in order, but no more than a bounded batch;
// Mail tells whether there is more. What the functions themselves post is left
// for another call.
func (p *Poller) RunMail() {
	m := &p.mail
	if m.next == len(m.batch) {
		m.take()
	}
	end := min(len(m.batch), m.next+mailBatch)
	for m.next < end {
		f := m.batch[m.next]
		m.batch[m.next] = nil // what f holds on to is free once it has run
		m.next++              // first, so that a panic in f does not repeat it
		f()
	}
}

// take swaps the empty batch for the inbox.
func (m *mailbox) take() {
	empty := m.batch[:0]
	if cap(empty) > mailKept {
		empty = nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batch, m.inbox = m.inbox, empty
	m.next = 0
	m.full.Store(false)
}

// hush makes the eventfd unreadable again. The mail that it announced may
// have been run already.
func (m *mailbox) hush() {
	var count [8]byte
	Read(m.wake, count[:])
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	Close(m.wake)
	m.wake = -1
	m.inbox, m.batch, m.next = nil, nil, 0
	m.full.Store(false)
}
