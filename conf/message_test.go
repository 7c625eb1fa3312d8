package conf

import (
	"slices"
	"strings"
	"testing"
)

// at is the line that follows an error of main.conf.
func at(line string) string { return "E Error found at main.conf:" + line + "." }

// TestErrors: the first mistake ends reading, with the line mosquitto 2.1 has
// for it and the place.
func TestErrors(t *testing.T) {
	long := strings.Repeat("x", maxPrefix+1)
	rows := []struct {
		text string
		want string // without the letter and the place
	}{
		// One of each class.
		{"bogus 1", "Error: Unknown configuration variable 'bogus'."},
		{"allow_anonymous", "Error: Empty 'allow_anonymous' value in configuration."},
		{"allow_anonymous yes", "Error: Invalid 'allow_anonymous' value (yes)."},
		{"allow_anonymous TRUE", "Error: Invalid 'allow_anonymous' value (TRUE)."},
		{"max_queued_messages many", "Error: 'max_queued_messages' value not a number."},
		{"max_queued_messages 0x1g", "Error: 'max_queued_messages' value not a number."},
		{"max_queued_messages -", "Error: 'max_queued_messages' value not a number."},
		{"max_queued_messages 2147483648", "Error: 'max_queued_messages' value out of range."},
		{"max_queued_messages 99999999999999999999", "Error: 'max_queued_messages' value out of range."},
		{"max_queued_messages 2147483648k", "Error: 'max_queued_messages' value out of range."},
		{"pid_file a\npid_file b", "Error: Duplicate 'pid_file' value in configuration."},
		{"pid_file a\npid_file  ", "Error: Duplicate 'pid_file' value in configuration."},
		{"pid_file a\npid_file", "Error: Empty 'pid_file' value in configuration."},
		{"pid_file  \t", "Error: Empty 'pid_file' value in configuration."},
		{"pid_file a\tb", "Error: Malformed UTF-8 in configuration."},
		{"pid_file a\xffb", "Error: Malformed UTF-8 in configuration."},
		{"pid_file a\u0085b", "Error: Malformed UTF-8 in configuration."},
		{"pid_file \ufdd0", "Error: Malformed UTF-8 in configuration."},
		{"pid_file \ufffe", "Error: Malformed UTF-8 in configuration."},
		{"pid_file " + strings.Repeat("x", 65536), ""},

		// Access.
		{"allow_anonymous true\nper_listener_settings true", "Error: 'per_listener_settings' must be set before any other security settings."},
		{"password_file x\nper_listener_settings 1", "Error: 'per_listener_settings' must be set before any other security settings."},
		{"global_plugin x\nper_listener_settings 1", "Error: 'per_listener_settings' must be set before any other security settings."},
		{"auto_id_prefix " + long, "Error: 'auto_id_prefix' value out of range."},
		{"listener 1883\nlistener_auto_id_prefix " + long, "Error: 'listener_auto_id_prefix' value out of range."},
		{"listener 1883\nlistener_auto_id_prefix a\nlistener_auto_id_prefix a", "Error: Duplicate 'listener_auto_id_prefix' value in configuration."},
		{"listener 1883\ncertfile x\npsk_file x", "Error: Cannot use both certificate and psk encryption in a single listener."},

		// Limits.
		{"max_inflight_messages 65536", "Error: 'max_inflight_messages' must be <= 65535."},
		{"max_packet_size 19", "Error: 'max_packet_size' value out of range."},
		{"max_packet_size 0", "Error: 'max_packet_size' value out of range."},
		{"message_size_limit -3", "Error: Invalid 'message_size_limit' value (4294967293)."},
		{"message_size_limit 268435456", "Error: Invalid 'message_size_limit' value (268435456)."},
		{"max_keepalive -1", "Error: Invalid 'max_keepalive' value (-1)."},
		{"max_keepalive 65536", "Error: Invalid 'max_keepalive' value (65536)."},
		{"sys_interval 0x10000", "Error: Invalid 'sys_interval' value (65536)."},
		{"sys_interval -1", "Error: Invalid 'sys_interval' value (-1)."},
		{"persistent_client_expiration", "Error: Empty 'persistent_client_expiration' value in configuration."},
		{"persistent_client_expiration 3", "Error: Invalid 'persistent_client_expiration' value (3)."},
		{"persistent_client_expiration 0d", "Error: Invalid 'persistent_client_expiration' value (0d)."},
		{"persistent_client_expiration -1d", "Error: Invalid 'persistent_client_expiration' value (-1d)."},
		{"persistent_client_expiration d", "Error: Invalid 'persistent_client_expiration' value (d)."},
		{"persistent_client_expiration 1D", "Error: Invalid 'persistent_client_expiration' value (1D)."},
		{"retain_expiry_interval 0", "Error: 'retain_expiry_interval' value out of range."},
		{"packet_buffer_size 65536", "Error: 'packet_buffer_size' value out of range."},
		{"websockets_headers_size -1", "Error: 'websockets_headers_size' value out of range."},
		{"memory_limit -5", "Error: Invalid 'memory_limit' value (-5)."},
		{"listener 1883\nmax_qos 3", "Error: 'max_qos' must be between 0 and 2 inclusive."},
		{"listener 1883\nmaximum_qos -1", "Error: 'maximum_qos' must be between 0 and 2 inclusive."},
		{"listener 1883\nmax_topic_alias 65536", "Error: 'max_topic_alias' value out of range."},
		{"listener 1883\nmax_topic_alias_broker -1", "Error: 'max_topic_alias_broker' value out of range."},

		// Persistence.
		{"persistence_file a\npersistence_file a", "Error: Duplicate 'persistence_file' value in configuration."},
		{"persistence_sync 0", "Error: Invalid 'persistence_sync' value (0)."},
		{"persistence_sync never", "Error: Invalid 'persistence_sync' value (never)."},
		{"persistence_sync 86401", "Error: Invalid 'persistence_sync' value (86401)."},
		{"persistence maybe", "Error: Invalid 'persistence' value (maybe)."},

		// Logging.
		{"log_dest", "Error: Empty 'log_dest' value in configuration."},
		{"log_dest Stdout", "Error: Invalid 'log_dest' value (Stdout)."},
		{"log_dest file", "Error: Empty 'log_dest file' value in configuration."},
		{"log_dest file \t ", "Error: Empty 'log_dest file' value in configuration."},
		{"log_dest file a\nlog_dest none\nlog_dest file b", "Error: Duplicate 'log_dest file' value in configuration."},
		{"log_type", "Error: Empty 'log_type' value in configuration."},
		{"log_type everything", "Error: Invalid 'log_type' value (everything)."},
		{"log_timestamp_format a\nlog_timestamp_format a", "Error: Duplicate 'log_timestamp_format' value in configuration."},
		{"log_facility 8", "Error: Invalid 'log_facility' value (8)."},

		// Listeners.
		{"listener", "Error: Empty 'listener' value in configuration."},
		{"listener x", "Error: 'listener' value not a number."},
		{"listener 1883\t127.0.0.1", "Error: 'listener' value not a number."},
		{"listener 1883:127.0.0.1", "Error: 'listener' value not a number."},
		{"listener -1", "Error: Invalid 'port' value (-1)."},
		{"listener 65536", "Error: Invalid 'port' value (65536)."},
		{"listener 0", "Error: A listener with port 0 must provide a Unix socket path."},
		{"listener 0 # none", "Error: A listener with port 0 must provide a Unix socket path."},
		{"listener 1883\nsocket_domain ipv5", "Error: Invalid 'socket_domain' value (ipv5)."},
		{"listener 1883\nprotocol amqp", "Error: Invalid 'protocol' value (amqp)."},
		{"listener 1883\nprotocol", "Error: Empty 'protocol' value in configuration."},
		{"listener 1883\nmount_point a/#", "Error: Invalid 'mount_point' value (a/#)."},
		{"listener 1883\naccept_protocol_versions", "Error: Empty 'accept_protocol_versions' value in configuration."},
		{"listener 1883\naccept_protocol_versions ,\t, ", "Error: Empty 'accept_protocol_versions' value in configuration."},
		{"port 1883\naccept_protocol_versions 5", "Error: The 'accept_protocol_versions' option requires a listener to be defined first."},

		// TLS, PROXY.
		{"listener 1883\npsk_hint x\ncertfile x", "Error: Cannot use both certificate and psk encryption in a single listener."},
		{"listener 1883\npsk_hint x\ncafile x", "Error: Cannot use both certificate and psk encryption in a single listener."},
		{"listener 1883\npsk_hint x\npsk_hint x", "Error: Duplicate 'psk_hint' value in configuration."},
		{"listener 1883\ntls_engine_kpass_sha1 abcd", ""},
		{"listener 1883\ntls_engine_kpass_sha1 " + strings.Repeat("0g", 20), ""},
		{"listener 1883\nenable_proxy_protocol 3", "Error: 'enable_proxy_protocol' value out of range."},

		// Plugins.
		{"plugin", "Error: Empty 'plugin' value in configuration."},
		{"plugin_load", "Error: Empty 'plugin_load' value in configuration."},
		{"plugin_load a", "Error: Empty 'plugin_load' value in configuration."},
		{"plugin_load a /x\nplugin_load a /x", "Error: Duplicate 'plugin_load' value in configuration."},
		{"listener 1883\nplugin_use a", "Error: Invalid 'plugin_use' value (a)."},
		{"plugin /x\nplugin_opt_ab 1", "Error: Invalid 'plugin_opt_' config option."},
		{"plugin /x\nauth_opt_abc", "Error: Empty 'auth_opt_abc' value in configuration."},

		// Files.
		{"include_dir", "Error: Empty 'include_dir' value in configuration."},
		{"include_dir none", "Error: Unable to open include_dir 'none'."},
	}
	for _, r := range rows {
		o := loadText(t, r.text)
		want := []string{at(string('1' + rune(strings.Count(r.text, "\n"))))}
		if r.want != "" {
			want = []string{"E " + r.want, want[0]}
		}
		got := o.lines[max(0, len(o.lines)-len(want)):]
		if !slices.Equal(got, want) || o.code != Exit {
			t.Errorf("%.60q: got %q, code %d\nwant %q", r.text, o.lines, o.code, want)
		}
		if extra := o.lines[:len(o.lines)-len(got)]; len(extra) > 0 && strings.HasPrefix(extra[len(extra)-1], "E ") {
			t.Errorf("%.60q: more than one error: %q", r.text, o.lines)
		}
	}
}

