package broker

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"net/netip"

	"midge/auth"
	"midge/broker/core"
	"midge/conf"
)

// logins decides who may connect. What takes time is done by the pool; all else is
// the loop's.
//
//	Check ──▶ throttle ──a place──▶ digest known? ──yes──▶ accepted
//	             │ no place              │ no
//	             ▼                       ▼
//	           waits                   pool ──mail──▶ done ──▶ Broker.Admit
type logins struct {
	core     *core.Broker
	gates    map[string]*gate // by password file
	now      func() core.Time
	from     func(*core.Client) netip.Addr
	pool     *pool
	throttle *throttle
	parked   map[*core.Client]*login
	resumed  func(*core.Client) // after Broker.Admit
	mac      hash.Hash          // keyed by chance: what digests are made with
}

// digest stands for a user's last good password. It is kept in memory only, and means
// nothing without the key, which is gone with the process.
type digest [sha256.Size]byte

// login is a client being decided about.
type login struct {
	gate     *gate
	client   *core.Client // nil once it is gone
	user     string
	password []byte
	hash     auth.Hash
	known    bool // there is such a user
	place    *place
	right    bool // the pool's answer
}

// passwordsMax is what the user names and passwords of all who wait may take, in bytes.
const passwordsMax = 4 << 20

func (l *login) size() int { return len(l.user) + len(l.password) }

// newLogins makes the logins of a server that has its core.
func (s *Server) newLogins() *logins {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	g := &logins{
		core: s.core, now: s.now, resumed: s.resume,
		from:  func(c *core.Client) netip.Addr { return netip.AddrFrom16(s.conns[c.Handle].ip) },
		gates: make(map[string]*gate), parked: make(map[*core.Client]*login),
		throttle: newThrottle(), mac: hmac.New(sha256.New, key),
	}
	g.pool = newPool(poolWorkers(), func(l *login) { s.poll.Post(func() { g.done(l) }) })
	return g
}

// resume reads on from a client whose login was decided.
func (s *Server) resume(c *core.Client) {
	if own := s.conns[c.Handle]; own != nil && &own.Client == c {
		s.list(own)
		s.watch(own)
	}
}

// gate is the core.Login of listeners with the same password file.
type gate struct {
	logins    *logins
	passwords *auth.Passwords
	before    *auth.Passwords   // until those who are connected were looked at; else nil
	good      map[string]digest // of users who were let in
}

// Check decides about a client.
func (g *gate) Check(c *core.Client, user, password []byte) core.Verdict {
	password, _, _ = bytes.Cut(password, []byte{0})
	if g.passwords.Len() == 0 || len(password) == 0 {
		return core.Refused // whoever it is, so the time tells nothing
	}
	l := &login{gate: g, client: c, user: string(user), password: bytes.Clone(password)}
	switch g.logins.throttle.enter(l, g.logins.from(c), g.logins.now()) {
	case full:
		return core.Busy
	case waits:
		g.logins.parked[c] = l
		return core.Pending
	}
	return g.logins.decide(l)
}

// Cancel forgets a client that is gone.
func (g *gate) Cancel(c *core.Client) {
	s := g.logins
	l := s.parked[c]
	if l == nil {
		return
	}
	delete(s.parked, c)
	l.client = nil
	if s.throttle.leave(l) {
		return
	}
	if s.pool.cancel(l) { // else done hears of it
		s.leave(l, true)
	}
}

// decide decides about a client that has its place: at once, or by the pool.
func (s *logins) decide(l *login) core.Verdict {
	l.hash, l.known = l.gate.passwords.Find(l.user)
	if d, ok := l.gate.good[l.user]; ok && l.known && hmac.Equal(d[:], s.digest(l)) {
		s.leave(l, true)
		return core.Accepted
	}
	if !s.pool.submit(l) {
		s.leave(l, true)
		return core.Busy
	}
	s.parked[l.client] = l
	return core.Pending
}

