package main

import (
	"fmt"
	"sort"
)

// verifier checks deliveries by the stream and sequence numbers they carry.
type verifier struct {
	next []uint32            // next[c.base+stream]: the number due next
	sent []uint32            // numbers given out per stream
	gaps map[int][][2]uint32 // missing ranges [lo,hi) per index of next

	dup, late, stray, badSize, badQos, badRetain, redelivered int
}

func (v *verifier) init(next, streams int) {
	if next > 200e6 {
		failf("subscribers x topics = %d is too large to verify", next)
	}
	*v = verifier{next: make([]uint32, next), sent: make([]uint32, streams), gaps: map[int][][2]uint32{}}
}

// odd sorts out a delivery that is not the next of its stream.
func (v *verifier) odd(c *conn, s, seq uint32) {
	if s-c.lo >= c.n || seq >= v.sent[s] {
		v.stray++
		return
	}
	i := c.base + int(s)
	if n := v.next[i]; seq > n {
		v.gaps[i] = append(v.gaps[i], [2]uint32{n, seq})
		v.next[i] = seq + 1
		c.recv++
		return
	}
	g := v.gaps[i]
	k := sort.Search(len(g), func(k int) bool { return g[k][1] > seq })
	if k == len(g) || g[k][0] > seq {
		v.dup++
		return
	}
	v.late++
	c.recv++
	lo, hi := g[k][0], g[k][1]
	rest := [][2]uint32{}
	if lo < seq {
		rest = append(rest, [2]uint32{lo, seq})
	}
	if seq+1 < hi {
		rest = append(rest, [2]uint32{seq + 1, hi})
	}
	v.gaps[i] = append(g[:k:k], append(rest, g[k+1:]...)...)
}

func (v *verifier) oddShape(h byte, size int) {
	if size != l.size {
		v.badSize++
	}
	if h>>1&3 != l.subQos {
		v.badQos++
	}
	if (h&1 != 0) != l.retained {
		v.badRetain++
	}
}

// judge records counts and breaches of the QoS contract. extra is the number
// of further copies that overlapping filters of one client allow.
func (v *verifier) judge(r *result, qos byte, exp, recv, extra int) {
	lost := max(0, exp-recv)
	dup := v.dup + max(0, recv-exp)
	r.num("expected", float64(exp), "")
	r.num("lost", float64(lost), "")
	r.num("duplicated", float64(dup), "")
	r.num("out_of_order", float64(v.late), "")
	if v.redelivered > 0 {
		r.num("qos2_redelivered", float64(v.redelivered), "")
	}
	if o.size < 8 {
		r.note("payloads under 8 bytes carry no sequence number: only counts are checked")
	}
	if lost > 0 {
		m := fmt.Sprintf("%d of %d deliveries lost at QoS %d", lost, exp, qos)
		if (qos > 0 || o.strict) && o.stalled == 0 { // beside those the queue of one that is late may be full
			r.err(m)
		} else {
			r.note(m)
		}
	}
	if dup > extra {
		m := fmt.Sprintf("%d duplicates at QoS %d", dup-extra, qos)
		if qos == 1 && !o.strict {
			r.note(m)
		} else {
			r.err(m)
		}
	}
	for _, x := range []struct {
		n    int
		what string
	}{{v.late, "deliveries out of order"}, {v.stray, "deliveries that were never published to this subscriber"},
		{v.badSize, "deliveries with a wrong payload size"}, {v.badQos, "deliveries at a wrong QoS"},
		{v.badRetain, "deliveries with a wrong retain flag"}} {
		if x.n > 0 {
			r.err(fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
}
