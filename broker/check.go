package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"midge/broker/hosts"
	"midge/broker/process"
	"midge/broker/transport"
	"midge/conf"
	"midge/persist"
)

// Check reads every file that the configuration names, as a start does, and writes
// what is in force with them to out: who may connect from where, what is kept, which
// limits hold. It listens nowhere and changes nothing. What is wrong goes to say, line
// by line. The exit status is the one that the start would have as far as that is
// known without listening; what a start goes on with in spite of it is a warning only.
func Check(c *conf.Config, o Options, out io.Writer, say func(string)) int {
	k := check{conf: c, options: o, say: say}
	say("Info: files are opened with the rights of " + process.WhoAmI() + ".")
	k.pidFile() // in the order of a start
	k.logFile()
	k.database()
	p := &plan{conf: c, ports: o.Ports, make: wayMaker{open: lookedAt}}
	for _, step := range p.steps() {
		k.wrong(step(p))
	}
	for _, l := range p.lines {
		say(l.Text)
	}
	for i := range p.targets {
		k.listener(&p.targets[i])
	}
	if k.status != ExitOK {
		return k.status
	}
	policy := policy{conf: c, plan: p, rules: k.hosts(), now: time.Now()}
	io.WriteString(out, policy.String())
	fmt.Fprintln(out, "Configuration is OK.")
	return ExitOK
}

// check is one Check under way.
type check struct {
	conf    *conf.Config
	options Options
	say     func(string)
	status  int // of the first thing that is wrong
}

func (k *check) fail(status int, format string, args ...any) {
	k.say(fmt.Sprintf(format, args...))
	if k.status == ExitOK {
		k.status = status
	}
}

func (k *check) warn(format string, args ...any) { k.say(fmt.Sprintf("Warning: "+format, args...)) }

// wrong takes note of an error, nil for none, with the status it ends a start with.
func (k *check) wrong(err error) {
	if err == nil {
		return
	}
	bad := complete(err)
	for _, l := range bad.Lines {
		k.fail(bad.Code, "%s", l.Text)
	}
}

// listener checks what of a listener can be without opening it.
func (k *check) listener(t *target) {
	if t.err != nil && !k.conf.LocalOnly {
		k.fail(ExitFailed, "%s", complaint(t.err))
	}
	if t.way != nil && t.way.config != nil && !t.way.config.Expires.After(time.Now()) {
		k.warn("The certificate of listener %s has expired.", t.Name())
	}
	if t.Path == "" {
		return
	}
	if info, err := os.Lstat(t.Path); err == nil && info.Mode().Type() != fs.ModeSocket {
		k.fail(ExitFailed, "Error: %s is there already, and is no socket.", t.Path)
	} else if err := creatable(t.Path); err != nil {
		k.fail(ExitFailed, "Error: Unable to make the socket %s: %v.", t.Path, err)
	}
}

// lookedAt opens a folder of files that nobody is going to be sent.
func lookedAt(name string) (*transport.Folder, error) {
	return transport.OpenFolder(name, func(func()) {}, nil, nil)
}

func (k *check) pidFile() {
	name := k.conf.PidFile
	if name == "" {
		return
	}
	if err := writable(name, true); err != nil {
		k.fail(exitPidFile, "Error: Unable to write pid file %s: %v.", name, err)
	}
}

// logFile: a broker that cannot open it goes on, and logs errors to stderr.
func (k *check) logFile() {
	name := k.conf.LogFile
	if name == "" {
		return
	}
	if err := writable(name, conf.FollowLinks()); err != nil {
		k.warn("Unable to open log file %s for writing: %v.", name, err)
	}
}

// database reads the persistence file and its journal. A folder that cannot be
// written to keeps nobody from starting.
func (k *check) database() {
	if !k.conf.Persistence {
		return
	}
	path := k.conf.PersistencePath()
	folder, name := databaseFile(path)
	found, err := persist.Recover(folder, name, nil)
	k.wrong(err)
	if found != nil {
		for _, n := range found.Notes {
			k.say(n.Text)
		}
	}
	if err := creatable(path); err != nil {
		k.warn("Nothing can be kept in %s: %v.", path, err)
	}
}

// hosts reads hosts.allow and hosts.deny.
func (k *check) hosts() *hosts.Rules {
	r := readHosts(hosts.FilesIn(k.options.HostsDir))
	for _, n := range r.notes {
		k.warn("%s", n)
	}
	if r.rules == nil {
		k.warn("%s. Nobody would be let in by TCP.", r.err)
		return hosts.Closed()
	}
	return r.rules
}

// writable says why a file cannot be opened for writing, or made. It does neither.
func writable(name string, links bool) error {
	flags := os.O_WRONLY | syscall.O_NONBLOCK
	if !links {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(name, flags, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return creatable(name)
	case errors.Is(err, syscall.ELOOP) && !links:
		return errors.New("it is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set")
	case err != nil:
		return bare(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	return nil
}

// creatable says why there can be no new file of that name.
func creatable(name string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, filepath.Dir(name), unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%s: %w", filepath.Dir(name), err)
	}
	return nil
}

// bare is the reason of a failed system call, without the call and its file.
func bare(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
