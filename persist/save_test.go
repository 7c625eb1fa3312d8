package persist

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// worn is a folder whose n-th call that writes fails.
type worn struct {
	Folder
	left  int
	calls []string
}

var errWorn = errors.New("the disk is worn out")

func (w *worn) call(what string) error {
	w.calls = append(w.calls, what)
	if w.left--; w.left == 0 {
		return errWorn
	}
	return nil
}

func (w *worn) Create(name string) (File, error) {
	if err := w.call("create " + name); err != nil {
		return nil, err
	}
	f, err := w.Folder.Create(name)
	return &wornFile{f, w}, err
}

func (w *worn) Rename(from, to string) error {
	if err := w.call("rename " + from + " " + to); err != nil {
		return err
	}
	return w.Folder.Rename(from, to)
}

func (w *worn) Sync() error {
	if err := w.call("sync folder"); err != nil {
		return err
	}
	return w.Folder.Sync()
}

type wornFile struct {
	File
	disk *worn
}

func (f *wornFile) Write(b []byte) (int, error) {
	if err := f.disk.call("write"); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *wornFile) Sync() error {
	if err := f.disk.call("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *wornFile) Close() error {
	err := f.File.Close()
	if failed := f.disk.call("close"); failed != nil {
		return failed
	}
	return err
}

// TestSaveSnapshot: whatever fails, the file there was or the new one is there
// whole, and no other.
func TestSaveSnapshot(t *testing.T) {
	const name = "mosquitto.db"
	before, after := million(10), million(2000)
	for n := 1; ; n++ {
		dir := t.TempDir()
		if _, err := SaveSnapshot(Folder(dir), name, before, Stamp{ID: 1}, false); err != nil {
			t.Fatal(err)
		}
		d := &worn{Folder: Folder(dir), left: n}
		size, err := SaveSnapshot(d, name, after, Stamp{ID: 2}, true)
		s, lerr := loadSnapshot(Folder(dir), name, nil)
		if lerr != nil || s.damage != nil {
			t.Fatalf("call %d failed: %v, %v", n, lerr, s.damage)
		}
		if names, err := Folder(dir).List(); err != nil || !slices.Equal(names, []string{name}) {
			t.Errorf("call %d failed: files %q, %v", n, names, err)
		}
		renamed := slices.Contains(d.calls[:len(d.calls)-flagOf(err)], "rename mosquitto.db.new mosquitto.db")
		if want := map[bool]int{false: 10, true: 2000}[renamed]; s.image.RetainedLen() != want {
			t.Errorf("call %d failed: there are %d messages", n, s.image.RetainedLen())
		}
		if err != nil {
			if !errors.Is(err, errWorn) {
				t.Fatalf("call %d: %v", n, err)
			}
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != 0o600 || info.Size() != size || !s.stopped || s.stamp.ID != 2 || s.size != size {
			t.Errorf("%v bytes, said to be %d, mode %v, %v, %+v", info.Size(), size, info.Mode(), err, s.stamp)
		}
		want := []string{"create mosquitto.db.new", "write", "sync", "close", "rename mosquitto.db.new mosquitto.db", "sync folder"}
		if got := slices.Compact(d.calls); !slices.Equal(got, want) {
			t.Errorf("it went %q", got)
		}
		return
	}
}

func flagOf(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

func TestLoadSnapshotNone(t *testing.T) {
	if _, err := loadSnapshot(Folder(t.TempDir()), "mosquitto.db", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
