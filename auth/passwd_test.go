package auth

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// outcome is what the command printed, and its exit status.
type outcome struct {
	status         int
	stdout, stderr string
}

// run runs the command as midge passwd, with input from a pipe. {f} stands for a file.
func runPasswd(t *testing.T, file, input string, args ...string) outcome {
	t.Helper()
	return runAs(t, false, file, input, args...)
}

func runAs(t *testing.T, legacy bool, file, input string, args ...string) outcome {
	t.Helper()
	in := temp(t, input)
	stdin, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{f}", file)
	}
	var out, errs bytes.Buffer
	c := Passwd{Name: "cmd", Legacy: legacy, Stdin: stdin, Stdout: &out, Stderr: &errs}
	status := c.Run(args)
	return outcome{status, out.String(), strings.ReplaceAll(errs.String(), file, "{f}")}
}

// TestPasswdMessages: what the command says, and its exit statuses, where it writes nothing.
func TestPasswdMessages(t *testing.T) {
	const usage = "usage"
	name := temp(t, "joe:"+quick+"\n")
	for _, tt := range []struct{ args, stderr string }{
		{"", usage}, {"-h", usage}, {"--help", usage}, {"-x {f} joe", usage}, {"{f}", usage}, {"{f} joe more", usage}, {"-b {f} joe", usage},
		{"-b {f} joe a b", usage},
		{"-c", "Error: -c argument given but password file or username missing."},
		{"-c {f}", "Error: -c argument given but password file or username missing."},
		{"-c -b {f} joe", "Error: -c argument given but password file, username, or password missing."},
		{"-D {f}", "Error: -D argument given but password file or username missing."},
		{"-D {f} a b", "Error: -D argument given but password file or username missing."},
		{"-U", "Error: -U argument given but password file missing."},
		{"-U {f} a", "Error: -U argument given but password file missing."},
		{"-c -D {f} joe", "Error: -c and -D cannot be used together."},
		{"-U -c {f} joe", "Error: -c and -U cannot be used together."},
		{"-D -U {f} joe", "Error: -D and -U cannot be used together."},
		{"-b -D {f} joe", "Error: -b and -D cannot be used together."},
		{"-I 5 -C 5 {f} joe", "Error: -I and -C cannot be used together."},
		{"-H bcrypt -I 5 {f} joe", "Error: -I and -H bcrypt cannot be used together."},
		{"-C 5 -H sha512 {f} joe", "Error: -C and another -H than bcrypt cannot be used together."},
		{"-H", "Error: -H argument given but not enough other arguments."},
		{"-b -I", "Error: -I argument given but not enough other arguments."},
		{"-H md5 {f} joe", "Error: Unknown hash type 'md5'"},
		{"-I 0 {f} joe", "Error: Number of iterations must be > 0."},
		{"-I x {f} joe", "Error: Number of iterations must be > 0."},
		{"-I 10000001 {f} joe", "Error: Number of iterations must be at most 10000000."},
		{"-C 3 {f} joe", "Error: The cost must be between 4 and 16."},
		{"-C 17 {f} joe", "Error: The cost must be between 4 and 16."},
		{"-b {f} a:b x", "Error: Username must not contain the ':' character."},
		{"-b {f} a\tb x", "Error: Username must not contain control characters."},
		{"-b {f} a\u0085b x", "Error: Username must not contain control characters."},
		{"-b {f} a\xff x", "Error: Username must be UTF-8."},
		{"-b {f} #a x", "Error: Username must not begin with '#'."},
		{"-b {f} " + strings.Repeat("u", 65536) + " x", "Error: Username must be less than 65536 characters long."},
		{"-b -H sha512 {f} joe " + strings.Repeat("p", 65536), "Error: Password must be less than 65536 characters long."},
		{"-b {f} joe " + strings.Repeat("p", 73), "Error: Password must be at most 72 bytes long for bcrypt; use -H for another hash."},
		{"-b {f}x joe x", "Error: Unable to open password file {f}x. No such file or directory."},
		{"-D {f}x joe", "Error: Unable to open password file {f}x. No such file or directory."},
		{"-U {f}x", "Error: Unable to open password file {f}x. No such file or directory."},
		{"-D {f} max", "Warning: User max not found in password file."},
		{"-c -b {f} joe x", "Error: Unable to open file {f} for writing. File exists."},
		{"-c -b {f}/x joe x", "Error: Unable to open file {f}/x for writing. Not a directory."},
		{"-b / joe x", "Error: Unable to open password file /. Is a directory."},
	} {
		var args []string
		if tt.args != "" {
			args = strings.Split(tt.args, " ")
		}
		got := runPasswd(t, name, "", args...)
		if tt.stderr == usage && got.status == 1 && got.stderr == "" && strings.HasPrefix(got.stdout, "cmd manages password files") {
			continue
		}
		if got != (outcome{1, "", tt.stderr + "\n"}) {
			t.Errorf("%.80q: %+v", tt.args, got)
		}
	}
	for _, user := range []string{"", " a", "a "} {
		if got := runPasswd(t, name, "", "-b", "{f}", user, "x"); got.status != 1 || got.stderr == "" {
			t.Errorf("user %q: %+v", user, got)
		}
	}
	for _, password := range []string{"", "a\x00b"} {
		if got := runPasswd(t, name, "", "-b", "{f}", "a", password); got.status != 1 || got.stderr == "" {
			t.Errorf("password %q: %+v", password, got)
		}
	}
	if text, _ := os.ReadFile(name); string(text) != "joe:"+quick+"\n" {
		t.Errorf("the file is now %q", text)
	}
}

