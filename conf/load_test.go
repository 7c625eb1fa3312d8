package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestIncludeOrder(t *testing.T) {
	files := memory{
		"main.conf":         "include_dir d",
		"d/b.conf":          "",
		"d/B.conf":          "",
		"d/a.conf":          "",
		"d/A.conf":          "",
		"d/aB.conf":         "",
		"d/Ab.conf":         "",
		"d/01.conf":         "",
		"d/00.conf":         "",
		"d/.hidden.conf":    "",
		"d/.conf":           "bogus",
		"d/x.CONF":          "bogus",
		"d/x.conf~":         "bogus",
		"d/readme":          "bogus",
		"d/_.conf":          "",
		"d/z.conf":          "",
		"d/é.conf":          "",
		"d/long.name.conf":  "",
		"d/sub/nested.conf": "bogus",
	}
	var want []string
	for _, name := range []string{".hidden", "00", "01", "A", "Ab", "a", "aB", "B", "b", "long.name", "z", "_", "é"} {
		want = append(want, "I Loading config file 'd/"+name+".conf'")
	}
	if o := loadFrom(t, files); !slices.Equal(o.lines, want) || o.code != 0 {
		t.Errorf("got %q\nwant %q", o.lines, want)
	}
}

// TestIncludePlace: files are read where the line stands, settings are shared,
// the current listener is not.
func TestIncludePlace(t *testing.T) {
	files := memory{
		"main.conf": "log_type debug\nlistener 1884\nmax_keepalive 1\nsys_interval 1\ninclude_dir d/\nmax_keepalive 3\nmax_qos 1\nlog_dest stdout",
		"d/a.conf":  "max_keepalive 2\nsys_interval 2\nlistener 1885\nmax_qos 0\nlog_type error\nlog_dest file x",
		"d/b.conf":  "listener 1886",
	}
	o := loadFrom(t, files)
	if want := []string{"I Loading config file 'd//a.conf'", "I Loading config file 'd//b.conf'"}; !slices.Equal(o.lines, want) {
		t.Fatalf("got %q, want %q", o.lines, want)
	}
	c := o.cfg
	if c.MaxKeepalive != 3 || c.SysInterval != 2 || c.LogType != ClassDebug|ClassError || c.LogDest != ToFile|ToStdout || c.LogFile != "x" {
		t.Errorf("got %+v", c)
	}
	var got []string
	for _, l := range c.Listeners {
		got = append(got, fmt.Sprintf("%d %d", l.Port, l.MaxQoS))
	}
	if want := []string{"1884 1", "1885 0", "1886 2"}; !slices.Equal(got, want) {
		t.Errorf("listeners %q, want %q", got, want)
	}
}

func TestIncludeErrors(t *testing.T) {
	const loading = "I Loading config file 'd/a.conf'"
	rows := []struct {
		files memory
		want  []string
	}{
		{memory{"main.conf": "\ninclude_dir d", "d/a.conf": "\n\nbogus"}, []string{loading,
			"E Error: Unknown configuration variable 'bogus'.", "E Error found at 'd/a.conf:3'.", at("2")}},
		{memory{"main.conf": "listener 1884\ninclude_dir d", "d/a.conf": "max_topic_alias 1"}, []string{loading,
			"E Error: The 'max_topic_alias' option requires a listener to be defined first.", "E Error found at 'd/a.conf:1'.", at("2")}},
		{memory{"main.conf": "connection x\ninclude_dir d", "d/a.conf": "address x"}, []string{loading,
			"E Error: The 'address' option requires a bridge to be defined first.", "E Error found at 'd/a.conf:1'.", at("2")}},
		{memory{"main.conf": "plugin /x\ninclude_dir d", "d/a.conf": "plugin_opt_abc x"}, []string{loading,
			"E Error: The 'plugin_opt_abc' option requires a plugin, global_plugin or plugin_load to be defined first.",
			"E Error found at 'd/a.conf:1'.", at("2")}},
		{memory{"main.conf": "include_dir d", "d/a.conf": "include_dir d"}, []string{loading,
			"E Error: The 'include_dir' option is not allowed in an included file.", "E Error found at 'd/a.conf:1'.", at("1")}},
		{memory{"main.conf": "include_dir d", "d/a.conf/": ""}, []string{loading,
			"E Error: Config file 'd/a.conf' is a directory.", at("1")}},
		{memory{"main.conf": "include_dir d ", "d/a.conf": ""}, []string{
			"E Error: Unable to open include_dir 'd '.", at("1")}},
		{memory{"main.conf": "include_dir  d", "d/a.conf": ""}, []string{
			"E Error: Unable to open include_dir ' d'.", at("1")}},
		{memory{"main.conf": "pid_file x\ninclude_dir d", "d/a.conf": "pid_file x"}, []string{loading,
			"E Error: Duplicate 'pid_file' value in configuration.", "E Error found at 'd/a.conf:1'.", at("2")}},
		// What midge has not is placed likewise.
		{memory{"main.conf": "include_dir d\npsk_file x", "d/a.conf": "\npsk_file x"}, []string{loading,
			"E Error: The 'psk_file' option is not supported by midge: " + whyPSK + ".", "E Error found at 'd/a.conf:2'.", at("1")}},
		// The listener of an included file's option is announced as well.
		{memory{"main.conf": "listener 1884\ninclude_dir d", "d/a.conf": "max_qos 1"}, []string{loading,
			"I Creating default listener due to 'max_qos' option.",
			"I It is best practice to put a 'listener' line above the 'max_qos' option.",
			"W Warning: The 'max_qos' option at d/a.conf:1 stands above any 'listener' line, so port 1883 is opened on all interfaces too."}},
	}
	for _, r := range rows {
		if o := loadFrom(t, r.files); !slices.Equal(o.lines, r.want) {
			t.Errorf("%q: got %q\nwant %q", r.files, o.lines, r.want)
		}
	}
}

