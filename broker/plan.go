package broker

import (
	"slices"
	"time"

	"midge/auth"
	"midge/broker/core"
	"midge/conf"
	"midge/packet"
)

// A configuration comes into force, at the start and at SIGHUP, as a plan that goes
// through three steps:
//
//	prepare   beside the loop: all that is slow. Reads files, looks up names. It must
//	          not touch the Server; what it makes stays in the plan.
//	bind      on the loop: opens the new listeners, which is quick and may fail.
//	install   on the loop: puts everything in force, in one go. It cannot fail.
//
// Where prepare or bind fails, what they made is undone and nothing has changed: a
// broker that runs goes on as before, and one that starts ends with the error's
// status.
//
// What is read from a file of its own (passwords, access rights, certificates) takes
// part so: a field of plan, a function in prepare's list that fills it or gives the
// error (a *conf.Error carries lines and an exit status), and a line in install that
// puts it in force; and if it is to be read again by itself when it changes, its name in
// stampFiles. What is only a value of the Config takes effect in coreConfig,
// coreListener or logOptions (config.go) and needs nothing here. What a reload cannot
// change is named in needRestart.

// plan is a configuration on its way into force.
type plan struct {
	conf  *conf.Config
	ports []int // of -p
	make  wayMaker

	targets   []target                   // the listeners, in order
	lines     []conf.Line                // warnings
	stamps    map[string]stamp           // of files that are taken over when they change
	passwords map[string]*auth.Passwords // by file
	acls      map[string]*auth.ACL       // by file
	accesses  accesses                   // made of them

	entries []entry     // from bind: the listeners that are open
	opened  []*listener // those of them that were opened for the plan
}

// entry is an open listener and what it is to do.
type entry struct {
	listener *listener
	conf     conf.Listener
	way      *way
}

// plan makes the plan for a configuration.
func (s *Server) plan(c *conf.Config) *plan {
	return &plan{conf: c, ports: s.options.Ports, make: s.wayMaker()}
}

// prepare does what is slow. See above for what belongs here.
func (p *plan) prepare() error {
	for _, step := range p.steps() {
		if err := step(p); err != nil {
			return err
		}
	}
	return nil
}

// listeners are those of the configuration.
func (p *plan) listeners() []conf.Listener {
	if p.conf.LocalOnly {
		return p.conf.LocalListeners(p.ports...)
	}
	return p.conf.Listeners
}

// steps are what prepare does; the first one has to go first.
func (p *plan) steps() []func(*plan) error {
	return []func(*plan) error{
		(*plan).resolve,
		(*plan).stampFiles,
		(*plan).readPasswords,
		(*plan).readACLs,
		(*plan).makeWays,
	}
}

// resolve finds the addresses of all listeners. A name that cannot be looked up is
// an error where its listener is opened.
func (p *plan) resolve() error {
	for _, l := range p.listeners() {
		t := newTarget(l)
		t.fixed = p.conf.LocalOnly
		p.targets = append(p.targets, t)
	}
	return nil
}

// stampFiles notes what the files of their own are like before they are read.
func (p *plan) stampFiles() error {
	p.stamps = make(map[string]stamp)
	names := []string{p.conf.ACLFile}
	for _, t := range p.targets {
		names = append(names, t.PasswordFile, t.ACLFile)
		names = append(names, tlsFiles(&t.Listener)...)
	}
	for _, name := range names {
		if name != "" {
			p.stamps[name] = stampOf(name)
		}
	}
	return nil
}

// readPasswords reads the password files, each once.
func (p *plan) readPasswords() error {
	p.passwords = make(map[string]*auth.Passwords)
	for _, t := range p.targets {
		name := t.PasswordFile
		if name == "" || p.passwords[name] != nil {
			continue
		}
		known, lines, err := auth.LoadPasswords(name)
		p.lines = append(p.lines, lines...)
		if err != nil {
			return err
		}
		p.passwords[name] = known
	}
	return nil
}

