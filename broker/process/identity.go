// Package process is the operating system's process that the broker is: whom it becomes
// (identity.go), its umask, its life in the background, the memory that its cgroup leaves
// it, and what the service manager hears of it (notify.go). Nothing here knows what the
// process does.
package process

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"midge/conf"
)

// Identity is whom the process shall be. The zero Identity is who it is.
type Identity struct {
	uid, gid int   // 0: stays
	groups   []int // supplementary ones; nil: stay
}

// exitPrivileges is the exit status when root could not become another user.
const exitPrivileges = 14

// origin is what the identity depends on beside the configuration.
type origin struct {
	euid, egid int
	env        func(string) string
	accounts   func(name string) (Identity, error) // of the system
}

// FindIdentity says whom to become: root gives up its rights for PUID and PGID of the
// environment, else for the user of the configuration; others stay who they are. The
// lines are to be logged. An error is a *conf.Error.
func FindIdentity(name string) (Identity, []conf.Line, error) {
	return origin{os.Geteuid(), os.Getegid(), os.Getenv, systemAccount}.identity(name)
}

func (o origin) identity(name string) (id Identity, lines []conf.Line, err error) {
	if o.euid != 0 || o.env("SNAP_NAME") == "mosquitto" {
		return Identity{}, nil, nil
	}
	switch {
	case o.env("PUID") != "" || o.env("PGID") != "":
		err = o.numbers(&id)
	case name != "root":
		lines, err = o.named(&id, name)
	}
	if err != nil {
		return Identity{}, lines, err
	}
	if id.uid == 0 || id.gid == 0 && o.egid == 0 {
		lines = append(lines, conf.Line{Class: conf.ClassWarning, Text: "Warning: Mosquitto should not be run as root/administrator."})
	}
	return id, lines, nil
}

// numbers takes PUID and PGID, for containers. 0, and what is not given, stays.
func (o origin) numbers(id *Identity) error {
	for _, v := range [...]struct {
		name string
		to   *int
	}{{"PUID", &id.uid}, {"PGID", &id.gid}} {
		text := o.env(v.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		switch {
		case errors.Is(err, strconv.ErrRange), err == nil && n > maxID:
			return conf.Errorf(conf.Exit, "Error: %s environment variable out of range.", v.name)
		case err != nil:
			return conf.Errorf(conf.Exit, "Error: %s environment variable not a valid number.", v.name)
		}
		*v.to = int(n)
	}
	return nil
}

// maxID is the largest number of a user or group. The one above it stands for none.
const maxID = 1<<31 - 2

// named takes the user of the configuration, with its groups. The default one may be
// missing.
func (o origin) named(id *Identity, name string) (lines []conf.Line, err error) {
	a, err := o.accounts(name)
	if missing(err) && name == conf.DefaultUser {
		lines = append(lines, conf.Line{Class: conf.ClassWarning, Text: "Warning: Unable to drop privileges to '" + name +
			"' because this user does not exist. Trying 'nobody' instead."})
		if a, err = o.accounts("nobody"); missing(err) {
			e := conf.Errorf(conf.Exit, "Error: Unable to drop privileges to 'nobody'.")
			e.Add("Error: Set PUID and PGID to the numbers of a user and a group, or start as another user than root, " +
				"or let the configuration say whom to become ('user root' for root).")
			return lines, e
		}
	}
	switch {
	case missing(err):
		return lines, conf.Errorf(conf.Exit, "Error: Unable to drop privileges to '%s' because this user does not exist.", name)
	case err != nil:
		return lines, conf.Errorf(conf.Exit, "Error: Unable to drop privileges to '%s': %v.", name, err)
	}
	*id = a
	return lines, nil
}

// missing says that there is no such user, or no list of users at all.
func missing(err error) bool {
	var unknown user.UnknownUserError
	return errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist)
}

// systemAccount reads the system's own lists of users and groups.
func systemAccount(name string) (id Identity, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return id, err
	}
	groups, err := u.GroupIds()
	switch {
	case errors.Is(err, fs.ErrNotExist): // there are no groups
		groups = []string{u.Gid}
	case err != nil:
		return id, err
	}
	id.uid, err = strconv.Atoi(u.Uid)
	if err == nil {
		id.gid, err = strconv.Atoi(u.Gid)
	}
	for _, text := range groups {
		n, bad := strconv.Atoi(text)
		if err == nil {
			err = bad
		}
		id.groups = append(id.groups, n)
	}
	return id, err
}

// Become makes the process, all its threads, the identity. There is no way back. An
// error is a *conf.Error.
func (id Identity) Become() error {
	if id.groups != nil {
		if err := syscall.Setgroups(id.groups); err != nil {
			return stuck("groups", err)
		}
	}
	if id.gid > 0 {
		if err := syscall.Setgid(id.gid); err != nil {
			return stuck("gid", err)
		}
	}
	if id.uid > 0 {
		if err := syscall.Setuid(id.uid); err != nil {
			return stuck("uid", err)
		}
	}
	return nil
}

func stuck(what string, err error) error {
	return conf.Errorf(exitPrivileges, "Error setting %s whilst dropping privileges: %v.", what, conf.Reason(err))
}

// WhoAmI says which user the process is: "user: NAME", or "user id: NUMBER" for one
// that has no name.
func WhoAmI() string {
	id := strconv.Itoa(os.Geteuid())
	u, err := user.LookupId(id)
	if err != nil {
		return "user id: " + id
	}
	return "user: " + u.Username
}
