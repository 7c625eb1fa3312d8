package broker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"midge/broker/internal/script"
	"midge/packet"
)

// TestScriptsOverSocket runs the conformance scripts of core that need neither
// virtual time nor a stalled client against the binary. Which way the bytes are
// cut goes round from case to case; core's own test tries each.
func TestScriptsOverSocket(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("core/testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	turn, run := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := script.Parse(file, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if turn++; !c.Portable() || testing.Short() && turn%5 > 0 {
				continue
			}
			for i, v := range c.Versions {
				if config, _ := c.Settings(v); slices.Contains(config, "max_packet_size 0") {
					continue // core can do without a limit, mosquitto.conf cannot
				}
				run++
				mode := c.Modes[(turn+i)%len(c.Modes)]
				name := fmt.Sprintf("%s/%s/v%d/%v", strings.TrimSuffix(filepath.Base(file), ".txt"), c.Name, v, mode)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					target := newSocketTarget(t, c, v)
					if err := c.Run(target, v, mode); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	if run == 0 {
		t.Error("no case could be run")
	}
}

// socketTarget lets a script talk to the binary. A client of its own, which comes by
// another listener, tells when the broker has done what it was told: it reads its
// connections in turn, so an answer to a PINGREQ sent after some bytes comes
// after what these bytes caused was done.
type socketTarget struct {
	s     *server
	probe *client
	conns map[string]*socket
	sent  int // bytes since the last Settle
}

// socket is a client's connection.
type socket struct {
	conn   *net.TCPConn
	got    []byte // received and not fetched yet
	closed bool   // by the broker
	told   bool   // that it is closed
}

// newSocketTarget starts a broker with the settings of a case.
func newSocketTarget(t *testing.T, c *script.Case, v packet.Version) *socketTarget {
	t.Helper()
	config, listener := c.Settings(v)
	conf := []string{"allow_anonymous true", "set_tcp_nodelay true"} // what is written is to arrive at once
	if !slices.ContainsFunc(config, func(line string) bool { return strings.HasPrefix(line, "sys_interval ") }) {
		conf = append(conf, "sys_interval 0") // as scripts have it
	}
	var acl []string
	for _, line := range config {
		if rule, ok := strings.CutPrefix(line, "acl "); ok {
			acl = append(acl, rule)
			continue
		}
		if n, ok := strings.CutPrefix(line, "global_max_clients "); ok { // the probe is one more
			more, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			line = fmt.Sprintf("global_max_clients %d", more+1)
		}
		conf = append(conf, line)
	}
	own := []string{"listener {port} 127.0.0.1"}
	for _, line := range listener {
		switch name, _, _ := strings.Cut(line, " "); name {
		case "allow_anonymous", "auto_id_prefix":
			own = append(own, "listener_"+line)
		case "allow_zero_length_clientid":
			conf = append(conf, line)
		default:
			own = append(own, line)
		}
	}
	conf = append(append(conf, own...), "listener {second} 127.0.0.1")
	if acl != nil {
		file := filepath.Join(t.TempDir(), "acl")
		if err := os.WriteFile(file, []byte(strings.Join(acl, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		conf = append(conf, "acl_file "+file)
	}
	s := serve(t, strings.Join(conf, "\n"))
	probe := s.dialTo("~", 5, "tcp", "127.0.0.1:"+strconv.Itoa(s.second))
	probe.send("CONNECT clean")
	if p := probe.next(); p.Type != packet.Connack || p.Reason != packet.Success {
		t.Fatalf("the probe receives %v %v", p.Type, p.Reason)
	}
	return &socketTarget{s: s, probe: probe, conns: map[string]*socket{}}
}

func (t *socketTarget) Open(client string) error {
	conn, err := net.Dial("tcp", t.s.expand("127.0.0.1:{port}"))
	if err != nil {
		return err
	}
	t.s.t.Cleanup(func() { conn.Close() })
	t.conns[client] = &socket{conn: conn.(*net.TCPConn)}
	return nil
}

func (t *socketTarget) Send(client string, b []byte) error {
	t.sent += len(b)
	c := t.conns[client].conn
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return nil
}

// Drop waits until the log tells of it: the end of a connection may take longer
// than the probe.
func (t *socketTarget) Drop(client string, reset bool) error {
	c := t.conns[client]
	if reset {
		c.conn.SetLinger(0)
	}
	told := c.closed
	c.closed, c.told = true, true
	if err := c.conn.Close(); err != nil || told {
		return err
	}
	end := "[" + c.conn.LocalAddr().String() + "] disconnected"
	if _, ok := t.s.log.find(func(line string) bool { return strings.Contains(line, end) }); !ok {
		return fmt.Errorf("the broker does not see that %s is gone", client)
	}
	return nil
}

// Command has nothing to do: what portable cases set was set at the start.
func (t *socketTarget) Command(string, string) error { return nil }

// Settle asks the probe until nothing more comes: more often when much was sent, for
// the broker reads only so much of a connection in a turn.
func (t *socketTarget) Settle(string) error {
	quiet := 0
	for needed := 3 + t.sent>>15; quiet < needed; quiet++ {
		for range 2 {
			if err := t.probe.tryWrite([]byte{0xC0, 0}); err != nil {
				return err
			}
			if p, err := t.probe.tryNext(); err != nil || p.Type != packet.Pingresp {
				return fmt.Errorf("the probe receives %+v, %v", p, err)
			}
		}
		for _, c := range t.conns {
			more, err := c.take()
			if err != nil {
				return err
			}
			if more {
				quiet = -1
			}
		}
	}
	t.sent = 0
	return nil
}

// take receives what is there, without waiting.
func (c *socket) take() (more bool, err error) {
	raw, err := c.conn.SyscallConn()
	if err != nil || c.closed {
		return false, nil
	}
	buf := make([]byte, 64<<10)
	for !c.closed {
		var n int
		var failed error
		if err := raw.Read(func(fd uintptr) bool {
			n, failed = syscall.Read(int(fd), buf)
			return true
		}); err != nil {
			return more, err
		}
		switch {
		case failed == syscall.EAGAIN:
			return more, nil
		case failed == syscall.EINTR:
		case failed == syscall.ECONNRESET, failed == nil && n == 0:
			c.closed = true
		case failed != nil:
			return more, failed
		default:
			c.got = append(c.got, buf[:n]...)
		}
		more = true
	}
	return more, nil
}

func (t *socketTarget) Received(client string) (b []byte, closed bool) {
	c := t.conns[client]
	b, c.got = c.got, nil
	closed = c.closed && !c.told
	c.told = c.closed
	return b, closed
}

// Logged knows nothing: the addresses in the log are those of real sockets.
func (t *socketTarget) Logged() (lines []string, known bool) { return nil, false }
