package process

import (
	"errors"
	"strconv"
	"syscall"
)

// What may be wrong with UMASK_SET, in mosquitto's words.
var (
	errUmaskDigits = errors.New("not a valid octal number")
	errUmaskRange  = errors.New("out of range")
)

// SetUmask sets the process's file mode creation mask to an octal number, which
// containers give in the environment as UMASK_SET; "" leaves it as it is.
func SetUmask(octal string) error {
	if octal == "" {
		return nil
	}
	mask, err := parseUmask(octal)
	if err != nil {
		return err
	}
	syscall.Umask(mask)
	return nil
}

func parseUmask(octal string) (int, error) {
	mask, err := strconv.ParseUint(octal, 8, 32)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && mask > 0o777:
		return 0, errUmaskRange
	case err != nil:
		return 0, errUmaskDigits
	}
	return int(mask), nil
}
