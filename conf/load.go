package conf

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Load reads the files, in their order, on top of mosquitto's defaults and of
// each other; no file at all means the defaults. The lines are what mosquitto
// says while reading, to be logged in their order. If the files are refused
// the Config is nil, the error an *Error, and its lines follow the others.
//
// A listener option in a later file is not for the listeners of an earlier
// one. log_dest and log_type lines replace those of earlier files, as in
// mosquitto. Of host names only that of bind_address is looked up, and nothing a
// file names is opened except include_dir.
func Load(files []string) (*Config, []Line, error) {
	return load(files, disk{})
}

func load(files []string, from source) (*Config, []Line, error) {
	l := newLoader(from)
	err := l.loadAll(files)
	if err != nil {
		return nil, l.lines, err
	}
	return l.cfg, l.lines, nil
}

// loader is one Load under way: what all files share.
type loader struct {
	from    source
	options *optionTable
	cfg     *Config
	lines   []Line

	global          security        // security options outside listeners
	seen            map[string]bool // global strings that were given
	logFile         string          // the only log_dest file there may be
	local           bool            // no listener, port or bind_address so far
	port            int             // the value of port, 0 without
	secured         bool            // a security option was read
	implicit        position        // where an option made the default listener
	defaultListener *listener       // that of port, bind_address and options above all others
	listeners       []*listener     // those of listener lines
	bridges         []*bridge
	plugins         map[string]*plugin // those of plugin_load, by name
	builtins        []*plugin          // all that midge has built in, in their order

	refusals []refusal // options midge lacks, in their order
	sections int       // against maxSections
	files    int       // against maxFiles
	left     int       // of maxBytes
}

// position is where an option stands, for messages.
type position struct {
	option string
	path   []place
}

// place is a line of a file.
type place struct {
	file string
	line int
}

// refusal is an option, or a value of one, that midge has not.
type refusal struct {
	key  string
	at   position
	text string
}

func newLoader(from source) *loader {
	return &loader{
		from:    from,
		options: newOptionTable(),
		cfg:     defaultConfig(),
		seen:    make(map[string]bool),
		local:   true,
		left:    maxBytes,
		plugins: make(map[string]*plugin),
	}
}

func (l *loader) loadAll(files []string) error {
	for _, name := range files {
		if err := l.loadFile(name); err != nil {
			return err
		}
		l.cfg.File = name
	}
	if err := l.finish(); err != nil {
		return err
	}
	return l.refuse()
}

// loadFile reads a file of the command line with all it includes.
func (l *loader) loadFile(name string) error {
	f := &file{loader: l, name: name}
	if err := f.read(); err != nil {
		return err
	}
	if f.logDestSet {
		l.cfg.LogDest = f.logDest
	}
	if f.logTypeSet {
		l.cfg.LogType = f.logType
	}
	return l.check()
}

// say keeps a line for the log.
func (l *loader) say(c Class, format string, args ...any) error {
	if len(l.lines) == maxMessages {
		return fail("Error: More than %d messages about the configuration.", maxMessages)
	}
	l.lines = append(l.lines, Line{c, fmt.Sprintf(format, args...)})
	return nil
}

// section counts one more listener, connection or plugin.
func (l *loader) section() error {
	if l.sections++; l.sections > maxSections {
		return fail("Error: More than %d listeners, connections and plugins.", maxSections)
	}
	return nil
}

// included counts one more include_dir line or included file.
func (l *loader) included() error {
	if l.files++; l.files > maxFiles {
		return fail("Error: More than %d included files and directories.", maxFiles)
	}
	return nil
}

// lack notes an option that midge has not, once for each key.
func (l *loader) lack(key string, at position, text string) {
	for _, r := range l.refusals {
		if r.key == key {
			return
		}
	}
	l.refusals = append(l.refusals, refusal{key, at, text})
}

