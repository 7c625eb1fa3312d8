package core

import (
	"fmt"
	"slices"
	"testing"

	"midge/packet"
)

// desk is a Login that decides as it is told.
type desk struct {
	says   Verdict
	asked  []string // "user:password"
	waits  []*Client
	leaves int
	gone   map[string]bool // users
}

func (d *desk) Check(c *Client, user, password []byte) Verdict {
	d.asked = append(d.asked, fmt.Sprintf("%s:%s", user, password))
	if d.says == Pending {
		d.waits = append(d.waits, c)
	}
	return d.says
}

func (d *desk) Keeps(user string) bool { return !d.gone[user] }

func (d *desk) Cancel(c *Client) {
	d.leaves++
	d.waits = slices.DeleteFunc(d.waits, func(w *Client) bool { return w == c })
}

func withDesk(t *testing.T, says Verdict) (*rig, *desk) {
	r, d := newRig(t, plain()), &desk{says: says}
	r.listener.Login, r.listener.Anonymous = d, false
	return r, d
}

// knock sends a CONNECT, with more behind it, and returns what the broker left of it.
func (r *rig) knock(v packet.Version, id, user, password string, more ...*packet.Packet) (p *peer, kept []byte) {
	p = r.open(v)
	cn := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{
		Version: v, CleanStart: true, ClientID: []byte(id), HasUsername: user != "", Username: []byte(user),
		HasPassword: password != "", Password: []byte(password),
	}}
	data := cn.Append(nil, v)
	for _, m := range more {
		data = m.Append(data, v)
	}
	used, _ := receiveAll(r.Broker, &p.c, data, len(data), r.now)
	return p, data[used:]
}

// TestLoginAtOnce: verdicts that take no time.
func TestLoginAtOnce(t *testing.T) {
	for _, tt := range []struct {
		says     Verdict
		v        packet.Version
		connack  string
		disposed bool
	}{
		{Accepted, packet.V311, "CONNACK", false},
		{Accepted, packet.V5, "CONNACK", false},
		{Refused, packet.V31, "CONNACK 05", true},
		{Refused, packet.V311, "CONNACK 05", true},
		{Refused, packet.V5, "CONNACK 87", true},
		{Busy, packet.V311, "CONNACK 03", true},
		{Busy, packet.V5, "CONNACK 89", true},
	} {
		r, d := withDesk(t, tt.says)
		p, kept := r.knock(tt.v, "a", "joe", "secret")
		p.expect(tt.connack)
		if p.closed != tt.disposed || len(kept) != 0 || !slices.Equal(d.asked, []string{"joe:secret"}) {
			t.Errorf("%v: closed %v, kept %d, asked %q", tt, p.closed, len(kept), d.asked)
		}
		r.bare()
	}
}

// TestLoginAnonymous: without a user name nobody is asked.
func TestLoginAnonymous(t *testing.T) {
	r, d := withDesk(t, Accepted)
	p, _ := r.knock(packet.V5, "a", "", "")
	p.expect("CONNACK 87")
	p, _ = r.knock(packet.V5, "a", "", "secret") // anonymous in spite of the password
	p.expect("CONNACK 87")
	r.listener.Anonymous = true
	p, _ = r.knock(packet.V5, "a", "", "secret")
	p.expect("CONNACK")
	p, _ = r.knock(packet.V311, "b", "", "")
	p.expect("CONNACK")
	if len(d.asked) > 0 {
		t.Errorf("asked %q", d.asked)
	}
	r.listener.Login = nil
	p, _ = r.knock(packet.V311, "c", "anybody", "")
	p.expect("CONNACK")
	r.listener.Anonymous = false
	p, _ = r.knock(packet.V311, "c", "anybody", "x")
	p.expect("CONNACK 05")
	r.bare()
}

// TestLoginWaits: a client that is parked is not heard, and goes on when the verdict
// is there, as if its CONNECT had come just now.
func TestLoginWaits(t *testing.T) {
	r, d := withDesk(t, Pending)
	first := r.Figures()
	p, kept := r.knock(packet.V5, "a", "joe", "secret", &packet.Packet{Type: packet.Pingreq})
	if !p.c.Parked() || !p.c.Paused() || len(kept) < 20 || r.Figures().MessagesReceived != first.MessagesReceived {
		t.Fatalf("parked %v, kept %d, %+v", p.c.Parked(), len(kept), r.Figures())
	}
	if used, need := r.Receive(&p.c, kept, 0, r.now); used+need != 0 {
		t.Errorf("a parked client is heard: %d, %d", used, need)
	}
	r.wait(loginTimeout - 1) // longer than a CONNECT may take
	p.expect()
	r.Admit(&p.c, Accepted, r.now)
	if p.c.Parked() || p.c.Paused() || !p.c.More() {
		t.Fatal("it does not go on")
	}
	r.Admit(&p.c, Refused, r.now) // too late
	if used, _ := receiveAll(r.Broker, &p.c, kept, 0, r.now); used != len(kept) {
		t.Errorf("%d of %d bytes", used, len(kept))
	}
	p.expect("CONNACK", "PINGRESP")
	if len(d.asked) != 1 || d.leaves != 0 || r.Figures().Connections != first.Connections+1 || p.c.Username() != "joe" || p.c.extra != nil {
		t.Errorf("asked %q, %d left, %+v", d.asked, d.leaves, r.Figures())
	}
	r.bare()
}

