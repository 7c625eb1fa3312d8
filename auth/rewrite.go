package auth

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"midge/conf"
)

// A file is replaced as a whole: what it shall be is written to another file beside
// it and synced, then takes its name, and the folder is synced. Whoever opens it,
// whenever the process or the machine stops, finds the old one or the new one.

// rewrite replaces a file by what change makes of it, with the same mode and owner.
// Two at once come one after the other. If change fails the file stays as it is.
func rewrite(name string, warn func([]conf.Line), change func([]byte) ([]byte, error)) error {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return unreadable(name, err)
	}
	f, err := lock(path)
	if err != nil {
		return unreadable(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return unreadable(name, err)
	}
	warn(warnings(name, info))
	if info.Size() > fileMax {
		return refuse("Error: Password file %s has more than %d bytes.", name, fileMax)
	}
	data, err := io.ReadAll(io.LimitReader(f, fileMax))
	if err != nil {
		return unreadable(name, err)
	}
	next, err := change(data)
	if err != nil {
		return err
	}
	temp, err := writeBeside(path, next, info)
	if err != nil {
		return unwritable(name, err)
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return unwritable(name, err)
	}
	return syncDir(path)
}

// lock opens a file that nobody else rewrites while it is open.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			f.Close()
			return nil, err
		}
		mine, err := f.Stat()
		if err == nil && !mine.Mode().IsRegular() {
			err = errors.New("it is not a regular file")
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close() // it was replaced while we waited
	}
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			return err
		}
	}
}

// createFile makes a file that nobody else may read, and that must not exist.
func createFile(name string, data []byte) error {
	temp, err := writeBeside(name, data, nil)
	if err != nil {
		return unwritable(name, err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if err == unix.ENOSYS || err == unix.EINVAL { // the file system cannot do that
		if err = os.Link(temp, name); err == nil {
			os.Remove(temp)
		}
	}
	if err != nil {
		os.Remove(temp)
		return unwritable(name, err)
	}
	return syncDir(name)
}

// writeBeside writes a new file into the folder of path, and syncs it. It gets the mode
// and owner of like, if there is one.
func writeBeside(path string, data []byte, like fs.FileInfo) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if like != nil {
		if err := resemble(f, like); err != nil {
			return "", err
		}
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// resemble gives f the owner and mode of another file.
func resemble(f *os.File, like fs.FileInfo) error {
	st := like.Sys().(*syscall.Stat_t)
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if now := mine.Sys().(*syscall.Stat_t); now.Uid != st.Uid || now.Gid != st.Gid {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(like.Mode().Perm())
}

// syncDir has a new name in the folder outlive a crash of the machine.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return unwritable(path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return unwritable(path, err)
	}
	return nil
}

func unreadable(name string, err error) error {
	return refuse("Error: Unable to open password file %s. %s.", name, conf.Reason(err))
}

func unwritable(name string, err error) error {
	return refuse("Error: Unable to open file %s for writing. %s.", name, conf.Reason(err))
}
