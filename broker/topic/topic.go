// Package topic knows what topic names and filters mean: which are legal, which
// filter matches which name, who has subscribed to a name, and which retained
// messages a filter asks for.
//
//   - [CheckName], [CheckFilter] and [Shared] say whether a string is legal.
//   - [Match] compares one filter with one name.
//   - [Index] holds subscriptions and finds all that match a name.
//   - [Retained] holds the last message of each name; a [Cursor] reads those
//     that match a filter, some at a time.
//
// A name or filter is a sequence of levels with '/' between them. Levels may be
// empty: "/" has two. Comparison is byte by byte, nothing is normalised
// [MQTT-4.7.3-4]. In a filter the level "+" stands for any one level, and "#",
// always the last, for its parent and everything below, so that "a/#" matches
// "a". Neither stands for a first level that begins with '$' [MQTT-4.7.2-1].
//
// Every function takes time in proportion to its input; none recurses over the
// levels of a name. What Index.Match and Retained.Read cost beyond that is said
// with them. Index and Retained are generic over what they hold, are ready for
// use as zero values, and have no locks: each belongs to one goroutine.
//
// It knows nothing of clients, QoS or shares but the name that a share has. Begin with
// match.go, the meaning in its plainest form, then index.go and retained.go.
package topic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// MaxSlashes is the largest number of '/' in a name or filter, which makes 201
// levels. The standard sets no limit; this one is mosquitto's.
const MaxSlashes = 200

// What may be wrong with a name or filter.
var (
	// ErrEmpty: a name or filter has at least one character [MQTT-4.7.3-1].
	ErrEmpty = errors.New("topic is empty")
	// ErrWildcard: a name has no '+' or '#' [MQTT-3.3.2-2].
	ErrWildcard = errors.New("wildcard in a topic name")
	// ErrBadWildcard: '+' is a whole level, '#' a whole level and the last
	// [MQTT-4.7.1-1], [MQTT-4.7.1-2].
	ErrBadWildcard = errors.New("misplaced wildcard in a topic filter")
	// ErrTooDeep: more than MaxSlashes '/'.
	ErrTooDeep = errors.New("topic has too many levels")
	// ErrBadShare: "$share/" without a legal group and a filter
	// [MQTT-4.8.2-1], [MQTT-4.8.2-2].
	ErrBadShare = errors.New("malformed shared subscription")
)

const sharePrefix = "$share/"

// CheckName reports why name may not be published to, or nil. That it is legal
// UTF-8 without U+0000 is the packet decoder's business.
func CheckName(name []byte) error {
	if len(name) == 0 {
		return ErrEmpty
	}
	if wildcard(name) {
		return ErrWildcard
	}
	if len(name) > MaxSlashes && slashes(name) > MaxSlashes {
		return ErrTooDeep
	}
	return nil
}

// wildcard reports whether name has a '+' or '#'. It looks at eight bytes at a time:
// the two differ in one bit, which is cleared first, and a byte that is equal to
// what is left becomes zero.
func wildcard(name []byte) bool {
	const every = 0x0101010101010101
	i := 0
	for ; len(name)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(name[i:])&^(every*('+'^'#')) ^ every*'#'
		if (w-every)&^w&(every<<7) != 0 {
			return true
		}
	}
	for ; i < len(name); i++ {
		if name[i] == '+' || name[i] == '#' {
			return true
		}
	}
	return false
}

// CheckFilter reports why filter may not be subscribed to, or nil. For a shared
// subscription it is called with what follows the group; see [Shared].
func CheckFilter(filter []byte) error {
	if len(filter) == 0 {
		return ErrEmpty
	}
	slashes, last := 0, len(filter)-1
	for i, c := range filter {
		switch c {
		case '+':
			if i > 0 && filter[i-1] != '/' || i < last && filter[i+1] != '/' {
				return ErrBadWildcard
			}
		case '#':
			if i > 0 && filter[i-1] != '/' || i < last {
				return ErrBadWildcard
			}
		case '/':
			slashes++
		}
	}
	if slashes > MaxSlashes {
		return ErrTooDeep
	}
	return nil
}

// Shared splits "$share/group/rest". A filter that does not begin with "$share/"
// is not shared and has no error, but has not been checked either. The error of
// one that does is ErrBadShare for the group or a missing rest
// [MQTT-4.8.2-1], [MQTT-4.8.2-2], or else what [CheckFilter] says of rest; the
// limit of MaxSlashes holds for the whole. group and rest point into filter.
func Shared(filter []byte) (group, rest []byte, shared bool, err error) {
	if len(filter) < len(sharePrefix) || string(filter[:len(sharePrefix)]) != sharePrefix {
		return nil, nil, false, nil
	}
	group, rest, err = splitShare(filter[len(sharePrefix):])
	return group, rest, true, err
}

// splitShare splits "group/rest" and checks both.
func splitShare(s []byte) (group, rest []byte, err error) {
	end := 0
	for end < len(s) && s[end] != '/' {
		if s[end] == '+' || s[end] == '#' {
			return nil, nil, ErrBadShare
		}
		end++
	}
	if end == 0 || end+1 >= len(s) {
		return nil, nil, ErrBadShare
	}
	group, rest = s[:end], s[end+1:]
	if err := CheckFilter(rest); err != nil {
		return nil, nil, err
	}
	if slashes(rest)+2 > MaxSlashes {
		return nil, nil, ErrTooDeep
	}
	return group, rest, nil
}

func slashes(s []byte) int { return bytes.Count(s, []byte{'/'}) }

// Match reports whether filter matches name; both are legal.
func Match(filter, name string) bool {
	if hidden(name) && wild(filter) {
		return false
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		have, nameRest, nameMore := strings.Cut(name, "/")
		if want != "+" && want != have {
			return false
		}
		if !filterMore || !nameMore {
			return filterMore == nameMore || filterMore && filterRest == "#"
		}
		filter, name = filterRest, nameRest
	}
}

// wild reports whether filter begins with a wildcard.
func wild(filter string) bool {
	return len(filter) > 0 && (filter[0] == '+' || filter[0] == '#')
}

// hidden reports whether a wildcard at the first level must pass over name
// [MQTT-4.7.2-1].
func hidden(name string) bool {
	return len(name) > 0 && name[0] == '$'
}
