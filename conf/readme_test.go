package conf

import (
	"regexp"
	"strings"
	"testing"
)

// TestReadmeRefusals: the README lists what is refused for good, and nothing else.
func TestReadmeRefusals(t *testing.T) {
	_, part, _ := strings.Cut(readFile(t, "../README.md"), "### What is refused for good")
	part, _, _ = strings.Cut(part, "\n#")
	listed := make(map[string]bool)
	for line := range strings.Lines(part) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			listed[name[1]] = true
		}
	}
	// Values of options that work otherwise, and options that belong to a plugin's line.
	values := map[string]bool{"log_dest dlt": true, "protocol http_api": true, "tls_keyform": true, "keyfile": true}
	with := map[string]bool{"plugin_use": true, "plugin_opt_": true, "auth_opt_": true, "auth_plugin_deny_special_chars": true}
	for _, o := range allOptions() {
		refused := o.state == never && !with[o.name]
		if refused && !listed[o.name] {
			t.Errorf("the README does not list %s, which is refused", o.name)
		}
		if !refused && listed[o.name] && !values[o.name] {
			t.Errorf("the README lists %s, which is not refused", o.name)
		}
		delete(listed, o.name)
	}
	for name := range listed {
		if !values[name] {
			t.Errorf("the README lists %q, which is no option", name)
		}
	}
}
