// Package conf turns mosquitto.conf files into one Config value.
//
// Load reads the files of the command line, each from top to bottom, and
// gives back what is in force: every option has its value or its default,
// every Listener already carries what per_listener_settings and the
// listener_* options make of the global ones. A Config is plain data; nothing
// in it points back into the package, and whoever holds it may change it.
//
// The language is mosquitto 2.1's: one option per line, its value after
// spaces, no quoting, '#' in the first column for a comment, order counts.
// Whatever mosquitto says about a file is said here in its words: the Lines
// Load returns are to be logged in their order, and an *Error holds the lines
// to print before the process ends with its exit code. The package itself
// neither logs nor opens anything but the configuration files.
//
// One table (table.go) holds all option names, with aliases and prefixes. Its
// states are:
//
//	built    the option works
//	not yet  the value is checked, then the file is refused, after all of it
//	         has been read, so that mosquitto's own complaints come first
//	never    the same, for what midge will not do (C plugins, PSK, engines, DLT)
//	gone     a warning; the line is ignored
//
// A switch that is not built yet may be given as false, for that is what
// happens anyway.
//
// Where midge is milder than mosquitto 2.1: a number followed by other
// characters, which 2.0 accepts, is a warning that names the value used (never
// for the port of a listener line, since an address may hang on it); names
// that once meant something elsewhere are warnings too; per_listener_settings,
// password_file and acl_file are not called deprecated; retry_interval works.
// watch_files_interval, failed_logins_burst, failed_logins_per_minute, max_subscriptions,
// max_topic_levels, max_retained_messages and max_clientid_length are midge's own.
//
// Foreign bytes are read within limits: a line of 1 MiB, 64 MiB in all, 1000
// included files and directories, 10000 sections (listener, connection and plugin
// lines), 10000 messages. Beyond them a file is refused.
//
// Begin with the table, and with Config below; load.go reads files, statement.go a line.
package conf

import "strconv"

// Exit is the status with which a process ends when its configuration is bad.
const Exit = 3

// defaultPort is the port of the listeners nobody gave a port.
const defaultPort = 1883

// Config is the whole effective configuration. Fields are named after the
// options; a limit of 0 is no limit unless the comment says otherwise.
type Config struct {
	// File is the last file read, the one that is named in the log and read
	// again at a reload. Empty without a file.
	File string

	// LocalOnly says that no file has a listener, port or bind_address line:
	// the broker listens on LocalListeners only and Listeners is empty.
	LocalOnly bool
	// Listeners are in the order of the files, the one made by port,
	// bind_address or an option above all listeners at the end.
	Listeners []Listener

	// PerListenerSettings says that the security options belong to listeners.
	// A client without a listener is then denied.
	PerListenerSettings bool
	// AllowAnonymous holds for listeners that say nothing of their own. In
	// local-only mode it is true unless a file says false.
	AllowAnonymous bool
	// PasswordFile says who may connect, likewise; empty: nobody is asked.
	PasswordFile string
	// WatchFilesInterval is the time in seconds between two looks at password and ACL
	// files, which are read again when they changed; at 0 a reload alone reads them.
	WatchFilesInterval int
	// ACLFile says what clients may do, likewise; empty: anything.
	ACLFile string
	// CheckRetainSource has a retained message delivered only while whoever published
	// it may still do so.
	CheckRetainSource bool
	// ClientIDPrefix is what client ids begin with, or are refused.
	ClientIDPrefix string
	// FailedLoginsBurst is how many logins an address may have under way or failed
	// before further ones have to wait, and FailedLoginsPerMinute how many failures
	// are forgiven. 0, of either, is no limit.
	FailedLoginsBurst     int
	FailedLoginsPerMinute int
	// AllowZeroLengthClientID holds, likewise, unless PerListenerSettings.
	AllowZeroLengthClientID bool
	// AutoIDPrefix begins the client ids the broker makes up.
	AutoIDPrefix string

	GlobalMaxConnections int // sockets of all listeners at once
	GlobalMaxClients     int // sessions, connected or stored
	// MemoryLimit is how many bytes the broker's state may take, 0 for any number.
	// It may exceed 32 bits.
	MemoryLimit int64
	// MaxSubscriptions is how many one session may have, MaxTopicLevels how many levels a
	// topic or filter, MaxRetainedMessages how many there may be in all, MaxClientIDLength
	// how many bytes a client id may have. 0, of each, is no limit of its own.
	MaxSubscriptions    int
	MaxTopicLevels      int
	MaxRetainedMessages int
	MaxClientIDLength   int

	MaxInflightMessages int // unacknowledged QoS 1 and 2 per client and direction, up to 65534
	MaxInflightBytes    int // payload bytes in flight per client
	MaxQueuedMessages   int // QoS 1 and 2 kept per client beyond those in flight
	MaxQueuedBytes      int // payload bytes kept, likewise
	MaxPacketSize       int // bytes of the largest incoming packet; never 0, at least 20
	MessageSizeLimit    int // payload bytes of the largest message distributed
	MaxKeepalive        int // seconds; with a limit, keep alive 0 is over it

	QueueQoS0Messages      bool // QoS 0 is queued for clients that are away too
	UpgradeOutgoingQoS     bool // deliver with the QoS of the subscription
	AllowDuplicateMessages bool // overlapping subscriptions of a v3 client each deliver
	RetainAvailable        bool

	// PersistentClientExpiration is the time in seconds after which a
	// disconnected session is removed, 0 for never. It may exceed 32 bits.
	PersistentClientExpiration int64
	// RetainExpiryInterval is the time in minutes between two searches for
	// expired retained messages; at 0 they go when they are met.
	RetainExpiryInterval int
	// RetryInterval is the time in seconds after which messages that MQTT 3.1
	// and 3.1.1 clients have not acknowledged are sent again; 0 is never.
	RetryInterval int
	// SysInterval is the time in seconds between two updates of $SYS, 0 to
	// 65535; at 0 there is no $SYS.
	SysInterval int

	EnableControlAPI bool // topics of $CONTROL/ are answered

	Persistence         bool     // sessions and messages outlive the process
	PersistenceFile     string   // its name; see PersistencePath
	PersistenceLocation string   // the folder it is in; empty: where the process is
	PersistenceSync     int      // seconds between syncs of the journal; SyncAlways, SyncOff
	AutosaveInterval    int      // seconds, or changes, between snapshots; 0: none of their own
	AutosaveOnChanges   bool     // AutosaveInterval counts changes
	Plugins             []Plugin // the built-in ones that are in use

	// PacketBufferSize is the size of the largest head of an HTTP request in bytes,
	// 0 to 65535; 0 lets nobody connect by WebSocket.
	PacketBufferSize int

	SetTCPNoDelay bool
	PidFile       string // empty: none is written
	User          string // whom root becomes; "root" stays

	LogDest            Dest   // where log lines go
	LogFile            string // the file of ToFile, as written; empty without ToFile
	LogFacility        int    // of ToSyslog, as syslog numbers it: 3 (daemon), or 16 to 23 (local0 to local7)
	LogType            Class  // the classes that are logged
	LogTimestamp       bool   // lines begin with the time
	LogTimestampFormat string // for strftime; empty: seconds since 1970
	ConnectionMessages bool   // log who connects and disconnects
}

