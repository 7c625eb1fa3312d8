package core

import (
	"fmt"
	"strings"
	"testing"

	"midge/packet"
)

// connack sends a CONNECT on a new connection and gives the CONNACK that comes
// back, the first packet there is.
func (t *target) connack(tb testing.TB, name string, c packet.ConnectBody, props []byte) *packet.Packet {
	tb.Helper()
	p := packet.Packet{Type: packet.Connect, Connect: c, Props: packet.Properties{Raw: props}}
	if err := t.Open(name); err != nil {
		tb.Fatal(err)
	}
	data := p.Append(nil, c.Version)
	k := t.conns[name]
	receiveAll(t.b, &k.Client, data, len(data), t.now) // without the check of every state that Send makes
	t.flushOne(k)
	b, closed := t.Received(name)
	h, err := packet.ReadHeader(b, c.Version)
	if err != nil || h.Size == 0 || h.Len() > len(b) || h.Type() != packet.Connack {
		tb.Fatalf("%s received no CONNACK: % x", name, b)
	}
	answer := new(packet.Packet)
	if err := answer.Decode(c.Version, packet.FromServer, h.First, b[h.Size:h.Len()]); err != nil {
		tb.Fatalf("%s received % x: %v", name, b, err)
	}
	if refused := answer.Reason != packet.Success; closed != refused {
		tb.Fatalf("%s: code %v, closed %v", name, answer.Reason, closed)
	}
	return answer
}

// assignedID connects with an empty client id and gives the one that was assigned.
func (t *target) assignedID(tb testing.TB, name string) string {
	tb.Helper()
	a := t.connack(tb, name, packet.ConnectBody{Version: packet.V5}, packet.AppendUint32Property(nil, packet.SessionExpiry, 60))
	if a.Reason != packet.Success || !a.Props.Has(packet.AssignedClientID) || a.SessionPresent {
		tb.Fatalf("%s: %v, an id %v, a session %v", name, a.Reason, a.Props.Has(packet.AssignedClientID), a.SessionPresent)
	}
	return string(a.Props.AssignedClientID)
}

// TestAssignedIDs connects 1,000 clients without a client id beside sessions that
// are there: no two get the same, and none gets another session's (v5
// [MQTT-3.1.3-6], [MQTT-3.2.2-16]; v3 [MQTT-3.1.3-6]).
func TestAssignedIDs(t *testing.T) {
	k := newTarget()
	taken := map[string]bool{}
	for i := range 10 {
		id := fmt.Sprint("client", i)
		a := k.connack(t, id, packet.ConnectBody{Version: packet.V5, ClientID: []byte(id)}, nil)
		if a.Props.Has(packet.AssignedClientID) {
			t.Errorf("%s has an id of its own, and was told %s", id, a.Props.AssignedClientID)
		}
		taken[id] = true
	}
	for i := range 1000 {
		id := k.assignedID(t, fmt.Sprint("v5-", i))
		if !strings.HasPrefix(id, "auto-") || taken[id] {
			t.Fatalf("client %d got the id %q", i, id)
		}
		taken[id] = true
	}
	for i := range 1000 { // 3.1.1 cannot be told, but has one as well
		k.connack(t, fmt.Sprint("v4-", i), packet.ConnectBody{Version: packet.V311, CleanStart: true}, nil)
	}
	if len(k.b.sessions) != 2010 || k.b.online != 2010 {
		t.Errorf("%d sessions, %d of them online", len(k.b.sessions), k.b.online)
	}
	if err := k.finish(); err != nil {
		t.Error(err)
	}
}

// TestAssignedIDTaken lets somebody else have the id that would be assigned next,
// connected or not: another one is assigned (v5 [MQTT-3.2.2-16]).
func TestAssignedIDTaken(t *testing.T) {
	foreseen := newTarget().assignedID(t, "a") // all targets have the same random numbers
	for _, online := range []bool{true, false} {
		k := newTarget()
		k.connack(t, "holder", packet.ConnectBody{Version: packet.V311, ClientID: []byte(foreseen)}, nil)
		if !online {
			if err := k.Drop("holder", true); err != nil {
				t.Fatal(err)
			}
		}
		if id := k.assignedID(t, "a"); id == foreseen {
			t.Errorf("%s is another session's", id)
		}
		if s := k.b.sessions[foreseen]; s == nil || (s.client != nil) != online {
			t.Errorf("the session of %s was touched", foreseen)
		}
		if err := k.finish(); err != nil {
			t.Error(err)
		}
	}
}

// TestAssignedIDIsTheSession comes back with the id that was assigned and finds
// its session: the CONNECT counted as one with that id (v5 [MQTT-3.1.3-7]).
func TestAssignedIDIsTheSession(t *testing.T) {
	k := newTarget()
	id := k.assignedID(t, "a")
	if err := k.Drop("a", true); err != nil {
		t.Fatal(err)
	}
	a := k.connack(t, "b", packet.ConnectBody{Version: packet.V5, ClientID: []byte(id)}, nil)
	if !a.SessionPresent || a.Props.Has(packet.AssignedClientID) {
		t.Errorf("a session %v, an id %v", a.SessionPresent, a.Props.Has(packet.AssignedClientID))
	}
	if err := k.finish(); err != nil {
		t.Error(err)
	}
}

// TestLongClientID connects with the longest client ids there can be, which
// differ in their last byte alone (v5 [MQTT-3.1.3-5], v3 [MQTT-3.1.3-5]).
func TestLongClientID(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		k := newTarget()
		props := packet.AppendUint32Property(nil, packet.SessionExpiry, 60)
		if v != packet.V5 {
			props = nil
		}
		ids := []string{strings.Repeat("x", 65534), strings.Repeat("x", 65535), strings.Repeat("x", 65534) + "y"}
		for i, id := range ids {
			a := k.connack(t, fmt.Sprint(i), packet.ConnectBody{Version: v, ClientID: []byte(id)}, props)
			if a.Reason != packet.Success || a.SessionPresent {
				t.Fatalf("v%d, id %d: %v, a session %v", v, i, a.Reason, a.SessionPresent)
			}
		}
		if len(k.b.sessions) != 3 || k.b.online != 3 {
			t.Errorf("v%d: %d sessions, %d of them online", v, len(k.b.sessions), k.b.online)
		}
		if err := k.Drop("1", true); err != nil {
			t.Fatal(err)
		}
		a := k.connack(t, "again", packet.ConnectBody{Version: v, ClientID: []byte(ids[1])}, props)
		if want := v != packet.V31; a.SessionPresent != want {
			t.Errorf("v%d: session present is %v", v, a.SessionPresent)
		}
	}
}
