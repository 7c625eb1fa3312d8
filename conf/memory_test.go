package conf

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"testing"
)

// memory is a source that holds its files by their names; directories exist
// as far as files are in them, or when their name ends with a slash.
type memory map[string]string

func (m memory) open(name string) (io.ReadCloser, error) {
	if content, ok := m[name]; ok {
		return io.NopCloser(strings.NewReader(content)), nil
	}
	if content, ok := m[path.Clean(name)]; ok {
		return io.NopCloser(strings.NewReader(content)), nil
	}
	if _, err := m.names(name); err == nil {
		return nil, errDirectory
	}
	return nil, os.ErrNotExist
}

func (m memory) resolve(host string) string {
	if strings.HasSuffix(host, ".invalid") {
		return "Name or service not known"
	}
	return ""
}

func (m memory) names(dir string) ([]string, error) {
	prefix := path.Clean(dir) + "/"
	var names []string
	found := false
	for name := range m {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			found = true
			if first, _, _ := strings.Cut(rest, "/"); first != "" {
				names = append(names, first)
			}
		}
	}
	if !found {
		return nil, os.ErrNotExist
	}
	return names, nil
}

// classLetters are put in front of lines in tests.
var classLetters = map[Class]string{ClassError: "E ", ClassWarning: "W ", ClassNotice: "N ", ClassInformation: "I "}

func texts(lines []Line) []string {
	var all []string
	for _, l := range lines {
		all = append(all, classLetters[l.Class]+l.Text)
	}
	return all
}

// outcome is what came of a configuration: what was said, then the lines of
// the error; the Config if there is no error.
type outcome struct {
	cfg   *Config
	lines []string
	code  int
}

// loadFrom loads main.conf out of files.
func loadFrom(t *testing.T, files memory) outcome {
	t.Helper()
	cfg, said, err := load([]string{"main.conf"}, files)
	o := outcome{cfg: cfg, lines: texts(said)}
	var e *Error
	switch {
	case errors.As(err, &e):
		o.code = e.Code
		o.lines = append(o.lines, texts(e.Lines)...)
		if cfg != nil {
			t.Error("a Config beside an error")
		}
	case err != nil:
		t.Fatalf("error of type %T: %v", err, err)
	case cfg == nil:
		t.Fatal("neither Config nor error")
	}
	return o
}

// loadText loads a main.conf of the lines.
func loadText(t *testing.T, lines ...string) outcome {
	t.Helper()
	return loadFrom(t, memory{"main.conf": strings.Join(lines, "\n")})
}

// mustLoad loads a main.conf of the lines that has to be good.
func mustLoad(t *testing.T, lines ...string) *Config {
	t.Helper()
	o := loadText(t, lines...)
	if o.cfg == nil {
		t.Fatalf("%q refused:\n%s", lines, strings.Join(o.lines, "\n"))
	}
	return o.cfg
}
