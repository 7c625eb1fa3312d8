package core

import (
	"slices"
	"strings"

	"midge/packet"
)

// Limits: what may wait for a session, how large a message may be, and memory_limit. Where one
// makes the broker drop or refuse something it says so, and the oracle looks whether
// there was a reason: that it may have been at the limit. What was dropped came last.

// simDrops is a time in which messages for a client were dropped: from when the broker said
// so, which it does once for a connection, to the next connection.
type simDrops struct{ from, to int } // steps; 0: it goes on

// limits are those of a world.
func (w *simWorld) limits(d *simDice) {
	w.cfg.MaxQueuedBytes = []int{0, 0, 0, 0, 60}[d.n(5)]
	w.cfg.MessageSizeLimit = []int{0, 0, 0, 1500}[d.n(4)]
	if d.n(5) == 0 {
		w.cfg.MemoryLimit = int64(8000 + d.n(20_000))
	}
	w.say("queued bytes %d, message size %d, memory %d", w.cfg.MaxQueuedBytes, w.cfg.MessageSizeLimit, w.cfg.MemoryLimit)
}

const simDropping = "Outgoing messages are being dropped"

// heard takes note of the broker's log.
func (w *simWorld) heard(format string, args []any) {
	if !strings.HasPrefix(format, simDropping) {
		return
	}
	id := args[0].(string)
	i := slices.IndexFunc(w.clients, func(c *simClient) bool { return c.id == id })
	s := w.b.sessions[id]
	if i < 0 || s == nil {
		w.fail("the broker drops messages for %s, whoever that is", id)
		return
	}
	w.clients[i].drops = append(w.clients[i].drops, simDrops{from: w.step})
	n, bytes := waitingFor(s)
	most, mostBytes := w.cfg.MaxQueuedMessages, w.cfg.MaxQueuedBytes
	if !(most > 0 && n >= most || mostBytes > 0 && bytes >= mostBytes || w.tight(0)) {
		w.fail("the broker drops messages for %s, for which %d of %d bytes wait", id, n, bytes)
	}
}

// waitingFor counts what a session has in its queues, and in its window while it is away.
func waitingFor(s *Session) (n, bytes int) {
	each(s, func(d *delivery) {
		if d.id == 0 || s.client == nil {
			n++
			bytes += len(d.msg.Payload)
		}
	})
	return n, bytes
}

// dropped says that m may have been dropped for c.
func (c *simClient) dropped(m *simMsg) bool {
	return slices.ContainsFunc(c.drops, func(d simDrops) bool {
		return (m.until == 0 || d.from <= m.until) && (d.to == 0 || d.to >= m.start)
	})
}

// dropsEnd: the broker has begun anew with c, at a step or later.
func (c *simClient) dropsEnd(begun int) {
	for i := range c.drops {
		if c.drops[i].to == 0 && c.drops[i].from < begun {
			c.drops[i].to = c.w.step
		}
	}
}

// simLarge is more than anything takes that the clients send, in the account.
const simLarge = 6000

// tight says that the broker may have been short of memory.
func (w *simWorld) tight(more int64) bool {
	return w.cfg.MemoryLimit > 0 && max(w.most, w.b.acct.most)+more >= w.cfg.MemoryLimit
}

// refuses says that the broker may have had a reason, since a step, to refuse what would be kept.
func (w *simWorld) refuses(since int) bool { return w.mayBeDown(since) || w.tight(simLarge) }

// large says that nobody gets m.
func (w *simWorld) large(m *simMsg) bool {
	return w.cfg.MessageSizeLimit > 0 && m.size > w.cfg.MessageSizeLimit
}

// refusal judges the reason with which a message was refused.
func (c *simClient) mayRefuse(m *simMsg, r packet.Reason) bool {
	since := max(m.start, c.conn.begun)
	switch r {
	case packet.NotAuthorized:
		return true // denied has judged it
	case packet.QuotaExceeded:
		return c.w.large(m) || c.w.refuses(since)
	}
	return r == packet.UnspecifiedError && c.w.mayBeDown(since)
}

// bounded: no queue is longer than it may be.
func (w *simWorld) bounded() {
	for id, s := range w.b.sessions {
		if n := s.waiting.len(); w.cfg.MaxQueuedMessages > 0 && n > w.cfg.MaxQueuedMessages {
			w.fail("%d messages wait for %s", n, id)
		}
		if n := s.waiting.bytes(); w.cfg.MaxQueuedBytes > 0 && n > w.cfg.MaxQueuedBytes+simLarge {
			w.fail("%d bytes wait for %s", n, id)
		}
	}
}
