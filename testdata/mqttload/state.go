package main

import (
	"fmt"
	"time"
)

func runStart(r *result) { r.mem(take(true)) }

func runIdle(r *result) {
	n := o.clients
	cs := make([]*conn, n)
	l.v.init(n, n)
	for i := range n {
		c := l.add(name("i", i))
		c.lo, c.n = uint32(i), 1
		cs[i] = c
		l.topics.add("idle/%d/cmd", i)
		if o.sub {
			c.onUp = func(c *conn) {
				l.write(c, appSubscribe(l.wbuf[:0], 1, o.qos, fmt.Sprintf("idle/%d/cmd", c.idx)))
			}
		}
	}
	a := take(true)
	l.open(cs)
	if o.sub {
		l.waitFor(func() bool { return l.subacks == n }, "SUBACKs")
	}
	end := l.progress
	l.rest(300 * time.Millisecond)
	b := take(true)
	r.one("connect", n, a, b, end.Sub(a.t))
	r.growth("bytes_per_item", n, a, b)
	r.mem(b)
	l.rest(o.hold)
	c := take(false)
	if o.pid != 0 && o.hold > 0 {
		r.num("idle_cpu_ms_per_s", 1e3*(c.broker-b.broker).Seconds()/c.t.Sub(b.t).Seconds(), "ms/s")
	}
	l.ping(cs)
	d := take(false)
	r.per("broker_us_per_ping", n, c, d)
	if o.sub {
		m := min(n, 1000)
		p := newPub(l.add(name("p", 0)), o.qos, pickOnce, 0, m)
		p.step = uint32(n / m)
		p.limit, p.route = uint32(n), func(s uint32) []*conn { return cs[s : s+1] }
		newGroup([]*pub{p}, cs)
		l.open([]*conn{p.c})
		p.prepare(1)
		l.drive(r, nil)
		l.rest(100 * time.Millisecond)
		exp, recv := totals(cs)
		l.v.judge(r, o.qos, exp, recv, 0)
	}
	d = take(false)
	l.close(cs)
	l.rest(200 * time.Millisecond)
	e := take(true)
	r.per("broker_us_per_disconnect", n, d, e)
	if o.pid != 0 {
		r.num("rss_after_kb", float64(e.rss), "KiB")
	}
}

func runSubs(r *result) {
	n, s := o.clients, o.subs
	per := (s + n - 1) / n
	n = (s + per - 1) / per
	l.v.init(s, s)
	for i := range s {
		l.topics.add("site/%d/dev%d/state", i/per, i%per)
	}
	o.pubs = min(o.pubs, s)
	subs := make([]*conn, n)
	upcoming := make([]int, n) // next filter
	more := func(c *conn) {
		k := int(c.idx)
		end := min((k+1)*per, s)
		if c.subacks < upcoming[k]-k*per || upcoming[k] == end {
			return
		}
		b, stop := l.wbuf[:0], min(end, upcoming[k]+500*o.perSub)
		for pid := 1; upcoming[k] < stop; pid++ {
			f := []string{}
			for ; len(f) < o.perSub && upcoming[k] < stop; upcoming[k]++ {
				f = append(f, string(l.topics.at(uint32(upcoming[k]))))
			}
			b = appSubscribe(b, pid, o.qos, f...)
		}
		l.wbuf = b
		l.write(c, b)
	}
	for i := range n {
		c := l.add(name("s", i))
		c.lo = uint32(i * per)
		c.n = uint32(min(s, (i+1)*per)) - c.lo
		upcoming[i] = i * per
		c.onSuback = more
		subs[i] = c
	}
	l.open(subs)
	l.rest(200 * time.Millisecond)
	a := take(true)
	for _, c := range subs {
		more(c)
	}
	l.nap = min(napLimit(), 500e3)
	l.waitFor(func() bool { return l.subacks == s }, "SUBACKs")
	l.nap = 0
	end := l.progress
	l.rest(100 * time.Millisecond)
	b := take(true)
	r.one("subscribe", s, a, b, end.Sub(a.t))
	r.growth("bytes_per_item", s, a, b)
	r.mem(b)
	if o.n == 0 {
		return
	}
	pubs := spreadPubs(o.n, func(x uint32) []*conn { return subs[int(x)/per : int(x)/per+1] })
	newGroup(pubs, subs)
	for _, p := range pubs {
		l.open([]*conn{p.c})
		p.prepare(len(pubs))
	}
	c := take(false)
	l.drive(r, nil)
	l.rest(150 * time.Millisecond)
	d := take(false)
	exp, recv := totals(subs)
	r.per("broker_us_per_message", recv, c, d)
	l.v.judge(r, o.qos, exp, recv, 0)
}

