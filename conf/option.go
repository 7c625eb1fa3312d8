package conf

import "strings"

// option is one name of mosquitto.conf and what is done with a line of it.
type option struct {
	name  string
	of    string // the option this is another name of; they share one value
	value kind
	scope scope
	need  need
	state state
	// opened options begin with name and end with a key: plugin_opt_*.
	opened bool
	// once makes a second text an error; otherwise the last one wins, or they
	// add up.
	once bool
	// strict refuses a number with anything behind its digits.
	strict bool
	// skip tells when a line is not looked at.
	skip func(*file) bool
	// notice is said of every line, before its value is looked at.
	notice string
	// why ends the message about an option that is gone or will never be.
	why string
	// set checks what was read and stores it. Without it the syntax is all
	// there is to check.
	set func(*statement) error
}

// key is the name under which an option and its aliases share a value.
func (o *option) key() string {
	if o.of != "" {
		return o.of
	}
	return o.name
}

// kind is how a value is written.
type kind uint8

const (
	unread    kind = iota // nothing of the line is looked at
	boolean               // true, false, 1 or 0
	integer               // a 32-bit number in C notation
	integer64             // leading digits, any size; not validated
	word                  // up to the next space
	text                  // the rest, trimmed, UTF-8 without control characters
	raw                   // the rest behind one space
	own                   // a grammar of its own, read by set
)

// scope is whose value an option sets.
type scope uint8

const (
	global      scope = iota
	perListener       // the current listener's
	either            // global, or the listener's with per_listener_settings
	perBridge         // the current connection's
	perPlugin         // the current plugin's
)

// need is what must stand above an option in the same file.
type need uint8

const (
	nothing         need = iota
	someListener         // a listener, or the default one
	namedListener        // a listener line
	defaultListens       // a listener; without one the default listener is made
	listenerIfOwned      // someListener with per_listener_settings
	someBridge           // a connection line
	somePlugin           // a plugin line
)

// state is how far midge has an option.
type state uint8

const (
	built  state = iota
	notYet       // refused until it is built
	never        // refused for good
	gone         // ignored with a warning
)

// optionTable finds options by name.
type optionTable struct {
	all    []option
	named  map[string]*option
	opened []*option
}

func newOptionTable() *optionTable {
	t := &optionTable{all: allOptions()}
	t.named = make(map[string]*option, len(t.all))
	for i := range t.all {
		o := &t.all[i]
		if o.opened {
			t.opened = append(t.opened, o)
		} else {
			t.named[o.name] = o
		}
	}
	return t
}

// find returns the option with the name, nil if there is none.
func (t *optionTable) find(name string) *option {
	if o := t.named[name]; o != nil {
		return o
	}
	for _, o := range t.opened {
		if strings.HasPrefix(name, o.name) {
			return o
		}
	}
	return nil
}
