package conf

import "strconv"

// Options of the persistence file and its journal.

func setPersistenceFile(s *statement) error {
	s.file.cfg.PersistenceFile = s.text
	return nil
}

func setPersistenceLocation(s *statement) error {
	s.file.cfg.PersistenceLocation = s.text
	return nil
}

// syncMax is the longest time between syncs, in seconds: a day.
const syncMax = 86400

// setPersistenceSync reads midge's own option: always, off or a number of seconds.
func setPersistenceSync(s *statement) error {
	n, err := strconv.Atoi(s.text)
	switch {
	case s.text == "always":
		n = SyncAlways
	case s.text == "off":
		n = SyncOff
	case err != nil || n < 1 || n > syncMax:
		return failValue(s.name, s.text)
	}
	s.file.cfg.PersistenceSync = n
	return nil
}
