package login

import (
	"bytes"

	"midge/auth"
	"midge/broker/core"
)

// gate is the core.Login of listeners with the same password file.
type gate struct {
	all       *Gates
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
	a := &attempt{gate: g, client: c, user: string(user), password: bytes.Clone(password)}
	switch g.all.throttle.enter(a, g.all.caller.From(c), g.all.caller.Now()) {
	case full:
		return core.Busy
	case waits:
		g.all.parked[c] = a
		return core.Pending
	}
	return g.all.decide(a)
}

// Cancel forgets a client that is gone.
func (g *gate) Cancel(c *core.Client) {
	gs := g.all
	a := gs.parked[c]
	if a == nil {
		return
	}
	delete(gs.parked, c)
	a.client = nil
	if gs.throttle.leave(a) {
		return
	}
	if gs.pool.cancel(a) { // else done hears of it
		gs.leave(a, true)
	}
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
