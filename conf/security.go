package conf

// security holds the options that per_listener_settings moves from the whole
// broker to single listeners.
type security struct {
	anonymous    answer
	zeroLengthID answer
	autoIDPrefix string // empty: not given
	passwordFile string // likewise
	aclFile      string
	plugins      []*plugin // built-in ones, in the order they are asked
}

// answer is a boolean that may not have been given.
type answer uint8

const (
	unset answer = iota
	no
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// or returns the answer, or b if there is none.
func (a answer) or(b bool) bool {
	if a == unset {
		return b
	}
	return a == yes
}

// maxPrefix is the length of the longest prefix of client ids in bytes.
const maxPrefix = 50

// security returns where a security option of this line belongs.
func (s *statement) security() *security {
	if s.file.cfg.PerListenerSettings {
		return &s.file.listener.security
	}
	return &s.file.global
}

// perListenerSettingsFixed tells whether the option is true already: from then
// on it is not looked at.
func perListenerSettingsFixed(f *file) bool { return f.cfg.PerListenerSettings }

func setPerListenerSettings(s *statement) error {
	if s.yes && s.file.secured {
		return fail("Error: '%s' must be set before any other security settings.", s.name)
	}
	s.file.cfg.PerListenerSettings = s.yes
	return nil
}

func setAllowAnonymous(s *statement) error {
	s.security().anonymous = answerOf(s.yes)
	return nil
}

func setListenerAllowAnonymous(s *statement) error {
	s.file.listener.anonymous = answerOf(s.yes)
	return nil
}

func setAllowZeroLengthClientID(s *statement) error {
	s.security().zeroLengthID = answerOf(s.yes)
	return nil
}

func setAutoIDPrefix(s *statement) error {
	if len(s.text) > maxPrefix {
		return failRange(s.name)
	}
	s.security().autoIDPrefix = s.text
	return nil
}

func setListenerAutoIDPrefix(s *statement) error {
	if len(s.text) > maxPrefix {
		return failRange(s.name)
	}
	s.file.listener.autoIDPrefix = s.text
	return nil
}

func setPasswordFile(s *statement) error {
	s.security().passwordFile = s.text
	return nil
}

func setACLFile(s *statement) error {
	s.security().aclFile = s.text
	return nil
}

func setClientIDPrefixes(s *statement) error {
	s.file.cfg.ClientIDPrefix = s.text
	return nil
}

func setUseUsernameAsClientID(s *statement) error {
	s.file.listener.UseUsernameAsClientID = s.yes
	return nil
}

// setPSKFile refuses to mix a listener's certificate with keys.
func setPSKFile(s *statement) error {
	if l := s.file.listener; l != nil && l.TLS.On() {
		return errMixedListener()
	}
	return nil
}
