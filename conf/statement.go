package conf

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// statement is one line of a file being carried out.
type statement struct {
	file   *file
	option *option
	name   string // the option as written, maybe an alias
	rest   string // what is left of the line

	// The value read, by the kind of the option.
	yes    bool
	number int
	text   string

	// What is to be said of the option if midge has not got it. Where that
	// hangs on the value, set changes it.
	verdict state
	what    string
	why     string
}

// run checks that the line may stand here, reads its value and lets the option
// store it.
func (s *statement) run() error {
	o := s.option
	if o.state == gone {
		why := "no longer available"
		if o.why != "" {
			why = o.why
		}
		return s.file.say(ClassWarning, "Warning: The '%s' option is %s.", s.name, why)
	}
	if o.skip != nil && o.skip(s.file) {
		return nil
	}
	if err := s.require(); err != nil {
		return err
	}
	if o.notice != "" {
		if err := s.file.say(ClassNotice, "%s", o.notice); err != nil {
			return err
		}
	}
	if err := s.read(); err != nil {
		return err
	}
	if o.scope == either {
		s.file.secured = true
	}
	s.verdict, s.what, s.why = o.state, s.name, o.why
	if o.set != nil {
		if err := o.set(s); err != nil {
			return err
		}
	}
	s.judge()
	return nil
}

// judgeValue makes the verdict on the option one on the value read.
func (s *statement) judgeValue(v state, why string) {
	s.verdict, s.what, s.why = v, s.name+" "+s.text, why
}

// judge notes what midge has not got.
func (s *statement) judge() {
	key := s.what
	if s.option.opened {
		key = s.option.name // there is no end of different ones
	}
	switch s.verdict {
	case notYet:
		if s.turnedOff() {
			return
		}
		s.file.lack(key, s.position(), "Error: The '"+s.what+"' option is not built yet in midge.")
	case never:
		s.file.lack(key, s.position(), "Error: The '"+s.what+"' option is not supported by midge: "+s.why+".")
	}
}

// turnedOff tells whether the line only says that something is not wanted,
// which is all the same to a broker that has not got it.
func (s *statement) turnedOff() bool {
	o := s.option
	return o.value == boolean && !s.yes && o.scope != perBridge && o.scope != perPlugin
}

// position returns where the line stands.
func (s *statement) position() position {
	return position{s.name, s.file.path()}
}

// require checks what must stand above the line, and makes the default
// listener where that is the way.
func (s *statement) require() error {
	f := s.file
	switch s.option.need {
	case someListener:
		return s.requireListener(f.listener != nil)
	case namedListener:
		return s.requireListener(f.listener != nil && f.listener != f.defaultListener)
	case listenerIfOwned:
		return s.requireListener(f.listener != nil || !f.cfg.PerListenerSettings)
	case defaultListens:
		if f.listener == nil {
			return s.implyListener()
		}
	case someBridge:
		if f.bridge == nil {
			return fail("Error: The '%s' option requires a bridge to be defined first.", s.name)
		}
	case somePlugin:
		if f.plugin == nil {
			return fail("Error: The '%s' option requires a plugin, global_plugin or plugin_load to be defined first.", s.name)
		}
	}
	return nil
}

func (s *statement) requireListener(present bool) error {
	if present {
		return nil
	}
	return fail("Error: The '%s' option requires a listener to be defined first.", s.name)
}

// implyListener makes the default listener the current one.
func (s *statement) implyListener() error {
	f := s.file
	if f.defaultListener == nil {
		err := f.say(ClassInformation, "Creating default listener due to '%s' option.", s.name)
		if err == nil {
			err = f.say(ClassInformation, "It is best practice to put a 'listener' line above the '%s' option.", s.name)
		}
		if err != nil {
			return err
		}
		f.defaultListener = newListener()
		f.implicit = s.position()
	}
	f.listener = f.defaultListener
	return nil
}

// read takes the value off the line, as the kind of the option says.
func (s *statement) read() error {
	switch s.option.value {
	case boolean:
		return s.readBoolean()
	case integer:
		return s.readInteger()
	case integer64:
		return s.readWord() // set looks at the digits
	case word:
		return s.readWord()
	case text:
		return s.readText()
	case raw:
		return s.readRaw()
	}
	return nil
}

// word takes the next word: spaces are skipped, one behind it goes with it.
func (s *statement) word() (string, bool) {
	rest := strings.TrimLeft(s.rest, " ")
	w, rest, _ := strings.Cut(rest, " ")
	s.rest = rest
	return w, w != ""
}