// TestPasswdInput: passwords from a pipe.
func TestPasswdInput(t *testing.T) {
	for _, tt := range []struct {
		input    string
		status   int
		stderr   string
		password string
	}{
		{"secret\n", 0, "", "secret"},
		{"secret", 0, "", "secret"},
		{"secret\r\n", 0, "", "secret"},
		{" pass word \nsecond is another\n", 2, "Error: Passwords do not match.\n", ""},
		{" pass word \n pass word \nmore", 0, "", " pass word "},
		{"a\nb", 2, "Error: Passwords do not match.\n", ""},
		{"a\n\n", 2, "Error: Passwords do not match.\n", ""},
		{"", 1, "Error: Empty password.\n", ""},
		{"\n", 1, "Error: Empty password.\n", ""},
		{"a\x00b\n", 1, "Error: Password must not contain NUL bytes.\n", ""},
		{strings.Repeat("x", 65535) + "\n", 0, "", strings.Repeat("x", 65535)},
		{strings.Repeat("x", 65536) + "\n", 1, "Error: Password must be less than 65536 characters long.\n", ""},
		{strings.Repeat("x", 70000), 1, "Error: Password must be less than 65536 characters long.\n", ""},
	} {
		name := filepath.Join(t.TempDir(), "f")
		got := runPasswd(t, name, tt.input, "-c", "-q", "-H", "sha512", "{f}", "joe")
		if got != (outcome{tt.status, "", tt.stderr}) {
			t.Errorf("%.40q: %+v", tt.input, got)
		}
		p, _, err := LoadPasswords(name)
		if tt.status != 0 {
			if err == nil {
				t.Errorf("%.40q: there is a file", tt.input)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := p.Find("joe"); !ok || !h.Verify([]byte(tt.password)) {
			t.Errorf("%.40q is not the password", tt.input)
		}
	}
}

// TestPasswdKinds: which hash each name of the command makes.
func TestPasswdKinds(t *testing.T) {
	for _, tt := range []struct {
		legacy bool
		args   string
		start  string
	}{
		{false, "", "$2a$10$"}, {false, "-C 4", "$2a$04$"}, {false, "-H bcrypt", "$2a$10$"}, {false, "-H bcrypt -C 5", "$2a$05$"},
		{false, "-H sha512", "$6$"}, {false, "-H pbkdf2", "$7$1000$"}, {false, "-H sha512-pbkdf2 -I 7", "$7$7$"}, {false, "-I 7", "$7$7$"},
		{false, "-H argon2id", "$argon2id$v=19$m=47104,t=1,p=1$"},
		{true, "", "$7$1000$"}, {true, "-I 7", "$7$7$"}, {true, "-C 4", "$2a$04$"}, {true, "-H bcrypt", "$2a$10$"}, {true, "-I 7 -H sha512", "$6$"},
	} {
		args := append(strings.Fields("-c -b "+tt.args), "-", "joe", "secret")
		got := runAs(t, tt.legacy, "", "", args...)
		text, ok := strings.CutPrefix(got.stdout, "joe:")
		h, err := ParseHash(strings.TrimSuffix(text, "\n"))
		if got.status != 0 || !ok || err != nil || !strings.HasPrefix(h.String(), tt.start) || !h.Verify([]byte("secret")) {
			t.Errorf("%v: %+v", tt, got)
		}
	}
}

// TestPasswdEdits: what becomes of a file.
func TestPasswdEdits(t *testing.T) {
	const comment = "# who\n\nnot an entry\n"
	ann, joe := "ann:"+quick+"\n", "joe:"+quick6+"\n"
	for _, tt := range []struct {
		before, args, after, stdout, stderr string // $ stands for a new hash of "new"
		status                              int
	}{
		{comment + ann + joe, "-b {f} max new", comment + ann + joe + "max:$\n", "Adding password for user max\n", "", 0},
		{comment + ann + joe, "-b {f} ann new", comment + "ann:$\n" + joe, "Updating password for user ann\n", "", 0},
		{ann + joe, "-q -b {f} joe new", ann + "joe:$\n", "", "", 0},
		{ann + "joe:" + quick6, "-b {f} max new", ann + joe + "max:$\n", "Adding password for user max\n", "", 0},
		{"", "-b {f} max new", "max:$\n", "Adding password for user max\n", "", 0},
		{" ann \t: x \r\n" + joe, "-b {f} ann new", "ann:$\n" + joe, "Updating password for user ann\n", "", 0},
		{ann + joe + ann, "-b {f} ann new", "ann:$\n" + joe, "Updating password for user ann\n", "", 0},
		{comment + ann + joe, "-D {f} ann", comment + joe, "", "", 0},
		{ann, "-D {f} ann", "", "", "", 0},
		{ann + joe, "-D {f} max", ann + joe, "", "Warning: User max not found in password file.\n", 1},
		{ann + ":x\n" + joe, "-b {f} max new", ann + ":x\n" + joe, "", "Error: Corrupt password file at line 2.\n", 1},
		{ann + "joe:\n", "-D {f} ann", ann + "joe:\n", "", "Error: Corrupt password file at line 2.\n", 1},
		{comment + "joe:new\nann:new:more\n" + "max:" + quick + "\n", "-U {f}", comment + "joe:$\nann:$\nmax:" + quick + "\n", "", "", 0},
		{ann + "joe:" + strings.Repeat("x", 73) + "\n", "-U {f}", ann + "joe:" + strings.Repeat("x", 73) + "\n", "",
			"Error: Password must be at most 72 bytes long for bcrypt; use -H for another hash.\nError found at {f}:2.\n", 1},
	} {
		name := temp(t, tt.before)
		args := strings.Fields(tt.args)
		if !strings.Contains(tt.args, "-D") {
			args = append([]string{"-C", "4"}, args...)
		}
		got := runPasswd(t, name, "", args...)
		if got != (outcome{tt.status, tt.stdout, tt.stderr}) {
			t.Errorf("%q, %s: %+v", tt.before, tt.args, got)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !matches(string(text), tt.after) {
			t.Errorf("%q, %s: the file is now %q", tt.before, tt.args, text)
		}
		alone(t, name)
	}
}

// matches compares lines; a hash of "new" may stand for a '$'.
func matches(got, want string) bool {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(g) != len(w) {
		return false
	}
	for i := range g {
		user, isNew := strings.CutSuffix(w[i], ":$")
		if !isNew && g[i] != w[i] {
			return false
		}
		if !isNew {
			continue
		}
		text, ok := strings.CutPrefix(g[i], user+":")
		h, err := ParseHash(text)
		if !ok || err != nil || h.kind != Bcrypt || !h.Verify([]byte("new")) {
			return false
		}
	}
	return true
}

// alone fails if there is another file beside name.
func alone(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files: %v, %v", len(entries), entries, err)
	}
}

// TestPasswdKeepsRights: the new file is the old one's to the eye, also behind a link.
func TestPasswdKeepsRights(t *testing.T) {
	name := temp(t, "joe:"+quick+"\n")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	if uid == 0 {
		uid = 12345
		if err := os.Chown(name, uid, 54321); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Stat(name)
	got := runPasswd(t, link, "", "-b", "-C", "4", "{f}", "ann", "x")
	after, err := os.Stat(name)
	if got.status != 0 || err != nil || os.SameFile(before, after) || before.Mode() != after.Mode() || owner(before) != owner(after) {
		t.Errorf("%+v; %v became %v, %v", got, before, after, err)
	}
	if to, err := os.Readlink(link); err != nil || to != name {
		t.Errorf("the link is gone: %v", err)
	}
	if uid == 12345 && !strings.Contains(got.stderr, "owner is not root") {
		t.Errorf("no warning: %s", got.stderr)
	}
	made := filepath.Join(t.TempDir(), "made")
	runPasswd(t, made, "", "-c", "-b", "-C", "4", "{f}", "ann", "x")
	if info, err := os.Stat(made); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func owner(info os.FileInfo) [2]uint32 {
	st := info.Sys().(*syscall.Stat_t)
	return [2]uint32{st.Uid, st.Gid}
}