// TestSeveralFiles: -c given twice.
func TestSeveralFiles(t *testing.T) {
	files := memory{
		"a": "max_keepalive 1\nsys_interval 1\nlistener 1884\nlog_type debug\nlog_dest stdout\npid_file x",
		"b": "max_keepalive 2\nlistener 1885\nmax_qos 1\nlog_type error",
		"c": "pid_file y",
		"d": "max_qos 1",
	}
	c, lines, err := load([]string{"a", "b"}, files)
	if err != nil || lines != nil {
		t.Fatalf("lines %q, error %v", texts(lines), err)
	}
	if c.File != "b" || c.MaxKeepalive != 2 || c.SysInterval != 1 || c.PidFile != "x" || len(c.Listeners) != 2 {
		t.Errorf("got %+v", c)
	}
	if c.LogType != ClassError || c.LogDest != ToStdout {
		t.Errorf("log_type %b, log_dest %b", c.LogType, c.LogDest)
	}
	_, _, err = load([]string{"a", "c"}, files)
	if want := "Error: Duplicate 'pid_file' value in configuration.\nError found at c:1."; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	c, lines, err = load([]string{"a", "d"}, files)
	if err != nil || len(lines) != 3 || len(c.Listeners) != 2 || c.Listeners[0].MaxQoS != 2 || c.Listeners[1].MaxQoS != 1 {
		t.Errorf("got %+v, lines %q, error %v", c, texts(lines), err)
	}
}

// TestDisk: files that are really there, and some that are not.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	main := write("main.conf", "max_keepalive 5\ninclude_dir "+dir+"/d\nlistener 1884\n")
	write("d/b.conf", "max_keepalive 7\n")
	write("d/a.conf", "max_keepalive 6\n")
	c, lines, err := Load([]string{main})
	want := []Line{{ClassInformation, "Loading config file '" + dir + "/d/a.conf'"}, {ClassInformation, "Loading config file '" + dir + "/d/b.conf'"}}
	if err != nil || !slices.Equal(lines, want) || c.MaxKeepalive != 7 || c.File != main {
		t.Fatalf("got %+v, lines %q, error %v", c, texts(lines), err)
	}

	missing := filepath.Join(dir, "none")
	for name, want := range map[string]string{
		dir:     "Error: Config file '" + dir + "' is a directory.",
		missing: "Error: Unable to open config file '" + missing + "'.",
		"":      "Error: Unable to open config file ''.",
	} {
		_, _, err := Load([]string{name})
		var e *Error
		if !errors.As(err, &e) || e.Code != 3 || e.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}

	nowhere := write("nowhere.conf", "\ninclude_dir "+missing)
	_, _, err = Load([]string{nowhere})
	if want := "Error: Unable to open include_dir '" + missing + "'.\nError found at " + nowhere + ":2."; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := os.Symlink(missing, filepath.Join(dir, "d", "c.conf")); err != nil {
		t.Fatal(err)
	}
	_, _, err = Load([]string{main})
	if want := "Error: Unable to open config file '" + dir + "/d/c.conf'.\nError found at " + main + ":2."; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// stream is a source of one file that is made while it is read.
type stream func() io.Reader

func (s stream) open(string) (io.ReadCloser, error) { return io.NopCloser(s()), nil }
func (stream) names(string) ([]string, error)       { return nil, os.ErrNotExist }
func (stream) resolve(string) string                { return "" }

// repeated reads its text again and again.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