func runRetain(r *result) {
	const fan = 100
	n := o.n
	l.v.init(2*n, n)
	for i := range n {
		l.topics.add("ret/%d/%d/state", i/fan, i%fan)
	}
	publish := func(kind string, size int) {
		p := newPub(l.add(name(kind, 0)), max(1, o.qos), pickOnce, 0, n)
		p.limit, p.retain, p.size = uint32(n), 1, size
		newGroup([]*pub{p}, nil)
		l.open([]*conn{p.c})
		p.prepare(1)
		l.drive(r, nil)
		l.ping([]*conn{p.c})
		l.rest(100 * time.Millisecond)
		l.close([]*conn{p.c})
		if p.left > 0 {
			failf("only %d of %d retained messages published in time", p.sent, n)
		}
	}
	a := take(true)
	publish("p", o.size)
	end := l.progress
	b := take(true)
	r.one("retained publish", n, a, b, end.Sub(a.t))
	r.growth("bytes_per_item", n, a, b)
	r.mem(b)

	l.retained = true
	got := 0
	for k, what := range []string{"hash", "plus"} {
		filters := []string{"ret/#"}
		for j := 0; k == 1 && j < min(fan, n); j++ {
			filters = append(filters[:j], fmt.Sprintf("ret/+/%d/state", j))
		}
		c := l.add(name("s", k))
		c.n, c.base = uint32(n), k*n
		newGroup(nil, []*conn{c})
		l.open([]*conn{c})
		s := take(false)
		b := l.wbuf[:0]
		for i, f := range filters {
			b = appSubscribe(b, i+1, o.qos, f)
		}
		c.exp = n
		l.lag += n
		l.write(c, b)
		l.drive(r, nil)
		end := l.progress
		l.waitFor(func() bool { return c.subacks == len(filters) }, "SUBACKs")
		l.rest(100 * time.Millisecond)
		e := take(false)
		r.num(what+"_complete", 100*float64(c.recv)/float64(n), "%")
		r.num(what+"_per_s", float64(c.recv)/max(1e-9, end.Sub(s.t).Seconds()), "1/s")
		r.per("broker_us_per_"+what, c.recv, s, e)
		got += c.recv
		l.lag -= n - c.recv // what is lost is lost
		c.exp = c.recv
		l.close([]*conn{c})
	}
	l.v.judge(r, o.qos, 2*n, got, 0)

	publish("clear", 0)
	c := l.add(name("s", 2))
	l.open([]*conn{c})
	l.subscribe([]*conn{c}, func(int) []string { return []string{"ret/#"} })
	stray, size := l.v.stray, l.v.badSize
	l.rest(200 * time.Millisecond)
	if l.v.stray != stray || l.v.badSize != size || c.recv > 0 {
		r.err("retained messages are left after clearing all of them")
	}
	if e := take(true); o.pid != 0 {
		r.num("rss_after_kb", float64(e.rss), "KiB")
	}
}

