package broker_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"midge/auth"
)

// asMosquitto is the binary by the name of mosquitto's command.
func asMosquitto(t testing.TB) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "mosquitto_passwd")
	if err := os.Symlink(midge(t), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// knows says whether the file has the user with the password.
func knows(t testing.TB, file, user, password string) bool {
	t.Helper()
	p, _, err := auth.LoadPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	h, known := p.Find(user)
	return known && h.Verify([]byte(password))
}

// TestPasswdCommand runs it by both of its names.
func TestPasswdCommand(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	link := asMosquitto(t)
	r := command(t, midge(t), "passwd", "-c", "-b", "-C", "4", file, "joe", "secret")
	if r != (result{0, "Adding password for user joe\n", ""}) {
		t.Fatalf("%+v", r)
	}
	r = command(t, link, "-b", file, "ann", "other")
	if r != (result{0, "Adding password for user ann\n", ""}) {
		t.Fatalf("%+v", r)
	}
	text, err := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "joe:$2a$04$") || !strings.HasPrefix(lines[1], "ann:$7$1000$") {
		t.Fatalf("%s, %v", text, err)
	}
	if !knows(t, file, "joe", "secret") || !knows(t, file, "ann", "other") || knows(t, file, "ann", "secret") {
		t.Error("the passwords are others")
	}
	if r := command(t, midge(t), "passwd"); r.status != 1 || r.stderr != "" || !strings.Contains(r.stdout, "\nUsage: midge passwd [") {
		t.Errorf("%+v", r)
	}
	if r := command(t, link); r.status != 1 || !strings.Contains(r.stdout, "\nUsage: mosquitto_passwd [") {
		t.Errorf("%+v", r)
	}
	if r := command(t, link, "-D", file, "max"); r != (result{1, "", "Warning: User max not found in password file.\n"}) {
		t.Errorf("%+v", r)
	}
}

