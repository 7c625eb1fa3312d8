package hosts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// The limits on what is read.
const (
	maxBytes = 32 << 20 // of all files together
	maxLine  = 64 << 10 // bytes, with what a backslash at its end joins to it
	maxFiles = 64       // of /file patterns, over all
	maxNotes = 100      // lines for the log
)

var (
	errLarge = errors.New("it is too large")
	errMany  = errors.New("too many files are named in it")
)

// Load reads the files. One that does not exist is an empty one. The notes are for the
// log: lines that were passed over or mean less than they say. With an error there are
// no rules; it names the file.
func Load(files Files) (*Rules, []string, error) {
	l := loader{rules: new(Rules), sets: make(map[string]*set), left: maxBytes}
	for _, f := range [...]struct {
		name  string
		table *table
	}{{files.Allow, &l.rules.allow}, {files.Deny, &l.rules.deny}} {
		if err := l.load(f.name, f.table); err != nil {
			return nil, nil, fmt.Errorf("unable to read %s: %w", f.name, err)
		}
	}
	return l.rules, l.notes, nil
}

// Changed says that one of the files is not what was read.
func (r *Rules) Changed() bool {
	for _, s := range r.stamps {
		if s != stampOf(s.name) {
			return true
		}
	}
	return false
}

func stampOf(name string) stamp {
	s := stamp{name: name}
	info, err := os.Stat(name)
	if err != nil {
		return s
	}
	s.exists, s.changed, s.size = true, info.ModTime(), info.Size()
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// loader is one Load under way.
type loader struct {
	rules *Rules
	notes []string
	sets  map[string]*set // of the files that patterns name
	left  int             // bytes that may be read yet
}

func (l *loader) note(format string, args ...any) {
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, fmt.Sprintf(format, args...))
	}
}

// content is a file being read, which may not be too large.
type content struct {
	*os.File
	left *int
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	if *c.left -= n; *c.left < 0 {
		return 0, errLarge
	}
	return n, err
}

// open opens a file that is remembered as read. It is nil if there is none.
func (l *loader) open(name string) (*content, error) {
	l.rules.stamps = append(l.rules.stamps, stampOf(name))
	// Without waiting for the other end, should it be a pipe.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &content{f, &l.left}, nil
}

func (l *loader) load(name string, t *table) error {
	f, err := l.open(name)
	if f == nil {
		return err
	}
	defer f.Close()
	return l.read(name, f, t)
}

// read reads the lines of one of the two files.
func (l *loader) read(name string, r io.Reader, t *table) error {
	lines := lineReader{r: bufio.NewReader(r)}
	for {
		line, at, err := lines.next()
		switch {
		case err == io.EOF:
			return nil
		case err == errLine:
			l.note("%s:%d: the line is too long and passed over.", name, at)
			continue
		case err != nil:
			return err
		}
		if strings.HasPrefix(line, "#") || strings.Trim(line, space) == "" {
			continue
		}
		if err := l.parse(fmt.Sprintf("%s:%d", name, at), line, t); err != nil {
			return err
		}
	}
}

var errLine = errors.New("line too long")

// lineReader joins lines that end with a backslash.
type lineReader struct {
	r      *bufio.Reader
	number int
}

// next is the next line without its newline, and the number of its first line in the file.
func (l *lineReader) next() (line string, at int, err error) {
	var b strings.Builder
	at = l.number + 1
	long := false
	for more := true; more; {
		part, err := l.physical()
		if err != nil && (err != io.EOF || b.Len() == 0 && !long) {
			return "", at, err
		}
		if err == io.EOF {
			break
		}
		part, more = strings.CutSuffix(part, "\\")
		if long = long || b.Len()+len(part) > maxLine; !long {
			b.WriteString(part)
		}
	}
	if long {
		return "", at, errLine
	}
	return b.String(), at, nil
}

// physical is one line of the file without its newline; of one that is too long it is
// the beginning, which is longer than maxLine all the same.
func (l *lineReader) physical() (string, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0, err == nil:
			l.number++
			return strings.TrimSuffix(string(line), "\n"), nil
		}
		return "", err
	}
}
