package topic

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// matching is what the standard and its practice say of filters and names. It
// is used for Match, Index and Cursor alike.
var matching = []struct {
	filter   string
	yes, not []string
}{
	{"sport", []string{"sport"}, []string{"Sport", "sport/", "/sport", "sport/tennis"}},
	{"sport/#",
		[]string{"sport", "sport/", "sport/tennis", "sport/tennis/player1/ranking"},
		[]string{"sports", "/sport", "xsport"}},
	{"sport/tennis/player1/#",
		[]string{"sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"},
		[]string{"sport/tennis", "sport/tennis/player2"}},
	{"#", []string{"a", "/", "//", "a/b/c", "/finance", "!", "%", "\x01"}, []string{"$SYS", "$SYS/uptime", "$x", "$"}},
	{"/#", []string{"/", "//", "/finance", "/a/b", "/$x"}, []string{"finance", "a/b"}},
	{"+", []string{"finance", "a"}, []string{"/finance", "finance/", "a/b", "$SYS"}},
	{"/+", []string{"/finance", "/"}, []string{"finance", "/a/b"}},
	{"+/+", []string{"/finance", "a/b", "/", "a/"}, []string{"a", "a/b/c", "$SYS/x"}},
	{"+/", []string{"/", "a/"}, []string{"a", "a/b"}},
	{"sport/+", []string{"sport/", "sport/tennis"}, []string{"sport", "sport/tennis/player1"}},
	{"sport/tennis/+",
		[]string{"sport/tennis/player1", "sport/tennis/"},
		[]string{"sport/tennis", "sport/tennis/player1/ranking"}},
	{"sport/+/player1",
		[]string{"sport/tennis/player1", "sport//player1"},
		[]string{"sport/player1", "sport/a/b/player1"}},
	{"sport/+/#", []string{"sport/a", "sport/", "sport/a/b"}, []string{"sport"}},
	{"+/#", []string{"a", "a/b", "/", "/a"}, []string{"$SYS", "$SYS/x"}},
	{"+/+/#", []string{"a/b", "a/b/c", "/"}, []string{"a", "$SYS/x"}},
	{"+/tennis/#", []string{"sport/tennis", "sport/tennis/x", "/tennis"}, []string{"tennis", "$sport/tennis"}},
	{"+/monitor/Clients", []string{"a/monitor/Clients"}, []string{"$SYS/monitor/Clients"}},
	{"$SYS/#", []string{"$SYS", "$SYS/", "$SYS/monitor/Clients"}, []string{"a", "SYS/x", "$SYSx/y"}},
	{"$SYS/monitor/+", []string{"$SYS/monitor/Clients"}, []string{"$SYS/monitor", "$SYS/monitor/a/b"}},
	{"$SYS/+", []string{"$SYS/x"}, []string{"$SYS"}},
	{"a/$b", []string{"a/$b"}, []string{"$b", "a/b"}},
	{"a/+", []string{"a/$b"}, []string{"$b"}},
	{"a/#", []string{"a/$b"}, []string{"$b"}},
	{"/", []string{"/"}, []string{"//", "a", "a/"}},
	{"//", []string{"//"}, []string{"/", "///"}},
	{"a//b", []string{"a//b"}, []string{"a/b"}},
	{"a/+/b", []string{"a//b", "a/b/b"}, []string{"a/b"}},
	{"Accounts payable", []string{"Accounts payable"}, []string{"Accounts  payable", "accounts payable"}},
	{"\u00e9", []string{"\u00e9"}, []string{"e\u0301", "\u00c9"}},
	{"a/b", []string{"a/b"}, []string{"a/./b", "a/b ", "A/b"}},
	{"a", []string{"a"}, []string{"a-b", "a!", "a\x01"}},
}

