// Package hosts reads hosts.allow and hosts.deny, the access files of libwrap (TCP
// wrappers), and says which addresses may connect to the broker.
//
// Load reads both files into Rules, and Rules.Judge has the verdict on a connection:
//
//   - the first line of hosts.allow that matches lets it in,
//   - else the first line of hosts.deny that matches keeps it out,
//   - else it is let in.
//
// A line is "daemons : clients" with options behind further colons, as
// hosts_access(5) and hosts_options(5) have it. Only lines whose daemons are
// mosquitto, midge or ALL are kept, so a machine whose files say nothing of the
// broker pays nothing. Understood are lists with EXCEPT, ALL, LOCAL, KNOWN, UNKNOWN,
// PARANOID, addresses, address prefixes (192.168.1.), host names, domains (.example.org),
// * and ?, net/mask, net/length, [IPv6]/length, /file, daemon@address and user@host,
// where the user is always unknown, for nobody is asked. Netgroups (@name) match nothing.
//
// Host names need a look-up, which takes its time. Judge does none: where a line hangs
// on a name it says Unsure, and the caller calls JudgeSlowly beside its loop.
//
// The options allow and deny at the end of a line turn its verdict. No command is ever
// run: spawn and what only changes a process are passed over, and a line with twist,
// aclexec or an option that is not known keeps out whom it matches, as libwrap does
// with what it cannot carry out. Load says so once for each line.
//
// It differs from libwrap in two points: the last line of a file needs no newline, and
// a file that cannot be read is an error of Load's. Rules are immutable; any goroutine
// may use them.
//
// Begin with Rules.Judge below; load.go and parse.go read, pattern.go matches.
package hosts

import (
	"net/netip"
	"path/filepath"
	"time"
)

// Verdict is what the rules say of a connection.
type Verdict uint8

// The verdicts.
const (
	Allowed Verdict = iota
	Denied
	Unsure // a host name has to be known first, see JudgeSlowly
)

// Rules is what both files say of the broker. The zero value lets everybody in.
type Rules struct {
	allow, deny table
	stamps      []stamp // of every file that was read, for Changed
}

// Empty says that nobody is ever kept out.
func (r *Rules) Empty() bool { return r.deny.size == 0 && r.allow.size == 0 }

// Len is the number of lines that are about the broker.
func (r *Rules) Len() int { return r.allow.size + r.deny.size }

// slowLines is how many lines with patterns may be tried at once where nobody must wait.
const slowLines = 2000

// Slow says that Judge may take more than a fraction of a millisecond.
func (r *Rules) Slow() bool { return len(r.allow.rules)+len(r.deny.rules) > slowLines }

// Judge has the verdict on a connection.
func (r *Rules) Judge(c *Conn) Verdict {
	for _, t := range [...]struct {
		table   *table
		verdict Verdict
	}{{&r.allow, Allowed}, {&r.deny, Denied}} {
		c.unsure = false
		found := t.table.find(c)
		switch {
		case c.unsure:
			return Unsure
		case found != nil && found.turned != unturned:
			return found.turned.verdict()
		case found != nil:
			return t.verdict
		}
	}
	return Allowed
}

// Conn is a connection to be judged.
type Conn struct {
	client, server host
	unsure         bool // a name was asked for that is not there
}

// NewConn is the connection of a client to an address of this machine.
func NewConn(client, server netip.Addr) *Conn {
	return &Conn{client: host{addr: client.Unmap().WithZone("")}, server: host{addr: server.Unmap().WithZone("")}}
}

// host is one end of a connection.
type host struct {
	addr  netip.Addr
	name  string // "" until it was looked up
	asked bool   // a rule hangs on the name
}

// What stands for the name of a host that has none, or one that is another's.
const (
	unknownName  = "unknown"
	paranoidName = "paranoid"
)

// Files are the paths of the two files.
type Files struct{ Allow, Deny string }

// FilesIn are the two files in a directory, which is /etc but in tests.
func FilesIn(dir string) Files {
	return Files{filepath.Join(dir, "hosts.allow"), filepath.Join(dir, "hosts.deny")}
}

// stamp tells whether a file is the one that was read.
type stamp struct {
	name    string
	exists  bool
	changed time.Time
	size    int64
	inode   uint64
}

// Closed are rules that let nobody in, for files that cannot be read. They have always
// changed.
func Closed() *Rules {
	r := &Rules{stamps: []stamp{{exists: true}}}
	r.deny.add(&rule{daemons: &list{patterns: []pattern{always(true)}}, clients: &list{patterns: []pattern{always(true)}}})
	return r
}