// TestPasswdForMosquitto: real mosquitto lets in whom the command wrote, in the formats it
// reads, and midge whom mosquitto's command wrote.
func TestPasswdForMosquitto(t *testing.T) {
	t.Parallel()
	theirs, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		missing(t, "mosquitto_passwd")
	}
	mosquitto, err := exec.LookPath("mosquitto")
	if err != nil {
		if mosquitto = "/usr/sbin/mosquitto"; !executable(mosquitto) {
			missing(t, "mosquitto")
		}
	}
	dir := t.TempDir()
	ours := filepath.Join(dir, "ours")
	command(t, midge(t), "passwd", "-c", "-b", "-H", "sha512-pbkdf2", ours, "one", "secret")
	command(t, midge(t), "passwd", "-b", "-H", "sha512", ours, "two", "secret")
	command(t, asMosquitto(t), "-b", ours, "three", "secret")
	names := []string{"one", "two", "three"}
	port, _ := freePorts(t)
	conf := filepath.Join(dir, "conf")
	os.WriteFile(conf, fmt.Appendf(nil, "listener %d 127.0.0.1\npassword_file %s\nuser root\n", port, ours), 0o600)
	log := newLines()
	cmd := exec.Command(mosquitto, "-c", conf, "-v")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	if _, ok := log.find(func(l string) bool { return strings.HasSuffix(l, " running") }); !ok {
		t.Fatalf("mosquitto does not run: %q", log.all())
	}
	real := &server{t: t, port: port}
	for _, name := range names {
		if !real.knock(4, port, "user="+name+" password=secret") || real.knock(5, port, "user="+name+" password=other") {
			t.Errorf("mosquitto and the password of %s: %q", name, log.all())
		}
	}
	file := filepath.Join(dir, "theirs")
	for _, args := range [][]string{{"-c", "-b", file, "one", "secret"}, {"-b", "-H", "sha512", file, "two", "secret"}, {"-b", "-I", "77", file, "three", "secret"}} {
		if out, err := exec.Command(theirs, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	s := serve(t, "password_file "+file+"\nlistener {port} 127.0.0.1")
	for _, name := range names {
		if !s.knock(4, s.port, "user="+name+" password=secret") || s.knock(5, s.port, "user="+name+" password=other") {
			t.Errorf("midge and the password of %s", name)
		}
	}
}

func executable(name string) bool { return unix.Access(name, unix.X_OK) == nil }

// TestPasswdKilled: a process that is killed leaves the old file or the new one.
func TestPasswdKilled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	var all strings.Builder
	line := hashed(t, 1, "u:secret")
	for i := range 2000 {
		fmt.Fprintf(&all, "u%d%s", i, line[1:])
	}
	replacePasswords(t, file, all.String())
	whole := all.Len()
	finished := 0
	for i := range 40 {
		cmd := exec.Command(midge(t), "passwd", "-b", "-H", "sha512", file, "joe", fmt.Sprint("secret", i))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 250 * time.Microsecond)
		cmd.Process.Kill()
		if cmd.Wait() == nil {
			finished++
			if !knows(t, file, "joe", fmt.Sprint("secret", i)) {
				t.Fatal("what was said to be done is not there")
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rest, joe, added := strings.Cut(string(text), "joe:")
		if rest != all.String() || added && len(joe) < 100 || len(text) < whole {
			t.Fatalf("kill %d: the file of %d bytes has %d now", i, whole, len(text))
		}
		if _, _, err := auth.LoadPasswords(file); err != nil {
			t.Fatal(err)
		}
	}
	if finished == 40 {
		t.Log("none was killed in time")
	}
}

// TestPasswdTogether: of many at once none undoes what another did.
func TestPasswdTogether(t *testing.T) {
	t.Parallel()
	file := passwordFile(t, "first:x")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			out, err := exec.Command(midge(t), "passwd", "-b", "-H", "sha512", file, fmt.Sprint("user", i), "secret").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	if p, _, err := auth.LoadPasswords(file); err != nil || p.Len() != 17 {
		t.Errorf("%v, %v", p, err)
	}
	entries, _ := os.ReadDir(filepath.Dir(file))
	if len(entries) != 1 {
		t.Errorf("files: %v", entries)
	}
}

// terminal makes a pair of a terminal's two ends.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		missing(t, "/dev/ptmx")
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		missing(t, "a pseudo-terminal")
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestPasswdTerminal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		typed  [2]string
		status int
		end    string
	}{
		{[2]string{"secret\n", "secret\n"}, 0, "Adding password for user joe"},
		{[2]string{"secret\n", "other\n"}, 2, "Error: Passwords do not match."},
		{[2]string{"\n", ""}, 1, "Error: Empty password."},
		{[2]string{"secret\n", "\x03"}, 1, ""}, // ctrl-C
	} {
		master, slave := terminal(t)
		file := filepath.Join(t.TempDir(), "passwd")
		cmd := exec.Command(midge(t), "passwd", "-c", "-C", "4", file, "joe")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen := make(chan string, 16)
		go func() {
			buf := make([]byte, 1024)
			for {
				n, err := master.Read(buf)
				if err != nil {
					close(seen)
					return
				}
				seen <- string(buf[:n])
			}
		}()
		prompt := ""
		for i, word := range []string{"Password: ", "Reenter password: "} {
			if tt.typed[i] == "" {
				break
			}
			for !strings.HasSuffix(prompt, word) {
				prompt += <-seen
			}
			io.WriteString(master, tt.typed[i])
		}
		cmd.Wait()
		slave.Close()
		for more := range seen {
			prompt += more
		}
		if cmd.ProcessState.ExitCode() != tt.status || !strings.Contains(prompt, tt.end) || strings.Contains(prompt, "secret") {
			t.Errorf("%q: status %d, the terminal shows %q", tt.typed, cmd.ProcessState.ExitCode(), prompt)
		}
		if _, err := os.Stat(file); (err == nil) != (tt.status == 0) {
			t.Errorf("%q: %v", tt.typed, err)
		}
		if tt.status == 0 && !knows(t, file, "joe", "secret") {
			t.Error("the password is another")
		}
	}
}