// filters are those of the standard's text and of its rules. A legal one has no
// error.
var filters = []struct {
	filter string
	err    error
}{
	{"#", nil}, {"+", nil}, {"/", nil}, {"//", nil}, {"/#", nil}, {"+/", nil},
	{"/+", nil}, {"+/+", nil}, {"a/#", nil}, {"a/+/b", nil}, {"+/tennis/#", nil},
	{"$SYS/#", nil}, {" ", nil}, {"a b", nil}, {"a/ /b", nil}, {"+//#", nil},
	{"", ErrEmpty},
	{"a#", ErrBadWildcard}, {"#a", ErrBadWildcard}, {"#/", ErrBadWildcard},
	{"#/a", ErrBadWildcard}, {"a/#/b", ErrBadWildcard}, {"##", ErrBadWildcard},
	{"a/##", ErrBadWildcard}, {"#+", ErrBadWildcard}, {"+#", ErrBadWildcard},
	{"++", ErrBadWildcard}, {"a+", ErrBadWildcard}, {"+a", ErrBadWildcard},
	{"a+/b", ErrBadWildcard}, {"a/b+", ErrBadWildcard}, {"a/+b", ErrBadWildcard},
	{"$+", ErrBadWildcard}, {"$SYS+", ErrBadWildcard}, {"#/#", ErrBadWildcard},
	{strings.Repeat("/", MaxSlashes), nil},
	{strings.Repeat("/", MaxSlashes+1), ErrTooDeep},
	{strings.Repeat("+/", MaxSlashes) + "#", nil},
	{strings.Repeat("+/", MaxSlashes+1) + "#", ErrTooDeep},
	{strings.Repeat("a", 65535), nil},
}

