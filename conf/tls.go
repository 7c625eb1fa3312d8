package conf

// Files and lists are only noted here: they are read when the listeners are opened,
// as in mosquitto.

const (
	whyEngine = "it has no TLS engines"
	whyPSK    = "it has no pre-shared keys"
	whySuites = "Go's TLS chooses the cipher suites of TLS 1.3 itself"
)

// tlsText stores a text of the listener's TLS.
func tlsText(field func(*TLS) *string) func(*statement) error {
	return func(s *statement) error {
		*field(&s.file.listener.TLS) = s.text
		return nil
	}
}

// setTLSVersion warns of what is not safe any more. What is no version is found when
// the listener is opened, as in mosquitto.
func setTLSVersion(s *statement) error {
	s.file.listener.TLS.TLSVersion = s.text
	if s.text == "tlsv1.1" {
		return s.file.say(ClassWarning, "Warning: TLS 1.1 is not safe any more. Use tls_version tlsv1.2 or tlsv1.3.")
	}
	return nil
}

// tlsSwitch stores a switch of the listener's TLS.
func tlsSwitch(field func(*TLS) *bool) func(*statement) error {
	return func(s *statement) error {
		*field(&s.file.listener.TLS) = s.yes
		return nil
	}
}

func errMixedListener() error {
	return fail("Error: Cannot use both certificate and psk encryption in a single listener.")
}

func setCertfile(s *statement) error {
	if s.file.listener.pskHint {
		return errMixedListener()
	}
	s.file.listener.TLS.Certfile = s.text
	return nil
}

func setKeyfile(s *statement) error {
	s.file.listener.TLS.Keyfile = s.text
	return nil
}

func setCafile(s *statement) error {
	if s.file.listener.pskHint {
		return errMixedListener()
	}
	s.file.listener.TLS.CAFile = s.text
	return nil
}

func setCapath(s *statement) error {
	s.file.listener.TLS.CAPath = s.text
	return nil
}

func setPSKHint(s *statement) error {
	s.file.listener.pskHint = true
	return nil
}

func setSubjectAsUsername(s *statement) error {
	s.file.listener.TLS.UseSubjectAsUsername = s.yes
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
	tls := &l.TLS
	switch {
	case (tls.Certfile != "") != (tls.Keyfile != ""):
		return fail("Error: A listener needs both 'certfile' and 'keyfile', or neither.")
	case tls.CAFile+tls.CAPath != "" && !tls.On():
		return fail("Error: 'cafile' and 'capath' need 'certfile' and 'keyfile'.")
	case l.Proxy.Version == 2 && tls.On():
		return fail("Error: 'enable_proxy_protocol 2' cannot be used with 'certfile' and 'keyfile'.")
	case l.Proxy.Version == 2 && tls.UseSubjectAsUsername:
		return fail("Error: 'enable_proxy_protocol 2' cannot be used with 'use_subject_as_username'.")
	}
	return nil
}
