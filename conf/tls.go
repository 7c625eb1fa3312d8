package conf

// TLS options are not built yet. What mosquitto checks of them while reading
// is checked here.

const (
	whyEngine = "it has no TLS engines"
	whyPSK    = "it has no pre-shared keys"
)

func errMixedListener() error {
	return fail("Error: Cannot use both certificate and psk encryption in a single listener.")
}

func setCertfile(s *statement) error {
	if s.file.listener.pskHint {
		return errMixedListener()
	}
	s.file.listener.certfile = true
	return nil
}

func setKeyfile(s *statement) error {
	s.file.listener.keyfile = true
	return nil
}

func setCafile(s *statement) error {
	if s.file.listener.pskHint {
		return errMixedListener()
	}
	s.file.listener.authorities = true
	return nil
}

func setCapath(s *statement) error {
	s.file.listener.authorities = true
	return nil
}

func setPSKHint(s *statement) error {
	s.file.listener.pskHint = true
	return nil
}

func setSubjectAsUsername(s *statement) error {
	s.file.listener.subjectAsUsername = s.yes
	return nil
}

// setKeyform lets everything but engine mean pem, which it is anyway.
func setKeyform(s *statement) error {
	if s.text == "engine" {
		s.judgeValue(never, whyEngine)
	}
	return nil
}

// setEnginePassword checks for the digits of a SHA-1 sum. mosquitto says
// nothing but the place when they are wrong.
func setEnginePassword(s *statement) error {
	if !isHex(s.text) || len(s.text) != 40 {
		return &Error{Code: Exit}
	}
	return nil
}

// isHex tells whether s consists of hexadecimal digits.
func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		c := upper(s[i])
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// checkTLS finds what a listener's section lacks, at the end of the file.
func (l *listener) checkTLS() error {
	switch {
	case l.certfile != l.keyfile:
		return fail("Error: A listener needs both 'certfile' and 'keyfile', or neither.")
	case l.authorities && !l.certfile:
		return fail("Error: 'cafile' and 'capath' need 'certfile' and 'keyfile'.")
	case l.proxy == 2 && l.certfile:
		return fail("Error: 'enable_proxy_protocol 2' cannot be used with 'certfile' and 'keyfile'.")
	case l.proxy == 2 && l.subjectAsUsername:
		return fail("Error: 'enable_proxy_protocol 2' cannot be used with 'use_subject_as_username'.")
	}
	return nil
}