func TestCheckFilter(t *testing.T) {
	// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.7.3-3]
	for _, c := range filters {
		if err := CheckFilter([]byte(c.filter)); err != c.err {
			t.Errorf("CheckFilter(%.20q) = %v, want %v", c.filter, err, c.err)
		}
		if legal := c.err == nil; legalFilter(c.filter) != legal {
			t.Errorf("the twin and the table differ about %.20q", c.filter)
		}
	}
	for _, c := range matching {
		if err := CheckFilter([]byte(c.filter)); err != nil {
			t.Errorf("CheckFilter(%q) = %v", c.filter, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"a", nil}, {"/", nil}, {" ", nil}, {"$SYS/x", nil}, {"a//b/", nil},
		{strings.Repeat("a", 65535), nil},
		{strings.Repeat("/", MaxSlashes), nil},
		{strings.Repeat("/", MaxSlashes+1), ErrTooDeep},
		{strings.Repeat("/", 65535), ErrTooDeep},
		{"", ErrEmpty},
		{"+", ErrWildcard}, {"#", ErrWildcard}, {"a/+", ErrWildcard},
		{"a/#", ErrWildcard}, {"a+b", ErrWildcard}, {"a#", ErrWildcard},
	} {
		if err := CheckName([]byte(c.name)); err != c.err {
			t.Errorf("CheckName(%.20q) = %v, want %v", c.name, err, c.err)
		}
	}
}

var shares = []struct {
	filter, group, rest string
	shared              bool
	err                 error
}{
	// [MQTT-4.8.2-1]
	{"$share/g/t", "g", "t", true, nil},
	{"$share//t", "", "", true, ErrBadShare},
	{"$SHARE/g/t", "", "", false, nil},
	{"$share", "", "", false, nil},
	{"$sharex/g/t", "", "", false, nil},
	{"a/b", "", "", false, nil},
	{"", "", "", false, nil},
	{"a#", "", "", false, nil},
	// [MQTT-4.8.2-2]
	{"$share/", "", "", true, ErrBadShare},
	{"$share/g", "", "", true, ErrBadShare},
	{"$share/g/", "", "", true, ErrBadShare},
	{"$share/+/t", "", "", true, ErrBadShare},
	{"$share/g#/t", "", "", true, ErrBadShare},
	{"$share/#", "", "", true, ErrBadShare},
	{"$share/g/a#", "", "", true, ErrBadWildcard},
	{"$share/g//", "g", "/", true, nil},
	{"$share/g/#", "g", "#", true, nil},
	{"$share/\u00e9/t", "\u00e9", "t", true, nil},
	{"$share/g/$SYS/+", "g", "$SYS/+", true, nil},
	{"$share/g/" + strings.Repeat("/", MaxSlashes-2), "g", strings.Repeat("/", MaxSlashes-2), true, nil},
	{"$share/g/" + strings.Repeat("/", MaxSlashes-1), "", "", true, ErrTooDeep},
}

func TestShared(t *testing.T) {
	for _, c := range shares {
		group, rest, shared, err := Shared([]byte(c.filter))
		if string(group) != c.group || string(rest) != c.rest || shared != c.shared || err != c.err {
			t.Errorf("Shared(%.20q) = %q, %q, %v, %v, want %q, %q, %v, %v",
				c.filter, group, rest, shared, err, c.group, c.rest, c.shared, c.err)
		}
	}
}

func TestMatch(t *testing.T) {
	// [MQTT-4.7.2-1], [MQTT-4.7.3-4]
	for _, c := range matching {
		for _, name := range c.yes {
			if !Match(c.filter, name) || !matches(c.filter, name) {
				t.Errorf("%q does not match %q", c.filter, name)
			}
		}
		for _, name := range c.not {
			if Match(c.filter, name) || matches(c.filter, name) {
				t.Errorf("%q matches %q", c.filter, name)
			}
		}
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	filter, name := []byte("$share/g/a/+/c/#"), []byte("a/b/c/d")
	if n := testing.AllocsPerRun(100, func() {
		_, rest, _, err := Shared(filter)
		if err != nil || CheckFilter(rest) != nil || CheckName(name) != nil || !Match("a/+/c/#", "a/b/c/d") {
			t.Error("a legal name or filter is refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// matches is Match, written the slow and obvious way.
func matches(filter, name string) bool {
	want, have := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (want[0] == "+" || want[0] == "#") {
		return false
	}
	for i, w := range want {
		switch {
		case w == "#":
			return true
		case i == len(have):
			return false
		case w != "+" && w != have[i]:
			return false
		case i+2 == len(want) && want[i+1] == "#" && i+1 == len(have):
			return true
		}
	}
	return len(want) == len(have)
}

// legalFilter is CheckFilter, written the slow and obvious way.
func legalFilter(filter string) bool {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		whole := l == "+" || l == "#" && i == len(levels)-1
		if !whole && strings.ContainsAny(l, "+#") {
			return false
		}
	}
	return filter != "" && len(levels) <= MaxSlashes+1
}

func legalName(name string) bool {
	return legalFilter(name) && !strings.ContainsAny(name, "+#\x00")
}

// FuzzMatch compares Match, Index and Cursor with the twin, for one filter and
// one name.
func FuzzMatch(f *testing.F) {
	for _, c := range matching {
		for _, name := range append(c.yes, c.not...) {
			f.Add(c.filter, name)
		}
	}
	for _, c := range filters {
		f.Add(c.filter, "a/b")
	}
	f.Fuzz(func(t *testing.T, filter, name string) {
		if got, want := CheckFilter([]byte(filter)) == nil, legalFilter(filter); got != want {
			t.Fatalf("CheckFilter(%q) says %v, the twin %v", filter, got, want)
		}
		if !legalFilter(filter) || !legalName(name) || strings.Contains(filter, "\x00") || strings.Contains(name, "\xff") {
			return
		}
		want := matches(filter, name)
		if got := Match(filter, name); got != want {
			t.Errorf("Match(%q, %q) = %v", filter, name, got)
		}
		var x Index[int, int]
		x.Set(filter, 1, 1)
		if got := len(x.Match([]byte(name))) == 1; got != want {
			t.Errorf("Index.Match: %q, %q: %v", filter, name, got)
		}
		var r Retained[int]
		r.Set(name, 1)
		c, got := NewCursor(filter), false
		if !r.Read(&c, 10, func(int) bool { got = true; return true }) {
			t.Errorf("%q, %q: not done", filter, name)
		}
		if got != want {
			t.Errorf("Read: %q, %q: %v", filter, name, got)
		}
	})
}

// FuzzShared checks what is split against what it was split from.
func FuzzShared(f *testing.F) {
	for _, c := range shares {
		f.Add([]byte(c.filter))
	}
	f.Fuzz(func(t *testing.T, filter []byte) {
		group, rest, shared, err := Shared(filter)
		parts := strings.SplitN(string(filter), "/", 3)
		if shared != (parts[0] == "$share" && len(parts) > 1) {
			t.Fatalf("shared is %v", shared)
		}
		legal := shared && len(parts) == 3 && parts[1] != "" && !strings.ContainsAny(parts[1], "+#") &&
			legalFilter(parts[2]) && bytes.Count(filter, []byte("/")) <= MaxSlashes
		if legal != (shared && err == nil) {
			t.Fatalf("error %v for %q", err, parts)
		}
		if legal && (string(group) != parts[1] || string(rest) != parts[2]) {
			t.Fatalf("split into %q and %q", group, rest)
		}
		if !legal && (group != nil || rest != nil) || !shared && err != nil {
			t.Fatalf("%q, %q, %v beside an error or without a share", group, rest, err)
		}
		for _, e := range []error{nil, ErrBadShare, ErrBadWildcard, ErrTooDeep} {
			if errors.Is(err, e) {
				return
			}
		}
		t.Fatalf("unexpected error %v", err)
	})
}