func runOffline(r *result) {
	n := o.clients
	o.qos = max(1, o.qos)
	l.subQos = o.qos
	l.v.init(n, n)
	subs := make([]*conn, n)
	for i := range n {
		l.topics.add("offline/%d/data", i)
		subs[i] = l.add(name("off", i))
		subs[i].lo, subs[i].n = uint32(i), 1
	}
	l.open(subs) // a clean session first: nothing of an earlier run is left
	l.close(subs)
	for _, c := range subs {
		c.clean = false
	}
	l.open(subs)
	l.subscribe(subs, func(i int) []string { return []string{string(l.topics.at(uint32(i)))} })
	l.close(subs)

	p := newPub(l.add(name("p", 0)), o.qos, pickRound, 0, o.n)
	p.limit = uint32(n)
	g := newGroup([]*pub{p}, nil)
	l.open([]*conn{p.c})
	p.prepare(1)
	a := take(true)
	l.drive(r, nil)
	l.ping([]*conn{p.c})
	end := l.progress
	l.rest(100 * time.Millisecond)
	b := take(true)
	r.one("queued message", p.sent, a, b, end.Sub(a.t))
	r.growth("bytes_per_item", p.sent, a, b)
	r.mem(b)

	g.pubs = nil
	for i, c := range subs {
		c.exp = int(l.v.sent[i])
		l.lag += c.exp
		c.onUp = func(c *conn) {
			if !c.present {
				failf("client %s: the broker forgot the session", c.id)
			}
		}
	}
	newGroup(nil, subs)
	l.stopPub = false
	c := take(false)
	l.open(subs)
	l.drive(r, nil)
	end = l.progress
	l.rest(200 * time.Millisecond)
	d := take(true)
	exp, recv := totals(subs)
	r.per("broker_us_per_replay", recv, c, d)
	r.num("replay_per_s", float64(recv)/max(1e-9, end.Sub(c.t).Seconds()), "1/s")
	if o.pid != 0 {
		r.num("rss_after_kb", float64(d.rss), "KiB")
	}
	if o.maxQueued > 0 {
		keep := 0
		for _, c := range subs {
			keep += max(c.recv, min(c.exp, o.maxQueued))
		}
		if keep < exp {
			r.note(fmt.Sprintf("%d messages beyond -maxqueued were dropped", exp-keep))
		}
		exp = keep
	}
	l.v.judge(r, o.qos, exp, recv, 0)
	l.close(subs)
	for _, c := range subs { // remove the sessions
		c.clean, c.onUp = true, nil
	}
	l.open(subs)
	l.close(subs)
}

func runChurn(r *result) {
	n := o.clients
	l.v.init(n, n)
	started, done := 0, 0
	cs := make([]*conn, n)
	for i := range n {
		l.topics.add("churn/%d", i)
		c := l.add(name("c", i))
		c.lo, c.n = uint32(i), 1
		p := newPub(c, o.qos, pickRound, uint32(i), 0)
		newGroup(nil, []*conn{c})
		p.g = c.g
		busy := false // published, and the message or a handshake is still open
		c.onUp = func(c *conn) {
			l.write(c, appSubscribe(l.wbuf[:0], 1, o.qos, string(l.topics.at(uint32(i)))))
		}
		c.onSuback = func(c *conn) {
			pid := 0
			if p.plen == 0 {
				p.prepare(n)
			}
			if p.qos > 0 {
				pid = p.newPid()
			}
			b, _ := p.encode(l.wbuf[:0], p.first, pid, 0)
			p.due(p.first, 1)
			busy = true
			l.write(c, b)
		}
		c.onRead = func(c *conn) {
			if busy && c.recv >= c.exp && p.inflight == 0 && c.relOpen == 0 {
				busy = false
				l.bye(c)
			}
		}
		c.onDown = func(c *conn) {
			done++
			l.progress = l.now
			if started < o.n && l.now.Before(o.soft) {
				started++
				l.dial(c)
			}
		}
		cs[i] = c
	}
	a := take(true)
	for ; started < min(n, o.n); started++ {
		l.dial(cs[started])
	}
	if !l.run(o.hard, func() bool {
		if l.now.Sub(l.progress) > 10*time.Second {
			failf("no cycle ended for 10 s, %d of %d done", done, o.n)
		}
		return done == started
	}) {
		failf("%d cycles did not end in time", started-done)
	}
	end := l.progress
	l.rest(200 * time.Millisecond)
	b := take(true)
	r.one("cycle", done, a, b, end.Sub(a.t))
	r.mem(b)
	if done < o.n {
		r.note(fmt.Sprintf("time limit: %d of %d cycles done", done, o.n))
	}
	exp, recv := totals(cs)
	l.v.judge(r, o.qos, exp, recv, 0)
}
