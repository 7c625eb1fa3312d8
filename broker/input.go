package broker

import (
	"slices"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/packet"
)

// readBuffer is the size of the shared read buffer, in bytes.
const readBuffer = 256 << 10

// What connections may hold in all before their CONNECT was accepted, in bytes.
const unadmittedMax = 16 << 20

// A tail of largeTail bytes and more is not copied back for each read: the rest of
// the packet is read to where it is kept. Its room is at most growth times what has
// arrived, so that a length alone never costs memory.
const (
	largeTail = 4 << 10
	growth    = 4
)

// workBytes is how many bytes are as much work as one delivery is.
const workBytes = 256

// readMax is how many bytes a connection may be read in its turn.
func (s *Server) readMax() int { return max(16<<10, s.share*workBytes) }

// read takes in what the socket has, once, and hands it to core.
func (s *Server) read(c *conn, ready loop.Events, now core.Time) {
	if c.Paused() {
		s.watch(c) // not to be woken again
		if ready&loop.Hangup != 0 && !c.Crowding() {
			s.core.Lost(&c.Client, nil, now)
		}
		return
	}
	if c.More() {
		return // first what there is
	}
	if c.wire != nil {
		s.readWire(c, ready, now)
		return
	}
	if c.large() {
		s.readLarge(c, now)
		return
	}
	old := copy(s.buf, c.left())
	n, err := loop.Read(int(c.Handle), s.buf[old:min(len(s.buf), old+s.readMax())])
	if !s.alive(c, n, err, now) {
		return
	}
	data := s.buf[:old+n]
	used, need := s.receive(c, data, n, now)
	s.keep(c, data[used:], need)
}

// readLarge reads more of a large packet to where it is kept, and what follows it
// into the shared buffer.
func (s *Server) readLarge(c *conn, now core.Time) {
	have, end := s.makeRoom(c)
	behind := s.buf
	if most := have + s.readMax(); end > most {
		end = most
	}
	if end < int(c.need) {
		behind = nil
	}
	n, err := loop.Readv(int(c.Handle), c.tail[have:end], behind)
	if !s.alive(c, n, err, now) {
		return
	}
	here := min(n, end-have)
	c.tail = c.tail[:have+here]
	s.receiveLarge(c, s.buf[:n-here], n, now)
}

// makeRoom sees to it that c's tail can grow, and says from where to where.
func (s *Server) makeRoom(c *conn) (have, end int) {
	whole := int(c.need)
	if c.used > 0 || len(c.tail) == min(cap(c.tail), whole) {
		s.moveTail(c, c.left(), whole)
	}
	return len(c.tail), min(cap(c.tail), whole)
}

// receiveLarge hands over c's tail, which has grown, and then what came behind the
// packet in it.
func (s *Server) receiveLarge(c *conn, behind []byte, fresh int, now core.Time) {
	used, need := s.receive(c, c.tail, fresh, now)
	if used < len(c.tail) {
		c.tail = append(c.tail, behind...) // there is some if core had enough for this turn
		s.advance(c, used, need)
		return
	}
	s.keep(c, nil, 0)
	if len(behind) > 0 && !c.Closed() {
		used, need = s.receive(c, behind, 0, now)
		s.keep(c, behind[used:], need)
	}
}

// receives is how often core may stop for full outputs in one go.
const receives = 8

// receive hands bytes to core and writes the outputs that become full on the
// way. Where core has had enough for this turn, the connection goes on in the next.
func (s *Server) receive(c *conn, data []byte, fresh int, now core.Time) (used, need int) {
	work := fresh / workBytes
	for range receives {
		var n int
		n, need = s.core.Receive(&c.Client, data[used:], fresh, now)
		used, fresh = used+n, 0
		filled := s.core.Filled()
		work += s.core.Work()
		s.flushEach(filled[:min(len(filled), flushMax/2)], now) // the others at the turn's end
		s.core.Settle()
		if !c.More() || c.Paused() || len(filled) == 0 || len(filled) > flushMax/2 || work > s.share {
			break
		}
	}
	s.weigh(c, work)
	s.list(c)
	if c.Parked() {
		s.watch(c) // lest it be read, but to hear when it goes
	}
	return used, need
}

// end handles the end of a stream whose client is parked: nobody waits for the verdict,
// unless there is more than the CONNECT to be handled.
func (s *Server) end(c *conn, now core.Time) {
	if !c.Parked() {
		return
	}
	if c.unhandled() || loop.Unread(int(c.Handle)) {
		c.marks |= markEnded
		s.watch(c)
		return
	}
	s.core.Lost(&c.Client, nil, now)
}

// conclude ends a connection that is final once all it has sent is handled. It is not
// read any more, for until then it has More, or is parked.
func (s *Server) conclude(c *conn, now core.Time) {
	if c.marks&markFinal != 0 && !c.unhandled() {
		s.core.Lost(&c.Client, nil, now)
	}
}

// unhandled says that whole packets are left; behind its CONNECT, if c is parked.
func (c *conn) unhandled() bool {
	if !c.Parked() {
		return c.More()
	}
	h, err := packet.ReadHeader(c.left(), 0)
	return err == nil && h.Len() < len(c.left())
}

