package broker

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"midge/broker/core"
	"midge/broker/loop"
	"midge/conf"
)

// listener is a listener of the configuration.
type listener struct {
	conf    conf.Listener
	way     *way                   // how clients that come now reach MQTT; nil plainly
	core    *core.Listener         // what clients that come now are under
	sockets []socket               // one for each address family, or address of its host name
	open    int                    // connections
	hinted  core.Time              // when it was last said why nobody can connect
	guests  map[*core.Listener]int // connections by what they are under: core, or what it was before a reload
}

// socket is a listening one.
type socket struct {
	fd   int
	path string      // of a Unix socket
	file fs.FileInfo // what was made there, to be removed at the end
}

// remove takes a Unix socket from the file system, unless another one has its place.
func (one *socket) remove() {
	if one.path == "" {
		return
	}
	if now, err := os.Lstat(one.path); err == nil && os.SameFile(now, one.file) {
		os.Remove(one.path)
	}
}

// errNoListener says that no socket could be opened at all, errNoAddress that a
// listener has no address to listen at.
var (
	errNoListener = errors.New("no listening socket")
	errNoAddress  = words("No address to listen at.")
)

// backlogs are the accept queues' lengths.
const (
	tcpBacklog  = 100
	unixBacklog = 10
)

// open opens the sockets of a listener. Those of leaving, which will be closed, may
// have its addresses.
func (s *Server) open(t *target, leaving []*listener) (*listener, error) {
	l := &listener{guests: make(map[*core.Listener]int)}
	if t.Path != "" {
		s.log.Logf(core.LogInfo, "Opening unix listen socket on path %s.", t.Path)
		return s.openUnix(l, t.Path)
	}
	if t.err != nil {
		return nil, t.err
	}
	var failed error
	for _, a := range t.addresses {
		s.log.Logf(core.LogInfo, "Opening ipv%d listen socket on port %d.", a.family, t.Port)
		if a.lacking {
			s.log.Logf(core.LogWarning, "Warning: Interface %s does not support IPv%d configuration.", t.BindInterface, a.family)
			continue
		}
		fd, err := s.listenAt(a, t.fixed, leaving)
		if err == nil {
			err = s.add(l, socket{fd: fd})
		}
		if err == nil {
			continue
		}
		if failed = plain(err); !a.optional || !noFamily(err) {
			s.stopListening(l)
			return nil, failed
		}
		s.log.Logf(core.LogWarning, "Warning: %v", failed)
	}
	switch {
	case len(l.sockets) > 0:
		return l, nil
	case failed == nil:
		failed = errNoAddress
	}
	return nil, failed
}

// openUnix opens a Unix socket.
func (s *Server) openUnix(l *listener, path string) (*listener, error) {
	fd, err := loop.Listen("unix", path, unixBacklog, 0)
	if err != nil {
		return nil, plain(err)
	}
	file, err := os.Lstat(path)
	if err != nil {
		loop.Close(fd)
		return nil, plain(err)
	}
	return l, s.add(l, socket{fd, path, file})
}

// listenAt opens a TCP socket. Where the machine has not got the address yet, it is
// told and listened at all the same, for the network may come up later than midge.
func (s *Server) listenAt(a address, fixed bool, leaving []*listener) (int, error) {
	var how loop.Bind
	for {
		fd, err := loop.Listen(a.network(), a.String(), tcpBacklog, how)
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL) && how&loop.Absent == 0 && !fixed:
			how |= loop.Absent
		case errors.Is(err, syscall.EADDRINUSE) && how&loop.Beside == 0 && len(leaving) > 0:
			how |= loop.Beside
			makeRoom(leaving, true)
			defer makeRoom(leaving, false)
		case errors.Is(err, syscall.EACCES):
			s.adviseSetcap()
			return -1, err
		default:
			if err == nil && how&loop.Absent != 0 {
				s.log.Logf(core.LogWarning, "Warning: This machine does not have the address %s yet; listening at it all the same.", a.ip)
			}
			return fd, err
		}
	}
}

// makeRoom lets new sockets have the addresses of listeners that are to be closed.
func makeRoom(leaving []*listener, room bool) {
	for _, l := range leaving {
		for _, one := range l.sockets {
			if one.path == "" {
				loop.MakeRoom(one.fd, room) // if it fails so does the new socket, and says so
			}
		}
	}
}

// noFamily says that the machine is without an address family.
func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// add has connections taken in from one socket of l.
func (s *Server) add(l *listener, one socket) error {
	if err := s.poll.Add(one.fd, loop.Readable); err != nil {
		loop.Close(one.fd)
		return err
	}
	s.doors[one.fd] = l
	l.sockets = append(l.sockets, one)
	return nil
}

// stopListening closes l's sockets. Its connections go on.
func (s *Server) stopListening(l *listener) {
	for _, one := range l.sockets {
		delete(s.doors, one.fd)
		loop.Close(one.fd)
		one.remove()
	}
	l.sockets = nil
}

// configure has l do as c says: for clients that come now in all, and for those
// that are connected where they were not told otherwise.
func (s *Server) configure(l *listener, c conf.Listener, w *way) {
	next := coreListener(&c)
	next.Login = s.logins.For(c.PasswordFile)
	next.Access = s.accesses.byFile[c.ACLFile]
	if c.Path == "" || w != nil {
		next.Remote = s.remote
	}
	if w != nil && w.identity != noIdentity {
		next.Identity = s.identity
	}
	if c.Shut {
		next.Refused = func() { s.hint(l) }
	}
	l.way.close()
	l.conf, l.core, l.way = c, next, w
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

// retire is for when nobody comes any more: what is left goes with the last connection.
func (l *listener) retire(s *Server) {
	if l.guests[l.core] == 0 {
		l.forget(s, l.core)
	}
	l.core = nil
	l.way.close()
}

// forget drops what nobody is under any more.
func (l *listener) forget(s *Server, under *core.Listener) {
	delete(l.guests, under)
	delete(s.homes, under)
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
	return errors.New(conf.Reason(no))
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
