package core

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"midge/persist"
)

// The $SYS tree: retained messages of the broker about itself, brought up to
// date at every multiple of sys_interval. A value goes out when it changed.

const sysRoot = "$SYS/broker/"

// isSys says that a topic is in the $SYS tree, which is not durable.
func isSys(name string) bool { return strings.HasPrefix(name, "$SYS/") }

// sysTree is what $SYS/broker has said so far.
type sysTree struct {
	started Time
	last    Time // the last update
	timer   timer
	figures []figure
	given   []figure // by Figure
	loads   []load
	buf     []byte

	outPackets, outBytes int64 // see countOut
}

// figure is a topic with one number.
type figure struct {
	name  string
	value func(*Broker) int64
	said  int64
	once  bool // it was said
}

// load is three topics with a counter's moving averages per minute.
type load struct {
	name  string
	value func(*Broker) uint64
	count uint64 // at the last update
	rates [3]float64
	once  bool
}

func (b *Broker) startSys(now Time) {
	t := &b.sys
	if b.cfg.SysInterval <= 0 {
		b.disarm(&t.timer)
		return
	}
	if t.figures == nil {
		t.started, t.last = now, now
		t.figures, t.loads = sysFigures(), sysLoads()
		b.say("version", []byte(b.cfg.Version), now)
		b.updateSys(now)
	}
	b.arm(&t.timer, nextMultiple(now, b.cfg.SysInterval), t)
}

// nextMultiple is the first multiple of step after now.
func nextMultiple(now, step Time) Time { return now - now%step + step }

func (t *sysTree) due(b *Broker, now Time) {
	t.timer = timer{}
	b.updateSys(now)
	b.arm(&t.timer, nextMultiple(now, b.cfg.SysInterval), t)
}

func (b *Broker) updateSys(now Time) {
	t := &b.sys
	t.buf = append(strconv.AppendInt(t.buf[:0], (now-t.started)/1000, 10), " seconds"...)
	b.say("uptime", t.buf, now)
	b.updateLoads(now)
	b.countOut()
	b.sayFigures(t.figures, now)
	b.sayFigures(t.given, now)
	t.last = now
}

// sayFigures publishes those that changed.
func (b *Broker) sayFigures(figures []figure, now Time) {
	t := &b.sys
	for i := range figures {
		f := &figures[i]
		v := f.value(b)
		if f.once && v == f.said {
			continue
		}
		f.said, f.once = v, true
		t.buf = strconv.AppendInt(t.buf[:0], v, 10)
		b.say(f.name, t.buf, now)
	}
}

// Figure adds a number of the caller's to the tree, as $SYS/broker/ and name, in
// place of one of that name. value is asked at each update, on the broker's
// goroutine. Without a value it is taken out of the tree.
func (b *Broker) Figure(name string, value func() int64) {
	t := &b.sys
	t.given = slices.DeleteFunc(t.given, func(f figure) bool { return f.name == name })
	if value == nil {
		b.unretain(sysRoot + name)
		return
	}
	t.given = append(t.given, figure{name: name, value: func(*Broker) int64 { return value() }})
}

// updateLoads moves the averages on, by mosquitto's formula.
func (b *Broker) updateLoads(now Time) {
	t := &b.sys
	elapsed := float64(now-t.last) / 1000
	for i := range t.loads {
		l := &t.loads[i]
		v := l.value(b)
		perMinute := 0.0
		if elapsed > 0 {
			perMinute = float64(v-l.count) * 60 / elapsed
		}
		l.count = v
		for j, span := range [...]float64{60, 300, 900} {
			rate := perMinute + math.Exp(-elapsed/span)*(l.rates[j]-perMinute)
			moved := math.Abs(rate-l.rates[j]) >= 0.01
			l.rates[j] = rate
			if moved || !l.once {
				t.buf = strconv.AppendFloat(t.buf[:0], rate, 'f', 2, 64)
				b.say("load/"+l.name+[...]string{"/1min", "/5min", "/15min"}[j], t.buf, now)
			}
		}
		l.once = true
	}
}

// say publishes one value of the tree.
func (b *Broker) say(name string, value []byte, now Time) {
	b.pub = publication{
		topic: sysRoot + name, payload: string(value),
		expires: persist.Never, qos: 2, retain: b.cfg.RetainAvailable,
	}
	b.route(&b.pub, now)
}

