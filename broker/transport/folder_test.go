package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRequestsBounded: so many files are served at a time, however their clients end.
func TestRequestsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	mail := make(chan func(), 2*requestsMax)
	f, err := OpenFolder(dir, func(do func()) { mail <- do }, func(*Conn) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var scratch Scratch
	ask := func(name string) *Conn {
		c := New(0, &scratch)
		c.Web(&Web{HeadMax: 1000, Folder: f})
		buf := []byte("GET /" + name + " HTTP/1.1\r\n\r\n")
		c.Unwrap(buf, buf)
		return c
	}
	turned := func() bool {
		c := ask("a")
		defer c.Close()
		return strings.HasPrefix(string(c.web.own), "HTTP/1.1 503 ")
	}
	for _, ends := range []string{"before it is opened", "when it is opened"} {
		var all []*Conn
		for len(all) < requestsMax {
			all = append(all, ask("a"))
		}
		if !turned() {
			t.Fatal("any number of files is served")
		}
		if ends == "when it is opened" {
			for range all {
				(<-mail)()
			}
		}
		for _, c := range all {
			c.Close()
			c.Close()
		}
		if ends == "before it is opened" {
			for range all {
				(<-mail)()
			}
		}
		if f.busy != 0 {
			t.Fatalf("%s: %d requests are under way", ends, f.busy)
		}
	}
	for range requestsMax {
		ask("nothing")
		(<-mail)()
	}
	if f.busy != 0 || turned() {
		t.Errorf("%d requests are under way", f.busy)
	}
	(<-mail)()
}
