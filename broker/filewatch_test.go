package broker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestFileWatch looks at files that change.
func TestFileWatch(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	age := time.Now().Add(-time.Hour)
	write := func(name, text string) {
		t.Helper()
		age = age.Add(time.Second) // a clock that is too coarse to see two writes shall not matter here
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, age, age); err != nil {
			t.Fatal(err)
		}
	}
	w := newFileWatch(nil)
	look := func(when string, want ...string) {
		t.Helper()
		if got := w.look(); !slices.Equal(got, want) {
			t.Errorf("%s: %v", when, got)
		}
	}
	write(a, "1")
	write(b, "1")
	w.set(map[string]stamp{a: stampOf(a), b: stampOf(b)}, 0)
	look("nothing happened")
	write(a, "2")
	look("just changed")
	write(a, "3")
	look("and again")
	look("holds still", a)
	look("was told")
	write(a, "2")
	write(b, "2")
	look("both changed")
	look("both hold still", a, b)
	w.set(map[string]stamp{a: stampOf(a), b: stampOf(b)}, 0)
	look("both are in force")
	old := stampOf(a)
	write(a, "4")
	w.failed(map[string]stamp{a: stampOf(a)})
	look("is known to be no good")
	look("is still known")
	os.Remove(b)
	look("is gone")
	look("stays away", b)
	write(a, "5")
	w.set(map[string]stamp{a: old}, 0) // changed after it was stamped and before it was in force
	look("differs")
	look("holds still", a)
	os.WriteFile(b, []byte("x"), 0o600)
	look("b is not looked at any more")
	os.Rename(b, a) // another file
	look("replaced")
	look("holds still", a)
}
