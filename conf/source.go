package conf

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sort"
	"strings"
)

// The limits that keep foreign bytes from taking the machine.
const (
	maxLine     = 1 << 20  // bytes of a line
	maxBytes    = 64 << 20 // bytes of all files of one Load
	maxFiles    = 1000     // included files and include_dir lines of one Load
	maxNames    = 65536    // entries of an included directory
	maxSections = 10000    // listener, connection and plugin lines of one Load
	maxMessages = 10000    // lines for the log
)

// source is where configuration files come from.
type source interface {
	// open opens a file. Opening a directory fails with errDirectory.
	open(name string) (io.ReadCloser, error)
	// names returns the names in a directory, in any order.
	names(dir string) ([]string, error)
	// resolve says why a host has no address, "" if it has one.
	resolve(host string) (why string)
}

var (
	errDirectory = errors.New("is a directory")
	errLongLine  = errors.New("line too long")
	errManyBytes = errors.New("too much")
	errManyNames = errors.New("too many names")
)

// disk is the file system of the process.
type disk struct{}

func (disk) open(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	// What cannot be asked for its type can still be read.
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, errDirectory
	}
	return f, nil
}

func (disk) names(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxNames + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(names) > maxNames {
		return nil, errManyNames
	}
	return names, nil
}

func (disk) resolve(host string) string {
	_, err := net.LookupHost(host)
	var failed *net.DNSError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &failed) && failed.IsNotFound:
		return "Name or service not known"
	case errors.As(err, &failed):
		return failed.Err
	}
	return err.Error()
}

// confNames returns those of names that include_dir reads, in its order.
func confNames(names []string) []string {
	var chosen []string
	for _, name := range names {
		if len(name) > len(".conf") && strings.HasSuffix(name, ".conf") {
			chosen = append(chosen, name)
		}
	}
	sort.Slice(chosen, func(i, j int) bool { return nameBefore(chosen[i], chosen[j]) })
	return chosen
}

// nameBefore orders file names byte by byte, letters without their case
// first; of one letter the upper case goes first.
func nameBefore(a, b string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		if x, y := upper(a[i]), upper(b[i]); x != y {
			return x < y
		}
		return a[i] < b[i]
	}
	return len(a) < len(b)
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// lineReader cuts a file into lines. A NUL ends the file in front of the line
// it stands on, as it does for mosquitto.
type lineReader struct {
	r    *bufio.Reader
	left *int   // bytes that may be read yet
	line []byte // the line being read
	end  bool   // nothing follows
}

func newLineReader(r io.Reader, left *int) *lineReader {
	return &lineReader{r: bufio.NewReader(r), left: left}
}

// next returns the next line without its CR and LF bytes. After the last one
// it fails with io.EOF; beyond the limits with errLongLine or errManyBytes.
func (l *lineReader) next() (string, error) {
	l.line = l.line[:0]
	for !l.end {
		part, err := l.r.ReadSlice('\n')
		*l.left -= len(part)
		switch {
		case bytes.IndexByte(part, 0) >= 0:
			l.end = true
			return "", io.EOF
		case len(l.line)+len(part) > maxLine:
			return "", errLongLine
		case *l.left < 0:
			return "", errManyBytes
		}
		l.line = append(l.line, part...)
		if err == nil {
			return string(bytes.TrimRight(l.line, "\r\n")), nil
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		l.end = true
		if err != io.EOF {
			return "", err
		}
	}
	if len(l.line) == 0 {
		return "", io.EOF
	}
	return string(bytes.TrimRight(l.line, "\r\n")), nil
}

// FollowLinks says whether password, ACL and log files may be symbolic links: only if
// the environment lets them.
func FollowLinks() bool { return os.Getenv("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS") != "" }
