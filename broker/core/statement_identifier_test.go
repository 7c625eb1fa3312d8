package core

import (
	"fmt"
	"slices"
	"testing"

	"midge/packet"
)

// TestIdentifiers sends a client 70,000 messages of QoS 1 and 2, of which it
// leaves a few open for good: no identifier is 0 or given out while it is open,
// also after the numbers have gone round, and each is carried by all packets of
// its exchange (v3 [MQTT-2.3.1-2], [MQTT-2.3.1-6]; v5 [MQTT-2.2.1-4],
// [MQTT-2.2.1-5]; v3, v5 [MQTT-4.3.2-1], [MQTT-4.3.3-1]).
func TestIdentifiers(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		t.Run(fmt.Sprint("v", v), func(t *testing.T) { identifiers(t, v) })
	}
}

const identifierRounds = 70_000

func identifiers(t *testing.T, v packet.Version) {
	k := &talk{target: newTarget(), t: t}
	for _, name := range []string{"sub", "pub"} {
		k.mustOpen(name, v)
	}
	p := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "t", 2), Options: true}}
	k.exchange("sub", p.Append(nil, v))
	k.receivedBy("sub")
	left := map[uint16]bool{} // open for good
	seen := map[uint16]bool{}
	again := 0 // identifiers given out anew
	for n := range identifierRounds {
		qos := byte(1 + n%2)
		p := packet.Packet{Type: packet.Publish, QoS: qos, ID: 7, Topic: []byte("t")}
		b := p.Append(nil, v)
		if qos == 2 {
			b = packet.AppendAck(b, v, packet.Pubrel, 7, 0)
		}
		k.exchange("pub", b)
		k.receivedBy("pub")
		id := identifierOf(t, k.receivedBy("sub"), v, packet.Publish)
		if id == 0 || left[id] {
			t.Fatalf("message %d has identifier %d, which is open", n, id)
		}
		if seen[id] {
			again++
		}
		seen[id] = true
		if n%7000 == 17 {
			left[id] = true
			continue
		}
		k.acknowledge(v, qos, id)
	}
	if again == 0 || len(left) != 10 {
		t.Errorf("%d identifiers were used, %d of them again, %d are left open", len(seen), again, len(left))
	}
	if w := k.b.sessions["sub"].window; w.n != len(left) {
		t.Errorf("the window holds %d, not %d", w.n, len(left))
	}
}

// mustOpen connects a client.
func (k *talk) mustOpen(name string, v packet.Version) {
	k.t.Helper()
	if err := k.Open(name); err != nil {
		k.t.Fatal(err)
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: v, CleanStart: true, ClientID: []byte(name)}}
	k.exchange(name, p.Append(nil, v))
	if b := k.receivedBy(name); len(b) < 4 || b[0] != 0x20 || b[3] != 0 {
		k.t.Fatalf("%s is not connected: % x", name, b)
	}
}

// exchange hands bytes to the broker and its output to the clients, without the
// checks of a script's step.
func (k *talk) exchange(name string, b []byte) {
	c := k.conns[name]
	if used, _ := receiveAll(k.b, &c.Client, b, len(b), k.now); used != len(b) {
		k.t.Fatalf("%d of %d bytes were used", used, len(b))
	}
	k.flush()
}

func (k *talk) receivedBy(name string) []byte {
	b, closed := k.Received(name)
	if closed {
		k.t.Fatalf("%s was closed", name)
	}
	return b
}

// identifierOf decodes the one packet in b.
func identifierOf(t *testing.T, b []byte, v packet.Version, want packet.Type) uint16 {
	t.Helper()
	h, err := packet.ReadHeader(b, v)
	if err != nil || h.Len() != len(b) || h.Type() != want {
		t.Fatalf("% x is not one %v", b, want)
	}
	var p packet.Packet
	if err := p.Decode(v, packet.FromServer, h.First, b[h.Size:]); err != nil {
		t.Fatal(err)
	}
	return p.ID
}

// acknowledge ends the exchange of a message sent to sub.
func (k *talk) acknowledge(v packet.Version, qos byte, id uint16) {
	if qos == 1 {
		k.exchange("sub", packet.AppendAck(nil, v, packet.Puback, id, 0))
		return
	}
	k.exchange("sub", packet.AppendAck(nil, v, packet.Pubrec, id, 0))
	if got := identifierOf(k.t, k.receivedBy("sub"), v, packet.Pubrel); got != id {
		k.t.Fatalf("PUBREL has identifier %d, not %d", got, id)
	}
	k.exchange("sub", packet.AppendAck(nil, v, packet.Pubcomp, id, 0))
	if b := k.receivedBy("sub"); !slices.Equal(b, nil) {
		k.t.Fatalf("after PUBCOMP: % x", b)
	}
}
