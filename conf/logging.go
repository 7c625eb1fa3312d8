package conf

import "strconv"

// setLogDest adds a destination. The first line of a file on the command line
// replaces what there was before.
func setLogDest(s *statement) error {
	f := s.file.main()
	switch s.text {
	case "none":
		f.logDest = 0
	case "stdout":
		f.logDest |= ToStdout
	case "stderr":
		f.logDest |= ToStderr
	case "file":
		if err := s.setLogFile(); err != nil {
			return err
		}
		f.logDest |= ToFile
	case "syslog":
		f.logDest |= ToSyslog
	case "topic":
		f.logDest |= ToTopic
	case "dlt":
		s.judgeValue(never, "it does not speak DLT")
	default:
		return failValue(s.name, s.text)
	}
	f.logDestSet = true
	return nil
}

// setLogFile reads the path, of which there may be one in all files.
func (s *statement) setLogFile() error {
	name := s.name + " file"
	if s.file.logFile != "" {
		return failDuplicate(name)
	}
	if err := s.readLoose(name); err != nil {
		return err
	}
	s.file.logFile = s.text
	return nil
}

// The facilities of syslog there are for a broker.
const (
	facilityDaemon = 3
	facilityLocal0 = 16 // and seven more
)

func setLogFacility(s *statement) error {
	if s.number < 0 || s.number > 7 {
		return failValue(s.name, strconv.Itoa(s.number))
	}
	s.file.cfg.LogFacility = facilityLocal0 + s.number
	return nil
}

// classWord returns the class a word of log_type stands for.
func classWord(w string) (Class, bool) {
	words := [...]string{"error", "warning", "notice", "information", "debug",
		"subscribe", "unsubscribe", "websockets", "internal"}
	for i, name := range words {
		if w == name {
			return 1 << i, true
		}
	}
	return allClasses, w == "all"
}

// setLogType adds a class, as setLogDest adds a destination.
func setLogType(s *statement) error {
	f := s.file.main()
	c, ok := classWord(s.text)
	switch {
	case ok:
		f.logType |= c
	case s.text == "none":
		f.logType = 0
	default:
		return failValue(s.name, s.text)
	}
	f.logTypeSet = true
	return nil
}

func setLogTimestampFormat(s *statement) error {
	s.file.cfg.LogTimestampFormat = s.text
	return nil
}

func setPidFile(s *statement) error {
	s.file.cfg.PidFile = s.text
	return nil
}

func setUser(s *statement) error {
	s.file.cfg.User = s.text
	return nil
}

func setIncludeDir(s *statement) error { return s.file.include(s.text) }
