package conf

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// badRow is a line of testdata/bad.txt.
type badRow struct {
	name, empty, again string
	values             [][2]string // value and class
}

func readBadRows(t *testing.T) []badRow {
	t.Helper()
	f, err := os.Open("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []badRow
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		r := badRow{name: w[0], empty: w[1], again: w[2]}
		for _, v := range w[3:] {
			if at := strings.LastIndexByte(v, '='); at >= 0 {
				value := strings.NewReplacer(`\x01`, "\x01", "x*51", strings.Repeat("x", 51), "_", " ").Replace(v[:at])
				r.values = append(r.values, [2]string{value, v[at+1:]})
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// complaint is the line that a class of errors has for an option's value.
func complaint(class, name, value string) string {
	switch class {
	case "empty":
		return "Error: Empty '" + name + "' value in configuration."
	case "dup":
		return "Error: Duplicate '" + name + "' value in configuration."
	case "val":
		return "Error: Invalid '" + name + "' value (" + value + ")."
	case "port":
		_, value, ok := strings.Cut(":"+value, ":")
		if i := strings.LastIndexByte(value, ':'); ok && i >= 0 {
			value = value[i+1:]
		}
		return "Error: Invalid 'port' value (" + value + ")."
	case "num":
		return "Error: '" + name + "' value not a number."
	case "range":
		return "Error: '" + name + "' value out of range."
	case "utf8":
		return "Error: Malformed UTF-8 in configuration."
	}
	return "Error: "
}

// TestBadValues writes every option with every bad value of bad.txt.
func TestBadValues(t *testing.T) {
	named := make(map[string]row)
	for _, r := range readRows(t) {
		named[r.name] = r
	}
	for _, b := range readBadRows(t) {
		r, ok := named[b.name]
		if !ok {
			t.Errorf("%s is no option, or stands in bad.txt twice", b.name)
			continue
		}
		delete(named, b.name)
		name := strings.Replace(r.name, "*", "fresh", 1)
		expect(t, r, b.empty, name, "", name)
		for _, v := range b.values {
			expect(t, r, v[1], name, v[0], name+" "+v[0])
		}
		if r.state != "gone" && r.value != "-" {
			line := name + " " + sample(r)
			second := map[string]string{"listener": "listener 1885", "plugin_load": "plugin_load other /x.so", "connection": "connection z",
				"log_dest": "log_dest syslog"}[name]
			if second == "" {
				second = line
			}
			expect(t, r, b.again, name, sample(r), line, second)
		}
	}
	for name := range named {
		t.Errorf("%s is missing in bad.txt", name)
	}
}

// expect loads lines with what the option needs above them, and looks for the
// class of the error.
func expect(t *testing.T, r row, class, name, value string, lines ...string) {
	t.Helper()
	all := append(fixture(r), lines...)
	o := loadFrom(t, memory{"main.conf": strings.Join(all, "\n"), "dir/": ""})
	if class == "-" || class == "last" || class == "adds" {
		good(t, lines, o)
		return
	}
	place := at(strconv.Itoa(len(all)))
	if n := len(o.lines); n > 0 && o.lines[n-1] == place && o.code == Exit {
		switch {
		case class == "silent" && (n == 1 || !strings.HasPrefix(o.lines[n-2], "E ")):
			return
		case class == "text" && strings.HasPrefix(o.lines[max(0, n-2)], "E Error: "):
			return
		case n > 1 && o.lines[n-2] == "E "+complaint(class, name, value):
			return
		}
	}
	t.Errorf("%q: want %s\n\tE %s\n\t%s\ngot\n\t%s", lines, class, complaint(class, name, value), place, strings.Join(o.lines, "\n\t"))
}

// good says that nothing is wrong but what midge has not, and connections that are
// not complete.
func good(t *testing.T, lines []string, o outcome) {
	t.Helper()
	for _, l := range o.lines {
		if strings.HasPrefix(l, "E Error: ") && !strings.Contains(l, "' option is not ") && !strings.Contains(l, "Invalid bridge configuration") {
			t.Errorf("%q: %s", lines, l)
		}
	}
}

// TestUnknownNames: what people write and no mosquitto ever knew.
func TestUnknownNames(t *testing.T) {
	for _, name := range []string{"store_cleanup_interval", "listener_max_connections", "tls_insecure", "message_expiry", "max_clients",
		"log_file", "ssl_cert", "Listener", "listeners", "plugin_opt", "auth_opt"} {
		o := loadText(t, name+" 1")
		if want := "E Error: Unknown configuration variable '" + name + "'."; len(o.lines) != 2 || o.lines[0] != want || o.lines[1] != at("1") {
			t.Errorf("%s: %q", name, o.lines)
		}
	}
}
