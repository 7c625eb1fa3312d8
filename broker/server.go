// Package broker is the running server. It ties the rooms together: listeners
// accept connections, connections carry bytes between sockets and core, the log
// says what happens, signals stop it or have its configuration read again
// (reload.go).
//
// One goroutine runs everything that touches the state of
// the broker, in turns (see Server.turn): wait for descriptors, read each ready
// connection once into a shared buffer and hand the bytes to core, do what is
// due, then write each connection's output once. Whatever is slow runs beside it
// and comes back as mail through the poller.
//
// core knows no descriptor and loop knows no MQTT; this package is where the two
// meet. A connection is found by its descriptor, in a slice.
//
// What runs beside the loop, each within bounds:
//
//	passwords         verifying them (login)
//	TLS, HTTP files   handshakes and folders (transport; wire.go, way.go)
//	hosts.allow       reading them, names of hosts (guard.go)
//	configuration     reading and checking it (plan.go), files that changed (filewatch.go)
//	durable state     the journal and snapshots (persist; database.go)
//	log               its destinations (logging)
//	service manager   what systemd is told (process)
//
// Begin with Server.turn below; then input.go for what comes in, conn.go for what goes
// out, run.go for the start and the end.
package broker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	crand "crypto/rand"

	"midge/broker/core"
	"midge/broker/logging"
	"midge/broker/login"
	"midge/broker/loop"
	"midge/broker/process"
	"midge/conf"
	"midge/persist"
)

// Server is a broker with its sockets.
type Server struct {
	conf     *conf.Config // in force
	started  *conf.Config // what was in force first
	options  Options
	version  string
	log      *logging.Log
	db       *database // nil without persistence
	poll     *loop.Poller
	core     *core.Broker
	logins   *login.Gates      // who may connect, by password
	guard    guard             // who may connect at all
	accesses                   // who may do what
	files    *fileWatch        // what is read again when it changes
	reserve  *loop.Reserve     // for when descriptors have run out
	notify   *process.Notifier // the service manager; nil without one
	rtmin    *loop.RTMin       // nil while signals are not watched

	listeners []*listener                  // in the configuration's order
	doors     map[int]*listener            // by descriptors of their sockets
	homes     map[*core.Listener]*listener // by what their connections are under
	conns     []*conn                      // by descriptor
	sockets   int                          // connections open
	again     []*conn                      // had more to do than their share, the first to go on first
	share     int                          // what one connection may do in this turn
	heed      heed
	spent     int     // work of this turn, see core.WorkTurn
	written   int     // bytes written in this turn, see writtenMax
	unwritten []*conn // have output that was not written in their turn, the newest last
	closing   []*conn // to be closed at the end of the turn
	starved   bool    // it was said that descriptors have run out

	buf        []byte // every read goes here first
	tails      tails  // what is kept of them
	unadmitted int    // bytes kept for connections before their CONNECT was accepted

	wired  wired
	keyLog *os.File        // gets the secrets of TLS connections; nil mostly
	expiry *time.Timer     // looks at certificates once a day; nil without any
	dated  map[string]bool // topics of certificates in $SYS

	epoch    time.Time // what now counts from
	zero     core.Time // and where it begins
	stopping bool
	dumping  bool // the subscriptions are being written to stdout

	reloading  bool // a configuration is on its way
	reloadNext bool // and is to be read once more
}

// newServer makes a server that does not listen yet.
func newServer(c *conf.Config, o Options, log *logging.Log) (*Server, error) {
	rules := &plan{conf: c, ports: o.Ports}
	if err := rules.readACLs(); err != nil { // before all else: they hold for what an earlier broker has left
		return nil, err
	}
	poll, err := loop.New()
	if err != nil {
		return nil, err
	}
	reserve, err := loop.NewReserve()
	if err != nil {
		poll.Close()
		return nil, err
	}
	s := &Server{
		conf: c, started: c, options: o, version: Compatible(o.Version), log: log, poll: poll, reserve: reserve, notify: process.NewNotifier(),
		doors: make(map[int]*listener),
		homes: make(map[*core.Listener]*listener),
		buf:   make([]byte, readBuffer),
		epoch: time.Now(),
	}
	s.zero = s.epoch.UnixMilli() // so that core's time steps with the wall clock's seconds
	if c.Persistence {
		if err := s.openStore(); err != nil {
			reserve.Close()
			poll.Close()
			return nil, err
		}
	}
	s.core = core.New(coreConfig(c, s.version, rules.accesses.away), core.Options{Log: log, Rand: newRand(), Control: s.control, Recorder: s.recorder()}, s.now())
	s.startStore()
	log.PublishBy(s.core)
	s.logins = s.newLogins()
	s.files = newFileWatch(func(names []string) { poll.Post(func() { s.refresh(names) }) })
	return s, nil
}

