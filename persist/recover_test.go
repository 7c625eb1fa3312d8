package persist

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestRecoverOdd: files that are not as a broker leaves them. What can be read is, what
// cannot is kept under another name, and a broker goes on.
func TestRecoverOdd(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *memory, segment string) // of a disk with a snapshot and one segment
		state  string                          // all, some: of the segment's records; old: none of them
		says   string
		kept   []string
	}{
		{"as it was", func(*memory, string) {}, "all", "", nil},
		{"a bit is wrong", func(m *memory, s string) {
			m.names[s].data[segmentHead+200] ^= 1
		}, "some", "torn or damaged", []string{"SEGMENT.damaged"}},
		{"the header is wrong", func(m *memory, s string) {
			m.names[s].data[20] ^= 1
		}, "old", "has no header", []string{"SEGMENT.aside"}},
		{"the journal is missing", func(m *memory, s string) {
			delete(m.names, s)
		}, "old", "", nil},
		{"the journal is another's", func(m *memory, s string) {
			h := segment{number: segmentNumber(plantName, s), snapshot: 12345, first: 2}
			m.names[s].data = h.append(nil)
		}, "old", "does not belong to this", []string{"SEGMENT.aside"}},
		{"a segment is missing", func(m *memory, s string) {
			h := segment{number: 99, snapshot: 1, first: 1000}
			m.names["mosquitto.db.journal.99"] = &inode{data: h.append(nil)}
		}, "all", "does not continue", []string{"mosquitto.db.journal.99.aside"}},
		{"what is kept was kept before", func(m *memory, s string) {
			m.names[s+".damaged"] = &inode{data: []byte("older")}
			m.names[s].data[segmentHead+200] ^= 1
		}, "some", "torn or damaged", []string{"SEGMENT.damaged", "SEGMENT.damaged.2"}},
		{"a segment was just being made", func(m *memory, s string) {
			m.names["mosquitto.db.journal.98"] = &inode{data: []byte("midge jou")}
		}, "all", "", nil},
		{"an old segment was left", func(m *memory, s string) {
			h := segment{number: 1, first: 1}
			m.names["mosquitto.db.journal.1"] = &inode{data: h.append(nil)}
		}, "all", "", nil},
		{"the snapshot is missing", func(m *memory, s string) {
			delete(m.names, plantName)
		}, "", "is missing", nil},
		{"the end of the snapshot is missing", func(m *memory, s string) {
			m.names[plantName].data = m.names[plantName].data[:len(m.names[plantName].data)-20]
		}, "", "is damaged", []string{"mosquitto.db.damaged"}},
		{"the snapshot is mosquitto's", func(m *memory, s string) {
			data := m.names[plantName].data[:0:0]
			im := NewImage()
			im.Retain(&Message{Topic: "theirs", Payload: "x", Expires: Never, Stored: 1})
			f, _ := m.Create(plantName)
			writeSnapshot(f, im, Stamp{}, true)
			data = append(data, m.names[plantName].data...)
			at := strings.Index(string(data), "midge")
			copy(data[at:], "\x00\x00\x00\x00\x00\x00")
			m.names[plantName].data = data[:strings.LastIndex(string(data), "midg")]
		}, "theirs", "does not belong to", []string{"SEGMENT.aside"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk, states, first, last := oddDisk(t)
			segment := newestSegment(disk)
			c.change(disk, segment)
			r, err := Recover(disk, plantName, nil)
			if err != nil {
				t.Fatal(err)
			}
			have := r.Image.lines()
			switch c.state {
			case "all":
				same(t, "state", have, states[last])
			case "old":
				same(t, "state", have, states[first])
			case "some":
				if at := r.Image.Position(); at <= first || at >= last || !slices.Equal(have, states[at]) {
					t.Errorf("position %d, between %d and %d", at, first, last)
				}
			case "theirs":
				if len(have) != 1 || !strings.Contains(have[0], "theirs") {
					t.Errorf("%q", have)
				}
			}
			said := ""
			for _, n := range r.Notes {
				said += n.Text + "\n"
			}
			if !strings.Contains(said, c.says) || c.says == "" && said != "" {
				t.Errorf("said %q", said)
			}
			p, err := grow(t, disk, 400, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.record()
			p.awaitSafe()
			p.awaitSnapshot()
			p.holds("gone on, and power lost", disk.now().lose(0))
			p.end()
			var kept []string
			for name := range disk.names {
				if strings.Contains(name, ".damaged") || strings.Contains(name, ".aside") {
					kept = append(kept, strings.Replace(name, segment, "SEGMENT", 1))
				}
			}
			slices.Sort(kept)
			if !slices.Equal(kept, c.kept) {
				t.Errorf("kept %q, not %q", kept, c.kept)
			}
		})
	}
}

