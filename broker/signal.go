package broker

import (
	"bytes"
	"os"
	"os/signal"
	"syscall"
	"time"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/broker/process"
)

// watchSignals has signals handled on the loop's goroutine. The returned
// function ends that.
func (s *Server) watchSignals() (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	s.watchRTMin()
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for sig := range ch {
			s.poll.Post(func() { s.signal(sig) })
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
		if s.rtmin != nil {
			s.rtmin.Close()
		}
	}
}

// watchRTMin has SIGRTMIN open the log anew.
func (s *Server) watchRTMin() {
	r, err := loop.NewRTMin()
	if err == nil {
		if err = s.poll.Add(r.FD(), loop.Readable); err != nil {
			r.Close()
		}
	}
	if err != nil {
		s.log.Logf(core.LogWarning, "Warning: SIGRTMIN cannot be caught: %v", err)
		return
	}
	s.rtmin = r
}

// signal does what a signal asks for.
func (s *Server) signal(sig os.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM:
		s.stopping = true
	case syscall.SIGHUP:
		s.reload()
	case syscall.SIGUSR1:
		s.db.save()
	case syscall.SIGUSR2:
		s.dumpSubscriptions()
	}
}

// dumpSubscriptions writes to stdout beside the loop, which a pipe that nobody
// reads must not stop. While a dump is being written there is no other.
func (s *Server) dumpSubscriptions() {
	if s.dumping {
		return
	}
	s.dumping = true
	var tree bytes.Buffer
	s.core.DumpSubscriptions(&tree)
	go func() {
		os.Stdout.Write(tree.Bytes())
		s.poll.Post(func() { s.dumping = false })
	}()
}

// giveSigns has the watchdog told, at half its time, that the process is alive: by
// mail through the loop, so that it shows that the loop turns.
func (s *Server) giveSigns() {
	every := s.notify.Watchdog()
	if every <= 0 {
		return
	}
	s.notify.Tell(process.Alive)
	time.AfterFunc(every, func() { s.poll.Post(s.giveSigns) })
}