// TestBridgeErrors: lines below "connection x".
func TestBridgeErrors(t *testing.T) {
	rows := []struct{ text, want string }{
		{"connection x", "Error: Duplicate bridge name 'x'."},
		{"connection", "Error: Empty 'connection' value in configuration."},
		{"address", "Error: Empty 'address' value in configuration."},
		{"address # none", "Error: Empty 'address' value in configuration."},
		{"address a\naddresses b", "Error: Invalid bridge configuration."},
		{"address a:0", "Error: Invalid 'port' value (0)."},
		{"address a b:65536", "Error: Invalid 'port' value (65536)."},
		{"address ::1", ""},
		{"address ::", "Error: Invalid 'port' value ()."},
		{"topic", "Error: Empty 'topic' value in configuration."},
		{"topic a up", "Error: Invalid bridge topic direction 'up'."},
		{"topic a OUT 3", "Error: Invalid bridge QoS level '3'."},
		{"topic a in -1", "Error: Invalid bridge QoS level '-1'."},
		{"topic a in 1 l+/", "Error: Invalid bridge topic local prefix 'l+/'."},
		{"topic a in 1 l/ r#", "Error: Invalid bridge topic remote prefix 'r#'."},
		{`topic # in 1 "" a`, "Error: Invalid bridge topic remote prefix and pattern combination 'a#'."},
		{"topic a+", "Error: Invalid bridge topic local prefix and pattern combination 'a+'."},
		{"topic #/a", "Error: Invalid bridge topic local prefix and pattern combination '#/a'."},
		{`topic ""`, "Error: Invalid bridge remapping."},
		{`topic "" in 1 a`, "Error: Invalid bridge remapping."},
		{`topic "" in 1 a # b`, "Error: Invalid bridge remapping."},
		{`topic "" in 1 "" r`, "Error: Invalid bridge topic local prefix and pattern combination ''."},
		{`topic "a"`, "Error: Missing closing quote in 'topic' value in configuration."},
		{"clientid a\nremote_clientid b", "Error: Duplicate 'remote_clientid' value in configuration."},
		{"password a\npassword b", "Error: Duplicate 'password' value in configuration."},
		{"bridge_protocol_version mqttv5", "Error: Invalid 'bridge_protocol_version' value (mqttv5)."},
		{"bridge_protocol_version mqttv50 ", "Error: Invalid 'bridge_protocol_version' value (mqttv50 )."},
		{"start_type manual", "Error: Manual start_type not supported."},
		{"start_type never", "Error: Invalid 'start_type' value (never)."},
		{"bridge_reload_type late", "Error: Invalid 'bridge_reload_type' value (late)."},
		{"keepalive_interval 65536", "Error: Bridge keepalive value too high."},
		{"restart_timeout", "Error: Empty 'restart_timeout' value in configuration."},
		{"restart_timeout 20 10", "Error: backoff cap is lower than the base in restart_timeout."},
		{"restart_timeout 20 30 -1", "Error: the stable time in restart_timeout is negative."},
		{"bridge_max_topic_alias 65536", "Error: 'bridge_max_topic_alias' value out of range."},
		{"bridge_receive_maximum 0", "Error: 'bridge_receive_maximum' value out of range."},
		{"bridge_session_expiry_interval -1", "Error: Invalid 'bridge_session_expiry_interval' value (-1)."},
		{"bridge_session_expiry_interval 4294967295", "Error: 'bridge_session_expiry_interval' value out of range."},
		{"bridge_tcp_keepalive 1 2", "Error: Empty 'bridge_tcp_keepalive' value in configuration."},
		{"bridge_tcp_keepalive 1 0 2", "Error: Invalid 'bridge_tcp_keepalive' value (0)."},
		{"bridge_tcp_user_timeout -1", "Error: Invalid 'bridge_tcp_user_timeout' value (-1)."},
		{"bridge_psk ab\nbridge_cafile x", "Error: Cannot use both certificate and psk encryption in a single bridge."},
		{"bridge_certfile x\nbridge_identity x", "Error: Cannot use both certificate and identity encryption in a single bridge."},
		{"bridge_keyfile x\nbridge_psk ab", "Error: Cannot use both certificate and psk encryption in a single bridge."},
	}
	for _, r := range rows {
		o := loadText(t, "connection x", r.text)
		want := []string{"E " + r.want, at(string('2' + rune(strings.Count(r.text, "\n"))))}
		if r.want == "" { // nothing wrong but what the connection lacks
			want = []string{"E Error: Invalid bridge configuration: no topics defined."}
		}
		if !slices.Equal(o.lines, want) || o.code != Exit {
			t.Errorf("%q: got %q, code %d\nwant %q", r.text, o.lines, o.code, want)
		}
	}
}

