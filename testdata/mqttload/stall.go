package main

import "golang.org/x/sys/unix"

// stall connects -stalled clients which subscribe to filter and never read again.
// Their receive buffers are small, so that what is sent to them stays with the
// broker.
func stall(filter string) {
	cs := make([]*conn, o.stalled)
	for i := range cs {
		cs[i] = l.add(name("stalled", i))
		cs[i].small = true
	}
	l.open(cs)
	l.subscribe(cs, func(int) []string { return []string{filter} })
	for _, c := range cs {
		must(unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, c.fd, nil), "epoll_ctl")
	}
}