// refuse turns what was noted into an error.
func (l *loader) refuse() error {
	if len(l.refusals) == 0 {
		return nil
	}
	e := &Error{Code: Exit}
	for _, r := range l.refusals {
		e.Add("%s", r.text)
		for _, line := range located(r.at.path) {
			e.Add("%s", line)
		}
	}
	return e
}

// located returns the lines that say where an error was found: that of the
// included file, if it is in one, then that of the main file.
func located(path []place) []string {
	var lines []string
	for i := len(path) - 1; i >= 0; i-- {
		form := "Error found at %s:%d."
		if i > 0 {
			form = "Error found at '%s:%d'."
		}
		if path[i].line > 0 { // a file that cannot be opened has no line
			lines = append(lines, fmt.Sprintf(form, path[i].file, path[i].line))
		}
	}
	return lines
}

// file is one file under way. Each starts without a current section.
type file struct {
	*loader
	name   string
	number int   // of the current line, from 1
	parent *file // the file whose include_dir led here

	listener *listener
	bridge   *bridge
	plugin   *plugin

	// The log lines of a file of the command line and its included files.
	logDest    Dest
	logType    Class
	logDestSet bool
	logTypeSet bool
}

// main returns the file of the command line that led to f.
func (f *file) main() *file {
	if f.parent != nil {
		return f.parent
	}
	return f
}

// path returns the current line, after that of the include_dir.
func (f *file) path() []place {
	here := place{f.name, f.number}
	if f.parent == nil {
		return []place{here}
	}
	return []place{{f.parent.name, f.parent.number}, here}
}

// read reads the file to its end or first error, which says where it was found.
func (f *file) read() error {
	err := f.readLines()
	var e *Error
	if errors.As(err, &e) {
		if f.number > 0 {
			e.Add("%s", located(f.path())[0])
		}
		return e
	}
	return err
}

func (f *file) readLines() error {
	r, err := f.from.open(f.name)
	switch {
	case err == errDirectory:
		return fail("Error: Config file '%s' is a directory.", f.name)
	case err != nil:
		return fail("Error: Unable to open config file '%s'.", f.name)
	}
	defer r.Close()
	lines := newLineReader(r, &f.left)
	for {
		line, err := lines.next()
		if err == io.EOF {
			return nil
		}
		f.number++
		if err != nil {
			return f.unreadable(err)
		}
		if strings.HasPrefix(line, "#") || strings.TrimLeft(line, " ") == "" {
			continue
		}
		if err := f.readLine(line); err != nil {
			return err
		}
	}
}

// unreadable is the error for a line that cannot be had.
func (f *file) unreadable(err error) error {
	switch err {
	case errLongLine:
		return fail("Error: Line of more than %d bytes in configuration.", maxLine)
	case errManyBytes:
		return fail("Error: More than %d bytes of configuration.", maxBytes)
	}
	return fail("Error: Unable to read config file '%s': %v.", f.name, err)
}

// readLine carries out one line that is not a comment.
func (f *file) readLine(line string) error {
	s := statement{file: f, rest: line}
	name, _ := s.word()
	s.name = name
	if s.option = f.options.find(name); s.option == nil {
		return fail("Error: Unknown configuration variable '%s'.", name)
	}
	return s.run()
}

// include reads the files of a directory.
func (f *file) include(dir string) error {
	if f.parent != nil {
		return fail("Error: The 'include_dir' option is not allowed in an included file.")
	}
	if err := f.included(); err != nil {
		return err
	}
	names, err := f.from.names(dir)
	if err != nil {
		return fail("Error: Unable to open include_dir '%s'.", dir)
	}
	for _, name := range confNames(names) {
		if err := f.included(); err != nil {
			return err
		}
		inner := &file{loader: f.loader, name: dir + "/" + name, parent: f}
		if err := f.say(ClassInformation, "Loading config file '%s'", inner.name); err != nil {
			return err
		}
		if err := inner.read(); err != nil {
			return err
		}
	}
	return nil
}
