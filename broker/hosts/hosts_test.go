package hosts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// phone is a Resolver with one entry.
type phone struct {
	addr  netip.Addr
	names []string
	back  []netip.Addr
	asked int
}

func (p *phone) LookupAddr(_ context.Context, addr string) ([]string, error) {
	p.asked++
	if addr != p.addr.String() || len(p.names) == 0 {
		return nil, errors.New("no such host")
	}
	return p.names, nil
}

func (p *phone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if host != strings.TrimSuffix(p.names[0], ".") || p.back == nil {
		return nil, errors.New("no such host")
	}
	return p.back, ctx.Err()
}

// entry is a host that has its name; unknown is no name.
func entry(addr netip.Addr, name string) *phone {
	p := &phone{addr: addr}
	if name != unknownName {
		p.names, p.back = []string{name + "."}, []netip.Addr{addr}
	}
	return p
}

var here = netip.MustParseAddr("9.9.9.9")

// load reads the two files from their texts.
func load(t testing.TB, allow, deny string) (*Rules, []string) {
	t.Helper()
	files := FilesIn(t.TempDir())
	write(t, files.Allow, allow)
	write(t, files.Deny, deny)
	r, notes, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return r, notes
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLibwrap compares with what libwrap itself said.
func TestLibwrap(t *testing.T) {
	f, err := os.Open("testdata/libwrap.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if lines.Text() == "" || lines.Text()[0] == '#' {
			continue
		}
		var allow, deny, addr, name, want string
		if n, err := fmt.Sscanf(lines.Text(), "%q %q %s %s %s", &allow, &deny, &addr, &name, &want); n != 5 {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		rows++
		r, _ := load(t, allow, deny)
		a := netip.MustParseAddr(addr)
		got := r.JudgeSlowly(context.Background(), NewConn(a, here), entry(a, name))
		if (got == Allowed) != (want == "in") || got == Unsure {
			t.Errorf("%s: got %v", lines.Text(), got)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows", rows)
	}
}

// TestOwn: what libwrap was not asked, or does otherwise.
func TestOwn(t *testing.T) {
	client := netip.MustParseAddr("1.2.3.4")
	for _, tt := range []struct {
		allow, deny string
		phone       *phone
		want        Verdict
	}{
		{"", "midge: ALL\n", nil, Denied},
		{"", "Midge, sshd: 1.2.\n", nil, Denied},
		{"mosquitto: 1.2.3.4", "ALL: ALL", nil, Allowed}, // without newline
		{"", "ALL EXCEPT midge: ALL\n", nil, Allowed},
		{"", "mosquitto@9.9.9.9: ALL\n", nil, Denied},
		{"", "mosquitto@9.9.: ALL\n", nil, Denied},
		{"", "mosquitto@1.2.3.4: ALL\n", nil, Allowed},
		{"", "mosquitto@hub: ALL\n", entry(here, "hub"), Denied},
		{"", "mosquitto@hub: ALL\n", entry(here, "other"), Allowed},
		{"", "mosquitto: PARANOID\n", &phone{addr: client, names: []string{"liar."}, back: []netip.Addr{here}}, Denied},
		{"", "mosquitto: liar\n", &phone{addr: client, names: []string{"liar."}, back: []netip.Addr{here}}, Allowed},
		{"", "mosquitto: PARANOID\n", &phone{addr: client, names: []string{"liar."}}, Denied},
		{"", "mosquitto: PARANOID\n", entry(client, "honest"), Allowed},
		{"", "mosquitto: UNKNOWN\n", &phone{addr: client, names: []string{"."}}, Denied},
		{"", "mosquitto: ALL : twist /bin/false\n", nil, Denied},
		{"mosquitto: ALL : twist /bin/false\n", "", nil, Denied},
		{"mosquitto: ALL : aclexec /bin/true\n", "", nil, Denied},
		{"mosquitto: ALL : spawn (echo %a) & : allow\n", "ALL: ALL\n", nil, Allowed},
		// The earlier line counts, also between one address and patterns.
		{"mosquitto: 1.2.3.4 : deny\nmosquitto: ALL\n", "", nil, Denied},
		{"mosquitto: 1.2.\nmosquitto: 1.2.3.4 : deny\n", "", nil, Allowed},
		{"mosquitto: 1.2.3.4\nmosquitto: 1.2.3.4 : deny\n", "", nil, Allowed},
		{"mosquitto: 1.2.3.4 : deny\nmosquitto: 1.2.3.4\n", "", nil, Denied},
		// No name is looked up that nothing hangs on.
		{"mosquitto: 1.2.\nmosquitto: .example.org\n", "ALL: ALL\n", nil, Allowed},
		{"mosquitto: 1.2.3.4\nmosquitto: .example.org\n", "ALL: ALL\n", nil, Allowed},
	} {
		r, _ := load(t, tt.allow, tt.deny)
		var got Verdict
		if tt.phone == nil {
			got = r.Judge(NewConn(client, here))
		} else {
			if r.Judge(NewConn(client, here)) != Unsure {
				t.Errorf("%q %q: sure without a name", tt.allow, tt.deny)
			}
			got = r.JudgeSlowly(context.Background(), NewConn(client, here), tt.phone)
			if tt.phone.asked > 2 {
				t.Errorf("%q %q: %d look-ups", tt.allow, tt.deny, tt.phone.asked)
			}
		}
		if got != tt.want {
			t.Errorf("%q %q: got %v, want %v", tt.allow, tt.deny, got, tt.want)
		}
	}
}

// TestAddresses: mapped ones and those with a zone are what they stand for.
func TestAddresses(t *testing.T) {
	r, _ := load(t, "mosquitto: 1.2.3.4 [fe80::1] [fe90::]/16\n", "ALL: ALL\n")
	for addr, want := range map[string]Verdict{"::ffff:1.2.3.4": Allowed, "fe80::1%lo": Allowed, "fe90::7%lo": Allowed, "fe80::2": Denied} {
		if got := r.Judge(NewConn(netip.MustParseAddr(addr), here)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

// TestLookupTooLate: a look-up that does not end in time is one without a result.
func TestLookupTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	client := netip.MustParseAddr("1.2.3.4")
	r, _ := load(t, "", "mosquitto: UNKNOWN\n")
	late := &phone{addr: client, names: []string{"late."}}
	if got := r.JudgeSlowly(ctx, NewConn(client, here), late); got != Denied {
		t.Errorf("got %v", got)
	}
}

func TestNotes(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"mosquitto ALL", "there is no colon in the line, which is passed over."},
		{"mosquitto: 1.2.3.4/24", `"1.2.3.4/24" matches nothing.`},
		{"mosquitto: 0.0.0.0/0", `"0.0.0.0/0" matches nothing.`},
		{"mosquitto: @group", `the netgroup "@group" is not looked up and matches nothing.`},
		{"mosquitto: joe@ALL", `nobody is asked for the user "joe", who matches nothing.`},
		{"mosquitto: ALL : spawn x", `the option "spawn" is passed over.`},
		{"mosquitto: ALL : twist x", `the option "twist x" cannot be carried out, so the line keeps out whom it matches.`},
		{"mosquitto: " + strings.Repeat("x", maxLine), "the line is too long and passed over."},
		{"mosquitto: /none", "there is no file /none."},
		{"sshd: ALL : spawn x", ""},
		{"mosquitto: ALL", ""},
	} {
		r, notes := load(t, "", "\n"+tt.line+"\nmosquitto: 1.2.3.4\n")
		got := strings.Join(notes, "|")
		if tt.want == "" && got != "" || tt.want != "" && (!strings.HasSuffix(got, "hosts.deny:2: "+tt.want) || len(notes) != 1) {
			t.Errorf("%.60s: %q", tt.line, got)
		}
		if r.Judge(NewConn(netip.MustParseAddr("1.2.3.4"), here)) != Denied {
			t.Errorf("%.60s: the line behind it is lost", tt.line)
		}
	}
	if _, notes := load(t, "", strings.Repeat("x\n", 1000)); len(notes) != maxNotes {
		t.Errorf("%d notes", len(notes))
	}
}

// TestFiles: patterns from files, which may name others, and themselves.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	list, other := filepath.Join(dir, "list"), filepath.Join(dir, "other")
	write(t, list, "1.2.3.4\n 10.\t[::1]\n"+other+" "+list+"\n")
	write(t, other, "5.5.5.5\n"+list)
	r, notes := load(t, "mosquitto: "+list+"\n", "ALL: ALL\n")
	if len(notes) > 0 {
		t.Errorf("%q", notes)
	}
	for addr, want := range map[string]Verdict{"1.2.3.4": Allowed, "10.1.1.1": Allowed, "::1": Allowed, "5.5.5.5": Allowed, "6.6.6.6": Denied} {
		if got := r.Judge(NewConn(netip.MustParseAddr(addr), here)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if r.Changed() {
		t.Error("changed at once")
	}
	write(t, other, "5.5.5.55\n")
	if !r.Changed() {
		t.Error("a change was not seen")
	}
}

// TestChanged: every way a file can become another.
func TestChanged(t *testing.T) {
	files := FilesIn(t.TempDir())
	read := func() *Rules {
		t.Helper()
		r, _, err := Load(files)
		if err != nil {
			t.Fatal(err)
		}
		if r.Changed() {
			t.Fatal("changed at once")
		}
		return r
	}
	for i, change := range []func(){
		func() { write(t, files.Deny, "") },
		func() { write(t, files.Deny, "ALL: ALL\n") },
		func() { os.Chtimes(files.Deny, time.Time{}, time.Unix(1, 0)) },
		func() {
			write(t, files.Deny+".new", "ALL: ALL\n")
			os.Chtimes(files.Deny+".new", time.Time{}, time.Unix(1, 0))
			os.Rename(files.Deny+".new", files.Deny)
		},
		func() { os.Remove(files.Deny) },
		func() { write(t, files.Allow, "ALL: ALL\n") },
	} {
		r := read()
		if change(); !r.Changed() {
			t.Errorf("change %d was not seen", i)
		}
	}
}

// TestUnreadable: what cannot be read is an error that names it.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	write(t, huge, "")
	if err := os.Truncate(huge, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	word := filepath.Join(dir, "word")
	write(t, word, strings.Repeat("x", 1<<20))
	var many strings.Builder
	for i := range maxFiles + 1 {
		fmt.Fprintf(&many, "mosquitto: /none%d\n", i)
	}
	for name, deny := range map[string]string{
		"huge":   "mosquitto: " + huge + "\n",
		"word":   "mosquitto: " + word + "\n",
		"device": "mosquitto: /dev/zero\n",
		"folder": "mosquitto: /etc\n",
		"many":   many.String(),
	} {
		files := FilesIn(t.TempDir())
		write(t, files.Deny, deny)
		r, _, err := Load(files)
		if err == nil || r != nil || !strings.Contains(err.Error(), files.Deny) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Load(Files{Allow: huge, Deny: huge}); !errors.Is(err, errLarge) {
		t.Errorf("got %v", err)
	}
}

// TestManyAddresses: a hundred thousand lines that each keep one address out take no
// longer than one.
func TestManyAddresses(t *testing.T) {
	var deny strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&deny, "ALL: 10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	r, _ := load(t, "", deny.String())
	if r.Slow() || len(r.deny.exact) != 100_000 || r.Len() != 100_000 {
		t.Errorf("%d lines, %d found at once", r.Len(), len(r.deny.exact))
	}
	if r.Judge(NewConn(netip.MustParseAddr("10.0.7.9"), here)) != Denied || r.Judge(NewConn(netip.MustParseAddr("11.0.7.9"), here)) != Allowed {
		t.Error("wrong verdict")
	}
	r, _ = load(t, "", strings.Repeat("ALL: 10.\n", slowLines+1))
	if !r.Slow() {
		t.Error("many patterns are not slow")
	}
}

func TestClosed(t *testing.T) {
	r := Closed()
	if r.Empty() || r.Judge(NewConn(here, here)) != Denied || !r.Changed() {
		t.Error("not closed, or for ever")
	}
	if r := new(Rules); !r.Empty() || r.Changed() || r.Judge(NewConn(here, here)) != Allowed {
		t.Error("the zero value does not let everybody in")
	}
}

// FuzzLoad reads any bytes. Whatever they are, there is a verdict in the end, and
// files that do not speak of the broker keep nobody out.
func FuzzLoad(f *testing.F) {
	f.Add("mosquitto: ALL EXCEPT 1.2.\n", "ALL: ALL : deny\n")
	f.Add("m*: [::1]/12 @x a@b /x 1.2.3.0/255.0.0.255\\\n", "# \nmidge@1.: .org,LOCAL : spawn x : allow\n")
	f.Fuzz(func(t *testing.T, allow, deny string) {
		l := loader{rules: new(Rules), sets: make(map[string]*set), left: maxBytes}
		for text, table := range map[string]*table{"A" + allow: &l.rules.allow, "D" + deny: &l.rules.deny} {
			if strings.ContainsAny(text, "/") {
				continue // no files
			}
			if err := l.read("x", strings.NewReader(text[1:]), table); err != nil {
				t.Fatal(err)
			}
		}
		r := l.rules
		for _, addr := range []string{"1.2.3.4", "2001:db8::1"} {
			a := netip.MustParseAddr(addr)
			for _, name := range []string{"host.example.org", unknownName} {
				v := r.JudgeSlowly(context.Background(), NewConn(a, here), entry(a, name))
				if v == Unsure {
					t.Error("never sure")
				}
				if v == Denied && r.Empty() {
					t.Error("kept out by nothing")
				}
			}
		}
		if low := strings.ToLower(allow + deny); !strings.ContainsAny(low, "*?") && !strings.Contains(low, "mosquitto") &&
			!strings.Contains(low, "midge") && !strings.Contains(low, "all") && !strings.Contains(low, "known") && !strings.Contains(low, ".") && !r.Empty() {
			t.Errorf("%d lines about somebody else", r.Len())
		}
	})
}
