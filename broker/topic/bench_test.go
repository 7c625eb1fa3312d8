package topic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// The loads. A shape makes n different filters of five levels, and names that
// some of them match.
var shapes = []struct {
	name    string
	filters func(n int) []string
	topic   func(rnd *rand.Rand, n int) string
}{
	{"fleet", fleetFilters, fleetName},
	{"mixed", mixedFilters, mixedName},
}

// fleet: each of n devices has its own filter, 100 devices to a site; half of
// them have "+" for the site. A name matches about one.
func fleetFilters(n int) []string {
	filters := make([]string, n)
	for i := range filters {
		site := fmt.Sprintf("%04d", i/100)
		if i%2 == 0 {
			site = "+"
		}
		filters[i] = fmt.Sprintf("site/%s/device/%07d/cmd", site, i)
	}
	return filters
}

func fleetName(rnd *rand.Rand, n int) string {
	i := rnd.IntN(n)
	return fmt.Sprintf("site/%04d/device/%07d/cmd", i/100, i)
}

// mixed: levels of some width, every third filter with "+" at a random level,
// every tenth with "#" at the end. A name matches some.
func mixedFilters(n int) []string {
	rnd := rand.New(rand.NewPCG(7, 7))
	seen := make(map[string]bool, n)
	filters := make([]string, 0, n)
	for len(filters) < n {
		level := mixedLevels(rnd, n)
		if i := rnd.IntN(15); i < 5 {
			level[i] = "+"
		}
		last := level[4]
		if rnd.IntN(10) == 0 {
			last = "#"
		}
		f := fmt.Sprintf("%s/%s/%s/%s/%s", level[0], level[1], level[2], level[3], last)
		if !seen[f] {
			seen[f] = true
			filters = append(filters, f)
		}
	}
	return filters
}

func mixedName(rnd *rand.Rand, n int) string {
	l := mixedLevels(rnd, n)
	return fmt.Sprintf("%s/%s/%s/%s/%s", l[0], l[1], l[2], l[3], l[4])
}

func mixedLevels(rnd *rand.Rand, n int) [5]string {
	return [5]string{
		fmt.Sprintf("region%d", rnd.IntN(8)),
		fmt.Sprintf("plant%d", rnd.IntN(30)),
		fmt.Sprintf("line%d", rnd.IntN(30)),
		fmt.Sprintf("machine%d", rnd.IntN(max(1, n/2000))),
		fmt.Sprintf("sensor%d", rnd.IntN(20)),
	}
}

var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

func sized(b *testing.B, sizes []int, run func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { run(b, n) })
	}
}

// BenchmarkMatch matches without the cache.
func BenchmarkMatch(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			sized(b, sizes, func(b *testing.B, n int) {
				var x Index[*int, *int]
				k := new(int)
				filters := shape.filters(n)
				before := heap()
				for _, f := range filters {
					x.Set(f, k, k)
				}
				each := float64(heap()-before) / float64(n)
				runtime.KeepAlive(filters)
				rnd := rand.New(rand.NewPCG(1, 1))
				names := make([][]byte, 1<<14)
				for i := range names {
					names[i] = []byte(shape.topic(rnd, n))
				}
				b.ReportAllocs()
				i, lists := 0, 0
				for b.Loop() {
					x.generation++
					lists += len(x.Match(names[i&(len(names)-1)]))
					i++
				}
				b.ReportMetric(float64(lists)/float64(i), "lists/op")
				b.ReportMetric(each, "B/filter")
			})
		})
	}
}

