package process

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// The kernel ends a process that outgrows the memory of its cgroup, as containers
// and systemd's MemoryMax set it. Go's collector knows nothing of that limit, and
// lets the heap double before it collects. It is told, so that it collects more
// often when memory is short.

// cgroups is where the kernel tells of control groups.
type cgroups struct {
	own  string // the file that names those of this process
	root string // the folder they are in
}

// systemCgroups are those of this machine.
func systemCgroups() cgroups {
	return cgroups{own: "/proc/self/cgroup", root: "/sys/fs/cgroup"}
}

// HeedMemoryLimit keeps Go's memory below nine tenths of the cgroup's limit: the
// rest is for what Go does not count, such as its own program. With a limit on what the
// broker's state may take, in bytes and 0 for none, it is also kept a little below that,
// for else as much garbage as there is state could pile up before it is collected; but
// it is given used, what the state takes now, and a quarter of it and 64 MiB, lest the
// collector do nothing else. GOMEMLIMIT in the environment has precedence.
//
// It may take as long as a collection.
func HeedMemoryLimit(state, used int64) { systemCgroups().heed(state, used) }

func (g cgroups) heed(state, used int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := g.memoryLimit()
	if limit < math.MaxInt64 {
		limit = limit / 10 * 9
	}
	if state > 0 && state < 1<<50 {
		limit = min(limit, max(state-state/16, used+used/4+64<<20))
	}
	debug.SetMemoryLimit(limit)
}

// memoryLimit is the smallest limit on the memory of this process, in bytes;
// math.MaxInt64 where there is none, or it cannot be read.
func (g cgroups) memoryLimit() int64 {
	limit := int64(math.MaxInt64)
	own, _ := os.ReadFile(g.own)
	for line := range strings.Lines(string(own)) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, name, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case number == "0" && controllers == "": // version 2
			limit = min(limit, smallest(g.root, name, "memory.max"))
		case slices.Contains(strings.Split(controllers, ","), "memory"): // version 1
			limit = min(limit, smallest(path.Join(g.root, "memory"), name, "memory.limit_in_bytes"))
		}
	}
	return limit
}

// smallest is the least number in the files of that name from the folder of a
// cgroup up to the root, which in a container is its own cgroup.
func smallest(root, cgroup, file string) int64 {
	limit := int64(math.MaxInt64)
	for dir := path.Join("/", cgroup); ; dir = path.Dir(dir) {
		limit = min(limit, readLimit(path.Join(root, dir, file)))
		if dir == "/" {
			return limit
		}
	}
}

// boundless is what is above any machine's memory: version 1 says nearly 1<<63 for
// no limit.
const boundless = 1 << 60

// readLimit reads one limit. "max", as version 2 says, is none.
func readLimit(file string) int64 {
	text, _ := os.ReadFile(file)
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= 0 || n >= boundless {
		return math.MaxInt64
	}
	return n
}