// Listener is one place to listen at, with everything that holds there.
type Listener struct {
	Port int    // TCP port, 0 for a Unix socket
	Host string // address or host name to bind to; empty: all interfaces
	Path string // of the Unix socket; empty for TCP

	MountPoint string // in front of every topic of its clients, who do not see it

	SocketDomain           SocketDomain
	BindInterface          string // the network interface to bind to; empty: any
	AcceptProtocolVersions Versions

	AllowAnonymous          bool
	AllowZeroLengthClientID bool
	AutoIDPrefix            string // at most 50 bytes
	PasswordFile            string // who may connect; empty: AllowAnonymous decides, for any user name
	ACLFile                 string // what its clients may do; empty: anything
	UseUsernameAsClientID   bool   // whatever a client's own id is
	Shut                    bool   // nobody can connect, and no option says so: there is none about it

	MaxConnections      int // 0: no limit
	MaxQoS              int // 0 to 2
	MaxTopicAlias       int // aliases a v5 client may define, 0 to 65535; 0: none
	MaxTopicAliasBroker int // aliases the broker uses, 0 to 65535; 0: none

	TLS TLS
	Web Web

	Proxy Proxy
}

// Proxy is the PROXY header that connections of a listener begin with.
type Proxy struct {
	Version    int  // 1 or 2; 0: none
	RequireTLS bool // the client must have come to the proxy by TLS; version 2 only
}

// Web is how a listener speaks WebSocket.
type Web struct {
	On      bool     // protocol websockets
	Origins []string // those that pages may have; none: any
	HTTPDir string   // whose files are served; empty: nothing
}

// Plugin is a plugin of mosquitto's in whose place midge does the same.
type Plugin struct {
	Name string // as it calls itself
	Port int    // of its listener; 0 for all of them, and for a Unix socket
}

// TLS is how a listener does it. File names are as written, empty where there is
// none.
type TLS struct {
	Certfile, Keyfile string // both, or neither: then the listener is without TLS
	CAFile, CAPath    string // who may sign certificates of clients
	CRLFile           string // which of them are revoked

	RequireCertificate          bool // of clients
	UseIdentityAsUsername       bool // the user name is the common name of the certificate
	UseSubjectAsUsername        bool // or its whole subject, unless the one above is set
	DisableClientCertDateChecks bool
	TLSVersion                  string // the least: tlsv1.3, tlsv1.2, tlsv1.1; not checked here
	Ciphers                     string // in OpenSSL's language; not checked here
}

