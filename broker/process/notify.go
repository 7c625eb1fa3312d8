package process

import (
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// What the service manager (systemd) may be told, see Notifier.Tell.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Reloading says that a reload begins, and at which time, as Type=notify-reload
// wants it. The end of it is another READY.
func Reloading() string {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10)
}

// notifyMax is how long one message may take, notifyQueue how many may wait.
const (
	notifyMax   = 2 * time.Second
	notifyQueue = 16
)

// Notifier tells the service manager how the process is. A goroutine of its own does
// the sending, for that may block. Without a service manager it is nil, and costs
// nothing.
type Notifier struct {
	watchdog time.Duration // how often it wants to hear that the process is alive; 0: never
	states   chan string
	done     chan struct{} // closed when all was sent
}

// NewNotifier takes from the environment whom to tell, so that no child does it too.
func NewNotifier() *Notifier {
	to, period := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC")
	for _, name := range [...]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
	if to == "" || to[0] != '/' && to[0] != '@' {
		return nil
	}
	n := &Notifier{states: make(chan string, notifyQueue), done: make(chan struct{})}
	if usec, err := strconv.ParseInt(period, 10, 64); err == nil && usec > 0 && usec <= maxPeriod {
		n.watchdog = time.Duration(usec) * time.Microsecond / 2
	}
	go n.send(to)
	return n
}

// maxPeriod is the longest time between two signs of life, in microseconds: beyond
// it nobody waits for one.
const maxPeriod = int64(365 * 24 * time.Hour / time.Microsecond)

func (n *Notifier) send(to string) {
	defer close(n.done)
	for state := range n.states {
		conn, err := net.DialTimeout("unixgram", to, notifyMax)
		if err != nil {
			continue // it may be back for the next one
		}
		conn.SetWriteDeadline(time.Now().Add(notifyMax))
		conn.Write([]byte(state))
		conn.Close()
	}
}

// Tell passes a message on. It never blocks: where too many wait already, the service
// manager has stopped listening.
func (n *Notifier) Tell(state string) {
	if n == nil {
		return
	}
	select {
	case n.states <- state:
	default:
	}
}

// Watchdog is how often the service manager wants to hear that the process is alive; 0
// is never.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Close sends what still waits.
func (n *Notifier) Close() {
	if n != nil {
		close(n.states)
		<-n.done
	}
}
