package broker_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checked runs midge --check on a configuration; {dir} is the folder of the files.
func checked(t *testing.T, dir, conf string) (status int, out string, said []string) {
	t.Helper()
	file := filepath.Join(dir, "mosquitto.conf")
	conf = strings.ReplaceAll("user root\n"+conf, "{dir}", dir)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	r := command(t, midge(t), "--check", "-c", file)
	for _, line := range strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n") {
		if _, text, ok := strings.Cut(line, ": "); ok && !strings.Contains(text, "should not be run as root") &&
			!strings.HasPrefix(text, "Info: files are opened with the rights of user") {
			said = append(said, strings.ReplaceAll(text, dir, "{dir}"))
		}
	}
	return r.status, strings.ReplaceAll(r.stdout, dir, "{dir}"), said
}

// TestCheck: what is in force, in words.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const hash = "$6$QWJjZGVmZ2hpamts$3zTs1cuSOtBF1kgOMOCSQ4kwdLdN2bNTZ05EHyuFTU6KbRKHnRnQpJ1kbBwHFYKX+Hbpu/g05bC7R6a1yWvRaA=="
	write("passwords", "ann:"+hash+"\nbob:"+hash+"\n")
	write("acl", "topic read news/#\n")
	ca := newAuthority(t, dir, "ca")
	own := ca.issue("own", nil)
	status, out, said := checked(t, dir, `per_listener_settings true
persistence true
persistence_location {dir}
autosave_interval 900
log_dest stdout
log_dest file {dir}/log
pid_file {dir}/pid
max_packet_size 5000
max_queued_messages 0
max_keepalive 60
memory_limit 1000000000
persistent_client_expiration 1h
enable_control_api true
listener 1883 127.0.0.1
allow_anonymous true
mount_point home/
listener 1884
password_file {dir}/passwords
acl_file {dir}/acl
max_connections 50
max_qos 1
accept_protocol_versions 4,5
listener 8883
certfile {dir}/own.crt
keyfile {dir}/own.key
cafile {dir}/ca.crt
require_certificate true
use_identity_as_username true
listener 0 {dir}/socket
password_file {dir}/passwords
allow_anonymous true
listener 1885
listener 9001
protocol websockets
websockets_origin https://a.example
http_dir {dir}
allow_anonymous true
enable_proxy_protocol 1
`)
	want := `Listener 1883 at 127.0.0.1: MQTT 3.1, 3.1.1, 5, not encrypted, for programs of this machine.
  Who: anybody, with any user name or none.
  They may publish and subscribe to everything.
  Their topics are below home/.
Listener 1884: MQTT 3.1.1, 5, not encrypted, for every machine that can reach this one.
  Who: those of {dir}/passwords (2 users) with their passwords, nobody else.
  They may do what {dir}/acl lets them.
  At most: 50 connections, QoS 1.
Listener 8883: MQTT 3.1, 3.1.1, 5, TLS 1.2 or later, certificate valid until {date}, for every machine that can reach this one.
  Who: whoever has a certificate, whose common name is the user name; no password is asked; only with a certificate signed by {dir}/ca.crt.
  They may publish and subscribe to everything.
Listener {dir}/socket: MQTT 3.1, 3.1.1, 5, not encrypted, for programs of this machine.
  Who: those of {dir}/passwords (2 users) with their passwords, and anybody who gives no user name.
  They may publish and subscribe to everything.
Listener 1885: MQTT 3.1, 3.1.1, 5, not encrypted, for every machine that can reach this one.
  Who: nobody, for there is neither a password file nor allow_anonymous.
  They may publish and subscribe to everything.
Listener 9001: MQTT 3.1, 3.1.1, 5 over WebSocket (pages of https://a.example; files of {dir}), not encrypted, for every machine that can reach this one.
  Who: anybody, with any user name or none.
  They may publish and subscribe to everything.
  They come through a proxy, which tells of them by the PROXY header of version 1.
Kept: sessions and messages in {dir}/mosquitto.db and its journal; what is acknowledged is on the disk; a snapshot every 900 s.
Limits: packets of 5000 bytes; for a client 20 messages under way, any number of messages waiting; 60 s of keep alive; 100000 subscriptions for a session; 1000000000 bytes of state; sessions end 3600 s after their client left.
Log: stdout, {dir}/log.
Control: clients may ask $CONTROL/broker/v1.
Configuration is OK.
`
	want = strings.ReplaceAll(want, "{date}", own.cert.NotAfter.UTC().Format("2006-01-02"))
	if status != 0 || len(said) > 0 {
		t.Errorf("status %d, said %q", status, said)
	}
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for _, name := range []string{"log", "pid", "socket", "mosquitto.db"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// TestCheckFinds: what is wrong with the files, with the status of the start that
// would end there.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"file": "x\n", "acl": "topic nonsense more\n", "mosquitto.db": "not a database at all", "empty": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("empty", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t, dir, "ca")
	ca.issue("old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	ca.issue("new", nil)
	for _, tt := range []struct {
		conf   string
		status int
		said   string // part of a line
	}{
		{"bogus", 3, "Error: Unknown configuration variable 'bogus'."},
		{"pid_file {dir}/none/pid", 14, "Error: Unable to write pid file {dir}/none/pid: {dir}/none: no such file or directory."},
		{"pid_file {dir}", 14, "Error: Unable to write pid file {dir}: is a directory."},
		{"password_file {dir}/none", 13, "Error: Unable to open pwfile"},
		{"password_file {dir}/link", 13, "Error: Unable to open pwfile"},
		{"acl_file {dir}/none", 13, "Error: Unable to open acl_file"},
		{"acl_file {dir}/acl", 3, "Error"},
		{"persistence true\npersistence_location {dir}", 1, "Error: "},
		{"listener 8883\ncertfile {dir}/file\nkeyfile {dir}/file", 1, "{dir}/file"},
		{"listener 8883\ncertfile {dir}/old.crt\nkeyfile {dir}/new.key", 1, "Error: "},
		{"listener 0 {dir}/file", 1, "Error: {dir}/file is there already, and is no socket."},
		{"listener 0 {dir}/none/socket", 1, "Error: Unable to make the socket {dir}/none/socket: {dir}/none: no such file or directory."},
		{"listener 1883\nbind_interface nosuch0", 1, "Error"},
		// The first of several.
		{"pid_file {dir}/none/pid\npassword_file {dir}/none\nacl_file {dir}/none", 14, "acl_file"},
		// What a start goes on with.
		{"listener 9001\nprotocol websockets\nhttp_dir {dir}/none", 3, ""},
		{"log_dest file {dir}/none/log", 0, "Warning: Unable to open log file {dir}/none/log for writing: {dir}/none: no such file or directory."},
		{"log_dest file {dir}/link", 0, "Warning: Unable to open log file {dir}/link for writing: it is a symbolic link, and MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is not set."},
		{"persistence true\npersistence_location {dir}/none", 0, "Warning: Nothing can be kept in {dir}/none/mosquitto.db: {dir}/none: no such file or directory."},
		{"listener 8883\ncertfile {dir}/old.crt\nkeyfile {dir}/old.key", 0, "Warning: The certificate of listener 8883 has expired."},
	} {
		status, out, said := checked(t, dir, tt.conf)
		if status != tt.status || !strings.Contains(strings.Join(said, "\n"), tt.said) {
			t.Errorf("%q: status %d, said %q", tt.conf, status, said)
		}
		if ok := strings.HasSuffix(out, "Configuration is OK.\n"); ok != (status == 0) || !ok && out != "" {
			t.Errorf("%q: %s", tt.conf, out)
		}
	}
}

// TestCheckDefaults: without a file it is local-only mode that is told.
func TestCheckDefaults(t *testing.T) {
	t.Parallel()
	r := command(t, midge(t), "--check")
	for _, part := range []string{"Listener 1883 at 127.0.0.1: ", "Listener 1883 at ::1: ", "Kept: nothing, when midge ends."} {
		if r.status != 0 || !strings.Contains(r.stdout, part) {
			t.Errorf("status %d, no %q in\n%s", r.status, part, r.stdout)
		}
	}
}

// TestCheckSaysAsStart: where a check finds something, a start ends with the same status.
func TestCheckSaysAsStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, conf := range []string{"password_file {dir}/none", "acl_file {dir}/none", "pid_file {dir}/none/pid",
		"listener {port}\ncertfile {dir}/none\nkeyfile {dir}/none"} {
		s := launch(t, "user root\n"+strings.ReplaceAll(conf, "{dir}", dir), "-c", "{conf}")
		status := s.exit()
		if r := command(t, midge(t), "--check", "-c", s.conf); r.status != status || status == 0 {
			t.Errorf("%q: the start ends with %d, the check with %d", conf, status, r.status)
		}
	}
}

// TestCheckRights: what the user that root becomes may not read is found, and the user is named.
func TestCheckRights(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := openFolder(t)
	conf := filepath.Join(dir, "mosquitto.conf")
	for name, text := range map[string]string{"passwords": "", "mosquitto.conf": "user nobody\npassword_file " + dir + "/passwords\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := command(t, "env", "-u", "PUID", "-u", "PGID", "-u", "SNAP_NAME", midge(t), "--check", "-c", conf)
	for _, part := range []string{"Info: files are opened with the rights of user: nobody.\n", "permission denied"} {
		if r.status != 13 || !strings.Contains(r.stderr, part) {
			t.Errorf("status %d, no %q in %q", r.status, part, r.stderr)
		}
	}
}
