package persist

import (
	"fmt"
	"io"
)

// A snapshot is an image in a file: mosquitto.db, as mosquitto writes it, and
// behind that one chunk of midge's own, which mosquitto passes over with a
// warning. The first part holds all that mosquitto can, so that it can take
// midge's place as midge takes its. This is where each field of an image goes;
// see chunk.go for the first part and own.go for the second:
//
//	                        mosquitto's part              midge's chunk
//	Message.Topic           message: topic
//	  Payload               message: payload
//	  Properties            message: properties, less     all of them, when there are
//	                        Subscription Identifiers      Subscription Identifiers
//	  Origin                message: source, user, port
//	  Expires               message: expires, rounded up  exactly
//	  Stored                message: id
//	  QoS, Retain           message: QoS, retain
//	Retain                  retained
//	Session.ClientID        session: client id
//	  Username              session: user
//	  Listener              session: port                 exactly
//	  Expiry                session: expiry
//	  Gone                  session: expires, together    exactly
//	                        with Expiry
//	  LastID                session: last mid, past those LastID
//	                        given to what waits
//	Subscription.ClientID   subscription: client id
//	  Filter                subscription: filter
//	  ID                    subscription: id
//	  Options               subscription: QoS, options
//	Delivery.Message        delivery: message
//	  Number                the order of deliveries       exactly
//	  SubscriptionID        delivery: property, or the    whether it is the message's
//	                        first of the message's
//	  ID                    delivery: mid; what waits     0 by State
//	                        is given one
//	  QoS, Retain           delivery: QoS, retain
//	  State                 delivery: state
//	  Share                                               share
//	Receive                 delivery: state 7, incoming
//	Will                                                  will, with its message
//	Cursor                                                cursor
//	Image.Number            config: last id               number
//	Stamp                                                 the head
//
// An image of mosquitto's own has its Times in Unix milliseconds, and so has one
// whose own chunk is lost: its Stamp is zero.

// snapshot is what a file had in it.
type snapshot struct {
	image    *Image
	stamp    Stamp
	version  uint32   // of mosquitto's format, 2 to 6
	own      bool     // midge wrote it
	stopped  bool     // it was written when the broker stopped
	size     int64    // of the file, in bytes
	counts   counts   // of what was read
	warnings []string // as mosquitto has them, to be logged
	damage   *damage  // nil: the file is whole
}

// counts are of chunks that were read, whether they are of any use or not.
type counts struct {
	messages, retained, sessions, subscriptions, deliveries int
}

// FormatError says that a file is none that can be read. It is to be left as it is.
type FormatError struct{ text string }

func (e *FormatError) Error() string { return e.text }

// Lines are what mosquitto says then.
func (e *FormatError) Lines() []string {
	return []string{"Error: " + e.text, "Error: Couldn't open database."}
}

// damage is what is wrong with a file that is one of ours or mosquitto's. All
// that is whole in it was read.
type damage struct {
	broken int   // chunks, or places where there should be one
	first  int64 // where in the file the first is
	torn   bool  // the file ends within a chunk
	sum    bool  // the checksum is another
	own    bool  // midge's own chunk is missing or broken
	lost   int   // references to messages that are not there
}

func (d *damage) Error() string {
	text := ""
	say := func(on bool, format string, args ...any) {
		if on {
			if text != "" {
				text += "; "
			}
			text += fmt.Sprintf(format, args...)
		}
	}
	say(d.broken > 0, "%d broken or missing records, the first at byte %d", d.broken, d.first)
	say(d.torn, "the end is missing")
	say(d.sum, "the checksum is wrong")
	say(d.own, "what only midge keeps is missing: wills, shared deliveries, retained deliveries under way")
	say(d.lost > 0, "%d messages are missing", d.lost)
	return text
}

// mark is the damage of the snapshot's, made when there is some.
func (s *snapshot) mark() *damage {
	if s.damage == nil {
		s.damage = new(damage)
	}
	return s.damage
}

// broken notes a chunk that cannot be read.
func (s *snapshot) broken(at int64) {
	d := s.mark()
	if d.broken++; d.broken == 1 {
		d.first = at
	}
}

const warningsMax = 10

func (s *snapshot) warn(format string, args ...any) {
	if len(s.warnings) < warningsMax {
		s.warnings = append(s.warnings, fmt.Sprintf("Warning: "+format, args...))
	}
}

// readSnapshot reads a file of size bytes. A file that is not mosquitto's, or too
// new, is a *FormatError; other errors are those of r. Damage of the file is no error. Of
// memory it needs what the image takes, and its largest message. progress is
// called now and then with the bytes read so far; it may be nil.
func readSnapshot(r io.Reader, size int64, progress func(done, total int64)) (*snapshot, error) {
	s := &snapshot{size: size}
	in := newRestore(s)
	if size == 0 {
		s.warn("Persistence file is empty.")
		s.image = in.image
		return s, nil
	}
	c, err := newChunks(newSource(r, size, progress), s)
	if err == nil {
		err = in.read(c)
	}
	if err != nil {
		return nil, err
	}
	in.finish()
	s.image = in.image
	return s, nil
}

// loadSnapshot reads a file of a disk. There being none is fs.ErrNotExist.
func loadSnapshot(d Disk, name string, progress func(done, total int64)) (*snapshot, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return readSnapshot(f, size, progress)
}

// SaveSnapshot writes a file of a disk, all of it or nothing, beside whatever
// else goes on: the image is a frozen copy. It gives the size in bytes.
func SaveSnapshot(d Disk, name string, im *Image, stamp Stamp, stopped bool) (int64, error) {
	temporary := name + ".new"
	n, err := saveAs(d, temporary, im, stamp, stopped)
	if err == nil {
		err = d.Rename(temporary, name)
	}
	if err == nil {
		return n, d.Sync()
	}
	d.Remove(temporary) // as well as it can
	return 0, err
}

func saveAs(d Disk, name string, im *Image, stamp Stamp, stopped bool) (int64, error) {
	f, err := d.Create(name)
	if err != nil {
		return 0, err
	}
	n, err := writeSnapshot(f, im, stamp, stopped)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return n, err
}
