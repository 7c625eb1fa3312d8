package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"midge/conf"
)

// Two hashes that are quick to check, of "secret".
const (
	quick  = "$7$1$17tJ+qK9XpA9GF2H$7ZtBBkqU4g/J38DRR1geLQsXBOqAVuV1mMy7SdR9iDdV8NihvGi0v2PAWKtd8uWxObYe1gAi+qZ32G6KMpd0qw=="
	quick6 = "$6$fAjR1weQ9jKfhOxa$ivTS6e0XrWRz8Lb6ZdqwZAe8dlp09O3sffLH5F1njYPu0bfiDY5hzCKU8o3rnOGsguEwflaQc0lpc+7mX0pNkw=="
)

// temp writes a file that nothing is to be said about.
func temp(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPasswords(t *testing.T) {
	text := "# comment\n" +
		"alice:" + quick + "\n" +
		"\n" +
		"no colon\n" +
		"  blanks \t:\t " + quick6 + " \r\n" +
		"with space:" + quick + ":more:fields\n" +
		" #not a comment:" + quick + "\n" +
		"ürsula:" + quick6 // no newline
	p, lines, err := LoadPasswords(temp(t, text))
	if err != nil || len(lines) > 0 {
		t.Fatal(lines, err)
	}
	for _, user := range []string{"alice", "blanks", "with space", "#not a comment", "ürsula"} {
		if h, ok := p.Find(user); !ok || !h.Verify([]byte("secret")) {
			t.Errorf("%q: %v", user, ok)
		}
	}
	if p.Len() != 5 {
		t.Errorf("%d users", p.Len())
	}
	for _, user := range []string{"", "no colon", " alice", "Alice", "# comment"} {
		h, ok := p.Find(user)
		if ok || h.Verify([]byte("secret")) {
			t.Errorf("%q: %v", user, ok)
		}
		if h.cost() != "$7$1" {
			t.Errorf("the decoy is %s", h)
		}
	}
}

func TestNobody(t *testing.T) {
	p, _, err := LoadPasswords(temp(t, "# nobody yet\n"))
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := p.Find("x"); ok || h != (Hash{}) || h.Verify([]byte("x")) || p.Len() != 0 {
		t.Error(h, ok)
	}
}

func TestBadPasswords(t *testing.T) {
	const pre = "password-file: Error: "
	for _, tt := range []struct{ line, text string }{
		{"u:secret", "Unable to decode line in password file 'F'."},
		{"u:$5$AAAAAAAAAAAAAAAA$AAAA", "Unable to decode line in password file 'F'."},
		{"u:$6$AAAAAAAAAAAAAAAA", "Unable to decode line in password file 'F'."},
		{"u:$6$AAAAAAAAAAAAAAAA$AAAA", "Unable to decode line in password file 'F'."},
		{"u:" + strings.Repeat("x", 1<<20), "Unable to decode line in password file 'F'."},
		{"u:", "Invalid line in password file 'F'."},
		{"u: \r", "Invalid line in password file 'F'."},
		{"u::" + quick, "Invalid line in password file 'F'."},
		{":" + quick, "Invalid line in password file 'F'."},
		{" :" + quick, "Empty username in password file 'F'."},
		{strings.Repeat("u", 65536) + ":" + quick, "Username of more than 65535 bytes in password file 'F'."},
		{"a:" + quick6, "Duplicate user 'a' in password file 'F'."},
		{"%d\x1b:" + quick + "\n%d\x1b:" + quick6, "Duplicate user '%d?' in password file 'F'."},
	} {
		name := temp(t, "a:"+quick+"\n\n"+tt.line+"\nz:"+quick)
		p, lines, err := LoadPasswords(name)
		bad, ok := err.(*conf.Error)
		if !ok || p != nil || len(lines) != 0 {
			t.Errorf("%.100q: %v %v", tt.line, lines, err)
			continue
		}
		at := 3 + strings.Count(tt.line, "\n")
		want := pre + strings.ReplaceAll(tt.text, "'F'", "'"+name+"'") + "\n" + fmt.Sprintf("Error found at %s:%d.", name, at)
		if err.Error() != want || bad.Code != 3 || bad.Lines[0].Class != conf.ClassError {
			t.Errorf("%.100q: exit %d, and\n%v\nnot\n%s", tt.line, bad.Code, err, want)
		}
	}
}

func TestUnopened(t *testing.T) {
	dir := t.TempDir()
	real := temp(t, "a:"+quick+"\n")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for name, why := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory.",
		dir:                        "it is not a regular file.",
		link:                       "it is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set.",
	} {
		_, _, err := LoadPasswords(name)
		bad, ok := err.(*conf.Error)
		if !ok || bad.Code != 13 || bad.Lines[0].Text != `password-file: Error: Unable to open pwfile "`+name+`".` || !strings.HasSuffix(bad.Lines[1].Text, why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS", "1")
	if p, _, err := LoadPasswords(link); err != nil || p.Len() != 1 {
		t.Error(err)
	}
}

// TestRights: a file that everybody may read is read, with a warning.
func TestRights(t *testing.T) {
	name := temp(t, "a:"+quick+"\n")
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	want := []conf.Line{
		{Class: conf.ClassWarning, Text: "Warning: File " + name + " has world readable permissions. Future versions will refuse to load this file."},
		{Class: conf.ClassWarning, Text: "To fix this, use `chmod 0700 " + name + "`."},
	}
	_, lines, err := LoadPasswords(name)
	if err != nil || len(lines) != 2 || lines[0] != want[0] || lines[1] != want[1] {
		t.Errorf("%v %v", lines, err)
	}
	if os.Geteuid() != 0 {
		return
	}
	os.Chmod(name, 0o600)
	os.Chown(name, 1, 2)
	_, lines, err = LoadPasswords(name)
	if err != nil || len(lines) != 4 || !strings.HasPrefix(lines[0].Text, "Warning: File "+name+" owner is not root. ") ||
		!strings.HasPrefix(lines[2].Text, "Warning: File "+name+" group is not root. ") {
		t.Errorf("%v %v", lines, err)
	}
}

func FuzzPasswords(f *testing.F) {
	f.Add([]byte("# x\na:" + quick + "\r\nb : " + quick6 + ":x\n"))
	f.Add([]byte(":\n::\na:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePasswords("f", data)
		if err != nil {
			if p != nil || len(err.(*conf.Error).Lines) != 2 {
				t.Fatal(p, err)
			}
			return
		}
		for name, h := range p.users {
			if name == "" || name != trim(name) || h.kind == 0 || strings.Contains(name, ":") {
				t.Fatalf("%q: %v", name, h)
			}
		}
		if p.Len() > 0 && (p.decoy.kind == 0 || strings.Contains(string(data), p.decoy.text)) {
			t.Fatal("no decoy")
		}
	})
}
