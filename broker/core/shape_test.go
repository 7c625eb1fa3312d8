package core

import (
	"fmt"
	"testing"

	"midge/packet"
)

// The benchmarks here are of loads by their shape, from the bytes that clients
// send to the bytes that they receive. ns/msg counts each delivery.

// replying writes all output and has its receivers acknowledge what is in it,
// until nothing is left. It returns how many PUBLISH packets were among it.
func (l *line) replying(v func(*Client) packet.Version) (n int) {
	for {
		dirty := l.Dirty()
		if len(dirty) == 0 {
			if l.Next() > l.now {
				return n
			}
			l.Tick(l.now)
			continue
		}
		for _, c := range dirty {
			out := l.first(c)
			var k int
			l.ack, k = appendReplies(l.ack[:0], out, v(c))
			n += k
			l.Flushed(c, len(out), l.now)
			if len(l.ack) > 0 {
				l.give(c, l.ack)
			}
		}
	}
}

func allV311(*Client) packet.Version { return packet.V311 }

// appendReplies appends what a client answers to out, and counts the PUBLISH
// packets in it.
func appendReplies(ack, out []byte, v packet.Version) ([]byte, int) {
	n := 0
	for len(out) > 0 {
		h, err := packet.ReadHeader(out, v)
		if err != nil || h.Size == 0 {
			panic("output that is no packet")
		}
		body := out[h.Size:h.Len()]
		switch packet.Type(h.First >> 4) {
		case packet.Publish:
			n++
			id := body[2+(int(body[0])<<8|int(body[1])):]
			switch h.First >> 1 & 3 {
			case 1:
				ack = append(ack, byte(packet.Puback)<<4, 2, id[0], id[1])
			case 2:
				ack = append(ack, byte(packet.Pubrec)<<4, 2, id[0], id[1])
			}
		case packet.Pubrec:
			ack = append(ack, byte(packet.Pubrel)<<4|2, 2, body[0], body[1])
		case packet.Pubrel:
			ack = append(ack, byte(packet.Pubcomp)<<4, 2, body[0], body[1])
		}
		out = out[h.Len():]
	}
	return ack, n
}

// want makes c subscribe to filters, in one packet.
func (l *line) want(c *Client, v packet.Version, qos byte, filters ...string) {
	s := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Options: true}}
	for _, f := range filters {
		s.Filters.Raw = packet.AppendSubscription(s.Filters.Raw, f, qos)
	}
	l.give(c, s.Append(nil, v))
	l.flush()
}

// BenchmarkFleet: each of many devices tells its state, which a service reads by
// a wildcard, and the service has a command for each.
func BenchmarkFleet(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		for _, n := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("qos%d/%d", qos, n), func(b *testing.B) {
				const v = packet.V311
				l := newLine(b, wide())
				service := l.dial(v, "service", true, nil)
				l.want(service, v, qos, "site/+/device/+/state")
				devices, states := make([]*Client, n), make([][]byte, n)
				var commands []byte
				payload := make([]byte, 64)
				for i := range n {
					at := fmt.Sprintf("site/%04d/device/%07d/", i/100, i)
					devices[i] = l.dial(v, fmt.Sprintf("device%d", i), true, nil)
					l.want(devices[i], v, qos, at+"cmd")
					states[i] = packet.AppendPublish(nil, v, qos<<1, at+"state", 1, "", payload)
					commands = packet.AppendPublish(commands, v, qos<<1, at+"cmd", uint16(1+i), "", payload)
				}
				got := 0
				b.ReportAllocs()
				for b.Loop() {
					for i, c := range devices {
						l.give(c, states[i])
						if i%64 == 63 { // as many as are ready in one turn
							got += l.replying(allV311)
						}
					}
					l.give(service, commands)
					got += l.replying(allV311)
				}
				arrived(b, got, 2*n)
			})
		}
	}
}