// done takes the pool's answer. If the user's hash has changed meanwhile, the answer
// is to another question.
func (s *logins) done(l *login) {
	if l.client != nil && s.stale(l) {
		s.again(l)
		return
	}
	if l.right && !s.stale(l) {
		l.gate.good[l.user] = digest(s.digest(l))
	}
	c := l.client
	if c != nil {
		delete(s.parked, c)
		s.admit(c, verdictOf(l.right))
	}
	s.leave(l, l.right)
}

// again decides about a client whose place is kept.
func (s *logins) again(l *login) {
	c, v := l.client, core.Busy
	delete(s.parked, c)
	if c.Listener.Login == l.gate { // else it may connect again, and is asked by another
		v = s.decide(l)
	} else {
		s.leave(l, true)
	}
	if v != core.Pending {
		s.admit(c, v)
	}
}

func verdictOf(right bool) core.Verdict {
	if right {
		return core.Accepted
	}
	return core.Refused
}

func (s *logins) stale(l *login) bool {
	if l.client != nil && l.client.Listener.Login != l.gate {
		return true
	}
	h, known := l.gate.passwords.Find(l.user)
	return known != l.known || known && h != l.hash
}

// leave gives a login's place back, and decides about those it lets in.
func (s *logins) leave(l *login, right bool) {
	s.throttle.done(l, right, s.now())
	s.next()
}

// next decides about those who waited and have a place now.
func (s *logins) next() {
	for l := s.throttle.next(s.now()); l != nil; l = s.throttle.next(s.now()) {
		s.again(l)
	}
}

func (s *logins) admit(c *core.Client, v core.Verdict) {
	s.core.Admit(c, v, s.now())
	s.resumed(c)
}

// digest is that of a login with its password. The hash is in it, so a new one of the
// user makes it worthless.
func (s *logins) digest(l *login) []byte {
	s.mac.Reset()
	for _, part := range [...]string{l.user, l.hash.String()} {
		s.mac.Write([]byte(part))
		s.mac.Write([]byte{0})
	}
	s.mac.Write(l.password)
	return s.mac.Sum(nil)
}

// Keeps says whether the user's hash is the one that let a client in.
func (g *gate) Keeps(user string) bool {
	if g.before == nil {
		return true
	}
	old, was := g.before.Find(user)
	now, is := g.passwords.Find(user)
	return was && is && old == now
}

// replace has a gate know other passwords from now on. Digests of old hashes are worth
// nothing, but take room.
func (g *gate) replace(p *auth.Passwords) {
	g.before, g.passwords = g.passwords, p
	if len(g.good) > p.Len() {
		clear(g.good)
	}
}

// recheck sends away those who would not be let in any more.
func (s *Server) recheck(now core.Time) {
	s.dropRevoked(now)
	s.core.Recheck(now)
	for _, g := range s.logins.gates {
		g.before = nil
	}
}

// install has the password files that were read in force, and forgets others.
func (s *logins) install(files map[string]*auth.Passwords) {
	for name := range s.gates {
		if files[name] == nil {
			delete(s.gates, name)
		}
	}
	for name, p := range files {
		if g := s.gates[name]; g != nil {
			g.replace(p)
		} else {
			s.gates[name] = &gate{logins: s, passwords: p, good: make(map[string]digest)}
		}
	}
}

// configure sets the limits of failed logins.
func (s *logins) configure(burst, perMinute int) {
	s.throttle.configure(burst, perMinute)
	s.next()
}

// due is when time alone lets one in who waits.
func (s *logins) due() core.Time { return s.throttle.due() }

// login is the Login of a listener, nil without a password file.
func (s *Server) login(c *conf.Listener) core.Login {
	if g := s.logins.gates[c.PasswordFile]; g != nil {
		return g
	}
	return nil
}

// readPasswords reads the password files of a plan, each once.
func (p *plan) readPasswords() error {
	p.passwords = make(map[string]*auth.Passwords)
	for _, t := range p.targets {
		name := t.PasswordFile
		if name == "" || p.passwords[name] != nil {
			continue
		}
		known, lines, err := auth.LoadPasswords(name)
		p.lines = append(p.lines, lines...)
		if err != nil {
			return err
		}
		p.passwords[name] = known
	}
	return nil
}
