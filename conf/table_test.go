package conf

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// row is a line of testdata/options.txt.
type row struct{ name, value, scope, need, state, of string }

func readRows(t *testing.T) []row {
	t.Helper()
	f, err := os.Open("testdata/options.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []row
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		if len(w) == 5 {
			w = append(w, "")
		}
		rows = append(rows, row{w[0], w[1], w[2], w[3], strings.ReplaceAll(w[4], "-", " "), w[5]})
	}
	return rows
}

// What options.txt calls the kinds, scopes, needs and states.
var (
	kindNames = map[kind]string{unread: "-", boolean: "B", integer: "I", integer64: "I64", word: "W", text: "S", raw: "R", own: "G"}

	scopeNames = map[scope]string{global: "global", perListener: "listener", either: "either", perBridge: "bridge", perPlugin: "plugin"}

	needNames = map[need]string{nothing: "-", someListener: "L", namedListener: "L+", defaultListens: "Ld", listenerIfOwned: "P",
		someBridge: "bridge", somePlugin: "plugin"}

	stateNames = map[state]string{built: "built", notYet: "not yet", never: "never", gone: "gone"}
)

func TestTable(t *testing.T) {
	want := make(map[string]row)
	for _, r := range readRows(t) {
		if _, twice := want[r.name]; twice {
			t.Errorf("%s stands twice in options.txt", r.name)
		}
		want[r.name] = r
	}
	for _, o := range allOptions() {
		name := o.name
		if o.opened {
			name += "*"
		}
		got := row{name, kindNames[o.value], scopeNames[o.scope], needNames[o.need], stateNames[o.state], o.of}
		if got != want[name] {
			t.Errorf("got %+v, want %+v", got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}

func TestAliasesAgree(t *testing.T) {
	table := newOptionTable()
	for _, o := range table.all {
		if o.of == "" {
			continue
		}
		first := table.find(o.of)
		if first == nil || first.of != "" {
			t.Errorf("%s is another name of %q, which is none", o.name, o.of)
			continue
		}
		if o.once != first.once || o.opened != first.opened || (o.set == nil) != (first.set == nil) {
			t.Errorf("%s and %s differ", o.name, first.name)
		}
	}
}

// sample returns a good value of an option, other than its default.
func sample(r row) string {
	switch r.name {
	case "log_dest":
		return "stdout"
	case "log_type":
		return "all"
	case "listener":
		return "1884"
	case "include_dir":
		return "dir"
	case "socket_domain":
		return "ipv4"
	case "protocol":
		return "mqtt"
	case "accept_protocol_versions":
		return "4,5"
	case "tls_keyform":
		return "pem"
	case "tls_engine_kpass_sha1":
		return strings.Repeat("a0", 20)
	case "persistent_client_expiration":
		return "2d"
	case "persistence_sync":
		return "60"
	case "max_packet_size":
		return "1000"
	case "plugin_load":
		return "fresh /x.so"
	case "plugin_use":
		return "loaded"
	case "address", "addresses":
		return "example.org:1884"
	case "topic":
		return "a/# both 1"
	case "bridge_protocol_version":
		return "mqttv50"
	case "start_type", "bridge_reload_type":
		return "lazy"
	case "restart_timeout":
		return "10 20"
	case "bridge_tcp_keepalive":
		return "3 2 1"
	}
	switch r.value {
	case "B":
		return "true"
	case "I", "I64":
		return "1"
	}
	return "fresh"
}

// fixture returns lines above an option that give it what it needs.
func fixture(r row) []string {
	switch r.need {
	case "L", "L+", "Ld":
		lines := []string{"listener 1883"}
		if r.name == "plugin_use" {
			lines = append(lines, "plugin_load loaded /y.so")
		}
		if r.name == "keyfile" || r.name == "cafile" || r.name == "capath" {
			lines = append(lines, "certfile x")
		}
		if r.name == "certfile" || r.name == "cafile" || r.name == "capath" {
			lines = append(lines, "keyfile x")
		}
		return lines
	case "bridge":
		lines := []string{"connection x"}
		if r.name != "address" && r.name != "addresses" {
			lines = append(lines, "address x")
		}
		if r.name != "bridge_psk" {
			lines = append(lines, "topic #")
		}
		switch r.name {
		case "bridge_psk":
			lines = append(lines, "topic #", "bridge_identity x")
		case "bridge_identity":
			lines = append(lines, "bridge_psk x")
		}
		return lines
	case "plugin":
		return []string{"plugin /z.so"}
	}
	if r.name == "connection" {
		return []string{"connection x", "address x", "topic #"}
	}
	return nil
}

// TestStates writes every option into a file and looks at what comes of it.
func TestStates(t *testing.T) {
	for _, r := range readRows(t) {
		name := strings.Replace(r.name, "*", "fresh", 1)
		files := memory{"dir/": ""}
		lines := append(fixture(r), name+" "+sample(r))
		if r.name == "connection" {
			lines = append(lines, "address x", "topic #")
		}
		files["main.conf"] = strings.Join(lines, "\n")
		o := loadFrom(t, files)
		all := strings.Join(o.lines, "\n") + "\n"
		var want string
		switch r.state {
		case "not yet":
			want = "E Error: The '" + name + "' option is not built yet in midge.\nE Error found at main.conf:"
		case "never":
			want = "E Error: The '" + name + "' option is not supported by midge: "
		case "gone":
			want = "W Warning: The '" + name + "' option is no longer "
		}
		refused := r.state == "not yet" || r.state == "never"
		if (o.code == Exit) != refused {
			t.Errorf("%s: exit code %d", name, o.code)
		}
		if !strings.Contains(all, want) {
			t.Errorf("%s: got\n%swant\n%s", name, all, want)
		}
	}
}

// TestNeeds writes every option with nothing above it.
func TestNeeds(t *testing.T) {
	for _, r := range readRows(t) {
		name := strings.Replace(r.name, "*", "fresh", 1)
		o := loadFrom(t, memory{"main.conf": name + " " + sample(r), "dir/": ""})
		all := strings.Join(o.lines, "\n") + "\n"
		shape := map[string]string{
			"L":      "E Error: The '" + name + "' option requires a listener to be defined first.\nE Error found at main.conf:1.\n",
			"L+":     "E Error: The '" + name + "' option requires a listener to be defined first.\nE Error found at main.conf:1.\n",
			"Ld":     "I Creating default listener due to '" + name + "' option.\n",
			"bridge": "E Error: The '" + name + "' option requires a bridge to be defined first.\nE Error found at main.conf:1.\n",
			"plugin": "E Error: The '" + name + "' option requires a plugin, global_plugin or plugin_load to be defined first.\nE Error found at main.conf:1.\n",
		}[r.need]
		if shape != "" && !strings.HasPrefix(all, shape) {
			t.Errorf("%s: got\n%swant\n%s", name, all, shape)
		}
		if shape == "" && strings.Contains(all, "requires") {
			t.Errorf("%s: got\n%s", name, all)
		}
		if r.need != "P" {
			continue
		}
		o = loadText(t, "per_listener_settings true", name+" "+sample(r))
		if want := "E Error: The '" + name + "' option requires a listener to be defined first."; o.lines[0] != want {
			t.Errorf("%s with per_listener_settings: got %q", name, o.lines)
		}
	}
}

// TestOwnListenerNeeded gives the options that want a listener line only the
// default listener.
func TestOwnListenerNeeded(t *testing.T) {
	for _, r := range readRows(t) {
		if r.need != "L" && r.need != "L+" {
			continue
		}
		lines := append([]string{"port 1884"}, fixture(r)[1:]...)
		o := loadText(t, append(lines, r.name+" "+sample(r))...)
		refused := strings.Contains(strings.Join(o.lines, "\n"), "requires a listener")
		if refused != (r.need == "L+") {
			t.Errorf("%s below port: %q", r.name, o.lines)
		}
	}
}
