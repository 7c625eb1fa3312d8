package core

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"midge/packet"
)

// target is a broker for scripts, with virtual time and stalled clients. After
// every step the broker's state is checked.
type target struct {
	b        *Broker
	cfg      Config
	listener Listener
	now      Time
	conns    map[string]*testConn
	log      testLog
	ports    uint16
	acl      strings.Builder // the lines of the ACL file
	stopped  bool            // the broker is over: its sessions are left as they were
}

// testConn is a client's side of a connection.
type testConn struct {
	Client
	name    string
	tail    []byte // the beginning of a packet, as the transport keeps it
	got     []byte // received and not fetched yet
	stalled bool
	flow    int // bytes a stalled client still reads
	closed  bool
	told    bool // that it is closed
}

// testRemote is a port of this machine.
type testRemote uint16

func (testRemote) Host() string { return "127.0.0.1" }

func (testRemote) Secured() (version, cipher string) { return "", "" }
func (r testRemote) Port() int                       { return int(r) }

// scriptConfig is midge's default configuration, without $SYS.
func scriptConfig() Config {
	return Config{
		Version: "midge", MaxInflightMessages: 20, MaxQueuedMessages: 1000, MaxPacketSize: 2000000,
		RetainAvailable: true, AllowDuplicates: true, ConnectionMessages: true,
	}
}

func scriptListener() Listener {
	return Listener{
		Port: 1883, Anonymous: true, EmptyClientID: true, AutoIDPrefix: "auto-",
		MaxQoS: 2, MaxAlias: 10, MaxAliasOut: 10, Versions: AllVersions,
	}
}

// scriptStart is when a script's broker starts: a day, so that there is a past.
const scriptStart Time = 86_400_000

func newTarget() *target {
	t := &target{cfg: scriptConfig(), listener: scriptListener(), now: scriptStart, conns: map[string]*testConn{}}
	t.b = New(t.cfg, Options{Log: &t.log, Rand: rand.New(rand.NewPCG(1, 2))}, t.now)
	t.b.free.messages.spoil = spoil
	return t
}

// testLog keeps log lines.
type testLog struct {
	lines []string
	heard func(Class, string) // gets each, those of debug too
}

func (l *testLog) Enabled(c Class) bool { return true }

func (l *testLog) Logf(c Class, format string, args ...any) {
	if l.heard != nil {
		l.heard(c, fmt.Sprintf(format, args...))
	}
	if c != LogDebug {
		l.lines = append(l.lines, fmt.Sprintf(format, args...))
	}
}

func (t *target) Logged() (lines []string, known bool) {
	lines, t.log.lines = t.log.lines, nil
	return lines, true
}

func (t *target) Open(client string) error {
	t.ports++
	l := t.listener
	c := &testConn{name: client}
	port := testRemote(40000 + t.ports)
	l.Remote = func(*Client) Remote { return port }
	c.Listener = &l
	t.conns[client] = c
	t.b.Open(&c.Client, t.now)
	return nil
}

// Send hands bytes to the broker as a transport does: with the rest of the last
// ones in front.
func (t *target) Send(client string, b []byte) error {
	c := t.conns[client]
	if c.closed {
		return nil
	}
	c.tail = append(c.tail, b...)
	if c.Paused() {
		return nil
	}
	return t.receive(c, len(b))
}

func (t *target) receive(c *testConn, fresh int) error {
	used, need := receiveAll(t.b, &c.Client, c.tail, fresh, t.now)
	if used > 0 {
		c.tail = append([]byte(nil), c.tail[used:]...)
	}
	if need != 0 && need <= len(c.tail) {
		return fmt.Errorf("the broker waits for a packet of %d bytes and has %d", need, len(c.tail))
	}
	return t.check()
}

func (t *target) Drop(client string, reset bool) error {
	var err error
	if reset {
		err = errors.New("connection reset by peer")
	}
	c := t.conns[client]
	t.b.Lost(&c.Client, err, t.now)
	t.b.Discard(&c.Client)
	c.closed, c.told = true, true
	return t.check()
}

