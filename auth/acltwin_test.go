package auth

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// twin decides as the ACL file is documented: by a walk over lists of lines, with
// names put into the filter's levels and levels compared one by one.
type twin struct {
	sections map[string][][2]string // access and filter, by user; "" is for those without a name
	patterns [][2]string
}

// newTwin reads a file that is well formed.
func newTwin(file string) *twin {
	w := &twin{sections: map[string][][2]string{}}
	user := ""
	for _, line := range strings.Split(file, "\n") {
		line = strings.TrimRight(line, " \t\r\v\f")
		f := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
		if len(f) == 0 || line[0] == '#' {
			continue
		}
		_, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		rest = strings.Trim(rest, " \t\r\v\f")
		if f[0] == "user" {
			user = rest
			continue
		}
		access, filter, ok := strings.Cut(rest, " ")
		if !ok {
			access, filter = "readwrite", rest
		}
		entry := [2]string{access, strings.Trim(filter, " \t\r\v\f")}
		if f[0] == "pattern" {
			w.patterns = append(w.patterns, entry)
		} else {
			w.sections[user] = append(w.sections[user], entry)
		}
	}
	return w
}

func (w *twin) may(clientID, username, do, topic string) Verdict {
	plain := func(filter string) []string { return strings.Split(filter, "/") }
	if said, v := decide(w.sections[username], do, topic, plain); said {
		return v
	}
	if len(w.patterns) == 0 {
		return Denied
	}
	if strings.ContainsAny(clientID, "+#") || strings.ContainsAny(username, "+#") {
		return DeniedName
	}
	_, v := decide(w.patterns, do, topic, func(filter string) []string {
		var levels []string
		for _, l := range strings.Split(filter, "/") {
			switch {
			case l == "%u" && username != "":
				levels = append(levels, strings.Split(username, "/")...)
			case l == "%c" && clientID != "":
				levels = append(levels, clientID)
			case l == "%u" || l == "%c":
				return nil
			default:
				levels = append(levels, l)
			}
		}
		if levels[0] == "" || !strings.HasPrefix(levels[0], "$") || strings.HasPrefix(filter, "$") {
			return levels
		}
		return nil // only a rule that is written with a '$' is for such topics
	})
	return v
}

func decide(rules [][2]string, do, topic string, levels func(string) []string) (said bool, v Verdict) {
	for _, access := range []string{"deny", do, "readwrite"} {
		for _, r := range rules {
			if r[0] == access && levelsMatch(levels(r[1]), strings.Split(topic, "/")) {
				if access == "deny" {
					return true, Denied
				}
				return true, Allowed
			}
		}
	}
	return false, Denied
}

func levelsMatch(filter, topic []string) bool {
	if filter == nil || strings.HasPrefix(topic[0], "$") && (filter[0] == "+" || filter[0] == "#") {
		return false
	}
	for i, f := range filter {
		switch {
		case f == "#":
			return true
		case i == len(topic), f != "+" && f != topic[i]:
			return false
		}
	}
	return len(filter) == len(topic) || len(filter) == len(topic)+1 && filter[len(topic)] == "#"
}

// TestAgainstTwin compares verdicts over random files.
func TestAgainstTwin(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	levels := []string{"a", "b", "ab", "", "$a", "$SYS", "a b", "%", "c1", "u1", "x"}
	names := []string{"", "u1", "a", "a/b", "u1/", "/", "$a", "+", "a#", "%c", "%u"}
	filter := func() string {
		var f []string
		for range 1 + rnd.IntN(5) {
			if rnd.IntN(3) == 0 {
				f = append(f, pick("+", "%c", "%u"))
			} else {
				f = append(f, pick(levels...))
			}
		}
		if rnd.IntN(3) == 0 {
			f = append(f, "#")
		}
		if f := strings.TrimSpace(strings.Join(f[rnd.IntN(len(f)):], "/")); f != "" {
			return f
		}
		return "#"
	}
	for round := range 3000 {
		var file strings.Builder
		for range 1 + rnd.IntN(20) {
			switch rnd.IntN(4) {
			case 0:
				fmt.Fprintf(&file, "user %s\n", pick(names[1:]...))
			case 1:
				fmt.Fprintf(&file, "pattern %s%s\n", pick("read ", "write ", "readwrite ", "deny "), filter())
			default:
				fmt.Fprintf(&file, "topic %s%s\n", pick("read ", "write ", "readwrite ", "deny "), filter())
			}
		}
		a, _, err := parseACL("f", []byte(file.String()), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, &file)
		}
		w := newTwin(file.String())
		for range 60 {
			var l []string
			for range 1 + rnd.IntN(5) {
				l = append(l, pick(levels...))
			}
			topic := strings.Join(l, "/")
			if topic == "" {
				continue
			}
			id, user := pick(append(names, "c1")...), pick(names...)
			do, word := Read, "read"
			if rnd.IntN(2) == 0 {
				do, word = Write, "write"
			}
			if got, want := a.May(id, user, do, topic), w.may(id, user, word, topic); got != want {
				t.Fatalf("seed %d, round %d: client %q user %q %s %q: %d, not %d\n%s", seed, round, id, user, word, topic, got, want, &file)
			}
		}
	}
}

// FuzzACL reads any bytes as a file, which is refused with a place, or answers as its
// twin does.
func FuzzACL(f *testing.F) {
	for _, r := range badFiles {
		f.Add([]byte(r.file), "c", "u", "a/b")
	}
	f.Add([]byte("topic read #\nuser u\ntopic deny a/+\ntopic a b/c\npattern write %u/%c/#\npattern deny +/%c"), "c", "u/v", "u/v/c/d")
	f.Fuzz(func(t *testing.T, data []byte, id, user, name string) {
		a, _, err := parseACL("f", data, nil)
		if err != nil {
			if code, text := told(err); code != 3 || !strings.Contains(text, "Error found at f:") {
				t.Errorf("code %d, %s", code, text)
			}
			return
		}
		if name == "" {
			return
		}
		w := newTwin(string(data))
		for do, word := range map[Action]string{Read: "read", Write: "write"} {
			if got, want := a.May(id, user, do, name), w.may(id, user, word, name); got != want {
				t.Errorf("%s: %d, not %d", word, got, want)
			}
		}
	})
}