// BenchmarkMatchCached matches n names in random order, again and again.
func BenchmarkMatchCached(b *testing.B) {
	sized(b, []int{64, 1000, 3000}, func(b *testing.B, n int) {
		var x Index[*int, *int]
		k := new(int)
		for _, f := range mixedFilters(10_000) {
			x.Set(f, k, k)
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		names := make([][]byte, 1<<14)
		for i := range n {
			names[i] = []byte(mixedName(rnd, 10_000))
		}
		for i := n; i < len(names); i++ {
			names[i] = names[rnd.IntN(n)]
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			x.Match(names[i&(len(names)-1)])
			i++
		}
	})
}

// BenchmarkSubscribe adds a filter among many and removes it again.
func BenchmarkSubscribe(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			sized(b, []int{1_000, 100_000}, func(b *testing.B, n int) {
				var x Index[*int, *int]
				k := new(int)
				filters := shape.filters(n)
				for _, f := range filters {
					x.Set(f, k, k)
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					f := filters[i%n]
					x.Delete(f, k)
					x.Set(f, k, k)
					i += 7919
				}
			})
		})
	}
}

// BenchmarkListLeave is the share of each of n clients of one filter who all
// come and leave.
func BenchmarkListLeave(b *testing.B) {
	sized(b, []int{100, 10_000, 100_000}, func(b *testing.B, n int) {
		b.ReportAllocs()
		for b.Loop() {
			var x Index[int, int]
			for k := range n {
				x.Set("a", k, k)
			}
			for k := range n {
				x.Delete("a", k)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/client")
	})
}

// BenchmarkMatchAdversarial matches a name that makes the search visit all nodes
// of 65,536 filters, none of which matches in the end.
func BenchmarkMatchAdversarial(b *testing.B) {
	const depth = 16
	var x Index[*int, *int]
	k := new(int)
	for mix := range 1 << depth {
		x.Set(mixOf(mix, depth)+strings.Repeat("/+", MaxSlashes-depth)+"/z", k, k)
	}
	name := []byte(strings.Repeat("a/", MaxSlashes) + "a")
	b.ReportAllocs()
	for b.Loop() {
		x.generation++
		x.Match(name)
	}
}

func retainedNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site/%04d/device/%07d/state", i/100, i)
	}
	return names
}

// BenchmarkRetained works on a store of n names in random order.
func BenchmarkRetained(b *testing.B) {
	sized(b, []int{100_000, 1_000_000}, func(b *testing.B, n int) {
		names := retainedNames(n)
		order := rand.New(rand.NewPCG(1, 1)).Perm(n)
		m := new(message)
		var r Retained[*message]
		before := heap()
		for _, i := range order {
			r.Set(names[i], m)
		}
		each := float64(heap()-before) / float64(n)
		i := 0
		next := func() string {
			i++
			return names[order[i%n]]
		}
		b.Run("load", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Load(next())
			}
			b.ReportMetric(each, "B/name")
		})
		b.Run("replace", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Set(next(), m)
			}
		})
		b.Run("delete and set", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				name := next()
				r.Delete(name)
				r.Set(name, m)
			}
		})
		for _, c := range []struct {
			name, filter string
			limit, total int // total: stop after so many
		}{
			{"prefix", "site/0007/#", 64, 100},
			{"first 1000 at once", "#", 1000, 1000},
			{"first 1000 by 64", "#", 64, 1000},
			{"all by wildcards", "site/+/device/+/state", 64, 1000},
			{"one in all", "site/+/device/0012345/state", 64, n},
			{"none", "site/+/alarm", 64, n},
		} {
			b.Run("read "+c.name, func(b *testing.B) {
				b.ReportAllocs()
				found, rounds := 0, 0
				for b.Loop() {
					found, rounds = 0, 1
					visit := func(*message) bool { found++; return true }
					for c, limit, total := NewCursor(c.filter), c.limit, c.total; !r.Read(&c, limit, visit) && found < total; {
						rounds++
					}
				}
				b.ReportMetric(float64(found), "messages/op")
				b.ReportMetric(float64(rounds), "reads/op")
			})
		}
	})
}

// mixOf returns a filter of depth levels, "+" where mix has a bit, else "a".
func mixOf(mix, depth int) string {
	level := make([]string, depth)
	for i := range level {
		level[i] = [2]string{"a", "+"}[mix>>i&1]
	}
	return strings.Join(level, "/")
}
