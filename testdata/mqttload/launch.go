package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// running is a broker that this program started.
type running struct {
	cmd  *exec.Cmd
	dir  string
	pid  int // the process that listens
	port int
	done chan struct{}
}

// family lists a process and its descendants.
func family(pid int) []int {
	kids := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, _ := os.ReadFile(s)
		i := strings.LastIndexByte(string(b), ')')
		if f := strings.Fields(string(b[i+1:])); i > 0 && len(f) > 1 {
			pp, _ := strconv.Atoi(f[1])
			p, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			kids[pp] = append(kids[pp], p)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, kids[all[i]]...)
	}
	return all
}

func (c *comparer) start(b broker, sig chan os.Signal) error {
	for ; listenerPid(c.nextPort, nil) != 0; c.nextPort++ {
	}
	dir, err := os.MkdirTemp("", "mqttload-")
	if err != nil {
		return err
	}
	r := &running{dir: dir, port: c.nextPort, done: make(chan struct{})}
	c.nextPort++
	c.cur = r
	fill := strings.NewReplacer("{port}", strconv.Itoa(r.port), "{dir}", dir)
	cmd := b.cmd
	for n := 0; ; n++ {
		pre, rest, ok := strings.Cut(cmd, "{file:")
		path, post, ok2 := strings.Cut(rest, "}")
		if !ok || !ok2 {
			break
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		cp := filepath.Join(dir, fmt.Sprintf("%d-%s", n, filepath.Base(path)))
		if err := os.WriteFile(cp, []byte(fill.Replace(string(text))), 0o644); err != nil {
			return err
		}
		cmd = pre + cp + post
	}
	cmd = fill.Replace(cmd)
	if c.nofile > 0 {
		cmd = fmt.Sprintf("ulimit -n %d && %s", c.nofile, cmd)
	}
	os.Chmod(dir, 0o777) // brokers may drop privileges
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command("/bin/sh", "-c", cmd)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	go func() { r.cmd.Wait(); close(r.done) }()
	for end := time.Now().Add(c.wait); time.Now().Before(end); {
		if r.pid = listenerPid(r.port, family(r.cmd.Process.Pid)); r.pid != 0 {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		select {
		case <-sig:
			c.quit()
		case <-r.done:
			end = time.Time{}
		case <-time.After(20 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	return fmt.Errorf("%s does not listen on port %d: %s", b.name, r.port, strings.TrimSpace(string(text[max(0, len(text)-500):])))
}

// stop ends the broker that start began: by pid, first politely.
func (c *comparer) stop() {
	r := c.cur
	if r == nil {
		return
	}
	c.cur = nil
	select {
	case <-r.done: // ended by itself
	default:
		if r.cmd == nil || r.cmd.Process == nil {
			break
		}
		shell := r.cmd.Process.Pid
		if slices.Contains(family(shell), r.pid) {
			syscall.Kill(r.pid, syscall.SIGTERM)
		} else {
			r.cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-r.done:
		case <-time.After(10 * time.Second):
			for _, p := range family(shell) {
				syscall.Kill(p, syscall.SIGKILL)
			}
			<-r.done
		}
	}
	os.RemoveAll(r.dir)
}
