package core

// Class is a class of log lines, mosquitto's log_type.
type Class uint16

// The classes, in mosquitto's order. A set of them is their bitwise or.
const (
	LogError Class = 1 << iota
	LogWarning
	LogNotice
	LogInfo
	LogDebug
	LogSubscribe
	LogUnsubscribe
	LogWebsockets
	LogInternal
)

// Logger takes the broker's log lines. Enabled is asked first, so that a line
// nobody wants is never formatted; both are called on the loop's goroutine
// only and must not block.
type Logger interface {
	Enabled(c Class) bool
	Logf(c Class, format string, args ...any)
}

// silent is the Logger of a Broker that was given none.
type silent struct{}

func (silent) Enabled(Class) bool         { return false }
func (silent) Logf(Class, string, ...any) {}
