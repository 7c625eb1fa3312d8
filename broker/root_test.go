package broker_test

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips what only root can try.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
}

// asRoot starts midge as root is started where it is not a test, with variables in
// its environment. Its folder is open for every user.
func asRoot(t *testing.T, env []string, conf string, args ...string) *server {
	t.Helper()
	by := append([]string{"env", "-u", "SNAP_NAME"}, env...)
	for range 20 {
		s := launchBy(t, by, conf, args...)
		if s.running() || s.count("Address already in use") == 0 {
			return s
		}
	}
	t.Fatal("no free port")
	return nil
}

// openFolder is a folder that everybody may use.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d, mode := range map[string]os.FileMode{dir: 0o777, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ids are what all threads of a process are: user, group and further groups, as
// /proc shows them. All must be the same.
func ids(t *testing.T, pid int) (uid, gid, groups string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	var seen []string
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		one := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			one[key] = strings.Join(strings.Fields(value), " ")
		}
		uid, gid, groups = one["Uid"], one["Gid"], one["Groups"]
		seen = append(seen, uid+"/"+gid+"/"+groups)
	}
	if len(slices.Compact(seen)) != 1 {
		t.Fatalf("threads differ: %q", seen)
	}
	return uid, gid, groups
}

// four is a number as /proc has it: real, effective, saved and of the file system.
func four(id string) string { return strings.Join([]string{id, id, id, id}, " ") }

// TestBecome: root becomes the user before it writes or opens anything.
func TestBecome(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u, err := user.Lookup("nobody")
	if err != nil {
		missing(t, "the user nobody")
	}
	groups, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	dir := openFolder(t)
	s := asRoot(t, nil, "user nobody\nlog_timestamp false\nlistener {port} 127.0.0.1\nlistener 0 "+dir+"/socket\n"+
		"allow_anonymous true\npid_file "+dir+"/pid", "-c", "{conf}")
	s.log.next = 0
	s.logs(nil, "Info: running mosquitto as user: nobody.", "mosquitto version "+version+" starting")
	uid, gid, more := ids(t, s.cmd.Process.Pid)
	if uid != four(u.Uid) || gid != four(u.Gid) || more != strings.Join(groups, " ") {
		t.Errorf("uid %s, gid %s, groups %s", uid, gid, more)
	}
	for _, name := range []string{"pid", "socket"} {
		info, err := os.Stat(dir + "/" + name)
		if err != nil || fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid) != u.Uid {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	s.connect("a", 4, "clean").lives()
	s.stop(syscall.SIGTERM)
	if left, _ := filepath.Glob(dir + "/*"); left != nil {
		t.Errorf("left: %q", left)
	}
}

// TestBecomeNumber: PUID and PGID come before the user of the file.
func TestBecomeNumber(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := asRoot(t, []string{"PUID=40123", "PGID=40124"},
		"user nosuch\nlog_timestamp false\nlistener {port} 127.0.0.1\n", "-c", "{conf}")
	s.log.next = 0
	s.logs(nil, "Info: running mosquitto as user id: 40123.")
	if uid, gid, _ := ids(t, s.cmd.Process.Pid); uid != four("40123") || gid != four("40124") {
		t.Errorf("uid %s, gid %s", uid, gid)
	}
}

// TestStayRoot warns.
func TestStayRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := asRoot(t, nil, "user root\nlistener {port} 127.0.0.1\n", "-c", "{conf}")
	lines := stampless(t, s.log)
	equalLines(t, lines[:2], []string{"Warning: Mosquitto should not be run as root/administrator.", "Info: running mosquitto as user: root."})
	if uid, _, _ := ids(t, s.cmd.Process.Pid); uid != four("0") {
		t.Errorf("uid %s", uid)
	}
}

// TestBecomeInBackground: the process that stays has become the user, whose are the
// files; the one that was started needs the rights of root to start it.
func TestBecomeInBackground(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u, err := user.Lookup("nobody")
	if err != nil {
		missing(t, "the user nobody")
	}
	dir := openFolder(t)
	pipe := filepath.Join(dir, "log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	log := newLines()
	go func() {
		defer log.end()
		if f, err := os.Open(pipe); err == nil {
			io.Copy(log, f)
			f.Close()
		}
	}()
	s := launchBy(t, []string{"env", "-u", "SNAP_NAME"}, "user nobody\nlog_timestamp false\nlistener 0 "+dir+"/socket\n"+
		"pid_file "+dir+"/pid\nlog_dest file "+pipe, "-c", "{conf}", "-d")
	if status := s.exit(); status != 0 || len(s.log.all()) != 0 {
		t.Fatalf("status %d, %q", status, s.log.all())
	}
	s.log = log
	if !s.running() {
		t.Fatalf("it does not start: %q", log.all())
	}
	p := processOf(t, dir+"/pid")
	if uid, gid, _ := ids(t, p.pid); uid != four(u.Uid) || gid != four(u.Gid) {
		t.Errorf("uid %s, gid %s", uid, gid)
	}
	p.signal(t, unix.SIGTERM)
	p.ends(t)
}

// TestUnknownUser: it ends before anything else happens, and before it would go into
// the background.
func TestUnknownUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := asRoot(t, nil, "user nosuch\nlistener {port} 127.0.0.1\npid_file {dir}/pid\n", "-c", "{conf}", "-d")
	if status := s.exit(); status != 3 {
		t.Errorf("status %d", status)
	}
	equalLines(t, stampless(t, s.log), []string{"Error: Unable to drop privileges to 'nosuch' because this user does not exist."})
}

// TestPrivilegedPort: the user that root became cannot open a port below 1024, at the
// start or at a reload.
func TestPrivilegedPort(t *testing.T) {
	t.Parallel()
	needRoot(t)
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err == nil && strings.TrimSpace(string(text)) != "1024" {
		t.Skip("every port is free for all here")
	}
	advice := []string{"Opening ipv4 listen socket on port 1.",
		"If you are trying to bind to a privileged port (<1024), try using setcap and do not start the broker as root:",
		"    sudo setcap 'CAP_NET_BIND_SERVICE=+ep' " + midge(t), "Error: Permission denied"}
	const conf = "user nobody\nlog_timestamp false\nallow_anonymous true\nlistener {port} 127.0.0.1\n"
	s := asRoot(t, nil, conf+"listener 1 127.0.0.1", "-c", "{conf}")
	if status := s.exit(); status != 1 {
		t.Errorf("status %d", status)
	}
	s.log.next = 0
	s.await(s.expand("Opening ipv4 listen socket on port {port}."))
	s.logs(nil, advice...)

	s = asRoot(t, nil, conf, "-c", "{conf}")
	a := s.connect("a", 4, "clean")
	dir := s.dir
	for d, mode := range map[string]os.FileMode{dir: 0o777, filepath.Dir(dir): 0o755, s.conf: 0o644} {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	s.reload(conf+"max_connections 1\nlistener 1 127.0.0.1", append(advice, stays)...)
	a.lives()
	s.connect("b", 4, "clean").lives()
}