// On tells whether the listener does TLS.
func (t *TLS) On() bool { return t.Certfile != "" }

// Name is the listener in messages: its port or its path.
func (l *Listener) Name() string {
	if l.Path != "" {
		return l.Path
	}
	return strconv.Itoa(l.Port)
}

// Endpoint is where a listener listens. Two listeners are the same one, before and
// after a reload, if their endpoints are equal.
type Endpoint struct {
	Port      int
	Host      string
	Path      string
	Domain    SocketDomain
	Interface string
}

// Endpoint returns where l listens.
func (l *Listener) Endpoint() Endpoint {
	return Endpoint{Port: l.Port, Host: l.Host, Path: l.Path, Domain: l.SocketDomain, Interface: l.BindInterface}
}

// The values of PersistenceSync that are no time.
const (
	SyncAlways = 0  // an acknowledgement waits until what it stands for is synced
	SyncOff    = -1 // the system syncs when it likes
)

// PersistencePath is where the persistence file is.
func (c *Config) PersistencePath() string {
	if c.PersistenceLocation == "" {
		return c.PersistenceFile
	}
	return c.PersistenceLocation + "/" + c.PersistenceFile
}

// LocalListeners returns the listeners of local-only mode: the two loopback
// addresses at each of the ports, at port 1883 if there are none. Generated client
// ids begin with "auto-" there, whatever the file says, as in mosquitto 2.1.
func (c *Config) LocalListeners(ports ...int) []Listener {
	if len(ports) == 0 {
		ports = []int{defaultPort}
	}
	var all []Listener
	for _, port := range ports {
		for _, host := range []string{"127.0.0.1", "::1"} {
			l := plainListener()
			l.Port, l.Host = port, host
			l.AllowAnonymous = c.AllowAnonymous
			l.AllowZeroLengthClientID = c.AllowZeroLengthClientID
			l.PasswordFile = c.PasswordFile
			l.ACLFile = c.ACLFile
			all = append(all, l)
		}
	}
	return all
}

// SocketDomain is the address family a listener is held to.
type SocketDomain uint8

// The values of socket_domain.
const (
	AnyDomain SocketDomain = iota
	IPv4
	IPv6
)

// Versions is a set of protocol levels: 3 (MQTT 3.1), 4 (3.1.1) and 5.
type Versions uint8

// allVersions is every protocol level there is.
const allVersions Versions = 1<<3 | 1<<4 | 1<<5

// Has tells whether clients of the protocol level may connect.
func (v Versions) Has(level byte) bool { return level < 8 && v&(1<<level) != 0 }

// Dest is a set of destinations of log lines. The empty set logs nothing.
type Dest uint8

// The values of log_dest.
const (
	ToStdout Dest = 1 << iota
	ToStderr
	ToFile
	ToSyslog
	ToTopic // $SYS/broker/log/...
)

// defaultMaxSubscriptions is how many subscriptions a session may have by default:
// far more than clients have, and few enough that one cannot fill the memory with them.
const defaultMaxSubscriptions = 100_000

// DefaultUser is whom root becomes by default, if there is such a user.
const DefaultUser = "mosquitto"

// defaultAutoIDPrefix is what generated client ids begin with by default.
const defaultAutoIDPrefix = "auto-"

// defaultConfig is what a file that says nothing means.
func defaultConfig() *Config {
	return &Config{
		AllowZeroLengthClientID: true,
		AutoIDPrefix:            defaultAutoIDPrefix,
		WatchFilesInterval:      5,
		FailedLoginsBurst:       100,
		FailedLoginsPerMinute:   60,
		MaxInflightMessages:     20,
		MaxQueuedMessages:       1000,
		MaxPacketSize:           2000000,
		MaxSubscriptions:        defaultMaxSubscriptions,
		AllowDuplicateMessages:  true,
		RetainAvailable:         true,
		SysInterval:             10,
		PersistenceFile:         "mosquitto.db",
		AutosaveInterval:        1800,
		PacketBufferSize:        4096,
		User:                    DefaultUser,
		LogDest:                 ToStderr,
		LogFacility:             facilityDaemon,
		LogType:                 defaultClasses,
		LogTimestamp:            true,
		ConnectionMessages:      true,
	}
}

// plainListener is a listener whose section says nothing.
func plainListener() Listener {
	return Listener{
		AcceptProtocolVersions:  allVersions,
		AllowZeroLengthClientID: true,
		AutoIDPrefix:            defaultAutoIDPrefix,
		MaxQoS:                  2,
		MaxTopicAlias:           10,
		MaxTopicAliasBroker:     10,
	}
}