// Settle writes all output and does what is due, until neither is left.
func (t *target) Settle(string) error {
	for round := 0; ; round++ {
		t.flush()
		if err := t.check(); err != nil {
			return err
		}
		if len(t.b.dirty) == 0 && t.b.Next() > t.now {
			if len(t.b.crowd.waiting) == 0 {
				return nil
			}
			t.now++ // who waits for a subscriber goes on
		}
		if round > 100_000 {
			return fmt.Errorf("the broker never comes to rest: next is %d, now %d", t.b.Next(), t.now)
		}
		t.b.Tick(t.now)
	}
}

func (t *target) flush() {
	for _, dirty := range append([]*Client(nil), t.b.Dirty()...) {
		for _, c := range t.conns {
			if &c.Client == dirty {
				t.flushOne(c)
			}
		}
	}
}

// flushOne writes what the client reads.
func (t *target) flushOne(c *testConn) {
	for {
		out := t.b.output(&c.Client)
		if c.stalled {
			out = out[:min(len(out), c.flow)]
			c.flow -= len(out)
		}
		if len(out) == 0 {
			break
		}
		c.got = append(c.got, out...)
		t.b.Flushed(&c.Client, len(out), t.now)
	}
	if c.Closed() && !c.closed {
		t.b.Discard(&c.Client)
		c.closed = true
	}
	if !c.Paused() && !c.closed && len(c.tail) > 0 {
		t.receive(c, 0)
	}
}

func (t *target) Received(client string) (b []byte, closed bool) {
	c := t.conns[client]
	b, c.got = c.got, nil
	closed = c.closed && !c.told
	c.told = c.closed
	return b, closed
}

// Command does the steps of scripts that no client does.
func (t *target) Command(name, args string) error {
	switch name {
	case "config":
		return t.configure(args)
	case "listener":
		return t.listen(args)
	case "tick":
		return t.tick(args)
	case "stall":
		return t.withConn(args, func(c *testConn) error { c.stalled, c.flow = true, 0; return nil })
	case "flow":
		client, count, some := strings.Cut(args, " ")
		return t.withConn(client, func(c *testConn) error { return t.flowOn(c, count, some) })
	case "stop":
		t.b.Stop(t.now)
		t.stopped = true
		return nil
	}
	return fmt.Errorf("no such command: %s", name)
}

func (t *target) withConn(client string, f func(*testConn) error) error {
	if c := t.conns[client]; c != nil {
		return f(c)
	}
	return fmt.Errorf("no client %q", client)
}

// flowOn lets a stalled client read a number of bytes, or all.
func (t *target) flowOn(c *testConn, count string, some bool) error {
	if !some {
		c.stalled = false
	} else {
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		c.flow += n
	}
	t.flushOne(c)
	return nil
}

// tick lets time go on, to every deadline on the way.
func (t *target) tick(args string) error {
	d, err := time.ParseDuration(args)
	if err != nil {
		return err
	}
	end := t.now + Time(d.Milliseconds())
	for t.b.Next() <= end {
		t.now = max(t.now, t.b.Next())
		if err := t.Settle(""); err != nil {
			return err
		}
	}
	t.now = end
	return nil
}

// finish ends all connections and sessions; nothing may be left of them.
func (t *target) finish() error {
	if t.stopped {
		return nil
	}
	for _, c := range t.conns {
		if !c.Closed() {
			t.b.Lost(&c.Client, nil, t.now)
		}
		t.b.Discard(&c.Client)
	}
	if err := t.check(); err != nil {
		return err
	}
	t.now += Time(noExpiry) * 1000
	for t.b.Next() <= t.now {
		t.b.Tick(t.now)
		t.flush()
	}
	t.cfg = scriptConfig()
	t.b.Configure(t.cfg, t.now)
	t.listener = scriptListener()
	for id := range t.b.sessions { // those that never end by themselves
		if err := t.Open(""); err != nil {
			return err
		}
		p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: packet.V311, CleanStart: true, ClientID: []byte(id)}}
		if err := t.Send("", append(p.Append(nil, 0), 0xE0, 0)); err != nil {
			return err
		}
		t.flush()
	}
	if err := t.check(); err != nil {
		return err
	}
	return t.checkEmpty()
}