// TestLateErrors: what is checked after a whole file has no place.
func TestLateErrors(t *testing.T) {
	rows := []struct{ text, want string }{
		{"connection x\ntopic #", "Error: Invalid bridge configuration: no remote addresses defined."},
		{"connection x\naddress a", "Error: Invalid bridge configuration: no topics defined."},
		{"connection x\naddress a\ntopic #\nbridge_psk a", "Error: Invalid bridge configuration: missing bridge_identity."},
		{"connection x\naddress a\ntopic #\nbridge_identity a", "Error: Invalid bridge configuration: missing bridge_psk."},
		{"connection x\naddress a\ntopic #\nclientid i\nconnection y\naddress a\ntopic #\nlocal_clientid local.i",
			"Error: Bridge local_clientid 'local.i' is not unique. Try changing or setting the local_clientid value for one of the bridges."},
		{"listener 8883\ncertfile x", "Error: A listener needs both 'certfile' and 'keyfile', or neither."},
		{"listener 8883\nkeyfile x", "Error: A listener needs both 'certfile' and 'keyfile', or neither."},
		{"port 8883\nkeyfile x", "Error: A listener needs both 'certfile' and 'keyfile', or neither."},
		{"listener 8883\ncapath x", "Error: 'cafile' and 'capath' need 'certfile' and 'keyfile'."},
		{"listener 8883\nenable_proxy_protocol 2\ncertfile x\nkeyfile x",
			"Error: 'enable_proxy_protocol 2' cannot be used with 'certfile' and 'keyfile'."},
		{"listener 8883\nenable_proxy_protocol 2\nuse_subject_as_username true",
			"Error: 'enable_proxy_protocol 2' cannot be used with 'use_subject_as_username'."},
	}
	for _, r := range rows {
		o := loadText(t, r.text)
		if got := o.lines[len(o.lines)-1]; got != "E "+r.want || o.code != Exit {
			t.Errorf("%q: got %q, code %d\nwant %q", r.text, o.lines, o.code, r.want)
		}
	}
}