// TestRecoverKeeps: what cannot be read is kept whole, and once, whichever calls of the disk
// fail, before anything replaces it.
func TestRecoverKeeps(t *testing.T) {
	odd, _, _, _ := oddDisk(t)
	for _, c := range []struct {
		name   string
		change func(m *memory, segment string) (file string) // that is damaged
		kept   string
	}{
		{"a damaged snapshot", func(m *memory, _ string) string {
			f := m.names[plantName]
			f.data = f.data[:len(f.data)-20]
			return plantName
		}, plantName + ".damaged"},
		{"a damaged end", func(m *memory, s string) string {
			m.names[s].data[segmentHead+200] ^= 1
			return s
		}, ".damaged"},
		{"another's segment", func(m *memory, s string) string {
			m.names[s].data[20] ^= 1
			return s
		}, ".aside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; ; n++ {
				disk := odd.now()
				file := c.change(disk, newestSegment(disk))
				lost := disk.names[file].data
				disk.err, disk.failFor, disk.short = syscall.ENOSPC, 1+n%4, true
				p, err := grow(t, disk, 400, func(o *Options) {
					disk.failAt = disk.calls + n
				})
				if err != nil {
					t.Fatal(err)
				}
				p.record()
				p.awaitSafe()
				p.end()
				keeps(t, fmt.Sprintf("call %d fails", n), disk.lose(0), c.kept, lost)
				if disk.calls < disk.failAt {
					return
				}
			}
		})
	}
}

// keeps fails unless one file, and no more, holds what was lost, or its end.
func keeps(t *testing.T, what string, disk *memory, name string, lost []byte) {
	t.Helper()
	n, whole := 0, false
	for is, f := range disk.names {
		if strings.Contains(is, name) {
			n++
			whole = whole || len(f.data) > 0 && bytes.HasSuffix(lost, f.data)
		}
	}
	if n != 1 || !whole {
		t.Errorf("%s: %d files are kept as %s, one of them whole is %t", what, n, name, whole)
	}
}

// oddDisk is a disk with a snapshot, and a segment that has the records between two
// positions; and the states at all positions.
func oddDisk(t *testing.T) (disk *memory, states map[Position][]string, first, last Position) {
	disk = newMemory()
	p, err := grow(t, disk, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.life(5)
	p.awaitSafe()
	p.end()
	p, err = grow(t, disk, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		p.record()
		p.awaitSafe()
	}
	now := disk.now()
	p.end()
	return now, p.states, p.pos - 30, p.pos
}

// TestRecoverNothing: a folder that is empty, or not there, is a beginning.
func TestRecoverNothing(t *testing.T) {
	for _, folder := range []Folder{Folder(t.TempDir()), Folder(t.TempDir() + "/missing")} {
		r, err := Recover(folder, plantName, nil)
		if err != nil || len(r.Notes) > 0 || len(r.Image.lines()) > 0 || r.Now(5000) != 5000 {
			t.Errorf("%s: %v, %v", folder, err, r)
		}
	}
}

// TestRecoverClock: the broker's clock goes on from the last instant that was recorded,
// with the time since, whatever the machine's clock has done meanwhile or did before.
func TestRecoverClock(t *testing.T) {
	const year = 365 * 24 * 3600 * 1000
	for _, c := range []struct {
		name       string
		jump       int64 // of the machine's clock, while the broker runs
		wall, want int64 // since the last instant, on the machine's clock and the broker's
	}{
		{"an hour later", 0, 3600_000, 3600_000},
		{"an hour earlier", 0, -3600_000, 0},
		{"fifty years ahead while it ran", 50 * year, 3600_000, 3600_000},
		{"an hour back while it ran", -3600_000, 1000, 1000},
		{"fifty years back at the start", 0, -50 * year, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := newMemory()
			p, err := grow(t, disk, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			wall := int64(60 * year)
			now := Time(wall)
			for range 3 {
				now += 2000
				p.record()
				p.Hand(now, wall+int64(now)-60*year)
				p.await("safety", func(r Report) bool { return r.Safe >= p.pos })
			}
			wall += int64(now) - 60*year + c.jump
			p.record()
			p.Hand(now, wall)
			p.await("safety", func(r Report) bool { return r.Safe >= p.pos })
			r, err := Recover(disk.now(), plantName, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Now(wall + c.wall); got != now+c.want {
				t.Errorf("%d ms on the machine's clock are %d on the broker's, not %d", c.wall, got-now, c.want)
			}
			disk = disk.now()
			p.end()
			again, err := grow(t, disk, 2, nil) // and by a snapshot
			if err != nil {
				t.Fatal(err)
			}
			again.awaitSnapshot()
			disk = disk.now()
			again.end()
			if r, err = Recover(disk, plantName, nil); err != nil || r.Now(wall+c.wall) != now+c.want {
				t.Errorf("by a snapshot: %v, %d", err, r.Now(wall+c.wall)-now)
			}
		})
	}
}
