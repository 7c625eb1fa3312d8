package core

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// statement is a row of testdata/statements.txt.
type statement struct {
	line            int
	key, id311, id5 string
	shown           string
}

const statementFile = "testdata/statements.txt"

// readStatements reads the table and the standards' lists of ids.
func readStatements(t *testing.T) (rows []statement, ids311, ids5 []string) {
	text, err := os.ReadFile(statementFile)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range strings.Split(string(text), "\n") {
		switch {
		case s == "" || s[0] == '#':
		case strings.HasPrefix(s, "ids 3.1.1:"):
			ids311 = append(ids311, strings.Fields(s[len("ids 3.1.1:"):])...)
		case strings.HasPrefix(s, "ids 5.0:"):
			ids5 = append(ids5, strings.Fields(s[len("ids 5.0:"):])...)
		default:
			cell := strings.Split(s, " | ")
			if len(cell) != 5 {
				t.Errorf("%s:%d: a row has five columns", statementFile, i+1)
				continue
			}
			rows = append(rows, statement{i + 1, cell[0], cell[1], cell[2], cell[4]})
		}
	}
	return rows, ids311, ids5
}

// TestStatements looks that every statement has its row, and every row something
// that shows it.
func TestStatements(t *testing.T) {
	rows, ids311, ids5 := readStatements(t)
	known := shows(t)
	keys := map[string]bool{}
	open := map[string]int{}
	for _, r := range rows {
		at := fmt.Sprintf("%s:%d: %s", statementFile, r.line, r.key)
		if keys[r.key] {
			t.Errorf("%s is there twice", at)
		}
		keys[r.key] = true
		if r.shown == "-" {
			section, _, _ := strings.Cut(r.key, ".")
			open[section]++
			continue
		}
		if why, ok := strings.CutPrefix(r.shown, "exception:"); ok {
			if strings.TrimSpace(why) == "" {
				t.Errorf("%s: an exception has a reason", at)
			}
			continue
		}
		for _, name := range strings.Fields(r.shown) {
			if !known[name] {
				t.Errorf("%s: there is no %s", at, name)
			}
		}
	}
	if len(open) > 0 {
		t.Errorf("rows still open, by section: %v", open)
	}
	for _, key := range allKeys() {
		if !keys[key] {
			t.Errorf("%s: row %s is missing", statementFile, key)
		}
	}
	onceEach(t, "3.1.1", ids311, 137, rows, func(r *statement) string { return r.id311 })
	onceEach(t, "5.0", ids5, 231, rows, func(r *statement) string { return r.id5 })
}

// allKeys are the keys of the rows, by how many each section has.
func allKeys() (keys []string) {
	for _, s := range []struct{ section, rows int }{
		{3, 25}, {4, 66}, {5, 28}, {6, 54}, {7, 45}, {8, 9}, {9, 38}, {10, 39}, {11, 16}, {12, 17}, {13, 16}, {14, 9}, {16, 15},
	} {
		for n := range s.rows {
			keys = append(keys, fmt.Sprintf("%d.%d", s.section, n+1))
		}
	}
	return keys
}

// onceEach says which of a standard's ids have no row, or two, and which rows
// have an id that is none. There are as many ids as the standard lists for servers.
func onceEach(t *testing.T, standard string, ids []string, count int, rows []statement, of func(*statement) string) {
	times := map[string]int{}
	for _, id := range ids {
		if _, twice := times[id]; twice {
			t.Errorf("the list of %s has %s twice", standard, id)
		}
		times[id] = 0
	}
	if len(ids) != count {
		t.Errorf("the list of %s has %d ids, not %d", standard, len(ids), count)
	}
	for i := range rows {
		id := of(&rows[i])
		if id == "-" {
			continue
		}
		short, ok := strings.CutPrefix(id, "MQTT-")
		if _, listed := times[short]; !ok || !listed {
			t.Errorf("%s:%d: %s has no such id: %s", statementFile, rows[i].line, standard, id)
		}
		times[short]++
	}
	for _, id := range ids {
		if times[id] != 1 {
			t.Errorf("MQTT-%s of %s has %d rows", id, standard, times[id])
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// shows names all there is to show a statement by: file/case of the scripts and
// package.Test of the module.
func shows(t *testing.T) map[string]bool {
	all := map[string]bool{}
	for name, file := range scriptFiles(t) {
		_, cases := readScript(t, file)
		for _, c := range cases {
			all[name+"/"+c.Name] = true
		}
	}
	files := 0
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		abs, err2 := filepath.Abs(path)
		if err != nil || err2 != nil {
			return err
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			all[filepath.Base(filepath.Dir(abs))+"."+m[1]] = true
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("no test files: %v", err)
	}
	return all
}
