package broker

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/conf"
)

// listener is a listener of the configuration.
type listener struct {
	conf    conf.Listener
	core    *core.Listener         // what clients that come now are under
	sockets []socket               // one for each address family, or address of its host name
	open    int                    // connections
	guests  map[*core.Listener]int // connections by what they are under: core, or what it was before a reload
}

// socket is a listening one.
type socket struct {
	fd   int
	path string // of a Unix socket, to be removed at the end
}

// errNoListener says that no socket could be opened at all.
var errNoListener = errors.New("no listening socket")

// backlogs are the accept queues' lengths.
const (
	tcpBacklog  = 100
	unixBacklog = 10
)

// accepts is how many connections one listener takes in one turn.
const accepts = 64

// target is a listener to be: with the addresses that its host name stands for.
type target struct {
	conf.Listener
	addresses []address
	err       error // the name could not be looked up
}

// open opens the sockets of a listener.
func (s *Server) open(t *target) (*listener, error) {
	l := &listener{guests: make(map[*core.Listener]int)}
	if t.Path != "" {
		s.log.Logf(core.LogInfo, "Opening unix listen socket on path %s.", t.Path)
		if err := s.add(l, "unix", t.Path, unixBacklog); err != nil {
			return nil, err
		}
		return l, nil
	}
	if t.err != nil {
		return nil, t.err
	}
	var failed error
	for _, a := range t.addresses {
		s.log.Logf(core.LogInfo, "Opening ipv%s listen socket on port %d.", a.network[len("tcp"):], t.Port)
		if err := s.add(l, a.network, a.address, tcpBacklog); err != nil {
			failed = err
			if !a.optional {
				s.stopListening(l)
				return nil, err
			}
		}
	}
	if len(l.sockets) == 0 {
		return nil, failed
	}
	return l, nil
}

// add opens one socket of l.
func (s *Server) add(l *listener, network, address string, backlog int) error {
	fd, err := loop.Listen(network, address, backlog)
	if err != nil {
		if network != "unix" && errors.Is(err, syscall.EACCES) {
			s.adviseSetcap()
		}
		return plain(err)
	}
	if err := s.poll.Add(fd, loop.Readable); err != nil {
		loop.Close(fd)
		return err
	}
	s.doors[fd] = l
	one := socket{fd: fd}
	if network == "unix" {
		one.path = address
	}
	l.sockets = append(l.sockets, one)
	return nil
}

// stopListening closes l's sockets. Its connections go on.
func (s *Server) stopListening(l *listener) {
	for _, one := range l.sockets {
		delete(s.doors, one.fd)
		loop.Close(one.fd)
		if one.path != "" {
			os.Remove(one.path)
		}
	}
	l.sockets = nil
}

// configure has l do as c says: for clients that come now in all, and for those
// that are connected where they were not told otherwise.
func (s *Server) configure(l *listener, c conf.Listener) {
	next := coreListener(&c)
	if c.Path == "" {
		next.Remote = s.remote
	}
	l.conf, l.core = c, next
	for under, n := range l.guests {
		if n == 0 {
			l.forget(s, under)
			continue
		}
		under.Follow(next)
	}
	l.guests[next] = 0
	s.homes[next] = l
}

// enter counts a connection of l.
func (l *listener) enter() {
	l.open++
	l.guests[l.core]++
}

// leave counts one out again, by what it is under.
func (s *Server) leave(under *core.Listener) {
	l := s.homes[under]
	l.open--
	l.guests[under]--
	if l.guests[under] == 0 && under != l.core {
		l.forget(s, under)
	}
}

// forget drops what nobody is under any more.
func (l *listener) forget(s *Server, under *core.Listener) {
	delete(l.guests, under)
	delete(s.homes, under)
}

// address is one place to bind to.
type address struct {
	network, address string
	optional         bool // its family may be missing on this machine
}

