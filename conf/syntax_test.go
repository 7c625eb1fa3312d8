package conf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSyntax: lines that are good, and what becomes of max_keepalive by them.
func TestSyntax(t *testing.T) {
	rows := []struct {
		text string
		want int
	}{
		{"max_keepalive 5", 5},
		{"max_keepalive 5\n", 5},
		{"max_keepalive 5\r\n", 5},
		{"max_keepalive 5\r\r\n\n\r", 5},
		{"   max_keepalive    5   ", 5},
		{"max_keepalive 5 # comment", 5},
		{"max_keepalive 5 6 7", 5},
		{"#max_keepalive 6\nmax_keepalive 5\n# max_keepalive 7", 5},
		{"\n   \n \r\nmax_keepalive 5", 5},
		{"max_keepalive 6\nmax_keepalive 5", 5},
		{"max_keepalive 0x1F", 31},
		{"max_keepalive 0X1f", 31},
		{"max_keepalive 017", 15},
		{"max_keepalive +5", 5},
		{"max_keepalive \t5", 5},
		{"max_keepalive -0", 0},
		// A NUL ends the file in front of its line.
		{"max_keepalive 5\nmax_keep\x00alive 6\nmax_keepalive 7", 5},
		{"max_keepalive 5\n\x00bogus", 5},
		{"max_keepalive 5\n#\x00\nmax_keepalive 6", 5},
		{"max_keepalive 5\nmax_keepalive 6\x00", 5},
	}
	for _, r := range rows {
		if c := mustLoad(t, r.text); c.MaxKeepalive != r.want {
			t.Errorf("%q: got %d, want %d", r.text, c.MaxKeepalive, r.want)
		}
	}
}

// TestBadSyntax: lines that are no option at all.
func TestBadSyntax(t *testing.T) {
	rows := []struct{ text, name string }{
		{" # comment", "#"},
		{"\t", "\t"},
		{"\tmax_keepalive 5", "\tmax_keepalive"},
		{"max_keepalive\t5", "max_keepalive\t5"},
		{"max_keepalive\t5 6", "max_keepalive\t5"},
		{"Max_keepalive 5", "Max_keepalive"},
		{"\ufeffmax_keepalive 5", "\ufeffmax_keepalive"},
		{"max_keepalive\r 5", "max_keepalive\r"},
		{"max_keepalive=5", "max_keepalive=5"},
		{`"max_keepalive" 5`, `"max_keepalive"`},
		{"plugin_op x", "plugin_op"},
		{"", ""}, // the name of no line is never looked for
	}
	for _, r := range rows {
		o := loadText(t, "max_keepalive 5", r.text)
		want := []string{"E Error: Unknown configuration variable '" + r.name + "'.", at("2")}
		if r.name == "" {
			want = nil
		}
		if !slices.Equal(o.lines, want) {
			t.Errorf("%q: got %q, want %q", r.text, o.lines, want)
		}
	}
}

// TestTextValues: what belongs to a value that takes the rest of its line.
func TestTextValues(t *testing.T) {
	rows := []struct{ text, want string }{
		{"pid_file a", "a"},
		{"pid_file   a  b  ", "a  b"},
		{"pid_file \t a\t\v\f", "a"},
		{`pid_file "a"`, `"a"`},
		{"pid_file a # b", "a # b"},
		{`pid_file a\`, `a\`},
		{"pid_file ä€😀", "ä€😀"},
		{"pid_file " + strings.Repeat("x", 65535), strings.Repeat("x", 65535)},
	}
	for _, r := range rows {
		if c := mustLoad(t, r.text); c.PidFile != r.want {
			t.Errorf("%.40q: got %.40q, want %.40q", r.text, c.PidFile, r.want)
		}
	}
}

// TestRepeatable: texts that may be given again, the last of which counts.
func TestRepeatable(t *testing.T) {
	for _, name := range []string{"acl_file", "password_file", "psk_file", "cafile", "capath", "certfile", "keyfile", "ciphers",
		"ciphers_tls1.3", "crlfile", "clientid_prefixes", "mount_point", "bridge_keyfile", "user", "websockets_origin"} {
		lines := []string{"connection x", "address x", "topic #", "listener 8883"}
		if name != "psk_file" {
			lines = append(lines, "certfile x", "keyfile x")
		}
		o := loadText(t, append(lines, name+" a", name+" b")...)
		if all := strings.Join(o.lines, "\n"); strings.Contains(all, "Duplicate") || newOptionTable().find(name) == nil {
			t.Errorf("%s: %q", name, o.lines)
		}
	}
	if c := mustLoad(t, "listener 1884", "password_file a", "password_file b"); c.PasswordFile != "b" || c.Listeners[0].PasswordFile != "b" {
		t.Errorf("got %+v", c)
	}
}

// TestPasswordFile: whose it is.
func TestPasswordFile(t *testing.T) {
	const two = "listener 1884\n%s\nlistener 1885\n%s"
	for _, r := range []struct{ text, global, first, second string }{
		{fmt.Sprintf(two, "", ""), "", "", ""},
		{fmt.Sprintf(two, "password_file a", ""), "a", "a", "a"},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "password_file a b ", ""), "", "a b", ""},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "password_file a", "password_file b"), "", "a", "b"},
	} {
		c := mustLoad(t, r.text)
		if c.PasswordFile != r.global || c.Listeners[0].PasswordFile != r.first || c.Listeners[1].PasswordFile != r.second {
			t.Errorf("%q: %q, %+v", r.text, c.PasswordFile, c.Listeners)
		}
	}
	if c := mustLoad(t, "password_file a"); c.LocalListeners()[1].PasswordFile != "a" {
		t.Errorf("local-only mode: %+v", c.LocalListeners())
	}
}

// TestIndependentSections: a connection ends no listener, a plugin neither.
func TestIndependentSections(t *testing.T) {
	o := loadText(t, "listener 1884", "connection x", "address a", "plugin /x", "max_qos 7")
	if want := "E Error: 'max_qos' must be between 0 and 2 inclusive."; o.lines[0] != want {
		t.Errorf("got %q", o.lines)
	}
	o = loadText(t, "connection x", "listener 1884", "address a", "topic #", "plugin_opt_abc x")
	if want := "E Error: The 'plugin_opt_abc' option requires a plugin, global_plugin or plugin_load to be defined first."; o.lines[0] != want {
		t.Errorf("got %q", o.lines)
	}
}

// TestLastListener: an option goes to the listener above it.
func TestLastListener(t *testing.T) {
	c := mustLoad(t, "listener 1884", "max_connections 4", "listener 1885", "max_connections 5", "sys_interval 1", "max_qos 1")
	a, b := c.Listeners[0], c.Listeners[1]
	if a.MaxConnections != 4 || a.MaxQoS != 2 || b.MaxConnections != 5 || b.MaxQoS != 1 {
		t.Errorf("got %+v and %+v", a, b)
	}
}
