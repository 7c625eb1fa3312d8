package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"midge/conf"
)

// told gives exit status and lines of a refusal.
func told(err error) (code int, text string) {
	var e *conf.Error
	if !errors.As(err, &e) {
		return -1, fmt.Sprint(err)
	}
	return e.Code, e.Error()
}

func mustParse(t testing.TB, lines ...string) *ACL {
	t.Helper()
	a, _, err := parseACL("f", []byte(strings.Join(lines, "\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// can lists what a client may do with a topic: "", "r", "w" or "rw".
func can(a *ACL, id, user, topic string) (s string) {
	if a.May(id, user, Read, topic) == Allowed {
		s = "r"
	}
	if a.May(id, user, Write, topic) == Allowed {
		s += "w"
	}
	return s
}

func TestACL(t *testing.T) {
	for _, r := range []struct {
		name, file      string
		id, user, topic string
		want            string
	}{
		{"an empty file lets nobody do anything", "", "c", "", "a", ""},
		{"nor a user", "", "c", "u", "a", ""},
		{"only comments", "# topic a\n#user u\n\n   \n", "c", "", "a", ""},
		{"read", "topic read a", "c", "", "a", "r"},
		{"write", "topic write a", "c", "", "a", "w"},
		{"readwrite", "topic readwrite a", "c", "", "a", "rw"},
		{"readwrite is the default", "topic a", "c", "", "a", "rw"},
		{"a lone word is the filter", "topic read", "c", "", "read", "rw"},
		{"and deny too", "topic deny", "c", "", "deny", "rw"},
		{"another topic", "topic a", "c", "", "b", ""},
		{"spaces inside a filter", "topic read a b/c d", "c", "", "a b/c d", "r"},
		{"spaces around it", "  topic   read    a  ", "c", "", "a", "r"},
		{"tabs around it", "topic read \t a\t", "c", "", "a", "r"},
		{"CR at the end", "topic read a\r\n", "c", "", "a", "r"},
		{"no newline at the end", "user u\ntopic a", "c", "u", "a", "rw"},
		{"rules above the first user are not for users", "topic a\nuser u", "c", "u", "a", ""},
		{"rules of a user are not for others", "user u\ntopic a", "c", "v", "a", ""},
		{"nor for those without a name", "user u\ntopic a", "c", "", "a", ""},
		{"a user name with spaces", "user John  Doe \ntopic a", "c", "John  Doe", "a", "rw"},
		{"sections of one user add up", "user u\ntopic read a\nuser v\nuser u\ntopic write a", "c", "u", "a", "rw"},
		{"a later section does not go to the anonymous", "user u\ntopic a\nuser v\ntopic b", "c", "", "b", ""},
		{"plus", "topic a/+/c", "c", "", "a/b/c", "rw"},
		{"plus is one level", "topic a/+", "c", "", "a/b/c", ""},
		{"plus takes an empty level", "topic a/+", "c", "", "a/", "rw"},
		{"hash", "topic a/#", "c", "", "a/b/c", "rw"},
		{"hash takes its parent", "topic a/#", "c", "", "a", "rw"},
		{"but not a longer level", "topic a/#", "c", "", "ab", ""},
		{"an empty first level", "topic /#", "c", "", "/a", "rw"},
		{"a slash", "topic /", "c", "", "/", "rw"},
		{"deny goes first", "topic a/#\ntopic deny a/b", "c", "", "a/b", ""},
		{"wherever it stands", "topic deny a/b\ntopic a/#", "c", "", "a/b", ""},
		{"and lets the rest be", "topic deny a/b\ntopic a/#", "c", "", "a/c", "rw"},
		{"deny with wildcards", "topic #\ntopic deny +/secret/#", "c", "", "x/secret/y", ""},
		{"deny takes both ways", "topic read a\ntopic write a\ntopic deny a", "c", "", "a", ""},
		{"rules of both kinds", "topic read a/#\ntopic write a/b", "c", "", "a/b", "rw"},
		{"everything is without $", "topic #", "c", "", "$SYS/broker/uptime", ""},
		{"plus is without $", "topic +/x", "c", "", "$a/x", ""},
		{"$ must be written", "topic read $SYS/#", "c", "", "$SYS/broker/uptime", "r"},
		{"deny without $ does not reach there", "topic deny #\ntopic read $SYS/#", "c", "", "$SYS/x", "r"},

		{"client id", "pattern a/%c/#", "c", "", "a/c/d", "rw"},
		{"another client id", "pattern a/%c/#", "c", "", "a/d/d", ""},
		{"user name", "pattern read a/%u", "c", "u", "a/u", "r"},
		{"both", "pattern write %u/%c", "c", "u", "u/c", "w"},
		{"twice", "pattern %c/%c", "c", "u", "c/c", "rw"},
		{"no user name, so no rule", "pattern a/%u", "c", "", "a/", ""},
		{"wherever it stands it is for everybody", "user u\npattern read a/%c", "c", "v", "a/c", "r"},
		{"and those without a name", "user u\npattern read a/%c", "c", "", "a/c", "r"},
		{"pattern without a name in it", "pattern read a", "c", "v", "a", "r"},
		{"not as a part of a level", "pattern a-%c", "c", "", "a-c", ""},
		{"which is literal", "pattern a-%c", "c", "", "a-%c", "rw"},
		{"in topic lines they are literal", "topic %c", "c", "", "c", ""},
		{"so", "topic %c", "c", "", "%c", "rw"},
		{"deny among patterns goes first", "pattern %c/#\npattern deny %c/x", "c", "", "c/x", ""},
		{"an allow of the section beats a deny of patterns", "user u\ntopic read a\npattern deny a", "c", "u", "a", "r"},
		{"a deny of the section beats an allow of patterns", "user u\ntopic deny c\npattern %c", "c", "u", "c", ""},
		{"patterns add to a section", "user u\ntopic read c\npattern write %c", "c", "u", "c", "rw"},
	} {
		a := mustParse(t, r.file)
		if got := can(a, r.id, r.user, r.topic); got != r.want {
			t.Errorf("%s: %q, not %q", r.name, got, r.want)
		}
	}
}

// TestNamesCannotWiden: what a client calls itself is compared and not read as a filter.
func TestNamesCannotWiden(t *testing.T) {
	a := mustParse(t, "pattern dev/%c/#", "pattern usr/%u/#", "pattern %c/x", "pattern %u/y")
	for _, topic := range []string{"dev/a", "dev/a/b", "usr/a", "usr/a/b", "$SYS/x", "$SYS/y", "dev/+", "dev/#", "usr/+/z", "a/x", "a/y", "dev", "usr"} {
		for _, name := range []string{"+", "#", "+/+", "a/#", "/#", "$SYS", "/", "", "a/", "/a", "%c", "%u"} {
			if can(a, name, "", topic) != "" && topic != name+"/x" {
				t.Errorf("client id %q may use %s", name, topic)
			}
			own := "usr/" + name
			if can(a, "c", name, topic) != "" && topic != own && !strings.HasPrefix(topic, own+"/") {
				t.Errorf("user %q may use %s", name, topic)
			}
		}
	}
}

// TestWildcardsInNames: one with '+' or '#' gets nothing of patterns, and it is told
// why; a rule of its own still counts, and where there are no patterns nothing changes.
func TestWildcardsInNames(t *testing.T) {
	a := mustParse(t, "topic read own", "user a+\ntopic read own", "pattern %c", "pattern x")
	for _, r := range []struct {
		id, user, topic string
		want            Verdict
	}{
		{"+", "", "x", DeniedName}, {"a#", "", "x", DeniedName}, {"c", "a+", "x", DeniedName}, {"c", "#", "x", DeniedName},
		{"+", "", "own", Allowed}, {"c", "a+", "own", Allowed}, {"c", "", "x", Allowed}, {"c", "u", "x", Allowed},
	} {
		if got := a.May(r.id, r.user, Read, r.topic); got != r.want {
			t.Errorf("client %q, user %q, %s: %d, not %d", r.id, r.user, r.topic, got, r.want)
		}
	}
	if v := mustParse(t, "topic own").May("+", "", Read, "x"); v != Denied {
		t.Errorf("without patterns: %d", v)
	}
}

// TestSlashInNames: a user name may be a path, as administrators give it; a client id,
// which a client chooses, reaches no further than one level.
func TestSlashInNames(t *testing.T) {
	a := mustParse(t, "pattern readwrite dev/%c/#", "pattern readwrite usr/%u/#")
	for _, r := range []struct{ id, user, topic, want string }{
		{"c", "plant/line1", "usr/plant/line1/x", "rw"},
		{"c", "plant/line1", "usr/plant/line1", "rw"},
		{"c", "plant/line1", "usr/plant/line2", ""},
		{"c", "plant/line1", "usr/plant", ""},
		{"c", "plant/line1", "usr/plant/line11", ""},
		{"a/b", "", "dev/a/b", ""},
		{"a/b", "", "dev/a", ""},
		{"a", "", "dev/a/b", "rw"},
	} {
		if got := can(a, r.id, r.user, r.topic); got != r.want {
			t.Errorf("client %q, user %q, %s: %q, not %q", r.id, r.user, r.topic, got, r.want)
		}
	}
}

var badFiles = []struct {
	file string
	line int
	want string
}{
	{"topic", 1, `Error: Empty topic in acl_file "f".`},
	{"\npattern   ", 2, `Error: Empty topic in acl_file "f".`},
	{"topic x y", 1, `Error: Invalid topic access type "x" in acl_file "f".`},
	{"pattern READ y", 1, `Error: Invalid topic access type "READ" in acl_file "f".`},
	{"topic a#", 1, `Error: Invalid ACL topic "a#" in acl_file "f".`},
	{"topic read a/#/b", 1, `Error: Invalid ACL topic "a/#/b" in acl_file "f".`},
	{"pattern deny a+/b", 1, `Error: Invalid ACL topic "a+/b" in acl_file "f".`},
	{"user", 1, `Error: Missing username in acl_file "f".`},
	{"user \t ", 1, `Error: Missing username in acl_file "f".`},
	{"topic a\nTopic b\n", 2, `Error: Invalid line in acl_file "f": Topic.`},
	{"user\tu", 1, `Error: Invalid line in acl_file "f": user	u.`},
	{" # comment", 1, `Error: Invalid line in acl_file "f": #.`},
	{"\xef\xbb\xbftopic a", 1, "Error: Invalid line in acl_file \"f\": \ufefftopic."},
	{"topic a\x00b", 1, `Error: Invalid line in acl_file "f": it has a NUL.`},
	{"topic " + strings.Repeat("/", 201), 1, `Error: Invalid ACL topic "` + strings.Repeat("/", 200) + `..." in acl_file "f".`},
	{"topic " + strings.Repeat("a", 65536), 1, `Error: Invalid ACL topic "` + strings.Repeat("a", 200) + `..." in acl_file "f".`},
}

func TestBadFiles(t *testing.T) {
	for _, r := range badFiles {
		a, _, err := parseACL("f", []byte(r.file), nil)
		code, text := told(err)
		want := fmt.Sprintf("%s\nError opening acl file \"f\".\nError found at f:%d.", r.want, r.line)
		if a != nil || code != 3 || text != want {
			t.Errorf("%.40q: code %d,\n%s\nnot\n%s", r.file, code, text, want)
		}
	}
}

func TestACLWarnings(t *testing.T) {
	_, lines, err := parseACL("f", []byte("pattern a\npattern read x-%c\npattern x-%c/%u\ntopic a\ntopic \xff\npattern %c\ntopic read\ta"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		if l.Class != conf.ClassWarning {
			t.Errorf("class %d: %s", l.Class, l.Text)
		}
		got = append(got, l.Text)
	}
	want := []string{
		"Warning: ACL pattern 'a' does not contain '%c' or '%u'.",
		"Warning: In the ACL pattern 'x-%c' at f:2 '%c' or '%u' is only a part of a level and is not replaced.",
		"Warning: In the ACL pattern 'x-%c/%u' at f:3 '%c' or '%u' is only a part of a level and is not replaced.",
		"Warning: The ACL topic at f:5 has characters that no topic may have.",
		"Warning: The ACL topic at f:7 has characters that no topic may have.",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	_, lines, _ = parseACL("f", []byte(strings.Repeat("pattern a\n", 1000)), nil)
	if len(lines) != warningsMax {
		t.Errorf("%d lines", len(lines))
	}
}

func TestLoadACL(t *testing.T) {
	dir := t.TempDir()
	good, link := filepath.Join(dir, "good"), filepath.Join(dir, "link")
	if err := os.WriteFile(good, []byte("topic read a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	a, lines, err := LoadACL(good)
	if err != nil || len(lines) > 0 || can(a, "c", "", "a") != "r" {
		t.Errorf("%v, %v", lines, err)
	}
	for _, name := range []string{link, filepath.Join(dir, "none"), dir} {
		_, _, err := LoadACL(name)
		code, text := told(err)
		first, rest, _ := strings.Cut(text, "\n")
		if code != 13 || first != fmt.Sprintf("Error: Unable to open acl_file %q.", name) || !strings.HasSuffix(rest, fmt.Sprintf("Error opening acl file %q.", name)) {
			t.Errorf("%s: code %d, %s", name, code, text)
		}
	}
	t.Setenv("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS", "1")
	if _, _, err := LoadACL(link); err != nil {
		t.Error(err)
	}
}

// large is a file of n users with rules, and patterns.
func large(t testing.TB, n int) *ACL {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "user user%d\ntopic read site/%d/#\ntopic write site/%d/+/state\ntopic deny site/%d/secret\n", i, i, i, i)
	}
	b.WriteString("user boss\n")
	for i := range n {
		fmt.Fprintf(&b, "topic read site/%d/line/%d/state\n", i%100, i)
	}
	b.WriteString("pattern readwrite dev/%c/#\npattern readwrite usr/%u/+/data\n")
	return mustParse(t, b.String())
}

func TestMayAllocatesNothing(t *testing.T) {
	a := large(t, 100)
	if n := testing.AllocsPerRun(100, func() {
		a.May("client", "user7", Read, "site/7/a/b")
		a.May("client", "user7", Write, "dev/client/a/b")
		a.May("cli+ent", "user7", Write, "dev/client/a/b")
		a.May("client", "boss", Read, "site/1/line/1/state")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestManyRules: a file of 60,000 rules, with 20,000 users, is taken in whole.
func TestManyRules(t *testing.T) {
	a := large(t, 20_000)
	for _, r := range []struct{ id, user, topic, want string }{
		{"c", "user19999", "site/19999/x/state", "rw"}, {"c", "user19999", "site/19999/secret", ""},
		{"c", "boss", "site/99/line/19999/state", "r"}, {"c", "boss", "site/98/line/19999/state", ""},
	} {
		if got := can(a, r.id, r.user, r.topic); got != r.want {
			t.Errorf("%s %s: %q, not %q", r.user, r.topic, got, r.want)
		}
	}
}

func BenchmarkMay(b *testing.B) {
	a := large(b, 20_000)
	for _, r := range []struct{ name, id, user, topic string }{
		{"section of 3", "client", "user7", "site/7/line/42/value"},
		{"section of 20000", "client", "boss", "site/42/line/142/state"},
		{"pattern", "client", "user7", "dev/client/sensors/temperature"},
		{"nothing", "client", "user7", "fleet/42/sensors/temperature/value"},
	} {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.May(r.id, r.user, Read, r.topic)
			}
		})
	}
}