// TestSaid: lines that do not keep the broker from starting.
func TestSaid(t *testing.T) {
	const best = "I It is best practice to put a 'listener' line above the 'max_qos' option."
	rows := []struct {
		text string
		want []string
	}{
		{"allow_anonymous true", nil},
		{"per_listener_settings true\nlistener 1883\nallow_anonymous true", nil},
		{"auto_id_prefix x", []string{
			"N The 'auto_id_prefix' option is now deprecated and will be removed in version 3.0. Please use 'listener_auto_id_prefix' instead."}},
		{"allow_duplicate_messages false", []string{
			"N The 'allow_duplicate_messages' option is now deprecated and will be removed in version 3.0. The behaviour will default to true."}},
		{"message_size_limit 1", []string{
			"N Note: It is recommended to replace `message_size_limit` with `max_packet_size`."}},
		{"port 1884", []string{
			"N The 'port' option is now deprecated and will be removed in version 3.0. Please use 'listener' instead."}},
		{"port 1884\nport 1885", []string{
			"N The 'port' option is now deprecated and will be removed in version 3.0. Please use 'listener' instead.",
			"N The 'port' option is now deprecated and will be removed in version 3.0. Please use 'listener' instead.",
			"W Warning: Default listener port specified multiple times. Only the latest will be used."}},
		{"bind_address 127.0.0.1", []string{
			"N The 'bind_address' option is now deprecated and will be removed in version 3.0. Please use 'listener' instead."}},

		{"max_qos 1", []string{
			"I Creating default listener due to 'max_qos' option.", best,
			"W Warning: Without a 'listener' line, the 'max_qos' option at main.conf:1 and other listener options have no effect."}},
		{"max_qos 1\nmax_connections 5\nlistener 8883", []string{
			"I Creating default listener due to 'max_qos' option.", best,
			"W Warning: The 'max_qos' option at main.conf:1 stands above any 'listener' line, so port 1883 is opened on all interfaces too."}},
		{"max_qos 1\nport 1884", []string{
			"I Creating default listener due to 'max_qos' option.", best,
			"N The 'port' option is now deprecated and will be removed in version 3.0. Please use 'listener' instead."}},

		{"listener 1883\nmount_point a/", nil},
		{"listener 1883\nmount_point a", []string{
			"W Warning: The 'mount_point' value (a) does not end with a slash, so '#' and '+' at the beginning of a filter match nothing."}},
		{"store_clean_interval 10", []string{"W Warning: The 'store_clean_interval' option is no longer available."}},
		{"ffdc_output", []string{"W Warning: The 'ffdc_output' option is no longer available."}},
		{"max_log_entries x y", []string{"W Warning: The 'max_log_entries' option is no longer available."}},
		{"trace_level", []string{"W Warning: The 'trace_level' option is no longer available."}},
		{"trace_output", []string{"W Warning: The 'trace_output' option is no longer available."}},
		{"dhparamfile", []string{"W Warning: The 'dhparamfile' option is no longer needed."}},
		{"websockets_log_level what", nil},
		{"retry_interval", []string{"W Warning: Invalid 'retry_interval' value (), messages are not sent again."}},
		{"retry_interval soon", []string{"W Warning: Invalid 'retry_interval' value (soon), messages are not sent again."}},
		{"retry_interval 20", nil},

		{"memory_limit 50MB", []string{"W Warning: The 'memory_limit' value (50MB) is not a number of bytes, using 50."}},
		{"memory_limit x", []string{"W Warning: The 'memory_limit' value (x) is not a number of bytes, using 0."}},
		{"sys_interval 10s", []string{"W Warning: The 'sys_interval' value (10s) is not a number, using 10."}},
		{"sys_interval 1.5", []string{"W Warning: The 'sys_interval' value (1.5) is not a number, using 1."}},
		{"sys_interval 08", []string{"W Warning: The 'sys_interval' value (08) is not a number, using 8."}},
		{"sys_interval 5\t# tab", []string{"W Warning: The 'sys_interval' value (5\t#) is not a number, using 5."}},
		{"persistent_client_expiration 1.5h", []string{
			"W Warning: The 'persistent_client_expiration' value (1.5h) is not a number and a unit, using 1h."}},
		{"retain_expiry_interval 10000001", []string{
			"W Warning: The 'retain_expiry_interval' value (10000001) is too high, using 10000000."}},
	}
	for _, r := range rows {
		if o := loadText(t, r.text); !slices.Equal(o.lines, r.want) || o.code != 0 {
			t.Errorf("%q: got %q, code %d\nwant %q", r.text, o.lines, o.code, r.want)
		}
	}
}