// TestLoginRefused: what a client that was refused sent behind its CONNECT is nothing,
// and its session is as it was.
func TestLoginRefused(t *testing.T) {
	r, d := withDesk(t, Accepted)
	owner, _ := r.knock(packet.V5, "a", "joe", "secret")
	owner.expect("CONNACK")
	owner.subscribe("#", 0)
	owner.expect("SUBACK id1 [00]")
	d.says = Pending
	p, kept := r.knock(packet.V5, "a", "joe", "wrong", &packet.Packet{Type: packet.Publish, Topic: []byte("t")})
	r.Admit(&p.c, Refused, r.now)
	receiveAll(r.Broker, &p.c, kept, 0, r.now)
	p.expect("CONNACK 87")
	owner.expect()
	if !p.closed || r.logged("Client a [") != 1 || r.logged("disconnected: not authorised.") != 1 {
		t.Errorf("closed %v, %q", p.closed, r.lines)
	}
	r.bare()
}

// TestLoginRulesChanged: a verdict of before the configuration was changed is worth
// nothing behind it.
func TestLoginRulesChanged(t *testing.T) {
	r, d := withDesk(t, Pending)
	p, kept := r.knock(packet.V5, "a", "joe", "secret")
	r.Admit(&p.c, Accepted, r.now)
	r.Recheck(r.now)
	receiveAll(r.Broker, &p.c, kept, 0, r.now)
	if !p.c.Parked() || len(d.asked) != 2 {
		t.Fatalf("parked %v, asked %q", p.c.Parked(), d.asked)
	}
	r.Admit(&p.c, Refused, r.now)
	receiveAll(r.Broker, &p.c, kept, 0, r.now)
	p.expect("CONNACK 87")
	r.bare()
}

// TestLoginTimeout: a verdict that does not come.
func TestLoginTimeout(t *testing.T) {
	r, d := withDesk(t, Pending)
	p, _ := r.knock(packet.V311, "a", "joe", "secret")
	r.wait(loginTimeout)
	p.expect("CONNACK 03")
	if !p.closed || d.leaves != 1 || len(d.waits) != 0 || r.logged("Client a [") != 1 {
		t.Errorf("closed %v, %d left, %q", p.closed, d.leaves, r.lines)
	}
	r.Admit(&p.c, Accepted, r.now) // too late
	if p.c.More() {
		t.Error("a closed client goes on")
	}
	r.bare()
}

// TestLoginLeft: a client that goes while it waits.
func TestLoginLeft(t *testing.T) {
	r, d := withDesk(t, Pending)
	p, _ := r.knock(packet.V5, "a", "joe", "secret")
	p.drop()
	if !p.closed || d.leaves != 1 || len(d.waits) != 0 {
		t.Errorf("closed %v, %d left", p.closed, d.leaves)
	}
	p, _ = r.knock(packet.V5, "a", "joe", "secret")
	next := *r.listener
	next.Login, next.Anonymous = nil, true
	r.listener.Follow(&next)
	p.drop()
	if !p.closed || d.leaves != 2 || len(d.waits) != 0 {
		t.Errorf("closed %v, %d left, and its listener asks nobody any more", p.closed, d.leaves)
	}
	r.bare()
}

// TestRecheck: who may stay when what is known has changed.
func TestRecheck(t *testing.T) {
	r, d := withDesk(t, Accepted)
	r.listener.Anonymous = true
	join := func(id, user string) *peer {
		p, _ := r.knock(packet.V5, id, user, "secret")
		p.expect("CONNACK")
		return p
	}
	nobody, joe, ann := join("nobody", ""), join("joe", "joe"), join("ann", "ann")
	r.Recheck(r.now)
	r.settle()
	if nobody.closed || joe.closed || ann.closed {
		t.Fatal("nothing has changed")
	}
	d.gone = map[string]bool{"joe": true}
	r.Recheck(r.now)
	joe.expect("DISCONNECT 87")
	r.listener.Anonymous = false
	r.Recheck(r.now)
	nobody.expect("DISCONNECT 87")
	if ann.closed || r.logged("not authorised") != 0 || r.logged("Client joe [") != 1 {
		t.Fatalf("%v, %q", ann.closed, r.lines)
	}
	next := *r.listener
	next.Login = &desk{says: Accepted}
	r.listener.Follow(&next)
	r.Recheck(r.now)
	ann.expect("DISCONNECT 87")
	join("ann", "ann")
	r.Recheck(r.now)
	r.settle()
	if r.online != 1 {
		t.Errorf("%d clients", r.online)
	}
	next.Login, next.Anonymous = nil, true
	r.listener.Follow(&next)
	r.Recheck(r.now)
	r.settle()
	if r.online != 1 {
		t.Errorf("%d clients where all are welcome", r.online)
	}
	r.bare()
}