// TestEndless: files without end are refused, after no more than the limits.
func TestEndless(t *testing.T) {
	rows := []struct{ text, want string }{
		{"#", "Error: Line of more than 1048576 bytes in configuration.\nError found at f:1."},
		{"x", "Error: Line of more than 1048576 bytes in configuration.\nError found at f:1."},
		{strings.Repeat("#", 1<<16) + "\n", "Error: More than 67108864 bytes of configuration.\nError found at f:1024."},
		{"listener 1884\n", "Error: More than 10000 listeners, connections and plugins.\nError found at f:10001."},
		{"plugin /x\n", "Error: More than 10000 listeners, connections and plugins.\nError found at f:10001."},
		{"trace_level\n", "Error: More than 10000 messages about the configuration.\nError found at f:10001."},
		{"pid_file\n", "Error: Empty 'pid_file' value in configuration.\nError found at f:1."},
	}
	for _, r := range rows {
		_, lines, err := load([]string{"f"}, stream(func() io.Reader { return &repeated{text: r.text} }))
		if err == nil || err.Error() != r.want {
			t.Errorf("%.20q: got %v, want %s", r.text, err, r.want)
		}
		if len(lines) > maxMessages {
			t.Errorf("%.20q: %d lines", r.text, len(lines))
		}
	}
	c, _, err := load([]string{"f"}, stream(func() io.Reader { return &repeated{text: "\x00"} }))
	if err != nil || !c.LocalOnly {
		t.Errorf("endless NUL: %+v, %v", c, err)
	}
	_, _, err = load([]string{"f"}, stream(func() io.Reader {
		return io.MultiReader(strings.NewReader("sys_interval 1\nsys_"), failing{})
	}))
	if want := "Error: Unable to read config file 'f': disk on fire.\nError found at f:2."; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestLongestLine: a line of the longest length is read.
func TestLongestLine(t *testing.T) {
	c := mustLoad(t, "sys_interval 1"+strings.Repeat(" ", maxLine-len("sys_interval 1")-1), "max_keepalive 5")
	if c.SysInterval != 1 || c.MaxKeepalive != 5 {
		t.Errorf("got %+v", c)
	}
	o := loadText(t, "sys_interval 1"+strings.Repeat(" ", maxLine-len("sys_interval 1")), "max_keepalive 5")
	if o.code != Exit {
		t.Error("a line of more was read")
	}
}

// TestManyBytes: included files count together with the one that includes them.
func TestManyBytes(t *testing.T) {
	part := strings.Repeat("#"+strings.Repeat("x", 1<<16-2)+"\n", 128) // 8 MiB
	files := memory{"main.conf": "include_dir d"}
	for i := range 9 {
		files[fmt.Sprintf("d/%d.conf", i)] = part
	}
	o := loadFrom(t, files)
	want := []string{"E Error: More than 67108864 bytes of configuration.", "E Error found at 'd/7.conf:128'.", at("1")}
	if !slices.Equal(o.lines[max(0, len(o.lines)-3):], want) {
		t.Errorf("got %q", o.lines)
	}
	delete(files, "d/8.conf")
	delete(files, "d/7.conf")
	if o := loadFrom(t, files); o.code != 0 {
		t.Errorf("got %q", o.lines)
	}
}

func TestManyIncludes(t *testing.T) {
	files := memory{"main.conf": strings.Repeat("include_dir d\n", maxFiles+1), "d/": ""}
	o := loadFrom(t, files)
	if want := []string{"E Error: More than 1000 included files and directories.", "E Error found at main.conf:1001."}; !slices.Equal(o.lines, want) {
		t.Errorf("got %q", o.lines)
	}
	files = memory{"main.conf": "include_dir d"}
	for i := range maxFiles {
		files[fmt.Sprintf("d/%d.conf", i)] = ""
	}
	o = loadFrom(t, files)
	if got, want := o.lines[len(o.lines)-2], "E Error: More than 1000 included files and directories."; got != want {
		t.Errorf("got %q", got)
	}
}

// TestSplitReads: the lines are the same however few bytes come at a time.
func TestSplitReads(t *testing.T) {
	text := "sys_interval 1\r\n\n# x\nmax_keepalive 5\npid_file a b"
	want := []string{"sys_interval 1", "", "# x", "max_keepalive 5", "pid_file a b"}
	for size := 1; size < len(text); size++ {
		left := len(text)
		r := newLineReader(&slow{text, size}, &left)
		var got []string
		for {
			line, err := r.next()
			if err != nil {
				break
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes at a time: got %q", size, got)
		}
	}
}

// slow reads a few bytes at a time.
type slow struct {
	text string
	size int
}

func (s *slow) Read(p []byte) (int, error) {
	n := copy(p, s.text[:min(s.size, len(s.text))])
	s.text = s.text[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