func (s *statement) readWord() error {
	w, ok := s.word()
	if !ok {
		return failEmpty(s.name)
	}
	s.text = w
	return nil
}

func (s *statement) readRaw() error {
	if s.rest == "" {
		return failEmpty(s.name)
	}
	s.text, s.rest = s.rest, ""
	return nil
}

// readLoose reads the rest of the line; name is what it is called if empty.
func (s *statement) readLoose(name string) error {
	s.text, s.rest = strings.TrimLeft(s.rest, " \t"), ""
	if s.text == "" {
		return failEmpty(name)
	}
	return nil
}

func (s *statement) readBoolean() error {
	if err := s.readWord(); err != nil {
		return err
	}
	switch s.text {
	case "true", "1":
		s.yes = true
	case "false", "0":
		s.yes = false
	default:
		return failValue(s.name, s.text)
	}
	return nil
}

// cSpace is what C calls white space.
const cSpace = " \t\n\v\f\r"

// maxText is the length of the longest text value in bytes.
const maxText = math.MaxUint16

func (s *statement) readText() error {
	if s.rest == "" {
		return failEmpty(s.name)
	}
	seen := s.seen()
	if s.option.once && seen[s.option.key()] {
		return failDuplicate(s.name)
	}
	s.text, s.rest = strings.Trim(s.rest, cSpace), ""
	switch {
	case s.text == "":
		return failEmpty(s.name)
	case len(s.text) > maxText:
		return &Error{Code: Exit} // where it was found is all that is said
	case !validText(s.text):
		return fail("Error: Malformed UTF-8 in configuration.")
	}
	if s.option.once {
		seen[s.option.key()] = true
	}
	return nil
}

// seen returns the texts already given where the option belongs.
func (s *statement) seen() map[string]bool {
	f := s.file
	switch {
	case s.option.scope == perBridge:
		return f.bridge.seen
	case s.option.scope == perListener, s.option.scope == either && f.cfg.PerListenerSettings:
		return f.listener.seen
	}
	return f.loader.seen
}

// validText tells whether s may be a UTF-8 string of MQTT: well formed, with
// neither control characters nor non-characters.
func validText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		switch {
		case r < 0x20, 0x7f <= r && r <= 0x9f, 0xfdd0 <= r && r <= 0xfdef, r&0xfffe == 0xfffe:
			return false
		}
	}
	return true
}

func (s *statement) readInteger() error {
	if err := s.readWord(); err != nil {
		return err
	}
	n, err := parseInt(s.text)
	switch {
	case err == nil:
		s.number = n
		return nil
	case isRange(err):
		return failRange(s.name)
	case s.option.strict:
		return failNumber(s.name)
	}
	return s.guessInteger()
}

// guessInteger takes the digits a word begins with, as mosquitto 2.0 does, and
// says so.
func (s *statement) guessInteger() error {
	digits := leadingDigits(s.text)
	if _, base := cutBase(s.text); digits == "" || base == 16 {
		return failNumber(s.name)
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return failRange(s.name)
	}
	s.number = int(n)
	return s.file.say(ClassWarning, "Warning: The '%s' value (%s) is not a number, using %d.", s.name, s.text, n)
}

// parseInt reads a 32-bit number in C's notation: decimal, hexadecimal behind
// 0x, octal behind 0; a sign and white space may come first.
func parseInt(w string) (int, error) {
	digits, base := cutBase(w)
	n, err := strconv.ParseInt(digits, base, 32)
	return int(n), err
}

// cutBase takes white space and the mark of its base off a number.
func cutBase(w string) (digits string, base int) {
	w = strings.TrimLeft(w, cSpace)
	sign := ""
	if w != "" && (w[0] == '-' || w[0] == '+') {
		sign, w = w[:1], w[1:]
	}
	switch {
	case strings.HasPrefix(w, "0x"), strings.HasPrefix(w, "0X"):
		return sign + w[2:], 16
	case strings.HasPrefix(w, "0"):
		return sign + w, 8
	}
	return sign + w, 10
}

// isRange tells whether a number was understood but too big.
func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

// leadingDigits returns the sign and decimal digits w begins with, none if
// there is no digit.
func leadingDigits(w string) string {
	w = strings.TrimLeft(w, cSpace)
	i := 0
	if i < len(w) && (w[i] == '-' || w[i] == '+') {
		i++
	}
	start := i
	for i < len(w) && '0' <= w[i] && w[i] <= '9' {
		i++
	}
	if i == start {
		return ""
	}
	return w[:i]
}
