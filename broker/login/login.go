// Package login decides who may connect, by password: a core.Login for each password
// file. What takes time, verifying, is done by a pool of threads beside the loop
// (pool.go). Addresses from which logins fail have to wait (throttle.go). Who was let in
// before is let in again by a digest, without verifying.
//
// It does not read password files and knows no hashes: auth does, and who configures
// the broker brings them (Gates.Install). Nor does it know of ACLs and certificates.
//
// Begin with Gates. All of it belongs to the loop's goroutine but the pool's threads.
package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"net/netip"

	"midge/auth"
	"midge/broker/core"
)

// Gates decides who may connect. What takes time is done by the pool; all else is
// the loop's.
//
//	Check ──▶ throttle ──a place──▶ digest known? ──yes──▶ accepted
//	             │ no place              │ no
//	             ▼                       ▼
//	           waits                   pool ──mail──▶ done ──▶ Broker.Admit
type Gates struct {
	caller   Caller
	gates    map[string]*gate // by password file
	pool     *pool
	throttle *throttle
	parked   map[*core.Client]*attempt
	mac      hash.Hash // keyed by chance: what digests are made with
}

// Caller is what Gates need of the loop. All but Post is called on its goroutine.
type Caller struct {
	Now   func() core.Time
	From  func(*core.Client) netip.Addr    // where a client is
	Admit func(*core.Client, core.Verdict) // a client that was Pending is decided about
	Post  func(func())                     // has the loop call something, from any goroutine
}

// digest stands for a user's last good password. It is kept in memory only, and means
// nothing without the key, which is gone with the process.
type digest [sha256.Size]byte

// attempt is a client being decided about.
type attempt struct {
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

func (a *attempt) size() int { return len(a.user) + len(a.password) }

// New makes the Gates of no files yet.
func New(c Caller) *Gates {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	gs := &Gates{
		caller: c, gates: make(map[string]*gate), parked: make(map[*core.Client]*attempt),
		throttle: newThrottle(), mac: hmac.New(sha256.New, key),
	}
	gs.pool = newPool(poolWorkers(), func(a *attempt) { c.Post(func() { gs.done(a) }) })
	return gs
}

// For is the core.Login of the listeners with a password file, nil if that was not
// installed.
func (gs *Gates) For(file string) core.Login {
	if g := gs.gates[file]; g != nil {
		return g
	}
	return nil
}

// Close ends the pool's threads as soon as they are done with what they do.
func (gs *Gates) Close() { gs.pool.close() }

// decide decides about a client that has its place: at once, or by the pool.
func (gs *Gates) decide(a *attempt) core.Verdict {
	a.hash, a.known = a.gate.passwords.Find(a.user)
	if d, ok := a.gate.good[a.user]; ok && a.known && hmac.Equal(d[:], gs.digest(a)) {
		gs.leave(a, true)
		return core.Accepted
	}
	if !gs.pool.submit(a) {
		gs.leave(a, true)
		return core.Busy
	}
	gs.parked[a.client] = a
	return core.Pending
}

// done takes the pool's answer. If the user's hash has changed meanwhile, the answer
// is to another question.
func (gs *Gates) done(a *attempt) {
	if a.client != nil && gs.stale(a) {
		gs.again(a)
		return
	}
	if a.right && !gs.stale(a) {
		a.gate.good[a.user] = digest(gs.digest(a))
	}
	c := a.client
	if c != nil {
		delete(gs.parked, c)
		gs.caller.Admit(c, verdictOf(a.right))
	}
	gs.leave(a, a.right)
}

// again decides about a client whose place is kept.
func (gs *Gates) again(a *attempt) {
	c, v := a.client, core.Busy
	delete(gs.parked, c)
	if c.Listener.Login == a.gate { // else it may connect again, and is asked by another
		v = gs.decide(a)
	} else {
		gs.leave(a, true)
	}
	if v != core.Pending {
		gs.caller.Admit(c, v)
	}
}

func verdictOf(right bool) core.Verdict {
	if right {
		return core.Accepted
	}
	return core.Refused
}

func (gs *Gates) stale(a *attempt) bool {
	if a.client != nil && a.client.Listener.Login != a.gate {
		return true
	}
	h, known := a.gate.passwords.Find(a.user)
	return known != a.known || known && h != a.hash
}

// leave gives a login's place back, and decides about those it lets in.
func (gs *Gates) leave(a *attempt, right bool) {
	gs.throttle.done(a, right, gs.caller.Now())
	gs.Next()
}

// Next decides about those who waited and have a place now.
func (gs *Gates) Next() {
	for a := gs.throttle.next(gs.caller.Now()); a != nil; a = gs.throttle.next(gs.caller.Now()) {
		gs.again(a)
	}
}

// digest is that of a login with its password. The hash is in it, so a new one of the
// user makes it worthless.
func (gs *Gates) digest(a *attempt) []byte {
	gs.mac.Reset()
	for _, part := range [...]string{a.user, a.hash.String()} {
		gs.mac.Write([]byte(part))
		gs.mac.Write([]byte{0})
	}
	gs.mac.Write(a.password)
	return gs.mac.Sum(nil)
}

// Install has the password files that were read in force, and forgets others. Those who
// are connected have to be looked at again (core.Broker.Recheck); then Rechecked is due.
func (gs *Gates) Install(files map[string]*auth.Passwords) {
	for name := range gs.gates {
		if files[name] == nil {
			delete(gs.gates, name)
		}
	}
	for name, p := range files {
		if g := gs.gates[name]; g != nil {
			g.replace(p)
		} else {
			gs.gates[name] = &gate{all: gs, passwords: p, good: make(map[string]digest)}
		}
	}
}

// Rechecked is told that those who are connected were looked at.
func (gs *Gates) Rechecked() {
	for _, g := range gs.gates {
		g.before = nil
	}
}

// Configure sets the limits of failed logins from one address: so many at once, so many
// forgiven in a minute; 0, of either, is no limit.
func (gs *Gates) Configure(burst, perMinute int) {
	gs.throttle.configure(burst, perMinute)
	gs.Next()
}

// Due is when time alone lets one in who waits.
func (gs *Gates) Due() core.Time { return gs.throttle.due() }
