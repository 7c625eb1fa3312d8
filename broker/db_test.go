package broker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDB runs "midge db" on files of mosquitto's, whole and not.
func TestDB(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("../persist/testdata/sessions-2.0.11.db")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o400); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, cut, other := put("good", whole), put("cut", whole[:1000]), put("other", []byte("something else"))
	for _, tt := range []struct {
		args           string
		status         int
		stdout, stderr string // the beginning of it
	}{
		{good, 0, good + ": 2027 bytes, version 6, written by mosquitto while it ran\n", ""},
		{"--json " + good, 0, "{\n  \"file\": \"" + good + "\",\n  \"whole\": true,\n", ""},
		{"--all --json " + cut, 2, "{\n  \"file\": \"" + cut + "\",\n  \"whole\": false,\n", ""},
		{cut, 2, cut + ": 1000 bytes, ", ""},
		{other, 1, "", "Error: " + other + ": Unable to restore persistent database. Unrecognised file format.\n"},
		{dir + "/none", 1, "", "Error: open " + dir + "/none: file does not exist\n"},
		{"", 3, "", "Error: No file.\n"},
		{good + " " + cut, 3, "", "Error: More than one file.\n"},
		{"--every " + good, 3, "", "Error: Unknown option '--every'.\n"},
		{"--help", 0, "midge db shows what a persistence file ", ""},
	} {
		r := command(t, midge(t), append([]string{"db"}, strings.Fields(tt.args)...)...)
		if r.status != tt.status || !strings.HasPrefix(r.stdout, tt.stdout) || !strings.HasPrefix(r.stderr, tt.stderr) ||
			(tt.stdout == "") != (r.stdout == "") || (tt.stderr == "") != (r.stderr == "") {
			t.Errorf("midge db %s: status %d\n%s%s", tt.args, r.status, r.stdout, r.stderr)
		}
	}
	if b, err := os.ReadFile(cut); err != nil || string(b) != string(whole[:1000]) {
		t.Errorf("the file is not what it was, %v", err)
	}
}
