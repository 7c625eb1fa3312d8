package conf

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
)

func TestDefaults(t *testing.T) {
	want := Config{
		LocalOnly:               true,
		AllowAnonymous:          true,
		AllowZeroLengthClientID: true,
		AutoIDPrefix:            "auto-",
		WatchFilesInterval:      5,
		FailedLoginsBurst:       100,
		FailedLoginsPerMinute:   60,
		MaxInflightMessages:     20,
		MaxQueuedMessages:       1000,
		MaxPacketSize:           2000000,
		MaxSubscriptions:        100_000,
		AllowDuplicateMessages:  true,
		RetainAvailable:         true,
		SysInterval:             10,
		PersistenceFile:         "mosquitto.db",
		AutosaveInterval:        1800,
		PacketBufferSize:        4096,
		User:                    "mosquitto",
		LogDest:                 ToStderr,
		LogFacility:             3,
		LogType:                 ClassError | ClassWarning | ClassNotice | ClassInformation,
		LogTimestamp:            true,
		ConnectionMessages:      true,
	}
	c, lines, err := Load(nil)
	if err != nil || lines != nil {
		t.Fatalf("lines %q, error %v", texts(lines), err)
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
	c = mustLoad(t, "listener 1884")
	listener := Listener{
		Port: 1884, AcceptProtocolVersions: allVersions, AllowZeroLengthClientID: true,
		AutoIDPrefix: "auto-", MaxQoS: 2, MaxTopicAlias: 10, MaxTopicAliasBroker: 10, Shut: true,
	}
	if !reflect.DeepEqual(c.Listeners, []Listener{listener}) {
		t.Errorf("got %+v\nwant %+v", c.Listeners, listener)
	}
}

// TestValues gives each option that is built a value and looks for it.
func TestValues(t *testing.T) {
	first := func(get func(*Listener) any) func(*Config) any {
		return func(c *Config) any { return get(&c.Listeners[0]) }
	}
	rows := []struct {
		line string
		get  func(*Config) any
		want any
	}{
		{"user a b", func(c *Config) any { return c.User }, "a b"},
		{"max_inflight_messages 7", func(c *Config) any { return c.MaxInflightMessages }, 7},
		{"max_inflight_messages 0", func(c *Config) any { return c.MaxInflightMessages }, 0},
		{"max_inflight_messages -1", func(c *Config) any { return c.MaxInflightMessages }, 0},
		{"max_inflight_messages 65534", func(c *Config) any { return c.MaxInflightMessages }, 65534},
		{"max_inflight_messages 65535", func(c *Config) any { return c.MaxInflightMessages }, 0},
		{"max_inflight_bytes 8", func(c *Config) any { return c.MaxInflightBytes }, 8},
		{"max_inflight_bytes -8", func(c *Config) any { return c.MaxInflightBytes }, 0},
		{"max_queued_messages 9", func(c *Config) any { return c.MaxQueuedMessages }, 9},
		{"max_queued_messages -9", func(c *Config) any { return c.MaxQueuedMessages }, 0},
		{"max_queued_bytes 2147483647", func(c *Config) any { return c.MaxQueuedBytes }, 2147483647},
		{"max_queued_bytes -2147483648", func(c *Config) any { return c.MaxQueuedBytes }, 0},
		{"queue_qos0_messages true", func(c *Config) any { return c.QueueQoS0Messages }, true},
		{"max_packet_size 20", func(c *Config) any { return c.MaxPacketSize }, 20},
		{"message_size_limit 268435455", func(c *Config) any { return c.MessageSizeLimit }, 268435455},
		{"max_keepalive 65535", func(c *Config) any { return c.MaxKeepalive }, 65535},
		{"global_max_connections 5", func(c *Config) any { return c.GlobalMaxConnections }, 5},
		{"global_max_connections -1", func(c *Config) any { return c.GlobalMaxConnections }, 0},
		{"global_max_clients 6", func(c *Config) any { return c.GlobalMaxClients }, 6},
		{"persistence true", func(c *Config) any { return c.Persistence }, true},
		{"retained_persistence 1", func(c *Config) any { return c.Persistence }, true},
		{"persistence_file a b", func(c *Config) any { return c.PersistencePath() }, "a b"},
		{"persistence_location /x/", func(c *Config) any { return c.PersistencePath() }, "/x//mosquitto.db"},
		{"persistence_sync 60", func(c *Config) any { return c.PersistenceSync }, 60},
		{"persistence_sync always", func(c *Config) any { return c.PersistenceSync }, SyncAlways},
		{"persistence_sync off", func(c *Config) any { return c.PersistenceSync }, SyncOff},
		{"autosave_interval 5", func(c *Config) any { return c.AutosaveInterval }, 5},
		{"autosave_interval -5", func(c *Config) any { return c.AutosaveInterval }, 0},
		{"autosave_on_changes true", func(c *Config) any { return c.AutosaveOnChanges }, true},
		{"max_subscriptions 7", func(c *Config) any { return c.MaxSubscriptions }, 7},
		{"max_subscriptions -1", func(c *Config) any { return c.MaxSubscriptions }, 0},
		{"max_topic_levels 7", func(c *Config) any { return c.MaxTopicLevels }, 7},
		{"max_retained_messages 7", func(c *Config) any { return c.MaxRetainedMessages }, 7},
		{"max_clientid_length 7", func(c *Config) any { return c.MaxClientIDLength }, 7},
		{"memory_limit 8589934592", func(c *Config) any { return c.MemoryLimit }, int64(8589934592)},
		{"memory_limit 50MB", func(c *Config) any { return c.MemoryLimit }, int64(50)},
		{"memory_limit x", func(c *Config) any { return c.MemoryLimit }, int64(0)},
		{"memory_limit 99999999999999999999", func(c *Config) any { return c.MemoryLimit }, int64(math.MaxInt64)},
		{"persistent_client_expiration 5s", func(c *Config) any { return c.PersistentClientExpiration }, int64(5)},
		{"persistent_client_expiration 2h", func(c *Config) any { return c.PersistentClientExpiration }, int64(7200)},
		{"persistent_client_expiration 2d", func(c *Config) any { return c.PersistentClientExpiration }, int64(172800)},
		{"persistent_client_expiration 2w", func(c *Config) any { return c.PersistentClientExpiration }, int64(1209600)},
		{"persistent_client_expiration 2m", func(c *Config) any { return c.PersistentClientExpiration }, int64(5184000)},
		{"persistent_client_expiration 2147483647y", func(c *Config) any { return c.PersistentClientExpiration }, int64(2147483647 * 31536000)},
		{"retain_available false", func(c *Config) any { return c.RetainAvailable }, false},
		{"retain_expiry_interval 5", func(c *Config) any { return c.RetainExpiryInterval }, 5},
		{"retain_expiry_interval 2000000000", func(c *Config) any { return c.RetainExpiryInterval }, 10000000},
		{"upgrade_outgoing_qos 1", func(c *Config) any { return c.UpgradeOutgoingQoS }, true},
		{"allow_duplicate_messages 0", func(c *Config) any { return c.AllowDuplicateMessages }, false},
		{"enable_control_api true", func(c *Config) any { return c.EnableControlAPI }, true},
		{"set_tcp_nodelay true", func(c *Config) any { return c.SetTCPNoDelay }, true},
		{"sys_interval 0", func(c *Config) any { return c.SysInterval }, 0},
		{"retry_interval 20", func(c *Config) any { return c.RetryInterval }, 20},
		{"retry_interval 20\nretry_interval x", func(c *Config) any { return c.RetryInterval }, 0},
		{"retry_interval -20", func(c *Config) any { return c.RetryInterval }, 0},
		{"retry_interval 2147483648", func(c *Config) any { return c.RetryInterval }, 0},
		{"pid_file  a b \t", func(c *Config) any { return c.PidFile }, "a b"},
		{"log_dest none", func(c *Config) any { return c.LogDest }, Dest(0)},
		{"log_dest stdout\nlog_dest stderr", func(c *Config) any { return c.LogDest }, ToStdout | ToStderr},
		{"log_dest stdout\nlog_dest none\nlog_dest stderr", func(c *Config) any { return c.LogDest }, ToStderr},
		{"log_dest file \t a b ", func(c *Config) any { return c.LogFile }, "a b "},
		{"log_dest file a", func(c *Config) any { return c.LogDest }, ToFile},
		{"log_dest syslog\nlog_dest topic", func(c *Config) any { return c.LogDest }, ToSyslog | ToTopic},
		{"log_facility 7", func(c *Config) any { return c.LogFacility }, 23},
		{"log_dest syslog", func(c *Config) any { return c.LogFacility }, 3},
		{"log_dest file a\nlog_dest none", func(c *Config) any { return c.LogFile }, ""},
		{"log_type error warning", func(c *Config) any { return c.LogType }, ClassError},
		{"log_type debug\nlog_type subscribe", func(c *Config) any { return c.LogType }, ClassDebug | ClassSubscribe},
		{"log_type unsubscribe\nlog_type websockets\nlog_type internal", func(c *Config) any { return c.LogType },
			ClassUnsubscribe | ClassWebsockets | ClassInternal},
		{"log_type all", func(c *Config) any { return c.LogType }, Class(511)},
		{"log_type all\nlog_type none\nlog_type notice\nlog_type information", func(c *Config) any { return c.LogType },
			ClassNotice | ClassInformation},
		{"log_timestamp false", func(c *Config) any { return c.LogTimestamp }, false},
		{"log_timestamp_format  %H %M ", func(c *Config) any { return c.LogTimestampFormat }, "%H %M"},
		{"connection_messages false", func(c *Config) any { return c.ConnectionMessages }, false},
		{"clientid_prefixes a b ", func(c *Config) any { return c.ClientIDPrefix }, "a b"},
		{"check_retain_source true", func(c *Config) any { return c.CheckRetainSource }, true},
		{"acl_file a b ", func(c *Config) any { return c.ACLFile }, "a b"},
		{"allow_anonymous true", func(c *Config) any { return c.AllowAnonymous }, true},
		{"allow_zero_length_clientid false", func(c *Config) any { return c.AllowZeroLengthClientID }, false},
		{"auto_id_prefix x y", func(c *Config) any { return c.AutoIDPrefix }, "x y"},
		{"per_listener_settings true", func(c *Config) any { return c.PerListenerSettings }, true},
		{"per_listener_settings true\nper_listener_settings maybe", func(c *Config) any { return c.PerListenerSettings }, true},

		{"", first(func(l *Listener) any { return l.Host }), "h"},
		{"max_connections 5", first(func(l *Listener) any { return l.MaxConnections }), 5},
		{"max_connections -5", first(func(l *Listener) any { return l.MaxConnections }), 0},
		{"use_username_as_clientid true", first(func(l *Listener) any { return l.UseUsernameAsClientID }), true},
		{"max_qos 1", first(func(l *Listener) any { return l.MaxQoS }), 1},
		{"maximum_qos 0", first(func(l *Listener) any { return l.MaxQoS }), 0},
		{"max_topic_alias 65535", first(func(l *Listener) any { return l.MaxTopicAlias }), 65535},
		{"max_topic_alias 0", first(func(l *Listener) any { return l.MaxTopicAlias }), 0},
		{"max_topic_alias_broker 7", first(func(l *Listener) any { return l.MaxTopicAliasBroker }), 7},
		{"mount_point a\nmount_point  b c/ ", first(func(l *Listener) any { return l.MountPoint }), "b c/"},
		{"socket_domain ipv4", first(func(l *Listener) any { return l.SocketDomain }), IPv4},
		{"socket_domain ipv6", first(func(l *Listener) any { return l.SocketDomain }), IPv6},
		{"accept_protocol_versions 3,\t5", first(func(l *Listener) any { return l.AcceptProtocolVersions }), Versions(1<<3 | 1<<5)},
		{"accept_protocol_versions 3\naccept_protocol_versions 4 x", first(func(l *Listener) any { return l.AcceptProtocolVersions }), Versions(1 << 4)},
		{"accept_protocol_versions x", first(func(l *Listener) any { return l.AcceptProtocolVersions }), Versions(0)},
		{"protocol mqtt", first(func(l *Listener) any { return l.Port }), 1884},
	}
	for _, r := range rows {
		c := mustLoad(t, "listener 1884 h", r.line)
		if got := r.get(c); got != r.want {
			t.Errorf("%q: got %v, want %v", r.line, got, r.want)
		}
	}
}

func TestVersions(t *testing.T) {
	for level := range byte(255) {
		if got, want := allVersions.Has(level), level == 3 || level == 4 || level == 5; got != want {
			t.Errorf("level %d: %v", level, got)
		}
	}
	if v := Versions(1 << 4); v.Has(3) || !v.Has(4) || v.Has(5) {
		t.Error("a set of 4 alone is wrong")
	}
}

// TestLocalOnly: what makes the broker keep to itself, and who gets in.
func TestLocalOnly(t *testing.T) {
	rows := []struct {
		text      string
		local     bool
		anonymous bool
		open      []string // host:port of Listeners
	}{
		{"", true, true, nil},
		{"sys_interval 1", true, true, nil},
		{"allow_anonymous true", true, true, nil},
		{"allow_anonymous false", true, false, nil},
		{"allow_anonymous false\nallow_anonymous true", true, true, nil},
		{"max_connections 5", true, true, nil},
		{"max_connections 5\nlistener_allow_anonymous false", true, false, nil},
		{"per_listener_settings true\nmax_connections 5\nallow_anonymous false", true, false, nil},
		{"per_listener_settings true\nmax_connections 5\nallow_anonymous true", true, true, nil},
		{"listener 1884", false, false, []string{":1884"}},
		{"listener 1884 # open", false, false, []string{":1884"}},
		{"listener 1884 127.0.0.1 # closed", false, false, []string{"127.0.0.1:1884"}},
		{"listener 1884 ::1 x", false, false, []string{"::1:1884"}},
		{"listener 0x10", false, false, []string{":16"}},
		{"port 1884", false, false, []string{":1884"}},
		{"bind_address ::1", false, false, []string{"::1:1883"}},
		{"bind_address h\nport 1884\nport 1885", false, false, []string{"h:1885"}},
		{"port 1884\nlistener 1885 h\nlistener 1886", false, false, []string{"h:1885", ":1886", ":1884"}},
		{"max_connections 5\nlistener 1885", false, false, []string{":1885", ":1883"}},
		{"listener 1885\nmax_connections 5", false, false, []string{":1885"}},
		{"listener 1884\nlistener 1884", false, false, []string{":1884", ":1884"}},
	}
	for _, r := range rows {
		c := mustLoad(t, r.text)
		var open []string
		for _, l := range c.Listeners {
			open = append(open, fmt.Sprintf("%s:%d", l.Host, l.Port))
		}
		if c.LocalOnly != r.local || c.AllowAnonymous != r.anonymous || !slices.Equal(open, r.open) {
			t.Errorf("%q: local %v, anonymous %v, open %q; want %v, %v, %q",
				r.text, c.LocalOnly, c.AllowAnonymous, open, r.local, r.anonymous, r.open)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	l := mustLoad(t, "listener 0 /run/m.sock #x").Listeners[0]
	if l.Port != 0 || l.Path != "/run/m.sock" || l.Host != "" {
		t.Errorf("got %+v", l)
	}
}

func TestLocalListeners(t *testing.T) {
	c := mustLoad(t, "allow_anonymous false", "allow_zero_length_clientid false", "auto_id_prefix x", "max_qos 0")
	want := plainListener()
	want.AllowZeroLengthClientID = false
	var all []Listener
	for _, port := range []int{1884, 1885} {
		for _, host := range []string{"127.0.0.1", "::1"} {
			want.Port, want.Host = port, host
			all = append(all, want)
		}
	}
	if got := c.LocalListeners(1884, 1885); !reflect.DeepEqual(got, all) {
		t.Errorf("got %+v\nwant %+v", got, all)
	}
	got := mustLoad(t, "").LocalListeners()
	if len(got) != 2 || got[0].Port != 1883 || got[1].Port != 1883 || !got[0].AllowAnonymous || !got[1].AllowAnonymous {
		t.Errorf("got %+v", got)
	}
}

// TestShut: listeners that let nobody in because nothing is said about it.
func TestShut(t *testing.T) {
	for text, want := range map[string]bool{
		"":                               true,
		"allow_anonymous false":          false,
		"allow_anonymous true":           false,
		"password_file x":                false,
		"acl_file x":                     true,
		"listener_allow_anonymous false": false,
		"plugin /mosquitto_password_file.so\nplugin_opt_password_file x": false,
		"certfile c\nkeyfile k":                                true,
		"certfile c\nkeyfile k\nuse_identity_as_username true": false,
		"certfile c\nkeyfile k\nuse_subject_as_username true":  false,
	} {
		if l := mustLoad(t, "listener 1884", text).Listeners[0]; l.Shut != want {
			t.Errorf("%q: %v", text, l.Shut)
		}
	}
	c := mustLoad(t, "per_listener_settings true", "listener 1884", "listener 1885", "allow_anonymous true")
	if !c.Listeners[0].Shut || c.Listeners[1].Shut {
		t.Errorf("got %+v", c.Listeners)
	}
}

// TestPluginsInUse: what listPlugins tells.
func TestPluginsInUse(t *testing.T) {
	c := mustLoad(t, "plugin_load acl /mosquitto_acl_file.so", "plugin_opt_acl_file y", "listener 1884", "plugin_use acl",
		"plugin /mosquitto_password_file.so", "plugin_opt_password_file x")
	if want := []Plugin{{"password-file", 0}, {"acl-file", 1884}}; !slices.Equal(c.Plugins, want) {
		t.Errorf("got %+v", c.Plugins)
	}
}

// TestPerListenerSettings: whose options hold where.
func TestPerListenerSettings(t *testing.T) {
	type who struct {
		anonymous, empty bool
		prefix           string
	}
	const two = "listener 1884\n%s\nlistener 1885\n%s"
	rows := []struct {
		text string
		want [2]who
	}{
		{fmt.Sprintf(two, "", ""), [2]who{{false, true, "auto-"}, {false, true, "auto-"}}},
		{fmt.Sprintf(two, "allow_anonymous true", ""), [2]who{{true, true, "auto-"}, {true, true, "auto-"}}},
		{fmt.Sprintf(two, "allow_anonymous true", "allow_anonymous false"), [2]who{{false, true, "auto-"}, {false, true, "auto-"}}},
		{"allow_anonymous true\n" + fmt.Sprintf(two, "listener_allow_anonymous false", ""), [2]who{{false, true, "auto-"}, {true, true, "auto-"}}},
		{"allow_anonymous false\n" + fmt.Sprintf(two, "listener_allow_anonymous true", ""), [2]who{{true, true, "auto-"}, {false, true, "auto-"}}},
		{fmt.Sprintf(two, "listener_allow_anonymous true", "allow_anonymous false"), [2]who{{true, true, "auto-"}, {false, true, "auto-"}}},
		{fmt.Sprintf(two, "allow_zero_length_clientid false", ""), [2]who{{false, false, "auto-"}, {false, false, "auto-"}}},
		{fmt.Sprintf(two, "", "auto_id_prefix a"), [2]who{{false, true, "a"}, {false, true, "a"}}},
		{fmt.Sprintf(two, "listener_auto_id_prefix b", "auto_id_prefix a"), [2]who{{false, true, "b"}, {false, true, "a"}}},

		{"per_listener_settings true\n" + fmt.Sprintf(two, "", ""), [2]who{{false, true, "auto-"}, {false, true, "auto-"}}},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "allow_anonymous true", ""), [2]who{{true, true, "auto-"}, {false, true, "auto-"}}},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "", "listener_allow_anonymous true"), [2]who{{false, true, "auto-"}, {true, true, "auto-"}}},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "allow_zero_length_clientid 0", "allow_anonymous 1"), [2]who{{false, false, "auto-"}, {true, true, "auto-"}}},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "auto_id_prefix a", "auto_id_prefix b"), [2]who{{false, true, "a"}, {false, true, "b"}}},
		{"per_listener_settings true\n" + fmt.Sprintf(two, "auto_id_prefix a", ""), [2]who{{false, true, "a"}, {false, true, "auto-"}}},
		{"per_listener_settings true\nper_listener_settings false\n" + fmt.Sprintf(two, "allow_anonymous true", ""),
			[2]who{{true, true, "auto-"}, {false, true, "auto-"}}},
		{"allow_anonymous true\nper_listener_settings false\n" + fmt.Sprintf(two, "", ""), [2]who{{true, true, "auto-"}, {true, true, "auto-"}}},
		// The implicit listener is one like the others.
		{"per_listener_settings true\nport 1885\nallow_anonymous true\nlistener 1884", [2]who{{false, true, "auto-"}, {true, true, "auto-"}}},
	}
	for _, r := range rows {
		c := mustLoad(t, r.text)
		var got [2]who
		for i, l := range c.Listeners {
			got[i] = who{l.AllowAnonymous, l.AllowZeroLengthClientID, l.AutoIDPrefix}
			if l.Port != 1884+i {
				t.Errorf("%q: port %d at place %d", r.text, l.Port, i)
			}
		}
		if got != r.want {
			t.Errorf("%q: got %+v, want %+v", r.text, got, r.want)
		}
	}
}