// configure sets an option of mosquitto.conf.
func (t *target) configure(args string) error {
	name, value, _ := strings.Cut(args, " ")
	if name == "acl" {
		return t.rule(value)
	}
	if name == "clientid_prefixes" {
		t.cfg.ClientIDPrefix = value
		t.b.Configure(t.cfg, t.now)
		return nil
	}
	n, yes, err := optionValue(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c := &t.cfg
	switch name {
	case "max_inflight_messages":
		c.MaxInflightMessages = n
	case "max_inflight_bytes":
		c.MaxInflightBytes = n
	case "max_queued_messages":
		c.MaxQueuedMessages = n
	case "max_queued_bytes":
		c.MaxQueuedBytes = n
	case "queue_qos0_messages":
		c.QueueQoS0 = yes
	case "max_packet_size":
		c.MaxPacketSize = n
	case "message_size_limit":
		c.MessageSizeLimit = n
	case "max_keepalive":
		c.MaxKeepAlive = uint16(n)
	case "persistent_client_expiration": // in seconds: "60s"
		c.MaxSessionExpiry = Time(n) * 1000
	case "global_max_clients":
		c.MaxClients = n
	case "max_subscriptions":
		c.MaxSubscriptions = n
	case "max_topic_levels":
		c.MaxTopicLevels = n
	case "max_retained_messages":
		c.MaxRetained = n
	case "max_clientid_length":
		c.MaxClientIDLength = n
	case "retain_available":
		c.RetainAvailable = yes
	case "retain_expiry_interval":
		c.RetainSweep = Time(n) * 60_000
	case "upgrade_outgoing_qos":
		c.UpgradeQoS = yes
	case "allow_duplicate_messages":
		c.AllowDuplicates = yes
	case "retry_interval":
		c.RetryInterval = Time(n) * 1000
	case "sys_interval":
		c.SysInterval = Time(n) * 1000
	case "connection_messages":
		c.ConnectionMessages = yes
	case "enable_control_api":
		c.ControlAPI = yes
	case "check_retain_source":
		c.CheckRetainSource = yes
	default:
		return fmt.Errorf("no such option: %s", name)
	}
	t.b.Configure(t.cfg, t.now)
	return nil
}

// rule adds a line to the ACL file, which nobody had before the first; an empty one
// empties the file.
func (t *target) rule(line string) error {
	t.acl.WriteString(line + "\n")
	if line == "" {
		t.acl.Reset()
	}
	a, err := compile(t.acl.String())
	if err != nil {
		return err
	}
	t.cfg.Access, t.listener.Access = a, a
	for _, c := range t.conns {
		c.Listener.Access = a
	}
	t.b.Configure(t.cfg, t.now)
	t.b.Recheck(t.now)
	return nil
}

// listen sets an option of the listener that the clients from now on come by.
func (t *target) listen(args string) error {
	name, value, _ := strings.Cut(args, " ")
	l := &t.listener
	if name == "auto_id_prefix" {
		l.AutoIDPrefix = value
		return nil
	}
	if name == "mount_point" {
		l.Mount = value
		return nil
	}
	if name == "accept_protocol_versions" {
		l.Versions = 0
		for _, v := range strings.Split(value, ",") {
			l.Versions |= 1 << map[string]int{"3": 3, "4": 4, "5": 5}[strings.TrimSpace(v)]
		}
		return nil
	}
	n, yes, err := optionValue(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch name {
	case "allow_anonymous":
		l.Anonymous = yes
	case "allow_zero_length_clientid":
		l.EmptyClientID = yes
	case "use_username_as_clientid":
		l.UsernameAsID = yes
	case "max_qos":
		l.MaxQoS = byte(n)
	case "max_topic_alias":
		l.MaxAlias = uint16(n)
	case "max_topic_alias_broker":
		l.MaxAliasOut = uint16(n)
	default:
		return fmt.Errorf("no such option: %s", name)
	}
	return nil
}

// optionValue reads a number, with or without a last s, or a boolean.
func optionValue(s string) (n int, yes bool, err error) {
	if s == "true" || s == "false" {
		return 0, s == "true", nil
	}
	n, err = strconv.Atoi(strings.TrimSuffix(s, "s"))
	return n, false, err
}