// TestBridgeSaid: lines below a connection that is complete. It is refused all
// the same, afterwards.
func TestBridgeSaid(t *testing.T) {
	rows := []struct{ text, want string }{
		{"threshold 0", "N threshold too low, using 1 message."},
		{"idle_timeout 0", "N idle_timeout interval too low, using 1 second."},
		{"keepalive_interval 4", "N keepalive interval too low, using 5 seconds."},
		{"restart_timeout 0", "N restart_timeout interval too low, using 1 second."},
		{"restart_timeout 3601", "N restart_timeout interval too high, using 3600 seconds."},
		{"restart_timeout 1 7201", "E Error: backoff cap in restart_timeout is too high, using 7200 seconds."},
		{"bridge_insecure true", "W Warning: Bridge x using insecure mode."},
		// And nothing is said of these.
		{"restart_timeout 10 20 30", "E Error: The 'connection' option is not built yet in midge."},
		{`topic "a b/#" Both 2 l/ r/`, "E Error: The 'connection' option is not built yet in midge."},
		{`topic "" in 1 l r`, "E Error: The 'connection' option is not built yet in midge."},
		{`topic a in "" ""`, "E Error: The 'connection' option is not built yet in midge."},
		{"topic a in 1 # comment", "E Error: The 'connection' option is not built yet in midge."},
		{"topic a in # comment", "E Error: The 'connection' option is not built yet in midge."},
		{"topic +/a/#", "E Error: The 'connection' option is not built yet in midge."},
		{"bridge_insecure false", "E Error: The 'connection' option is not built yet in midge."},
	}
	for _, r := range rows {
		o := loadText(t, "connection x", "address a:1883 b # c", "topic #", r.text)
		if o.lines[0] != r.want || o.code != Exit {
			t.Errorf("%q: got %q, code %d\nwant %q first", r.text, o.lines, o.code, r.want)
		}
	}
}

