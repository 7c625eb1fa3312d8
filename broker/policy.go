package broker

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"midge/broker/hosts"
	"midge/conf"
)

// policy is what a configuration means, with the files it names, in words. It has no
// secrets.
type policy struct {
	conf  *conf.Config
	plan  *plan
	rules *hosts.Rules
	now   time.Time

	text strings.Builder
}

func (p *policy) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// String is a few lines for each listener and for the whole broker.
func (p *policy) String() string {
	for i := range p.plan.targets {
		p.listener(&p.plan.targets[i])
	}
	if n := p.rules.Len(); n > 0 {
		p.line("Addresses: %s about this broker in hosts.allow and hosts.deny hold for all of them.", count(n, "line"))
	}
	p.line("Kept: %s.", p.kept())
	p.line("Limits: %s.", strings.Join(p.limits(), "; "))
	p.line("Log: %s.", p.log())
	if p.conf.EnableControlAPI {
		p.line("Control: clients may ask $CONTROL/broker/v1.")
	}
	return p.text.String()
}

// listener is who gets in at a listener, from where, and what they may do.
func (p *policy) listener(t *target) {
	name := t.Name()
	if t.Host != "" {
		name += " at " + t.Host
	}
	p.line("Listener %s: %s, %s, for %s.", name, spoken(&t.Listener), p.tls(t), reach(t))
	p.line("  Who: %s.", p.who(&t.Listener))
	if t.ACLFile != "" {
		p.line("  They may do what %s lets them.", t.ACLFile)
	} else {
		p.line("  They may publish and subscribe to everything.")
	}
	if v := t.Proxy.Version; v > 0 {
		p.line("  They come through a proxy, which tells of them by the PROXY header of version %d.", v)
	}
	if t.MountPoint != "" {
		p.line("  Their topics are below %s.", t.MountPoint)
	}
	var limits []string
	if t.MaxConnections > 0 {
		limits = append(limits, count(t.MaxConnections, "connection"))
	}
	if t.MaxQoS < 2 {
		limits = append(limits, fmt.Sprintf("QoS %d", t.MaxQoS))
	}
	if len(limits) > 0 {
		p.line("  At most: %s.", strings.Join(limits, ", "))
	}
}

// who says who may connect.
func (p *policy) who(l *conf.Listener) string {
	users := ""
	if l.PasswordFile != "" {
		users = fmt.Sprintf("those of %s (%s) with their passwords", l.PasswordFile, count(p.plan.passwords[l.PasswordFile].Len(), "user"))
	}
	who := ""
	switch {
	case l.TLS.On() && (l.TLS.UseIdentityAsUsername || l.TLS.UseSubjectAsUsername):
		part := "common name"
		if !l.TLS.UseIdentityAsUsername {
			part = "subject"
		}
		who = "whoever has a certificate, whose " + part + " is the user name; no password is asked"
	case users != "" && l.AllowAnonymous:
		who = users + ", and anybody who gives no user name"
	case users != "":
		who = users + ", nobody else"
	case l.AllowAnonymous:
		who = "anybody, with any user name or none"
	default:
		return "nobody, for there is neither a password file nor allow_anonymous"
	}
	if l.TLS.On() && l.TLS.RequireCertificate {
		who += "; only with a certificate signed by " + signers(&l.TLS)
	}
	return who
}

