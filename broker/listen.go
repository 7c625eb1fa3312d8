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

// listener is one listening socket. A listener of the configuration may have
// several: one for each address family, or address of its host name.
type listener struct {
	fd   int
	path string // of a Unix socket, to be removed at the end
	core *core.Listener
}

// limits of a configured listener, and what counts against them, shared by its
// sockets.
type limits struct {
	max  int // connections at once; 0 is any number
	open int // connections now
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

// listen opens all listeners. In local-only mode one address family may fail.
func (s *Server) listen(ports []int) error {
	list := s.conf.Listeners
	if s.conf.LocalOnly {
		list = s.conf.LocalListeners(ports...)
	}
	for i := range list {
		if err := s.open(&list[i]); err != nil {
			s.log.Logf(core.LogError, "%s", complaint(err))
			if !s.conf.LocalOnly {
				return err
			}
		}
	}
	if len(s.listeners) == 0 {
		s.log.Logf(core.LogError, "Error: Unable to start any listening sockets, exiting.")
		return errNoListener
	}
	return nil
}

// open opens the sockets of one configured listener.
func (s *Server) open(l *conf.Listener) error {
	common := coreListener(l)
	s.limits[common] = &limits{max: l.MaxConnections}
	if l.Path != "" {
		s.log.Logf(core.LogInfo, "Opening unix listen socket on path %s.", l.Path)
		return s.add("unix", l.Path, unixBacklog, common)
	}
	addrs, err := addresses(l)
	if err != nil {
		return err
	}
	common.Remote = s.remote
	var failed error
	opened := 0
	for _, a := range addrs {
		s.log.Logf(core.LogInfo, "Opening ipv%s listen socket on port %d.", a.network[len("tcp"):], l.Port)
		if err := s.add(a.network, a.address, tcpBacklog, common); err != nil {
			failed = err
			if a.optional {
				continue
			}
			return err
		}
		opened++
	}
	if opened == 0 {
		return failed
	}
	return nil
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

// add opens one socket.
func (s *Server) add(network, address string, backlog int, common *core.Listener) error {
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
	l := &listener{fd: fd, core: common}
	if network == "unix" {
		l.path = address
	}
	s.listeners = append(s.listeners, l)
	return nil
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

func (l *listener) close() {
	loop.Close(l.fd)
	if l.path != "" {
		os.Remove(l.path)
	}
}

// accept takes in the connections that wait, up to a bound.
func (s *Server) accept(l *listener, now core.Time) {
	for range accepts {
		fd, addr, err := loop.Accept(l.fd)
		if err != nil {
			if err != loop.ErrAgain {
				s.refused(l, err)
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
func (s *Server) refused(l *listener, err error) {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		s.log.Logf(core.LogError, "Error: %s", plain(err))
		return
	}
	s.reserve.Shed(l.fd)
	if !s.starved {
		s.starved = true
		s.log.Logf(core.LogWarning, `Unable to accept new connection, system socket count has been exceeded. Try increasing "ulimit -n" or equivalent.`)
	}
}

// welcome makes a connection of an accepted socket.
func (s *Server) welcome(l *listener, fd int, addr netip.AddrPort, now core.Time) {
	lim := s.limits[l.core]
	if lim.max > 0 && lim.open >= lim.max || s.conf.GlobalMaxConnections > 0 && s.sockets >= s.conf.GlobalMaxConnections {
		s.deny(l, addr)
		loop.Close(fd)
		return
	}
	if s.conf.SetTCPNoDelay && addr.IsValid() {
		if loop.SetNoDelay(fd) != nil {
			s.log.Logf(core.LogWarning, "Warning: Unable to set TCP_NODELAY.")
		}
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
	lim.open++
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
	from := l.path
	if addr.IsValid() {
		from = addr.Addr().Unmap().String()
	}
	s.log.Logf(core.LogNotice, "Client connection from %s denied: max_connections exceeded.", from)
}