// TestOwnErrorsFirst: what midge has not is reported after the last line, once
// for each option and value, and not at all if mosquitto would complain.
func TestOwnErrorsFirst(t *testing.T) {
	text := []string{"psk_file x", "listener 9001", "protocol http_api", "psk_file x",
		"log_dest syslog", "log_dest topic", "log_dest dlt", "log_dest stdout", "listener 9002", "protocol websockets"}
	want := []string{
		"E Error: The 'psk_file' option is not supported by midge: " + whyPSK + ".", at("1"),
		"E Error: The 'protocol http_api' option is not supported by midge: " + whyAPI + ".", at("3"),
		"E Error: The 'log_dest dlt' option is not supported by midge: it does not speak DLT.", at("7"),
	}
	if o := loadText(t, text...); !slices.Equal(o.lines, want) {
		t.Errorf("got %q\nwant %q", o.lines, want)
	}
	want = []string{"E Error: Unknown configuration variable 'bogus'.", "E Error found at main.conf:11."}
	if o := loadText(t, append(text, "bogus")...); !slices.Equal(o.lines, want) {
		t.Errorf("got %q\nwant %q", o.lines, want)
	}
}

func TestTurnedOff(t *testing.T) {
	c := mustLoad(t, "persistence false", "retained_persistence 0", "autosave_on_changes false",
		"check_retain_source false", "listener 1883", "use_username_as_clientid false", "require_certificate 0",
		"tls_keyform pem")
	if len(c.Listeners) != 1 {
		t.Errorf("got %d listeners", len(c.Listeners))
	}
}

