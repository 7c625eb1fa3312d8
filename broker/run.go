package broker

import (
	"errors"
	"os"
	"strconv"
	"time"

	"midge/broker/core"
	"midge/broker/logging"
	"midge/broker/loop"
	"midge/broker/process"
	"midge/conf"
	"midge/persist"
)

// Exit statuses of the process, mosquitto's.
const (
	ExitOK      = 0
	ExitFailed  = 1  // no listener, or the loop broke
	exitPidFile = 14 // the pid file could not be written
)

// Options is what the command line says beside the configuration files.
type Options struct {
	Version string   // midge's own
	Files   []string // of the configuration, read again at a reload
	Ports   []int    // of -p, for local-only mode
	KeyLog  string   // gets the secrets of TLS connections; "" is none
	Verbose bool
	Quiet   bool

	disk func(persist.Folder) persist.Disk // for tests: takes the folder's place

	HostsDir string // where hosts.allow and hosts.deny are
}

// Compatible is the version the broker gives itself where scripts look for
// mosquitto's.
func Compatible(version string) string { return "2.1.2 (midge " + version + ")" }

// Run starts the broker and returns the process's exit status when it was told
// to stop.
func Run(c *conf.Config, o Options) (status int) {
	process.HeedMemoryLimit(c.MemoryLimit, 0)
	options := logOptions(c, o)
	if c.PidFile != "" {
		if err := writePid(c.PidFile); err != nil {
			sayEarly(options, "Error: Unable to write pid file.")
			return exitPidFile
		}
		defer func() {
			if status == ExitOK { // else it may be another broker's, which has the port
				os.Remove(c.PidFile)
			}
		}()
	}
	log := logging.New(options, time.Now)
	defer log.Close()
	log.Sync()
	sayStart(log, c, Compatible(o.Version))
	s, err := newServer(c, o, log)
	if err != nil {
		return report(log, err)
	}
	defer func() {
		if r := recover(); r != nil {
			s.crash(r)
			status = ExitFailed
		}
	}()
	if err := s.openKeyLog(o.KeyLog); err != nil {
		log.Logf(core.LogError, "Error: Unable to open the TLS key log %s: %v", o.KeyLog, plain(err))
		return ExitFailed
	}
	return s.serve()
}

// serve listens, turns the loop until a signal ends it, and shuts down.
func (s *Server) serve() int {
	if _, err := loop.RaiseFileLimit(); err != nil {
		s.log.Logf(core.LogWarning, "Warning: Unable to raise the limit of open files: %v", err)
	}
	defer s.watchSignals()()
	status := s.work()
	s.shut() // not deferred: after a panic the state must not speak any more
	return status
}

// work puts the configuration in force and turns the loop, and gives the exit status.
func (s *Server) work() int {
	s.reloading = true // a SIGHUP waits until the start is done
	p := s.plan(s.conf)
	err, done := s.beside(p.prepare)
	if !done {
		return ExitOK
	}
	if err != nil {
		return report(s.log, err)
	}
	s.guardDoors()
	if err := s.bind(p); err != nil {
		return ExitFailed
	}
	s.install(p, s.now())
	s.log.Logf(core.LogInfo, "mosquitto version %s running", s.version)
	s.log.Flush() // the first turn may wait long
	s.notify.Tell(process.Ready)
	s.giveSigns()
	s.settled()
	if err := s.run(); err != nil {
		s.log.Logf(core.LogError, "Error: %v", err)
		return ExitFailed
	}
	return ExitOK
}

// beside runs f beside the loop, which turns meanwhile, so that signals are heeded. It
// is not done if one of them ended the loop.
func (s *Server) beside(f func() error) (err error, done bool) {
	go func() {
		failed := f()
		s.poll.Post(func() { err, done = failed, true })
	}()
	for !done && !s.stopping {
		if err := s.turn(); err != nil {
			return err, true
		}
	}
	return err, done
}

// sayStart writes the lines before the listeners are opened.
func sayStart(log *logging.Log, c *conf.Config, version string) {
	log.Logf(core.LogInfo, "Info: running mosquitto as %s.", process.WhoAmI())
	log.Logf(core.LogInfo, "mosquitto version %s starting", version)
	sayLoaded(log, c)
	if conf.FollowLinks() {
		log.Logf(core.LogNotice, "MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is set: password, ACL, log and database files may be symbolic links.")
	}
	for _, f := range [...]string{"Bridge support NOT", "Persistence support", "TLS support", "TLS-PSK support NOT", "Websockets support"} {
		log.Logf(core.LogInfo, "%s available.", f)
	}
	if c.LocalOnly {
		sayLocalOnly(log)
	}
}

// sayLocalOnly says who can connect while no listener is configured, and which lines
// let others: who is sent away by the system leaves no trace in the log.
func sayLocalOnly(log *logging.Log) {
	log.Logf(core.LogWarning, "Starting in local only mode. Connections will only be possible from clients running on this machine.")
	log.Logf(core.LogWarning, "Create a configuration file which defines a listener to allow remote access.")
	log.Logf(core.LogWarning, "For more details see https://mosquitto.org/documentation/authentication-methods/")
	log.Logf(core.LogWarning, "These two lines, for example, let clients with a password in from everywhere ('midge passwd' makes the file):")
	log.Logf(core.LogWarning, "    listener 1883")
	log.Logf(core.LogWarning, "    password_file /path/to/file")
}

// sayLoaded says which configuration is in force.
func sayLoaded(log *logging.Log, c *conf.Config) {
	if c.File != "" {
		log.Logf(core.LogInfo, "Config loaded from %s.", c.File)
	} else {
		log.Logf(core.LogInfo, "Using default config.")
	}
}

// sayEarly logs an error before the log's destinations are opened: to stderr.
func sayEarly(o logging.Options, text string) {
	o.Stdout, o.Stderr, o.File, o.Syslog, o.Topic = false, true, "", false, false
	log := logging.New(o, time.Now)
	log.Logf(core.LogError, "%s", text)
	log.Close()
}

func writePid(name string) error {
	return os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())), 0o644)
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