// arrived checks that n messages were delivered each time, and reports ns/msg.
func arrived(b *testing.B, got, n int) {
	b.Helper()
	if got != n*b.N {
		b.Fatalf("%d deliveries instead of %d", got, n*b.N)
	}
	perMessage(b, n)
}

// BenchmarkMixed: 100 clients of both versions, with wildcards that overlap, get
// messages of every QoS from 10 publishers.
func BenchmarkMixed(b *testing.B) {
	versions := map[*Client]packet.Version{}
	l := newLine(b, wide())
	dial := func(i int, kind string) *Client {
		v := []packet.Version{packet.V311, packet.V5}[i%2]
		c := l.dial(v, fmt.Sprintf("%s%d", kind, i), true, nil)
		versions[c] = v
		return c
	}
	for i := range 100 {
		c := dial(i, "sub")
		l.want(c, versions[c], byte(i%3), []string{
			fmt.Sprintf("plant/%d/line/%d/temperature", i%5, i%7), fmt.Sprintf("plant/%d/#", i%5),
			fmt.Sprintf("+/+/line/%d/+", i%7), "plant/+/line/+/alarm"}[i%4])
	}
	pubs, data := make([]*Client, 10), make([][]byte, 10)
	for i := range pubs {
		c := dial(i, "pub")
		pubs[i] = c
		for k := range 16 {
			name := fmt.Sprintf("plant/%d/line/%d/%s", (i+k)%5, (i+3*k)%7, []string{"temperature", "alarm", "speed"}[k%3])
			data[i] = packet.AppendPublish(data[i], versions[c], byte(k%3)<<1, name, uint16(k+1), "", make([]byte, 32))
		}
	}
	turn := func() int {
		for i, c := range pubs {
			l.give(c, data[i])
		}
		return l.replying(func(c *Client) packet.Version { return versions[c] })
	}
	n, got := turn(), 0
	b.ReportAllocs()
	for b.Loop() {
		got += turn()
	}
	arrived(b, got, n)
}

// BenchmarkQueue: a burst for a client with a window of 20, which the rest of the
// burst waits for.
func BenchmarkQueue(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		for _, n := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("qos%d/%d", qos, n), func(b *testing.B) {
				cfg := plain()
				cfg.MaxQueuedMessages = 0
				l := newLine(b, cfg)
				l.pub = l.dial(packet.V311, "pub", true, nil)
				c := l.dial(packet.V311, "sub", true, nil)
				l.want(c, packet.V311, qos, loadTopic)
				var data []byte
				for i := range n {
					data = packet.AppendPublish(data, packet.V311, qos<<1, loadTopic, uint16(i+1), "", make([]byte, 64))
				}
				got := 0
				b.ReportAllocs()
				for b.Loop() {
					l.give(l.pub, data)
					got += l.replying(allV311)
				}
				arrived(b, got, n)
			})
		}
	}
}

// BenchmarkRetainedWindow: the feed of a subscriber with a window of 20 to all of
// 10,000 retained messages.
func BenchmarkRetainedWindow(b *testing.B) {
	const n = 10_000
	for _, filter := range []string{"#", "building/+/floor/+/sensor/+"} {
		b.Run(filter, func(b *testing.B) {
			l := newLine(b, plain())
			l.pub = l.dial(packet.V311, "pub", true, nil)
			for i := range n {
				name := fmt.Sprintf("building/%d/floor/%d/sensor/%d", i%100, i/100%50, i)
				l.give(l.pub, packet.AppendPublish(nil, packet.V311, 1<<1|1, name, 1, "", make([]byte, 64)))
				l.flush()
			}
			c := l.dial(packet.V311, "sub", true, nil)
			s := packet.Packet{Type: packet.Subscribe, ID: 1,
				Filters: packet.Filters{Raw: packet.AppendSubscription(nil, filter, 1), Options: true}}
			data := s.Append(nil, packet.V311)
			got := 0
			b.ReportAllocs()
			for b.Loop() {
				l.give(c, data)
				got += l.replying(allV311)
			}
			arrived(b, got, n)
		})
	}
}
