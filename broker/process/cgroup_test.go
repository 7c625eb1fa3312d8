package process

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// fakeCgroups makes a tree of the given files, by their path below the root.
func fakeCgroups(t *testing.T, own string, files map[string]string) cgroups {
	t.Helper()
	dir := t.TempDir()
	g := cgroups{own: filepath.Join(dir, "own"), root: filepath.Join(dir, "root")}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if own != "" {
		write(g.own, own)
	}
	for name, text := range files {
		write(filepath.Join(g.root, name), text)
	}
	return g
}

func TestCgroupMemoryLimit(t *testing.T) {
	const none = math.MaxInt64
	for _, c := range []struct {
		name  string
		own   string
		files map[string]string
		want  int64
	}{
		{"no file", "", nil, none},
		{"an empty file", "\n", map[string]string{"memory.max": "1000\n"}, none},
		{"nonsense", "no colon\n0:\n:::\n", map[string]string{"memory.max": "1000\n"}, none},
		{"no limit", "0::/a\n", map[string]string{"a/memory.max": "max\n"}, none},
		{"no such cgroup", "0::/a\n", nil, none},
		{"its own", "0::/a/b\n", map[string]string{"a/b/memory.max": "1000\n"}, 1000},
		{"a parent's", "0::/a/b\n", map[string]string{"a/memory.max": "900\n", "a/b/memory.max": "1000\n"}, 900},
		{"the smallest", "0::/a/b\n", map[string]string{
			"memory.max": "800\n", "a/memory.max": "max\n", "a/b/memory.max": "700\n"}, 700},
		{"a neighbour's", "0::/a/b\n", map[string]string{"a/c/memory.max": "1000\n"}, none},
		{"the root's, in a container", "0::/\n", map[string]string{"memory.max": "1000\n"}, 1000},
		{"the root's, by a host's name", "0::/host/x\n", map[string]string{"memory.max": "1000\n"}, 1000},
		{"outside the namespace", "0::/../x\n", map[string]string{"memory.max": "1000\n"}, 1000},
		{"not a number", "0::/a\n", map[string]string{"a/memory.max": "much\n"}, none},
		{"zero", "0::/a\n", map[string]string{"a/memory.max": "0\n"}, none},
		{"version 1", "5:cpu,cpuacct:/c\n4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000\n"}, 1000},
		{"version 1, with others", "4:hugetlb,memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000\n"}, 1000},
		{"version 1, no limit", "4:memory:/a\n", map[string]string{
			"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, none},
		{"both versions", "4:memory:/a\n0::/b\n", map[string]string{
			"memory/a/memory.limit_in_bytes": "1000\n", "b/memory.max": "2000\n"}, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fakeCgroups(t, c.own, c.files).memoryLimit(); got != c.want {
				t.Errorf("%d, not %d", got, c.want)
			}
		})
	}
}

func TestHeedMemoryLimit(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(was)
	debug.SetMemoryLimit(math.MaxInt64)
	none := fakeCgroups(t, "0::/a\n", nil)
	limited := fakeCgroups(t, "0::/a\n", map[string]string{"a/memory.max": "1000000000\n"})
	for _, c := range []struct {
		name, env string
		cgroups   cgroups
		state     int64
		used      int64
		want      int64
	}{
		{"none", "", none, 0, 1000, math.MaxInt64},
		{"the environment's", "1GiB", limited, 1000, 0, math.MaxInt64},
		{"the cgroup's", "", limited, 0, 0, 900_000_000},
		{"the state's", "", none, 400_000_000, 0, 375_000_000},
		{"what it uses is more", "", none, 400_000_000, 360_000_000, 450_000_000 + 64<<20},
		{"the lower of both", "", limited, 400_000_000, 0, 375_000_000},
		{"the cgroup's is lower", "", limited, 1_000_000_000, 900_000_000, 900_000_000},
		{"a small one", "", none, 1000, 0, 64 << 20},
		{"a huge one", "", none, math.MaxInt64, 0, math.MaxInt64},
		{"none any more", "", none, 0, 0, math.MaxInt64},
	} {
		t.Setenv("GOMEMLIMIT", c.env)
		c.cgroups.heed(c.state, c.used)
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("%s: %d, not %d", c.name, got, c.want)
		}
	}
}