// list has c go on in the next turn, if core left something of it and may have it.
func (s *Server) list(c *conn) {
	if c.More() && c.marks&markListed == 0 && !c.Paused() {
		c.marks |= markListed
		s.again = append(s.again, c)
	}
}

// weigh notes what a connection has cost. Who costs more than its share is heavy until
// it costs less: it is not read with the others, but in the order of those that go on.
func (s *Server) weigh(c *conn, work int) {
	s.spent += work
	c.marks &^= markHeavy
	if work > s.share {
		c.marks |= markHeavy
	}
}

// turnOf reads a connection that has something, or puts it where heavy ones wait.
func (s *Server) turnOf(c *conn, ready loop.Events, now core.Time) {
	switch {
	case c.marks&markHeavy == 0 || c.Paused():
		s.read(c, ready, now)
	case c.marks&markListed == 0:
		c.marks |= markListed
		s.again = append(s.again, c)
	}
}

// goOn has those go on that had more to do than their share: as many as there is time
// for in a turn, and one while there is much to be written.
func (s *Server) goOn(now core.Time) {
	s.share = s.core.Share(1)
	n := 0
	for waiting := len(s.again); n < waiting && (n == 0 || s.spent <= core.WorkTurn && len(s.unwritten) <= flushMax); n++ {
		c := s.again[n]
		c.marks &^= markListed
		switch {
		case c.Closed() || c.Paused():
		case c.More():
			used, need := s.receive(c, c.left(), 0, now)
			s.advance(c, used, need)
			s.conclude(c, now)
		default:
			s.read(c, loop.Readable, now)
		}
	}
	s.again = slices.Delete(s.again, 0, n)
}

// alive says whether a read brought bytes; else the connection is told to be
// lost, or just has nothing.
func (s *Server) alive(c *conn, n int, err error, now core.Time) bool {
	switch {
	case err == loop.ErrAgain:
		return false
	case err != nil:
		s.core.Lost(&c.Client, err, now)
		return false
	case n == 0:
		s.core.Lost(&c.Client, nil, now)
		return false
	}
	return true
}

// keep stores the beginning of a packet with its connection, or lets the buffer go.
func (s *Server) keep(c *conn, rest []byte, need int) {
	if len(rest) == 0 && c.tail == nil {
		c.need = 0
		return
	}
	s.moveTail(c, rest, need)
}

// moveTail makes rest c's tail, in a buffer with room for more of a packet of need
// bytes.
func (s *Server) moveTail(c *conn, rest []byte, need int) {
	old := c.tail
	c.tail, c.used, c.need = nil, 0, int32(need)
	if len(rest) > 0 {
		c.tail = append(s.tails.take(max(len(rest), min(need, growth*len(rest)))), rest...)
	}
	s.tails.put(old)
	s.charge(c)
}

// advance takes what core used from the beginning of what was left. The rest stays
// where it is while it is the greater part.
func (s *Server) advance(c *conn, used, need int) {
	rest := c.left()[used:]
	if len(rest) < int(c.used)+used {
		s.moveTail(c, rest, need)
		return
	}
	c.used += int32(used)
	c.need = int32(need)
	s.charge(c)
}

// charge counts what is kept of what c has sent: for those whose CONNECT was not
// accepted yet apart, for the others in core's account. Above the limit of either the
// one that holds most is ended.
func (s *Server) charge(c *conn) {
	if c.Closed() {
		s.discharge(c)
		return
	}
	kept := cap(c.tail)
	if c.Connected() {
		s.chargeCore(c, kept)
		return
	}
	if c.wire != nil {
		kept += c.wire.Held()
	}
	s.unadmitted += kept - int(c.charged)
	c.charged = int32(kept)
	if s.unadmitted > unadmittedMax {
		c = s.greatest(c, 0)
		s.core.Kick(&c.Client, packet.ServerBusy, "out of memory", s.now())
		s.discharge(c)
	}
}

// chargeCore is charge for a client that is connected.
func (s *Server) chargeCore(c *conn, kept int) {
	if c.marks&markCharged == 0 {
		s.discharge(c)
		c.marks |= markCharged
	}
	for !s.core.Room(kept - int(c.charged)) {
		most := s.greatest(c, markCharged)
		if most == c || int(most.charged) <= kept {
			if kept <= largeTail { // it is not these that fill the memory
				break
			}
			most = c
		}
		s.core.Kick(&most.Client, packet.QuotaExceeded, "quota exceeded", s.now())
		s.discharge(most)
		if most == c {
			return
		}
	}
	s.core.Hold(kept - int(c.charged))
	c.charged = int32(kept)
}

// discharge forgets what was counted for c.
func (s *Server) discharge(c *conn) {
	if c.marks&markCharged != 0 {
		s.core.Hold(-int(c.charged))
	} else {
		s.unadmitted -= int(c.charged)
	}
	c.charged = 0
}

// greatest is the connection of those with that mark that holds most: c, unless
// another one holds more.
func (s *Server) greatest(c *conn, mark connMarks) *conn {
	for _, other := range s.conns {
		if other != nil && other.marks&markCharged == mark && other.charged > c.charged {
			c = other
		}
	}
	return c
}