// addresses are those a listener binds to: both families where it names none.
func addresses(l *conf.Listener) ([]address, error) {
	port := strconv.Itoa(l.Port)
	var all []address
	if l.Host == "" {
		all = []address{{"tcp4", ":" + port, false}, {"tcp6", ":" + port, true}}
	} else {
		ips, err := net.LookupHost(l.Host)
		if err != nil {
			return nil, err
		}
		for _, ip := range ips {
			a, err := netip.ParseAddr(ip)
			if err != nil {
				return nil, err
			}
			network := "tcp6"
			if a.Unmap().Is4() {
				network = "tcp4"
			}
			all = append(all, address{network, net.JoinHostPort(ip, port), false})
		}
	}
	kept := all[:0]
	for _, a := range all {
		if l.SocketDomain == conf.AnyDomain || (l.SocketDomain == conf.IPv4) == (a.network == "tcp4") {
			a.optional = a.optional && l.SocketDomain == conf.AnyDomain
			kept = append(kept, a)
		}
	}
	return kept, nil
}

// adviseSetcap says how to open a port below 1024 without being root.
func (s *Server) adviseSetcap() {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	s.log.Logf(core.LogError, "If you are trying to bind to a privileged port (<1024), try using setcap and do not start the broker as root:")
	s.log.Logf(core.LogError, "    sudo setcap 'CAP_NET_BIND_SERVICE=+ep' %s", self)
}

// plain is the bare reason of a failed system call, as mosquitto prints it.
func plain(err error) error {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err
	}
	text := []byte(no.Error())
	text[0] &^= 'a' - 'A'
	return errors.New(string(text))
}

// complaint is mosquitto's line for a listener that cannot be opened.
func complaint(err error) string {
	var name *net.DNSError
	switch {
	case !errors.As(err, &name):
		return "Error: " + err.Error()
	case name.IsNotFound:
		return "Error creating listener: Name or service not known."
	}
	return "Error creating listener: " + name.Err + "."
}

// accept takes in the connections that wait, up to a bound.
func (s *Server) accept(l *listener, from int, now core.Time) {
	for range accepts {
		fd, addr, err := loop.Accept(from)
		if err != nil {
			if err != loop.ErrAgain {
				s.refused(from, err)
			}
			return
		}
		s.starved = false
		s.welcome(l, fd, addr, now)
	}
}

// refused handles a connection that could not be accepted. Without descriptors
// it is taken by the one kept in reserve and closed, so that it does not wait
// and wake the loop for ever.
func (s *Server) refused(from int, err error) {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		s.log.Logf(core.LogError, "Error: %s", plain(err))
		return
	}
	s.reserve.Shed(from)
	if !s.starved {
		s.starved = true
		s.log.Logf(core.LogWarning, `Unable to accept new connection, system socket count has been exceeded. Try increasing "ulimit -n" or equivalent.`)
	}
}

// welcome makes a connection of an accepted socket.
func (s *Server) welcome(l *listener, fd int, addr netip.AddrPort, now core.Time) {
	if top := l.conf.MaxConnections; top > 0 && l.open >= top || s.conf.GlobalMaxConnections > 0 && s.sockets >= s.conf.GlobalMaxConnections {
		s.deny(l, addr)
		loop.Close(fd)
		return
	}
	if s.conf.SetTCPNoDelay && addr.IsValid() {
		s.setNoDelay(fd)
	}
	if err := s.poll.Add(fd, loop.Readable); err != nil {
		s.log.Logf(core.LogError, "Error: %s", err)
		loop.Close(fd)
		return
	}
	c := newConn(fd, l.core, addr)
	for fd >= len(s.conns) {
		s.conns = append(s.conns, make([]*conn, max(64, len(s.conns)))...)
	}
	s.conns[fd] = c
	l.enter()
	s.sockets++
	if s.conf.ConnectionMessages && s.log.Enabled(core.LogNotice) {
		s.log.Logf(core.LogNotice, "New connection from %s on port %d.", c.Peer(), l.core.Port)
	}
	s.core.Open(&c.Client, now)
}

// deny logs that a connection was one too many.
func (s *Server) deny(l *listener, addr netip.AddrPort) {
	if !s.conf.ConnectionMessages {
		return
	}
	from := l.conf.Path
	if addr.IsValid() {
		from = addr.Addr().Unmap().String()
	}
	s.log.Logf(core.LogNotice, "Client connection from %s denied: max_connections exceeded.", from)
}
