package conf

import (
	"math"
	"strconv"
)

// Options that are a flag or a number of the Config.

// flag stores a boolean.
func flag(field func(*Config) *bool) func(*statement) error {
	return func(s *statement) error {
		*field(s.file.cfg) = s.yes
		return nil
	}
}

// limit stores a number for which everything below 1 means no limit.
func limit(field func(*Config) *int) func(*statement) error {
	return func(s *statement) error {
		*field(s.file.cfg) = max(s.number, 0)
		return nil
	}
}

// within refuses numbers outside a range and stores the others, if there is a
// field for them.
func within(least, most int, field func(*Config) *int) func(*statement) error {
	return func(s *statement) error {
		if s.number < least || s.number > most {
			return failValue(s.name, strconv.Itoa(s.number))
		}
		if field != nil {
			*field(s.file.cfg) = s.number
		}
		return nil
	}
}

// setMaxInflightMessages takes the largest number, which would be no window at
// all, for none.
func setMaxInflightMessages(s *statement) error {
	if s.number > math.MaxUint16 {
		return fail("Error: '%s' must be <= 65535.", s.name)
	}
	if s.number < 0 || s.number == math.MaxUint16 {
		s.number = 0
	}
	s.file.cfg.MaxInflightMessages = s.number
	return nil
}

// minPacketSize is the least max_packet_size in bytes.
const minPacketSize = 20

func setMaxPacketSize(s *statement) error {
	if s.number < minPacketSize {
		return failRange(s.name)
	}
	s.file.cfg.MaxPacketSize = s.number
	return nil
}

// maxPayload is the longest payload a PUBLISH can have, in bytes [MQTT-2.2.3].
const maxPayload = 268435455

func setMessageSizeLimit(s *statement) error {
	if s.number < 0 || s.number > maxPayload {
		// mosquitto prints the number without its sign.
		return fail("Error: Invalid '%s' value (%d).", s.name, uint32(s.number))
	}
	s.file.cfg.MessageSizeLimit = s.number
	return nil
}

// setMemoryLimit takes what mosquitto does not look at closely: 50MB is 50. That
// is said, for it is never meant.
func setMemoryLimit(s *statement) error {
	digits := leadingDigits(s.text)
	n, err := strconv.ParseInt(digits, 10, 64)
	if n < 0 {
		return failValue(s.name, digits)
	}
	s.file.cfg.MemoryLimit = n
	if err == nil && digits == s.text {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: The '%s' value (%s) is not a number of bytes, using %d.", s.name, s.text, n)
}

// expirationUnit returns the seconds a last letter of
// persistent_client_expiration stands for, 0 if it is none.
func expirationUnit(letter byte) int64 {
	const hour = 3600
	switch letter {
	case 's':
		return 1
	case 'h':
		return hour
	case 'd':
		return 24 * hour
	case 'w':
		return 7 * 24 * hour
	case 'm':
		return 30 * 24 * hour
	case 'y':
		return 365 * 24 * hour
	}
	return 0
}

// setPersistentClientExpiration reads a number and its unit. Between the two
// anything may stand, which is said.
func setPersistentClientExpiration(s *statement) error {
	last := len(s.text) - 1
	unit := expirationUnit(s.text[last])
	digits := leadingDigits(s.text[:last])
	n, err := strconv.ParseInt(digits, 10, 32)
	if unit == 0 || err != nil || n < 1 {
		return failValue(s.name, s.text)
	}
	s.file.cfg.PersistentClientExpiration = n * unit
	if digits == s.text[:last] {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: The '%s' value (%s) is not a number and a unit, using %d%c.",
		s.name, s.text, n, s.text[last])
}

// maxRetainExpiryInterval is the longest retain_expiry_interval in minutes.
const maxRetainExpiryInterval = 10000000

func setRetainExpiryInterval(s *statement) error {
	if s.number < 1 {
		return failRange(s.name)
	}
	s.file.cfg.RetainExpiryInterval = min(s.number, maxRetainExpiryInterval)
	if s.number <= maxRetainExpiryInterval {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: The '%s' value (%d) is too high, using %d.",
		s.name, s.number, maxRetainExpiryInterval)
}

// setRetryInterval brings an option of mosquitto 1.4 back. Later versions do
// not look at its value, so a bad one in an old file is only a warning.
func setRetryInterval(s *statement) error {
	s.file.cfg.RetryInterval = 0
	w, _ := s.word()
	n, err := parseInt(w)
	if err == nil && n >= 0 {
		s.file.cfg.RetryInterval = n
		return nil
	}
	return s.file.say(ClassWarning, "Warning: Invalid '%s' value (%s), messages are not sent again.", s.name, w)
}