func TestPlugins(t *testing.T) {
	no := func(name, line string) []string {
		return []string{"E Error: The '" + name + "' option is not supported by midge: it cannot load C plugins.", at(line)}
	}
	rows := []struct {
		text string
		want [][]string
	}{
		{"plugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file a\nplugin_opt_other a",
			[][]string{no("plugin", "1"), no("plugin_opt_config_file", "2")}},
		{"global_plugin /usr/lib/mosquitto_persist_sqlite.so\nlistener 1883\nplugin_load x /usr/lib/mosquitto_sparkplug_aware.so\nplugin_use x",
			[][]string{no("global_plugin", "1"), no("plugin_load", "3"), no("plugin_use", "4")}},
		{"listener 1883\nauth_plugin /x y.so\nauth_opt_key v\nglobal_plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_file v",
			[][]string{no("auth_plugin", "2"), no("auth_opt_key", "3")}},
		{"plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_files a",
			[][]string{{"E Error: mosquitto_acl_file does not know the option 'plugin_opt_acl_files'.", at("2")}}},
		{"\nplugin /lib/mosquitto_acl_file.so",
			[][]string{{"E Error: mosquitto_acl_file needs the option 'plugin_opt_acl_file'.", at("2")}}},
		{"plugin /lib/mosquitto_password_file.so\nplugin_opt_acl_file a",
			[][]string{{"E Error: mosquitto_password_file does not know the option 'plugin_opt_acl_file'.", at("2")}}},
		{"plugin_load acl mosquitto_acl_file.so\nplugin_opt_acl_file a\nlistener 1883",
			[][]string{{"E Error: The plugin 'acl' is not used by any listener.", at("1")}}},
		{"acl_file a\nlistener 1883\nplugin_load acl mosquitto_acl_file.so\nplugin_opt_acl_file b\nplugin_use acl",
			[][]string{{"E Error: There can be one ACL file only, and there are 'a' and 'b'.", at("3")}}},
		{"plugin mosquitto_password_file.so\nplugin_opt_password_file a\nplugin mosquitto_password_file.so\nplugin_opt_password_file b",
			[][]string{{"E Error: There can be one password file only, and there are 'a' and 'b'.", at("3")}}},
		{"listener 1883\ntls_keyform engine",
			[][]string{{"E Error: The 'tls_keyform engine' option is not supported by midge: it has no TLS engines.", at("2")}}},
	}
	for _, r := range rows {
		if o, want := loadText(t, r.text), slices.Concat(r.want...); !slices.Equal(o.lines, want) {
			t.Errorf("%q: got %q\nwant %q", r.text, o.lines, want)
		}
	}
}

// TestBuiltinPlugins: whose files are those of the plugins that midge has built in.
func TestBuiltinPlugins(t *testing.T) {
	const (
		passwords = "/usr/lib/x y/mosquitto_password_file.so\nplugin_opt_password_file p q \n"
		acl       = "mosquitto_acl_file.so\nauth_opt_acl_file a\n"
	)
	for _, r := range []struct{ text, password, acl, firstPassword, firstACL, secondPassword, secondACL string }{
		{"listener 1\nplugin " + passwords + "plugin " + acl + "listener 2", "p q", "a", "p q", "a", "p q", "a"},
		{"per_listener_settings 1\nlistener 1\nplugin " + passwords + "listener 2\nplugin " + acl, "", "", "p q", "", "", "a"},
		{"per_listener_settings 1\nglobal_plugin " + passwords + "listener 1\nlistener 2\nplugin " + acl, "p q", "", "p q", "", "p q", "a"},
		{"plugin_load x " + acl + "listener 1\nlistener 2\nplugin_use x", "", "", "", "", "", "a"},
		{"plugin_load x mosquitto_acl_file.so\nlistener 1\nplugin_use x\nplugin_opt_acl_file a\nlistener 2\nplugin_use x", "", "", "", "a", "", "a"},
		{"acl_file a\nlistener 1\nlistener 2\nplugin " + acl + "plugin " + acl, "", "a", "", "a", "", "a"},
	} {
		c := mustLoad(t, r.text)
		got := []string{c.PasswordFile, c.ACLFile, c.Listeners[0].PasswordFile, c.Listeners[0].ACLFile, c.Listeners[1].PasswordFile, c.Listeners[1].ACLFile}
		if want := []string{r.password, r.acl, r.firstPassword, r.firstACL, r.secondPassword, r.secondACL}; !slices.Equal(got, want) {
			t.Errorf("%q: %q, not %q", r.text, got, want)
		}
	}
	if c := mustLoad(t, "global_plugin "+acl); c.LocalListeners()[0].ACLFile != "a" {
		t.Error("not in local-only mode")
	}
	o := loadText(t, "plugin "+acl+"auth_plugin_deny_special_chars true")
	if want := []string{"W Warning: The 'auth_plugin_deny_special_chars' option has no effect on mosquitto_acl_file."}; !slices.Equal(o.lines, want) || o.cfg == nil {
		t.Errorf("%q", o.lines)
	}
}

func TestErrorText(t *testing.T) {
	_, _, err := load([]string{"main.conf"}, memory{"main.conf": "bogus"})
	want := "Error: Unknown configuration variable 'bogus'.\nError found at main.conf:1."
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