func sysFigures() []figure {
	counters := []struct {
		name  string
		value func(*Broker) int64
	}{
		{"heap/current", func(b *Broker) int64 { return b.acct.bytes }}, // first: the others are kept too
		{"heap/maximum", func(b *Broker) int64 { return b.acct.most }},
		{"clients/total", func(b *Broker) int64 { return int64(len(b.sessions)) }},
		{"clients/maximum", func(b *Broker) int64 { return int64(b.stats.MaxClients) }},
		{"clients/disconnected", offlineSessions},
		{"clients/inactive", offlineSessions},
		{"clients/connected", func(b *Broker) int64 { return int64(b.sockets) }},
		{"clients/active", func(b *Broker) int64 { return int64(b.sockets) }},
		{"clients/expired", func(b *Broker) int64 { return int64(b.stats.Expired) }},
		{"messages/stored", storedMessages},
		{"store/messages/count", storedMessages},
		{"store/messages/bytes", func(b *Broker) int64 { return b.stats.QueuedBytes + b.stats.RetainedBytes }},
		{"subscriptions/count", func(b *Broker) int64 { return int64(b.stats.Subscriptions) }},
		{"shared_subscriptions/count", func(b *Broker) int64 { return int64(b.stats.SharedSubscriptions) }},
		{"retained messages/count", func(b *Broker) int64 { return int64(b.retained.Len()) }},
		{"connections/socket/count", func(b *Broker) int64 { return int64(b.stats.Sockets) }},
		{"packet/out/count", func(b *Broker) int64 { return b.sys.outPackets }},
		{"packet/out/bytes", func(b *Broker) int64 { return b.sys.outBytes }},
		{"messages/received", func(b *Broker) int64 { return int64(b.stats.MessagesReceived) }},
		{"messages/sent", func(b *Broker) int64 { return int64(b.stats.MessagesSent) }},
		{"publish/messages/dropped", func(b *Broker) int64 { return int64(b.stats.PublishDropped) }},
		{"publish/messages/received", func(b *Broker) int64 { return int64(b.stats.PublishReceived) }},
		{"publish/messages/sent", func(b *Broker) int64 { return int64(b.stats.PublishSent) }},
		{"publish/bytes/received", func(b *Broker) int64 { return int64(b.stats.PublishBytesReceived) }},
		{"publish/bytes/sent", func(b *Broker) int64 { return int64(b.stats.PublishBytesSent) }},
		{"bytes/received", func(b *Broker) int64 { return int64(b.stats.BytesReceived) }},
		{"bytes/sent", func(b *Broker) int64 { return int64(b.stats.BytesSent) }},
	}
	out := make([]figure, len(counters))
	for i, c := range counters {
		out[i] = figure{name: c.name, value: c.value}
	}
	return out
}

func sysLoads() []load {
	return []load{
		{name: "messages/received", value: func(b *Broker) uint64 { return b.stats.MessagesReceived }},
		{name: "messages/sent", value: func(b *Broker) uint64 { return b.stats.MessagesSent }},
		{name: "publish/dropped", value: func(b *Broker) uint64 { return b.stats.PublishDropped }},
		{name: "publish/received", value: func(b *Broker) uint64 { return b.stats.PublishReceived }},
		{name: "publish/sent", value: func(b *Broker) uint64 { return b.stats.PublishSent }},
		{name: "bytes/received", value: func(b *Broker) uint64 { return b.stats.BytesReceived }},
		{name: "bytes/sent", value: func(b *Broker) uint64 { return b.stats.BytesSent }},
		{name: "sockets", value: func(b *Broker) uint64 { return b.stats.Sockets }},
		{name: "connections", value: func(b *Broker) uint64 { return b.stats.Connections }},
	}
}

func offlineSessions(b *Broker) int64 { return int64(len(b.sessions) - b.online) }

// storedMessages counts what is retained and what is held for sessions.
func storedMessages(b *Broker) int64 { return int64(b.retained.Len() + b.stats.Queued) }

// countOut counts what waits for clients that are connected: packets in queues,
// and bytes in outputs.
func (b *Broker) countOut() {
	t := &b.sys
	t.outPackets, t.outBytes = 0, 0
	for _, s := range b.sessions {
		if c := s.client; c != nil {
			t.outPackets += int64(s.waiting.len())
			t.outBytes += int64(c.out.len())
		}
	}
}