func signers(t *conf.TLS) string {
	var all []string
	for _, name := range []string{t.CAFile, t.CAPath} {
		if name != "" {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return "nobody: there is no cafile or capath"
	}
	return strings.Join(all, " or ")
}

// tls says how a listener's connections are encrypted.
func (p *policy) tls(t *target) string {
	if !t.TLS.On() {
		return "not encrypted"
	}
	version := strings.TrimPrefix(t.TLS.TLSVersion, "tlsv")
	if version == "" {
		version = "1.2"
	}
	until := ""
	if t.way != nil && t.way.config != nil {
		until = ", certificate valid until " + t.way.config.Expires.UTC().Format("2006-01-02")
	}
	return "TLS " + version + " or later" + until
}

// reach says from where a listener can be reached.
func reach(t *target) string {
	if t.Path != "" {
		return "programs of this machine"
	}
	if t.Host == "" && t.BindInterface == "" {
		return "every machine that can reach this one"
	}
	local := len(t.addresses) > 0
	var names []string
	for _, a := range t.addresses {
		local = local && a.ip.IsLoopback()
		if a.ip != (netip.Addr{}) {
			names = append(names, a.ip.String())
		}
	}
	if local {
		return "programs of this machine"
	}
	if len(names) == 0 {
		return "those who can reach " + t.Host + t.BindInterface
	}
	return "those who can reach " + strings.Join(names, " or ")
}

// spoken is the language of a listener.
func spoken(l *conf.Listener) string {
	versions := versionsOf(l.AcceptProtocolVersions)
	if !l.Web.On {
		return versions
	}
	from := "pages of any origin"
	if len(l.Web.Origins) > 0 {
		from = "pages of " + strings.Join(l.Web.Origins, ", ")
	}
	if l.Web.HTTPDir != "" {
		from += "; files of " + l.Web.HTTPDir
	}
	return versions + " over WebSocket (" + from + ")"
}

// versionsOf are the protocol versions by their names.
func versionsOf(v conf.Versions) string {
	var all []string
	for _, one := range []struct {
		level byte
		name  string
	}{{3, "3.1"}, {4, "3.1.1"}, {5, "5"}} {
		if v.Has(one.level) {
			all = append(all, one.name)
		}
	}
	if all == nil {
		return "no version of MQTT"
	}
	return "MQTT " + strings.Join(all, ", ")
}

// kept says what outlives the process.
func (p *policy) kept() string {
	c := p.conf
	if !c.Persistence {
		return "nothing, when midge ends"
	}
	when := fmt.Sprintf("a snapshot every %d s", c.AutosaveInterval)
	switch {
	case c.AutosaveInterval == 0:
		when = "a snapshot at the end"
	case c.AutosaveOnChanges:
		when = "a snapshot after " + count(c.AutosaveInterval, "change")
	}
	sync := "what is acknowledged is on the disk"
	switch c.PersistenceSync {
	case conf.SyncAlways:
	case conf.SyncOff:
		sync = "what is acknowledged is written, and on the disk when the system has it so"
	default:
		sync = fmt.Sprintf("what is acknowledged is written, and on the disk within %d s", c.PersistenceSync)
	}
	return fmt.Sprintf("sessions and messages in %s and its journal; %s; %s", c.PersistencePath(), sync, when)
}

// limits are those of the whole broker.
func (p *policy) limits() []string {
	c := p.conf
	all := []string{
		fmt.Sprintf("packets of %d bytes", c.MaxPacketSize),
		"for a client " + most(c.MaxInflightMessages, "message") + " under way, " + most(c.MaxQueuedMessages, "message") + " waiting",
	}
	for _, l := range []struct {
		n    int
		what string
	}{
		{c.MaxInflightBytes, "bytes under way"}, {c.MaxQueuedBytes, "bytes waiting"}, {c.MessageSizeLimit, "bytes of payload"},
		{c.GlobalMaxConnections, "connections in all"}, {c.GlobalMaxClients, "sessions in all"}, {c.MaxKeepalive, "s of keep alive"},
		{c.MaxSubscriptions, "subscriptions for a session"}, {c.MaxTopicLevels, "levels of a topic"},
		{c.MaxRetainedMessages, "retained messages"}, {c.MaxClientIDLength, "bytes of client id"},
	} {
		if l.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", l.n, l.what))
		}
	}
	if c.MemoryLimit > 0 {
		all = append(all, fmt.Sprintf("%d bytes of state", c.MemoryLimit))
	}
	if n := c.PersistentClientExpiration; n > 0 {
		all = append(all, fmt.Sprintf("sessions end %d s after their client left", n))
	}
	return all
}

// log says where log lines go.
func (p *policy) log() string {
	var all []string
	for _, d := range []struct {
		dest conf.Dest
		name string
	}{{conf.ToStdout, "stdout"}, {conf.ToStderr, "stderr"}, {conf.ToFile, p.conf.LogFile}, {conf.ToSyslog, "syslog"}, {conf.ToTopic, "topics of $SYS/broker/log"}} {
		if p.conf.LogDest&d.dest != 0 {
			all = append(all, d.name)
		}
	}
	if all == nil {
		return "nowhere"
	}
	return strings.Join(all, ", ")
}

// most is a limit in words.
func most(n int, what string) string {
	if n == 0 {
		return "any number of " + what + "s"
	}
	return count(n, what)
}

// count is "1 line" or "2 lines".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
