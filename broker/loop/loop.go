//go:build linux

// Package loop is a reactor for one goroutine: it waits on file descriptors,
// takes mail from other goroutines, and makes the non-blocking system calls
// that a turn of the loop needs. It knows descriptors and nothing of MQTT.
//
// The types are few. A Poller owns an epoll set and an eventfd. An Event says
// what one descriptor is ready for. A Reserve keeps one descriptor aside for
// the moment when the process has run out of them. The rest are functions on
// plain descriptors: Listen, Accept, Read, Readv, Write, Writev, Close.
//
// A turn, seen from its caller:
//
//	for {
//		events, err := p.Wait(timeout)   // the only place that blocks
//		for _, e := range events {
//			...                      // Read, Write, Accept, until ErrAgain
//		}
//		if p.Mail() {
//			p.RunMail()              // what helpers have posted
//		}
//		...                              // timers, output
//	}
//
// Except for Post, the methods of a Poller belong to the goroutine that calls
// Wait, which should not be locked to a thread: each longer wait would cost two changes of
// thread more. Events are level-triggered: what was
// not read is reported again, so a caller may stop at any budget it likes. A
// descriptor closed in the middle of a batch may come back as a new connection
// while its old events are still waiting in that batch, hence descriptors are
// best closed when the batch is done.
//
// Read, Readv, Write and Writev enter the kernel past the Go scheduler (RawSyscall).
// That is sound because they never block, and so their descriptors must all be
// non-blocking, as those of Listen and Accept are. It saves 40 to 80 ns of a call
// that takes 1 µs over a socket pair; over TCP, and in the tail beside busy
// helpers, no difference could be measured (BenchmarkPing,
// BenchmarkPingBesideHelpers). The first milliseconds of Wait do the same, and
// there it halves the cost of a message at a thousand a second; see Wait for why
// nobody is held up.
//
// Linux only: epoll, eventfd, accept4. Begin with Poller.Wait (poll_linux.go).
package loop

// Events is a set of conditions of a descriptor.
type Events uint8

const (
	// Readable: a read will not block. There are bytes, a connection to accept,
	// or the end of the stream.
	Readable Events = 1 << iota

	// Writable: a write will not block.
	Writable

	// Hangup: both directions are closed, or the descriptor has an error. It is
	// reported whether asked for or not, and goes on being reported until the
	// descriptor is closed or taken out. A read gives what is left and then the
	// end or the error. A peer that only stops sending is Readable instead.
	Hangup

	// Ended: the peer sends nothing more. For those who are not read; a read meets
	// the end by itself.
	Ended

	// Once, of those that are watched for, has the next report be the last before
	// another Mod, and so Hangup be reported no more than once.
	Once
)

// Event is what one descriptor is ready for.
type Event struct {
	FD    int32
	Flags Events
}
