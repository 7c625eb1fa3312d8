package core

import (
	"fmt"
	"testing"

	"midge/packet"
)

// TestReceiveMaximum: exactly as many messages of QoS 1 are open towards a client
// as it takes, and one more for each it acknowledges (v5 [MQTT-4.9.0-1],
// [MQTT-3.3.4-9]). A client that names no number takes 65,535, which
// max_inflight_messages makes fewer.
func TestReceiveMaximum(t *testing.T) {
	for _, c := range []struct{ takes, inflight, open int }{
		{1, 20, 1}, {2, 20, 2}, {19, 20, 19}, {21, 20, 21}, {65535, 20, 65535}, {0, 0, 65535}, {0, 20, 20}, {0, 1, 1}, {5, 0, 5},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			k := &talk{target: newTarget(), t: t}
			k.mustOpen("pub", packet.V5)
			k.cfg.MaxInflightMessages, k.cfg.MaxQueuedMessages = c.inflight, 0
			k.b.Configure(k.cfg, k.now)
			k.openWindow(c.takes)
			for range c.open + 10 {
				k.exchange("pub", (&packet.Packet{Type: packet.Publish, QoS: 1, ID: 7, Topic: []byte("t")}).Append(nil, packet.V5))
			}
			publishes := k.countPublishes()
			if publishes != c.open {
				t.Fatalf("%d messages are open, not %d", publishes, c.open)
			}
			for i := range 10 {
				k.exchange("sub", packet.AppendAck(nil, packet.V5, packet.Puback, uint16(i+1), 0))
				if got := k.countPublishes(); got != 1 {
					t.Fatalf("%d messages came for a place that was given back", got)
				}
				if c.open == 65535 {
					continue // the identifier is in use again
				}
				k.exchange("sub", packet.AppendAck(nil, packet.V5, packet.Puback, uint16(i+1), 0))
				if got := k.countPublishes(); got != 0 {
					t.Fatalf("%d messages came for no place", got)
				}
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// openWindow connects a subscriber to t with that Receive Maximum, 0 for none.
func (k *talk) openWindow(takes int) {
	if err := k.Open("sub"); err != nil {
		k.t.Fatal(err)
	}
	p := packet.Packet{Type: packet.Connect, Connect: packet.ConnectBody{Version: packet.V5, CleanStart: true, ClientID: []byte("sub")}}
	if takes > 0 {
		p.Props.Raw = packet.AppendUint16Property(nil, packet.ReceiveMaximum, uint16(takes))
	}
	subscribe := packet.Packet{Type: packet.Subscribe, ID: 1,
		Filters: packet.Filters{Raw: packet.AppendSubscription(nil, "t", 1), Options: true}}
	k.exchange("sub", subscribe.Append(p.Append(nil, packet.V5), packet.V5))
	k.receivedBy("sub")
}

// countPublishes counts what came for the subscriber.
func (k *talk) countPublishes() (n int) {
	for b := k.receivedBy("sub"); len(b) > 0; n++ {
		h, err := packet.ReadHeader(b, packet.V5)
		if err != nil || h.Type() != packet.Publish {
			k.t.Fatalf("% x is no PUBLISH", b)
		}
		b = b[h.Len():]
	}
	return n
}
