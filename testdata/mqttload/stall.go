package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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

// tcpMemory is what the kernel holds for all TCP sockets of the machine, in bytes.
func tcpMemory() int64 {
	text, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" && f[len(f)-2] == "mem" {
			pages, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			return pages * int64(os.Getpagesize())
		}
	}
	return 0
}
