package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad reads any bytes as a main file and as an included one. Whatever
// they are, what comes out is within the limits of its fields.
func FuzzLoad(f *testing.F) {
	samples, err := filepath.Glob("testdata/samples/*.conf")
	if err != nil || len(samples) == 0 {
		f.Fatal("no samples", err)
	}
	for _, name := range append(samples, example) {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content), "")
		f.Add("include_dir d\n"+string(content), string(content))
	}
	for _, o := range allOptions() {
		f.Add("listener 1883\nconnection x\nplugin x\n"+o.name+"abc x", o.name+" 1")
		f.Add(o.name+"\n", "listener 0 x\n"+o.name+"\t\x00\r\n")
	}
	f.Fuzz(func(t *testing.T, main, included string) {
		files := memory{"main": main, "d/x.conf": included}
		cfg, lines, err := load([]string{"main", "d/x.conf"}, files)
		if len(lines) > maxMessages {
			t.Errorf("%d lines", len(lines))
		}
		if err != nil {
			checkError(t, cfg, err)
			return
		}
		if len(main) <= maxLine && !strings.Contains(main, "\x00") && strings.Contains(main, "\nbogus ") {
			t.Error("an unknown option was accepted")
		}
		checkConfig(t, cfg)
		for _, l := range append(cfg.Listeners, cfg.LocalListeners()...) {
			checkListener(t, l)
		}
	})
}

func checkError(t *testing.T, cfg *Config, err error) {
	var e *Error
	if !errors.As(err, &e) || e.Code != Exit || len(e.Lines) == 0 || cfg != nil {
		t.Errorf("error %#v, Config %v", err, cfg)
		return
	}
	for _, l := range e.Lines {
		if l.Class != ClassError || l.Text == "" || strings.ContainsAny(l.Text, "\x00\n") {
			t.Errorf("line %+v", l)
		}
	}
}

func checkConfig(t *testing.T, c *Config) {
	for name, n := range map[string]int{
		"max_inflight_bytes": c.MaxInflightBytes, "max_queued_messages": c.MaxQueuedMessages, "max_queued_bytes": c.MaxQueuedBytes,
		"global_max_connections": c.GlobalMaxConnections, "global_max_clients": c.GlobalMaxClients, "retry_interval": c.RetryInterval,
		"max_subscriptions": c.MaxSubscriptions, "max_topic_levels": c.MaxTopicLevels,
		"max_retained_messages": c.MaxRetainedMessages, "max_clientid_length": c.MaxClientIDLength,
		"persistent_client_expiration": int(min(c.PersistentClientExpiration, 1)),
	} {
		if n < 0 {
			t.Errorf("%s is %d", name, n)
		}
	}
	for name, in := range map[string]bool{
		"max_inflight_messages":  c.MaxInflightMessages >= 0 && c.MaxInflightMessages < 65535,
		"max_packet_size":        c.MaxPacketSize >= 20,
		"message_size_limit":     c.MessageSizeLimit >= 0 && c.MessageSizeLimit <= 268435455,
		"max_keepalive":          c.MaxKeepalive >= 0 && c.MaxKeepalive <= 65535,
		"sys_interval":           c.SysInterval >= 0 && c.SysInterval <= 65535,
		"retain_expiry_interval": c.RetainExpiryInterval >= 0 && c.RetainExpiryInterval <= 10000000,
		"log_type":               c.LogType&^allClasses == 0,
		"memory_limit":           c.MemoryLimit >= 0,
		"log_facility":           c.LogFacility == 3 || c.LogFacility >= 16 && c.LogFacility <= 23,
		"log_dest":               (c.LogDest&ToFile != 0) == (c.LogFile != ""),
		"listener":               c.LocalOnly == (len(c.Listeners) == 0),
		"auto_id_prefix":         len(c.AutoIDPrefix) <= 50 && c.AutoIDPrefix != "",
	} {
		if !in {
			t.Errorf("%s is out of range: %+v", name, c)
		}
	}
}

func checkListener(t *testing.T, l Listener) {
	for name, in := range map[string]bool{
		"port":                     l.Port >= 0 && l.Port <= 65535 && (l.Port == 0) == (l.Path != "") && (l.Path == "" || l.Host == ""),
		"accept_protocol_versions": l.AcceptProtocolVersions&^allVersions == 0,
		"auto_id_prefix":           len(l.AutoIDPrefix) <= 50 && l.AutoIDPrefix != "",
		"max_connections":          l.MaxConnections >= 0,
		"max_qos":                  l.MaxQoS >= 0 && l.MaxQoS <= 2,
		"max_topic_alias":          l.MaxTopicAlias >= 0 && l.MaxTopicAlias <= 65535,
		"max_topic_alias_broker":   l.MaxTopicAliasBroker >= 0 && l.MaxTopicAliasBroker <= 65535,
	} {
		if !in {
			t.Errorf("%s is out of range: %+v", name, l)
		}
	}
}
