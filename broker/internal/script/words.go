package script

import (
	"fmt"
	"regexp"
	"strings"
)

// word is a part of a packet's line: a value, a key with a value, or a list in
// braces with or without a key.
type word struct {
	key   string
	value string
	pair  string // of a value like a:b, the second half
	pairs bool   // there is one
	list  []word // of braces
	lists bool   // it is a list, maybe an empty one
	quote bool   // the value was quoted
}

func (w *word) String() string {
	if w.key != "" {
		return w.key + "=" + w.value
	}
	return w.value
}

var wordKey = regexp.MustCompile(`^[a-z][a-z-]*=`)

// words takes a line apart. end is '}' within a list, else 0.
func words(s string, end byte) (all []word, rest string, err error) {
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			if end != 0 {
				return nil, "", fmt.Errorf("%q is missing", end)
			}
			return all, "", nil
		}
		if s[0] == end {
			return all, s[1:], nil
		}
		var w word
		if w.key = wordKey.FindString(s); w.key != "" {
			s = s[len(w.key):]
			w.key = strings.TrimSuffix(w.key, "=")
		}
		if s, err = w.take(s); err != nil {
			return nil, "", err
		}
		all = append(all, w)
	}
}

// take reads the value at the start of s.
func (w *word) take(s string) (rest string, err error) {
	if s == "" {
		return "", nil
	}
	if s[0] == '{' {
		w.lists = true
		w.list, rest, err = words(s[1:], '}')
		return rest, err
	}
	w.quote = s[0] == '\'' || s[0] == '"'
	if w.value, rest, err = value(s, w.key == "user"); err != nil || w.key != "user" {
		return rest, err
	}
	if w.pairs = strings.HasPrefix(rest, ":"); !w.pairs {
		return rest, nil
	}
	w.pair, rest, err = value(rest[1:], false)
	return rest, err
}

// value reads a quoted text or a bare one, which ends at a blank or a brace, and
// the first half of a pair at a colon.
func value(s string, half bool) (v, rest string, err error) {
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		b, rest, err := quoted(s)
		return string(b), rest, err
	}
	stops := " {}'\""
	if half {
		stops += ":"
	}
	if i := strings.IndexAny(s, stops); i >= 0 {
		return s[:i], s[i:], nil
	}
	return s, "", nil
}
