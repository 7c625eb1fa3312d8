package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"midge/packet"
	"midge/persist"
)

// sysFilters are the rows of filters and topics that clients cannot publish to;
// those of other topics are in testdata/scripts/filters.txt.
var sysFilters = []struct {
	filter   string
	yes, not []string
}{
	{"#", nil, []string{"$SYS", "$SYS/uptime"}},
	{"+", nil, []string{"$SYS"}},
	{"+/+", nil, []string{"$SYS/x"}},
	{"+/#", nil, []string{"$SYS", "$SYS/x"}},
	{"+/+/#", nil, []string{"$SYS/x", "$SYS/monitor/Clients"}},
	{"+/monitor/Clients", nil, []string{"$SYS/monitor/Clients"}},
	{"$SYS/#", []string{"$SYS", "$SYS/", "$SYS/monitor/Clients"}, []string{"a", "SYS/x", "$SYSx/y"}},
	{"$SYS/monitor/+", []string{"$SYS/monitor/Clients"}, []string{"$SYS/monitor", "$SYS/monitor/a/b"}},
	{"$SYS/+", []string{"$SYS/x"}, []string{"$SYS"}},
	{"$SYS", []string{"$SYS"}, []string{"$SYS/", "$SYS/x"}},
}

// TestSysFilters has the broker itself publish to topics under $SYS, for
// subscribers of all versions, in groups too: live, and retained ([MQTT-4.7.2-1]).
func TestSysFilters(t *testing.T) {
	for _, row := range sysFilters {
		for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
			t.Run(fmt.Sprintf("%s/v%d", strings.ReplaceAll(row.filter, "/", "|"), v), func(t *testing.T) {
				k := &talk{target: newTarget(), t: t}
				for _, name := range []string{"live", "group", "later"} {
					k.mustOpen(name, v)
				}
				k.subscribe("live", v, row.filter, 0)
				k.subscribe("group", v, "$share/g/"+row.filter, 0)
				all := append(slices.Clone(row.yes), row.not...)
				slices.Sort(all)
				var want []string
				for _, name := range all {
					m := publication{topic: name, payload: "x", expires: persist.Never, retain: true}
					k.b.route(&m, k.now)
					if slices.Contains(row.yes, name) {
						want = append(want, name)
					}
				}
				k.flush()
				for _, client := range []string{"live", "group"} {
					if got := k.topics(client, v); !slices.Equal(got, want) {
						t.Errorf("%s received %q, want %q", client, got, want)
					}
				}
				k.subscribe("later", v, row.filter, 0)
				if got := k.topics("later", v); !slices.Equal(got, want) {
					t.Errorf("retained: %q, want %q", got, want)
				}
			})
		}
	}
}

// subscribe subscribes to one filter. Of the answer only the SUBACK is taken.
func (k *talk) subscribe(name string, v packet.Version, filter string, qos byte) {
	k.t.Helper()
	p := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{
		Raw: packet.AppendSubscription(nil, filter, qos), Options: true}}
	k.exchange(name, p.Append(nil, v))
	c := k.conns[name]
	h, err := packet.ReadHeader(c.got, v)
	if err != nil || h.Len() > len(c.got) || h.Type() != packet.Suback || c.got[h.Len()-1] != qos {
		k.t.Fatalf("%s is not subscribed to %s: % x", name, filter, c.got)
	}
	c.got = c.got[h.Len():]
}

// published decodes what came for a client, which is PUBLISH packets alone.
func (k *talk) published(name string, v packet.Version) (all []packet.Packet) {
	k.t.Helper()
	for b := k.receivedBy(name); len(b) > 0; {
		h, err := packet.ReadHeader(b, v)
		if err != nil || h.Len() > len(b) || h.Type() != packet.Publish {
			k.t.Fatalf("%s: % x is no PUBLISH", name, b)
		}
		var p packet.Packet
		if err := p.Decode(v, packet.FromServer, h.First, b[h.Size:h.Len()]); err != nil {
			k.t.Fatal(err)
		}
		all = append(all, p)
		b = b[h.Len():]
	}
	return all
}

func (k *talk) topics(name string, v packet.Version) (names []string) {
	k.t.Helper()
	for _, p := range k.published(name, v) {
		names = append(names, string(p.Topic))
	}
	return names
}

// TestMatchingCost subscribes to 100,000 mixes of "+" and a literal level, and
// publishes to a topic that agrees with every one of them up to its last level;
// then one of all their levels that agrees with few. A walk that tried every mix
// of every level anew would not end. What the walk visits is counted in
// topic.TestIndexAdversarial.
func TestMatchingCost(t *testing.T) {
	const filters, levels = 100_000, 17
	k := &talk{target: newTarget(), t: t}
	k.mustOpen("sub", packet.V311)
	k.mustOpen("pub", packet.V311)
	const batch = 500
	for first := 0; first < filters; first += batch {
		var raw []byte
		for mix := first; mix < first+batch; mix++ {
			raw = packet.AppendSubscription(raw, mixed(mix, levels)+"/z", 0)
		}
		p := packet.Packet{Type: packet.Subscribe, ID: 1, Filters: packet.Filters{Raw: raw, Options: true}}
		k.exchange("sub", p.Append(nil, packet.V311))
		if b := k.receivedBy("sub"); len(b) != 3+2+batch {
			t.Fatalf("% x", b)
		}
	}
	for _, c := range []struct {
		topic string
		want  int
	}{
		{strings.Repeat("a/", levels) + "y", 0},
		{strings.Repeat("a/", 180) + "z", 0},
		{strings.Repeat("b/", levels-1) + "a/z", 2}, // the last literal or not
		{strings.Repeat("b/", levels) + "z", 1},
	} {
		p := packet.Packet{Type: packet.Publish, Topic: []byte(c.topic), Payload: []byte("x")}
		k.exchange("pub", p.Append(nil, packet.V311))
		if got := k.topics("sub", packet.V311); len(got) != c.want {
			t.Errorf("%s came %d times, want %d", c.topic, len(got), c.want)
		}
	}
}

// mixed is a filter of so many levels; bit 0 of mix stands for the last of them.
// 1 is the level "a", 0 is "+".
func mixed(mix, levels int) string {
	all := make([]string, levels)
	for i := range all {
		all[levels-1-i] = "+"
		if mix>>i&1 == 1 {
			all[levels-1-i] = "a"
		}
	}
	return strings.Join(all, "/")
}
