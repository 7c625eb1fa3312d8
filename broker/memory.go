package broker

import (
	"midge/broker/core"
	"midge/broker/process"
)

// heed is what Go's collector was told of memory_limit. It keeps the process below
// it while the state is small, and must let it grow with the state.
type heed struct {
	limit int64     // memory_limit
	steps int64     // how much of it the state took, in parts of heedSteps
	again core.Time // when to look again
	busy  bool      // it is being told
}

const (
	heedSteps           = 16
	heedEvery core.Time = 1_000
)

// heedMemory tells the collector when that has changed, beside the loop: it waits for a
// collection that is under way.
func (s *Server) heedMemory(now core.Time) {
	if now < s.heed.again || s.heed.busy {
		return
	}
	s.heed.again = now + heedEvery
	limit, steps := s.conf.MemoryLimit, int64(0)
	used, _ := s.core.Memory()
	if limit > 0 {
		steps = used/max(1, limit/heedSteps) + 1
	}
	if limit == s.heed.limit && steps == s.heed.steps {
		return
	}
	s.heed = heed{limit: limit, steps: steps, again: s.heed.again, busy: true}
	go func() {
		process.HeedMemoryLimit(limit, min(limit, limit/heedSteps*steps))
		s.poll.Post(func() { s.heed.busy = false })
	}()
}
