package broker

import (
	"errors"
	"slices"
	"strings"
	"time"

	"midge/auth"
	"midge/broker/core"
	"midge/broker/logging"
	"midge/conf"
	"midge/packet"
	"midge/persist"
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
// status. There is one reload at a time; one more is remembered.
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
	p.entries = slices.DeleteFunc(p.entries, func(e entry) bool { return e.listener == nil })
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

// undo closes what bind has opened.
func (s *Server) undo(p *plan) {
	for _, l := range p.opened {
		s.stopListening(l)
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

// reload begins to read the configuration again.
func (s *Server) reload() {
	s.log.Reopen()
	s.guard.lookAgain()
	if s.reloading {
		s.reloadNext = true
		return
	}
	s.reloading = true
	s.notify.tell(notifyReloading())
	s.log.Logf(core.LogInfo, "Reloading config.")
	files, p := s.options.Files, s.plan(nil)
	go func() {
		c, lines, err := conf.Load(files)
		p.conf = c
		if err == nil {
			err = p.prepare()
		}
		s.poll.Post(func() { s.reloaded(p, lines, err) })
	}()
}

// needRestart names the options that differ and are only read at the start.
func needRestart(old, now *conf.Config) (names []string) {
	if old.User != now.User {
		names = append(names, "user")
	}
	if old.PidFile != now.PidFile {
		names = append(names, "pid_file")
	}
	if old.Persistence != now.Persistence {
		names = append(names, "persistence")
	}
	if old.Persistence && old.PersistencePath() != now.PersistencePath() {
		names = append(names, "persistence_file", "persistence_location")
	}
	return names
}

// reloaded ends a reload: with the new configuration in force, or the old one.
func (s *Server) reloaded(p *plan, lines []conf.Line, err error) {
	sayLines(s.log, lines)
	if err != nil {
		report(s.log, err)
	} else {
		err = s.bind(p)
	}
	if err != nil {
		s.log.Logf(core.LogError, "Error: The configuration stays as it was.")
		s.files.failed(p.stamps)
	} else {
		s.apply(p, s.now())
	}
	s.notify.tell(notifyReady)
	s.settled()
}

// settled goes on with the reload that was asked for meanwhile, if there is one.
func (s *Server) settled() {
	s.reloading = false
	if s.reloadNext {
		s.reloadNext = false
		s.reload()
	}
}

// apply replaces the configuration that is in force.
func (s *Server) apply(p *plan, now core.Time) {
	before := s.conf
	s.conf = p.conf
	s.log.Configure(logOptions(p.conf, s.options))
	s.core.Configure(coreConfig(p.conf, s.version, p.accesses.away), now)
	s.db.configure(p.conf, now)
	s.install(p, now)
	s.recheck(now)
	if names := needRestart(s.started, p.conf); names != nil {
		s.log.Logf(core.LogWarning, "Warning: Only a restart will change: %s.", strings.Join(names, ", "))
	}
	if p.conf.LocalOnly && !before.LocalOnly {
		sayLocalOnly(s.log)
	}
	sayLoaded(s.log, p.conf)
}

// recheck sends away those who would not be let in any more.
func (s *Server) recheck(now core.Time) {
	s.dropRevoked(now)
	s.core.Recheck(now)
	s.logins.Rechecked()
}

// report logs why a start or a reload is no good, and gives the exit status.
func report(log *logging.Log, err error) int {
	bad := complete(err)
	sayLines(log, bad.Lines)
	return bad.Code
}

// complete is an error with its lines for the log, and the exit status.
func complete(err error) *conf.Error {
	var bad *conf.Error
	var format *persist.FormatError
	switch {
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &format):
		bad = &conf.Error{Code: ExitFailed}
		for _, line := range format.Lines() {
			bad.Add("%s", line)
		}
		return bad
	}
	return conf.Errorf(ExitFailed, "Error: %v", err)
}

// sayLines logs lines of the configuration's.
func sayLines(log *logging.Log, lines []conf.Line) {
	for _, l := range lines {
		log.Logf(logClasses(l.Class), "%s", l.Text)
	}
}