// newRand is seeded by the system; client ids made from it cannot be guessed.
func newRand() *rand.Rand {
	var seed [32]byte
	crand.Read(seed[:])
	return rand.New(rand.NewChaCha8(seed))
}

// now is core's time: monotonic milliseconds.
func (s *Server) now() core.Time {
	return s.zero + time.Since(s.epoch).Milliseconds()
}

// run turns the loop until stop was asked for.
func (s *Server) run() error {
	for !s.stopping {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return nil
}

// turn is one turn of the loop.
func (s *Server) turn() error {
	events, err := s.poll.Wait(s.timeout())
	if err != nil {
		return err
	}
	now := s.now()
	s.spent, s.written = 0, 0
	s.goOn(now)
	s.share = s.core.Share(len(events))
	for _, e := range events {
		s.handle(e, now)
	}
	if s.poll.Mail() {
		s.poll.RunMail()
	}
	s.logins.Next()
	s.core.Tick(now)
	s.heedMemory(now)
	s.log.Publish(now)
	s.hand(now)
	s.flushAll(now)
	s.hand(now) // what the flush brought about
	s.closeAll()
	s.log.Flush()
	return nil
}

// timeout is how long the turn may wait for descriptors, in milliseconds.
func (s *Server) timeout() int {
	if len(s.again) > 0 || len(s.unwritten) > 0 || s.log.Unpublished() {
		return 0
	}
	next := min(s.core.Next(), s.logins.Due(), s.db.due())
	if next == persist.Never {
		return -1
	}
	return int(min(max(0, next-s.now()), 60_000))
}

// handle does what a descriptor is ready for.
func (s *Server) handle(e loop.Event, now core.Time) {
	c := s.connOf(e.FD)
	if c == nil {
		if l := s.doors[int(e.FD)]; l != nil {
			s.accept(l, int(e.FD), now)
		} else if s.rtmin != nil && s.rtmin.FD() == int(e.FD) && s.rtmin.Came() {
			s.log.Reopen()
		}
		return
	}
	if !c.Closed() {
		if e.Flags&loop.Writable != 0 && !s.later(c) { // or it is told of once more
			c.setBlocked(false)
			s.flush(c, now)
		}
		if e.Flags&(loop.Readable|loop.Hangup) != 0 {
			s.turnOf(c, e.Flags, now)
		} else if e.Flags&loop.Ended != 0 {
			s.end(c, now)
		}
	}
}

// connOf is the connection with a descriptor, or nil.
func (s *Server) connOf(fd int32) *conn {
	if int(fd) < len(s.conns) {
		return s.conns[fd]
	}
	return nil
}

// flushMax is how many connections are written in one go, each of which is a system call.
const flushMax = 128

// Large outputs are written until there were writtenMax bytes in the turn: a large
// message for a hundred is as many copies of it. Those of up to writtenSmall bytes, as
// answers are, do not wait for them.
const (
	writtenMax   = 16 << 20
	writtenSmall = 64 << 10
)

// later says that c has a large output for which there is no time in this turn.
func (s *Server) later(c *conn) bool { return s.written > writtenMax && c.Pending() > writtenSmall }

// flushAll writes each connection that has output. What that brings about (a
// queue that refills, a will) is flushed too, up to a bound; core.Next knows of
// the rest. Where there are a great many, as of a message for thousands, some of them
// have to wait for the next turns.
func (s *Server) flushAll(now core.Time) {
	for range 4 {
		dirty := s.core.Dirty()
		if len(dirty)+len(s.unwritten) > flushMax {
			s.flushSome(dirty, now)
			return
		}
		if len(dirty) == 0 {
			break
		}
		s.flushEach(dirty, now)
	}
	s.flushOld(len(s.unwritten), now)
}

// flushLast writes all there is, for there is no next turn: what earlier turns left, and
// what is new, with what that brings about as in flushAll.
func (s *Server) flushLast(now core.Time) {
	s.written = math.MinInt
	s.flushOld(len(s.unwritten), now)
	for range 4 {
		s.flushEach(s.core.Dirty(), now)
	}
}

// flushSome writes those that came last, who may have waited for nothing but an answer
// of their own, and those that have waited longest.
func (s *Server) flushSome(dirty []*core.Client, now core.Time) {
	for _, cl := range dirty {
		if c := s.conns[cl.Handle]; c != nil && &c.Client == cl {
			s.postpone(c)
		}
	}
	end := len(s.unwritten)
	for n := max(end-flushMax/2, end/2); end > n && !s.later(s.unwritten[end-1]); end-- {
		s.flushLate(s.unwritten[end-1], now)
		s.unwritten[end-1] = nil
	}
	s.unwritten = s.unwritten[:end]
	s.flushOld(min(end, flushMax/2), now)
}

// flushOld writes the first n of those that were to be written before, but for large
// outputs for which there is no time any more.
func (s *Server) flushOld(n int, now core.Time) {
	left := 0
	for _, c := range s.unwritten[:n] {
		if s.later(c) {
			s.unwritten[left] = c
			left++
			continue
		}
		s.flushLate(c, now)
	}
	s.unwritten = slices.Delete(s.unwritten, left, n)
}

func (s *Server) flushLate(c *conn, now core.Time) {
	c.marks &^= markUnwritten
	if s.conns[c.Handle] == c {
		s.flush(c, now)
	}
}

// postpone has c written in a later turn.
func (s *Server) postpone(c *conn) {
	if c.marks&markUnwritten == 0 {
		c.marks |= markUnwritten
		s.unwritten = append(s.unwritten, c)
	}
}

func (s *Server) flushEach(clients []*core.Client, now core.Time) {
	for _, cl := range clients {
		c := s.conns[cl.Handle]
		switch {
		case c == nil || &c.Client != cl:
		case s.later(c):
			s.postpone(c)
		default:
			s.flush(c, now)
		}
	}
}

// closeAll closes what ended in this turn: not before, for a descriptor that is
// closed in the middle of a batch can come back while its events wait in it.
func (s *Server) closeAll() {
	for i, c := range s.closing {
		s.drop(c)
		s.closing[i] = nil
	}
	s.closing = s.closing[:0]
}

// shut says good-bye and closes everything.
func (s *Server) shut() {
	now := s.now()
	s.notify.Tell(process.Stopping)
	s.log.Logf(core.LogInfo, "mosquitto version %s terminating", s.version)
	s.log.Publish(now)
	for _, l := range s.listeners {
		s.stopListening(l)
	}
	s.core.Stop(now)
	s.flushLast(now)
	s.closeAll()
	for _, c := range s.conns {
		if c != nil {
			s.drop(c)
		}
	}
	s.closeStore()
	s.logins.Close()
	s.files.close()
	if s.guard.stop != nil {
		close(s.guard.stop)
	}
	s.notify.Close()
	s.reserve.Close()
	s.poll.Close()
}

// crash logs a panic of the loop with its stack, and says it on the standard error
// where errors are not logged. The state cannot be trusted any more, so the process is
// to end.
func (s *Server) crash(r any) {
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	if !s.log.Enabled(core.LogError) {
		fmt.Fprintf(os.Stderr, "Error: %v\n%s", r, stack)
	}
	s.log.Logf(core.LogError, "Error: %v", r)
	for line := range strings.Lines(string(stack)) {
		s.log.Logf(core.LogError, "%s", strings.TrimRight(line, "\n"))
	}
	s.log.Sync()
}
