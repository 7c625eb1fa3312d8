package hosts

import (
	"context"
	"net/netip"
	"strings"
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// JudgeSlowly is Judge with look-ups of names, which is always sure. A host whose name
// is not that of its address is PARANOID; one whose look-up fails, or takes longer than
// ctx, is UNKNOWN.
func (r *Rules) JudgeSlowly(ctx context.Context, c *Conn, names Resolver) Verdict {
	for {
		v := r.Judge(c)
		if v != Unsure {
			return v
		}
		for _, h := range [...]*host{&c.client, &c.server} {
			if h.asked && h.name == "" {
				h.name = nameOf(ctx, h.addr, names)
			}
		}
	}
}

// nameOf is the name of the host that has the address.
func nameOf(ctx context.Context, addr netip.Addr, r Resolver) string {
	names, err := r.LookupAddr(ctx, addr.String())
	if err != nil || len(names) == 0 {
		return unknownName
	}
	name := strings.TrimSuffix(names[0], ".")
	if name == "" {
		return unknownName
	}
	addrs, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil && ctx.Err() != nil {
		return unknownName
	}
	for _, a := range addrs {
		if a.Unmap() == addr {
			return name
		}
	}
	return paranoidName
}
