package broker

import (
	"strings"

	"midge/broker/core"
	"midge/broker/process"
	"midge/conf"
)

// A configuration that is read again at SIGHUP, or files that are when they change, go
// the way of a plan (plan.go), prepared beside the loop. There is one at a time; one
// more is remembered.

// reload begins to read the configuration again.
func (s *Server) reload() {
	s.log.Reopen()
	s.guard.lookAgain()
	if s.reloading {
		s.reloadNext = true
		return
	}
	s.reloading = true
	s.notify.Tell(process.Reloading())
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
		p.abandon()
	} else {
		s.apply(p, s.now())
	}
	s.notify.Tell(process.Ready)
	s.settled()
}

// apply replaces the configuration that is in force.
func (s *Server) apply(p *plan, now core.Time) {
	before := s.conf
	s.conf = p.conf
	s.log.Configure(logOptions(p.conf, s.options))
	s.heed.again = 0
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

// recheck sends away those who would not be let in any more.
func (s *Server) recheck(now core.Time) {
	s.dropRevoked(now)
	s.core.Recheck(now)
	s.logins.Rechecked()
}

// refresh reads files that changed again, with the configuration that is in force.
func (s *Server) refresh(names []string) {
	if s.reloading {
		s.reloadNext = true // it may have read them before they changed
		return
	}
	s.reloading = true
	s.log.Logf(core.LogInfo, "Reading again what changed: %s.", strings.Join(names, ", "))
	p := s.plan(s.conf)
	go func() {
		err := p.prepare()
		s.poll.Post(func() { s.refreshed(p, err) })
	}()
}

// refreshed puts in force what the files say now, all or nothing.
func (s *Server) refreshed(p *plan, err error) {
	if err != nil {
		report(s.log, err)
		s.log.Logf(core.LogError, "Error: What the files said before stays in force.")
		s.files.failed(p.stamps)
		p.abandon()
	} else {
		s.match(p)
		p.dropClosed()
		s.install(p, s.now())
		s.recheck(s.now())
	}
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
