package persist

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is the files of one folder, by their names in it. What was written to a
// file is safe from a loss of power after the file's Sync, a name that was made,
// moved or removed after the folder's.
type Disk interface {
	Create(name string) (File, error) // a new file, empty, for its owner only; one that is there is removed first
	Open(name string) (File, error)   // for reading; fs.ErrNotExist when there is none
	Rename(from, to string) error     // over one that is there
	Remove(name string) error
	List() ([]string, error) // the names of all files, in order
	Sync() error
}

// File is one of its files. A File that Open gave is only read.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	Sync() error
	Size() (int64, error) // in bytes
}

// Folder is the Disk that there really is: the folder of that path.
type Folder string

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }

func (f Folder) Create(name string) (File, error) {
	if err := f.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
	return realFile(os.OpenFile(f.path(name), flags, 0o600))
}

func (f Folder) Open(name string) (File, error) { return realFile(os.Open(f.path(name))) }

func (f Folder) Rename(from, to string) error { return os.Rename(f.path(from), f.path(to)) }

func (f Folder) Remove(name string) error { return os.Remove(f.path(name)) }

func (f Folder) List() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (f Folder) Sync() error {
	d, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// osFile is a file of the operating system's.
type osFile struct{ *os.File }

// realFile keeps a nil *os.File from becoming a File that is not nil.
func realFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Sync makes the bytes safe, and of what is known of the file its length.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func (f osFile) Size() (int64, error) {
	s, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

// errInUse says that another process has the lock.
var errInUse = errors.New("another broker uses it")

// lockPatience is how long a process that was killed may take to be gone.
const lockPatience = 2 * time.Second

// Lock keeps other brokers from a file and its journal as long as this process
// lives, or until unlock. Where the folder takes no locks there is none.
func (f Folder) Lock(name string) (unlock func(), err error) {
	path := f.path(name + ".lock")
	for late := time.Now().Add(lockPatience); ; {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return func() {}, nil // the journal will say what is wrong here
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EWOULDBLOCK {
			file.Close()
			if time.Now().After(late) {
				return nil, errInUse
			}
			time.Sleep(lockPatience / 100)
			continue
		}
		if err != nil || sameFile(file, path) {
			return func() {
				os.Remove(path)
				file.Close()
			}, nil
		}
		file.Close() // who had it has just removed it
	}
}

func sameFile(file *os.File, path string) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(have, there)
}
