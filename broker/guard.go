package broker

import (
	"context"
	"net"
	"net/netip"
	"time"

	"midge/broker/core"
	"midge/broker/hosts"
	"midge/broker/loop"
)

// guard keeps out the addresses that hosts.allow and hosts.deny keep out, as libwrap
// does for mosquitto: of every TCP connection, before anything else is done with it.
//
//	watch       beside the loop: reads the files again when they have changed
//	guard.rules what they say, the loop's
//	seek        beside the loop: a verdict that takes names, or many lines
type guard struct {
	rules *hosts.Rules
	seeks int           // under way
	slots chan struct{} // of those that look names up
	look  chan struct{} // the files are to be looked at now
	stop  chan struct{} // closed when the watch is to end
	told  bool          // that there are lines about the broker
}

const (
	hostsEvery  = time.Second     // how often the files are looked at
	seekTimeout = 5 * time.Second // after which a host has no name
	seeksMax    = 256             // more connections are kept out
	seekSlots   = 16              // look-ups at a time
)

// guardDoors reads the files, for the first time, and watches them. It must be
// called before connections are accepted.
func (s *Server) guardDoors() {
	files := hosts.FilesIn(s.options.HostsDir)
	s.guard = guard{rules: hosts.Closed(), slots: make(chan struct{}, seekSlots),
		look: make(chan struct{}, 1), stop: make(chan struct{})}
	first := readHosts(files)
	s.heedHosts(first)
	go s.watchHosts(files, first, s.guard.look, s.guard.stop)
}

// hostsRead is what came of reading the files.
type hostsRead struct {
	rules *hosts.Rules // nil if they cannot be read
	notes []string
	err   string
}

func readHosts(files hosts.Files) hostsRead {
	r := hostsRead{}
	var err error
	if r.rules, r.notes, err = hosts.Load(files); err != nil {
		r.err = err.Error()
	}
	return r
}

// watchHosts reads the files again when they have changed. An error is told once.
func (s *Server) watchHosts(files hosts.Files, last hostsRead, look, stop <-chan struct{}) {
	tick := time.NewTicker(hostsEvery)
	defer tick.Stop()
	good := last.rules
	for {
		select {
		case <-stop:
			return
		case <-look:
		case <-tick.C:
		}
		if good != nil && !good.Changed() {
			continue
		}
		next := readHosts(files)
		if next.rules == nil && next.err == last.err {
			continue
		}
		if last = next; next.rules != nil {
			good = next.rules
		}
		s.poll.Post(func() { s.heedHosts(next) })
	}
}

// heedHosts puts in force what was read. Files that cannot be read leave what was
// there before: at the start nobody is let in.
func (s *Server) heedHosts(r hostsRead) {
	if r.rules == nil {
		s.log.Logf(core.LogError, "Error: %s.", r.err)
		return
	}
	for _, n := range r.notes {
		s.log.Logf(core.LogWarning, "Warning: %s", n)
	}
	s.guard.rules = r.rules
	if n := r.rules.Len(); n > 0 || s.guard.told {
		s.log.Logf(core.LogInfo, "hosts.allow and hosts.deny have %d lines about this broker.", n)
		s.guard.told = n > 0
	}
}

// lookAgain has the files looked at without delay.
func (g *guard) lookAgain() {
	select {
	case g.look <- struct{}{}:
	default: // they are about to be
	}
}

// passes says whether a connection that was just accepted may go on. When that is not
// known yet it goes on later, if it may, and is not the caller's any more.
func (s *Server) passes(l *listener, fd int, peer netip.AddrPort) bool {
	g := &s.guard
	if g.rules.Empty() || !peer.IsValid() {
		return true
	}
	c := hosts.NewConn(peer.Addr(), localAddr(fd))
	verdict := hosts.Unsure
	if !g.rules.Slow() {
		verdict = g.rules.Judge(c)
	}
	switch {
	case verdict == hosts.Allowed:
		return true
	case verdict == hosts.Denied, g.seeks >= seeksMax:
		s.keepOut(fd, peer)
	default:
		s.seek(l, fd, peer, c)
	}
	return false
}

// localAddr is the address of this machine that a connection came to.
func localAddr(fd int) netip.Addr {
	a, err := loop.LocalAddr(fd)
	if err != nil {
		return netip.IPv4Unspecified() // it is gone already
	}
	return a.Addr()
}

// seek finds the verdict on a connection beside the loop.
func (s *Server) seek(l *listener, fd int, peer netip.AddrPort, c *hosts.Conn) {
	g := &s.guard
	g.seeks++
	rules := g.rules
	go func() {
		g.slots <- struct{}{}
		ctx, cancel := context.WithTimeout(context.Background(), seekTimeout)
		verdict := rules.JudgeSlowly(ctx, c, net.DefaultResolver)
		cancel()
		<-g.slots
		s.poll.Post(func() {
			g.seeks--
			switch {
			case verdict == hosts.Denied:
				s.keepOut(fd, peer)
			case len(l.sockets) == 0: // the listener was closed meanwhile
				loop.Close(fd)
			default:
				s.seat(l, fd, peer, s.now())
			}
		})
	}()
}

// keepOut closes a connection that the files keep out.
func (s *Server) keepOut(fd int, peer netip.AddrPort) {
	loop.Close(fd)
	if s.conf.ConnectionMessages {
		s.log.Logf(core.LogNotice, "Client connection from %s denied access by tcpd.", peer.Addr().Unmap())
	}
}
