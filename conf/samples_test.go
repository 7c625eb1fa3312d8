package conf

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestSamples: files as people have them. Each is read to its end; what midge
// has not got is all there is against it.
func TestSamples(t *testing.T) {
	rows := map[string][]string{
		"edge-gateway": {
			"connection 30", "address 31", "round_robin 32", "bridge_protocol_version 33", "remote_clientid 34", "remote_username 35",
			"remote_password 36", "local_clientid 37", "start_type 38", "restart_timeout 40", "keepalive_interval 41", "cleansession 42",
			"try_private 43", "bridge_attempt_unsubscribe 44", "notifications 45", "notification_topic 46", "bridge_cafile 47",
			"bridge_tls_version 48", "bridge_insecure 49", "topic 52", "threshold 63", "idle_timeout 64", "notifications_local_only 66"},
		"high-volume-telemetry": nil,
		"home-automation":       nil,
		"test-dev":              nil,
		"vps-tls":               nil,
		"websockets-browser":    nil,
	}
	entries, err := os.ReadDir("testdata/samples")
	if err != nil || len(entries) != len(rows) {
		t.Fatalf("%d samples, %d known; %v", len(entries), len(rows), err)
	}
	for name, lacking := range rows {
		var want []string
		if name == "websockets-browser" {
			want = append(want, "N "+deprecated("auto_id_prefix", " Please use 'listener_auto_id_prefix' instead."))
		}
		for _, l := range lacking {
			at := strings.LastIndexByte(l, ' ')
			want = append(want, fmt.Sprintf("E Error: The '%s' option is not built yet in midge.", l[:at]),
				"E Error found at main.conf:"+l[at+1:]+".")
		}
		files := memory{"main.conf": readFile(t, "testdata/samples/"+name+".conf"), "/etc/mosquitto/conf.d/": ""}
		if o := loadFrom(t, files); !slices.Equal(o.lines, want) || (o.code == Exit) != (lacking != nil) {
			t.Errorf("%s: code %d, got\n%s\nwant\n%s", name, o.code, strings.Join(o.lines, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestSampleValues: a sample that is all built.
func TestSampleValues(t *testing.T) {
	c := mustLoad(t, readFile(t, "testdata/samples/test-dev.conf"))
	want := *defaultConfig()
	want.File = "main.conf"
	want.AllowAnonymous = true
	want.SysInterval = 1
	want.MaxInflightMessages = 0
	want.MaxQueuedMessages = 0
	want.LogDest = ToStdout
	want.LogType = allClasses
	want.LogTimestampFormat = "%H:%M:%S"
	for i := range 3 {
		l := plainListener()
		l.AllowAnonymous = true
		l.Port = []int{1883, 1884, 0}[i]
		l.Host = []string{"127.0.0.1", "127.0.0.1", ""}[i]
		l.Path = []string{"", "", "/tmp/mosquitto-dev.sock"}[i]
		l.MountPoint = []string{"", "tenant1/", ""}[i]
		l.MaxQoS = []int{2, 1, 2}[i]
		l.MaxTopicAlias = []int{10, 0, 10}[i]
		want.Listeners = append(want.Listeners, l)
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

const example = "../mosquitto.conf.example"

func TestExampleAsItIs(t *testing.T) {
	c, lines, err := Load([]string{example})
	if err != nil || lines != nil {
		t.Fatalf("lines %q, error %v", texts(lines), err)
	}
	want := *defaultConfig()
	want.File = example
	want.AllowAnonymous = true
	l := plainListener()
	l.Port, l.Host, l.AllowAnonymous = 1883, "127.0.0.1", true
	want.Listeners = []Listener{l}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

// optionLines returns the file's lines and which of them are options behind
// a '#': those with no space behind it.
func optionLines(t *testing.T) (lines []string, hidden []int) {
	t.Helper()
	lines = strings.Split(readFile(t, example), "\n")
	for i, line := range lines {
		if len(line) > 1 && line[0] == '#' && line[1] != ' ' {
			hidden = append(hidden, i)
		}
	}
	return lines, hidden
}

func exampleFiles(lines []string) memory {
	return memory{"main.conf": strings.Join(lines, "\n"), "/etc/midge/conf.d/": ""}
}

// TestExampleUncommented: all options at once are good, and none is missing. Who
// builds an option adds its line to the example, in its group, with its default or an
// example of its use: "#name value", without a space behind the '#'.
func TestExampleUncommented(t *testing.T) {
	lines, hidden := optionLines(t)
	for _, i := range hidden {
		lines[i] = lines[i][1:]
	}
	o := loadFrom(t, exampleFiles(lines))
	if o.code != 0 {
		t.Errorf("refused:\n%s", strings.Join(o.lines, "\n"))
	}
	there := make(map[string]int)
	for i, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		there[name] = i + 1
	}
	without := map[string]bool{"websockets_log_level": true, "tls_keyform": true} // they do nothing
	for _, option := range allOptions() {
		wanted, at := option.state == built && option.of == "" && !without[option.name], there[option.name]
		if wanted && at == 0 {
			t.Errorf("%s is built and not in %s", option.name, example)
		}
		if !wanted && at > 0 {
			t.Errorf("%s:%d: %s is not built, another name of an option, or without effect", example, at, option.name)
		}
	}
}

// TestExampleDefaults: a line that shows a default changes nothing.
func TestExampleDefaults(t *testing.T) {
	examples := map[string]bool{"socket_domain": true, "mount_point": true, "listener_auto_id_prefix": true, "listener": true, "port": true,
		"bind_address": true, "persistence_location": true, "bind_interface": true, "retain_expiry_interval": true, "persistent_client_expiration": true, "retry_interval": true,
		"log_dest file": true, "log_facility": true, "log_type": true, "log_timestamp_format": true, "pid_file": true, "password_file": true, "acl_file": true, "clientid_prefixes": true,
		"enable_proxy_protocol": true, "websockets_origin": true, "http_dir": true,
		"certfile": true, "keyfile": true, "cafile": true, "capath": true, "crlfile": true, "tls_version": true, "ciphers": true}
	needs := map[string]bool{"certfile": true, "keyfile": true, "cafile": true, "capath": true}
	lines, hidden := optionLines(t)
	before := loadFrom(t, exampleFiles(lines)).cfg
	for _, i := range hidden {
		name, value, _ := strings.Cut(lines[i][1:], " ")
		if strings.HasPrefix(value, "file ") {
			name += " file"
		}
		changed := slices.Clone(lines)
		changed[i] = changed[i][1:]
		if needs[name] {
			changed = slices.Insert(changed, i, "certfile a", "keyfile a")
		}
		o := loadFrom(t, exampleFiles(changed))
		if o.cfg == nil {
			t.Errorf("%s refused: %q", lines[i], o.lines)
			continue
		}
		if same := reflect.DeepEqual(o.cfg, before); same == examples[name] {
			t.Errorf("%s: changes something: %v", lines[i], !same)
		}
	}
}
