package login

import (
	"net/netip"
	"testing"

	"midge/broker/core"
	"midge/persist"
)

func testThrottle(burst, perMinute int) *throttle {
	t := newThrottle()
	t.configure(burst, perMinute)
	return t
}

var (
	here  = netip.MustParseAddr("::ffff:192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

// TestThrottle walks an address through its places.
func TestThrottle(t *testing.T) {
	th := testThrottle(3, 60)
	now := core.Time(1_000_000)
	var in []*attempt
	for range 3 {
		l := new(attempt)
		if th.enter(l, here, now) != enters {
			t.Fatal("no place")
		}
		in = append(in, l)
	}
	first, second := &attempt{user: "first"}, &attempt{user: "second"}
	if th.enter(first, here, now) != waits || th.enter(second, here, now) != waits || th.enter(new(attempt), there, now) != enters {
		t.Fatal("who has a place and who has not")
	}
	if th.next(now) != nil || th.due() != persist.Never {
		t.Fatal("a place is free")
	}
	th.done(in[0], true, now) // its place is free at once
	if th.next(now) != first || th.next(now) != nil {
		t.Fatal("first does not get the place")
	}
	th.done(in[1], false, now) // a second has to pass
	if th.next(now) != nil || th.due() != now+1000 {
		t.Fatalf("due in %d ms", th.due()-now)
	}
	if th.next(now+999) != nil {
		t.Fatal("too early")
	}
	if th.next(now+1000) != second {
		t.Fatal("second does not get the place")
	}
	now += 1000
	th.done(in[2], false, now)
	th.done(first, false, now)
	th.done(second, false, now)
	if th.enter(first, here, now+500) != waits || !th.leave(first) || th.leave(first) {
		t.Fatal("who waits can leave")
	}
	now += 3000
	if th.enter(first, here, now) != enters {
		t.Fatal("time forgives nothing")
	}
	th.done(first, true, now)
	th.sweep(now)
	if th.waiting != 0 || th.bytes != 0 || len(th.queues) != 0 || len(th.places) != 1 { // there's
		t.Errorf("%+v", th)
	}
}

// TestThrottleNetworks: an IPv6 host is its network.
func TestThrottleNetworks(t *testing.T) {
	th := testThrottle(1, 1)
	for i, tt := range []struct {
		addr string
		want admission
	}{
		{"2001:db8::1", enters}, {"2001:db8::ffff:1", waits}, {"2001:db8:0:1::1", enters},
		{"192.0.2.1", enters}, {"::ffff:192.0.2.1", waits}, {"192.0.2.2", enters}, {"::", enters}, {"::1", waits},
	} {
		if got := th.enter(new(attempt), netip.MustParseAddr(tt.addr), 1); got != tt.want {
			t.Errorf("%d, %s: %d", i, tt.addr, got)
		}
	}
}

// TestThrottleOff: without a limit nothing is remembered, and who waited may go on.
func TestThrottleOff(t *testing.T) {
	th := testThrottle(1, 1)
	a, b := new(attempt), new(attempt)
	th.enter(a, here, 1)
	th.enter(b, here, 1)
	th.configure(0, 1)
	if th.enter(new(attempt), here, 1) != enters || th.next(1) != b || th.due() != persist.Never {
		t.Error("there is a limit")
	}
	th.done(a, false, 1)
	th.done(b, false, 1)
	if th = testThrottle(1, 0); th.enter(a, here, 1) != enters || th.enter(b, here, 1) != enters || len(th.places) != 0 {
		t.Error("there is a limit")
	}
}

// TestThrottleBounds: of those who wait, and of addresses.
func TestThrottleBounds(t *testing.T) {
	for _, failed := range []bool{true, false} {
		th := testThrottle(2, 1)
		if failed {
			l := new(attempt)
			th.enter(l, here, 1)
			th.done(l, false, 1)
		} else {
			th.enter(new(attempt), here, 1)
		}
		th.enter(new(attempt), here, 1)
		for range queueMax {
			if th.enter(new(attempt), here, 1) != waits {
				t.Fatal("too few may wait")
			}
		}
		if got := th.enter(new(attempt), here, 1); (got == full) != failed {
			t.Fatalf("failed %v: %d", failed, got)
		}
		for th.waiting < waitingMax {
			if th.enter(new(attempt), netip.AddrFrom4([4]byte{10, 0, 0, byte(th.waiting)}), 1) == full {
				t.Fatal("too few may wait in all")
			}
		}
		if th.enter(new(attempt), netip.AddrFrom4([4]byte{10, 0, 0, 255}), 1) != full && th.enter(new(attempt), here, 1) != full {
			t.Fatal("any number may wait")
		}
	}
	th := testThrottle(1, 1)
	for i := range placesMax {
		l := new(attempt)
		if th.enter(l, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1); i%2 == 0 {
			th.done(l, false, 1)
		}
	}
	for range 3 { // not remembered
		if th.enter(new(attempt), here, 2) != enters || len(th.places) != placesMax {
			t.Fatal("the table is not full")
		}
	}
	for _, tt := range [][2]core.Time{{5000, 5000}, {5999, 5000}, {6000, 6000}} { // when, and when it was looked through
		if th.enter(new(attempt), here, tt[0]); th.swept != tt[1] {
			t.Errorf("at %d: looked through at %d", tt[0], th.swept)
		}
	}
	th.enter(new(attempt), here, 60_001) // the failures are forgiven
	if len(th.places) != placesMax/2+1 {
		t.Errorf("%d addresses are remembered", len(th.places))
	}
	long := &attempt{password: make([]byte, passwordsMax+1)}
	if th.enter(long, here, 60_002) != full {
		t.Error("any number of bytes may wait")
	}
}
