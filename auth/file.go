package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"midge/conf"
)

// exitOpen is the exit status for a file that cannot be opened.
const exitOpen = 13

// fileMax is the largest file read, in bytes.
const fileMax = 64 << 20

// errLink says that a file was not opened because its name is a symbolic link.
var errLink = errors.New("it is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set")

// readFile reads a regular file of a bounded size. A symbolic link is followed only
// where conf.FollowLinks lets it. The lines warn of a file that others
// may read, or that is not the process's own.
func readFile(name string) ([]byte, []conf.Line, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	if !conf.FollowLinks() {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(name, flags, 0)
	if errors.Is(err, syscall.ELOOP) {
		err = errLink
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(data) > fileMax {
		err = fmt.Errorf("it has more than %d bytes", fileMax)
	}
	return data, warnings(name, info), err
}

// warnings are mosquitto's words about the rights of a file with secrets.
func warnings(name string, info os.FileInfo) []conf.Line {
	var lines []conf.Line
	warn := func(what, fix string) {
		lines = append(lines,
			conf.Line{Class: conf.ClassWarning, Text: "Warning: File " + name + " " + what + ". Future versions will refuse to load this file."},
			conf.Line{Class: conf.ClassWarning, Text: "To fix this, use `" + fix + " " + name + "`."})
	}
	if info.Mode().Perm()&0o007 != 0 {
		warn("has world readable permissions", "chmod 0700")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return lines
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		warn("owner is not "+userName(uid), "chown "+userName(uid))
	}
	if gid := os.Getegid(); int(st.Gid) != gid {
		warn("group is not "+groupName(gid), "chgrp "+groupName(gid))
	}
	return lines
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}
