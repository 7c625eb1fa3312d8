package broker

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"midge/conf"
)

// target is a listener to be: with the addresses that its host name and its interface
// stand for.
type target struct {
	conf.Listener
	addresses []address
	err       error // they could not be found
	way       *way  // how its clients reach MQTT; nil plainly
	fixed     bool  // an address that is not there will not come: that of the loopback
}

// address is one place to bind to.
type address struct {
	family   int        // 4 or 6
	ip       netip.Addr // the zero Addr is all of the family
	port     int
	optional bool // the machine may be without the family
	lacking  bool // the interface has no address of the family
}

func (a address) network() string { return "tcp" + strconv.Itoa(a.family) }

// String is a as loop.Listen wants it.
func (a address) String() string {
	if !a.ip.IsValid() {
		return ":" + strconv.Itoa(a.port)
	}
	return netip.AddrPortFrom(a.ip, uint16(a.port)).String()
}

// newTarget finds the addresses of a listener. It may have to ask the network.
func newTarget(l conf.Listener) target {
	t := target{Listener: l}
	if l.Path != "" {
		return t
	}
	if t.addresses, t.err = hostAddresses(&l); t.err != nil || l.BindInterface == "" {
		return t
	}
	var own []netip.Addr
	if own, t.err = interfaceAddresses(l.BindInterface); t.err == nil {
		t.err = bindToInterface(t.addresses, own, l.BindInterface, l.Host)
	}
	return t
}

// hostAddresses are those a listener's host name stands for: both families where it
// has none.
func hostAddresses(l *conf.Listener) ([]address, error) {
	both := l.SocketDomain == conf.AnyDomain
	all := []address{{family: 4, port: l.Port}, {family: 6, port: l.Port, optional: both}}
	if l.Host != "" {
		ips, err := net.LookupHost(l.Host)
		if err == nil {
			all, err = parseAddresses(ips, l.Port)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(a address) bool {
		return !both && (l.SocketDomain == conf.IPv4) != (a.family == 4)
	}), nil
}

// parseAddresses reads what a look-up gave, which may name an address twice.
func parseAddresses(ips []string, port int) (all []address, err error) {
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		a := address{family: family(ip), ip: ip.Unmap(), port: port}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all, nil
}

func family(ip netip.Addr) int {
	if ip.Unmap().Is4() {
		return 4
	}
	return 6
}

// bindToInterface replaces addresses that are everywhere by the first of the interface's
// own of their family, and checks that those of a host are the interface's. This takes no
// privilege, unlike binding to the device.
func bindToInterface(all []address, own []netip.Addr, name, host string) error {
	for i := range all {
		a := &all[i]
		a.lacking = true
		for _, ip := range own {
			if family(ip) == a.family && (!a.ip.IsValid() || a.ip.WithZone("") == ip.WithZone("")) {
				a.ip, a.lacking = ip, false
				break
			}
		}
		if a.lacking && a.ip.IsValid() {
			return words(fmt.Sprintf("Interface address for %s does not match specified listener address (%s).", name, host))
		}
	}
	return nil
}

// interfaceAddresses are the addresses of a network interface, in the system's order.
func interfaceAddresses(name string) ([]netip.Addr, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if !strings.EqualFold(one.Name, name) {
			continue
		}
		nets, err := one.Addrs()
		if err != nil {
			return nil, err
		}
		var ips []netip.Addr
		for _, n := range nets {
			prefix, err := netip.ParsePrefix(n.String())
			if err != nil {
				return nil, err
			}
			ip := prefix.Addr().Unmap()
			if ip.IsLinkLocalUnicast() && ip.Is6() {
				ip = ip.WithZone(one.Name)
			}
			ips = append(ips, ip)
		}
		return ips, nil
	}
	return nil, words("Interface " + name + " does not exist.")
}

// words are mosquitto's for an error, behind "Error: ".
type words string

func (w words) Error() string { return string(w) }