// readACLs reads the ACL files of a plan, each once.
func (p *plan) readACLs() error {
	p.acls = make(map[string]*auth.ACL)
	read := func(name string) error {
		if name == "" || p.acls[name] != nil {
			return nil
		}
		acl, lines, err := auth.LoadACL(name)
		p.lines = append(p.lines, lines...)
		p.acls[name] = acl
		return err
	}
	listeners := p.listeners()
	for i := range listeners {
		if err := read(listeners[i].ACLFile); err != nil {
			return err
		}
	}
	if err := read(p.conf.ACLFile); err != nil {
		return err
	}
	p.accesses = newAccesses(p.conf, listeners, p.acls)
	return nil
}

// makeWays reads the files that the listeners do TLS with, and opens the folders they
// serve.
func (p *plan) makeWays() (err error) {
	for i := range p.targets {
		t := &p.targets[i]
		if t.way, err = p.make.way(p.conf, &t.Listener); err != nil {
			return err
		}
	}
	return nil
}

// bind opens those of p's listeners that are not open yet. In local-only mode one
// address family may fail.
func (s *Server) bind(p *plan) error {
	leaving := s.match(p)
	for i := range p.entries {
		e := &p.entries[i]
		if e.listener != nil {
			continue
		}
		l, err := s.open(&p.targets[i], leaving)
		if err != nil {
			s.log.Logf(core.LogError, "%s", complaint(err))
			if p.conf.LocalOnly {
				continue
			}
			s.undo(p)
			return err
		}
		e.listener = l
		p.opened = append(p.opened, l)
	}
	p.dropClosed()
	if len(p.entries) > 0 {
		return nil
	}
	if s.listeners == nil {
		s.log.Logf(core.LogError, "Error: Unable to start any listening sockets, exiting.")
	}
	return errNoListener
}

// match finds those of p's listeners that are open, and those that are open and not
// p's. Of two with the same endpoint the second one is new, and cannot be opened.
func (s *Server) match(p *plan) (leaving []*listener) {
	running := make(map[conf.Endpoint]*listener)
	for _, l := range s.listeners {
		running[l.conf.Endpoint()] = l
	}
	for i := range p.targets {
		t := &p.targets[i]
		p.entries = append(p.entries, entry{running[t.Endpoint()], t.Listener, t.way})
		delete(running, t.Endpoint())
	}
	for _, l := range s.listeners {
		if running[l.conf.Endpoint()] == l {
			leaving = append(leaving, l)
		}
	}
	return leaving
}

// dropClosed takes those out of p that are not open.
func (p *plan) dropClosed() {
	p.entries = slices.DeleteFunc(p.entries, func(e entry) bool {
		if e.listener == nil {
			e.way.close()
		}
		return e.listener == nil
	})
}

// undo closes what bind has opened.
func (s *Server) undo(p *plan) {
	for _, l := range p.opened {
		s.stopListening(l)
	}
}

// abandon closes the files of a plan that does not come into force.
func (p *plan) abandon() {
	for i := range p.targets {
		p.targets[i].way.close()
	}
}

// install puts in force what the plan made: listeners and what else was loaded.
func (s *Server) install(p *plan, now core.Time) {
	sayLines(s.log, p.lines)
	s.files.set(p.stamps, time.Duration(p.conf.WatchFilesInterval)*time.Second)
	s.logins.Install(p.passwords)
	s.accesses = p.accesses
	s.core.Guard(p.accesses.away)
	s.logins.Configure(p.conf.FailedLoginsBurst, p.conf.FailedLoginsPerMinute)
	gone := make(map[*listener]bool)
	for _, l := range s.listeners {
		gone[l] = true
	}
	s.listeners = nil
	for _, e := range p.entries {
		delete(gone, e.listener)
		s.configure(e.listener, e.conf, e.way)
		s.listeners = append(s.listeners, e.listener)
	}
	s.dismiss(gone, now)
	s.watchExpiry()
}

// dismiss closes listeners, and the connections that came by them.
func (s *Server) dismiss(gone map[*listener]bool, now core.Time) {
	if len(gone) == 0 {
		return
	}
	for l := range gone {
		s.stopListening(l)
		l.retire(s)
	}
	for _, c := range s.conns {
		if c != nil && gone[s.homes[c.Listener]] {
			s.core.Kick(&c.Client, packet.AdministrativeAction, "administrative action", now)
		}
	}
}
