package conf

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Class is a class of log lines, or a set of them: the words of log_type.
type Class uint16

// The classes, in mosquitto's order.
const (
	ClassError Class = 1 << iota
	ClassWarning
	ClassNotice
	ClassInformation
	ClassDebug
	ClassSubscribe
	ClassUnsubscribe
	ClassWebsockets
	ClassInternal

	allClasses = ClassInternal<<1 - 1
)

// defaultClasses are logged when no log_type line says otherwise.
const defaultClasses = ClassError | ClassWarning | ClassNotice | ClassInformation

// Line is one message about the configuration, without time stamp and newline.
type Line struct {
	Class Class
	Text  string
}

// Error is a configuration that was refused. Lines are to be printed, in their
// order, in place of any further start-up; Code is the exit status.
type Error struct {
	Lines []Line
	Code  int
}

// Error joins the texts of the lines.
func (e *Error) Error() string {
	var b strings.Builder
	for i, l := range e.Lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l.Text)
	}
	return b.String()
}

// Errorf makes an Error of one line, of class error.
func Errorf(code int, format string, args ...any) *Error {
	e := &Error{Code: code}
	e.Add(format, args...)
	return e
}

// Add appends a line of class error.
func (e *Error) Add(format string, args ...any) {
	e.Lines = append(e.Lines, Line{ClassError, fmt.Sprintf(format, args...)})
}

// Reason is why something failed as mosquitto prints it: of a system call C's words,
// without the call and the file it was about.
func Reason(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		err = no
	}
	text := err.Error()
	first := min(1, len(text))
	return strings.ToUpper(text[:first]) + text[first:]
}

// fail makes an Error of one line.
func fail(format string, args ...any) error { return Errorf(Exit, format, args...) }

// The shapes of mosquitto's complaints about the value of an option.

func failEmpty(name string) error { return fail("Error: Empty '%s' value in configuration.", name) }

func failValue(name, value string) error { return fail("Error: Invalid '%s' value (%s).", name, value) }

func failNumber(name string) error { return fail("Error: '%s' value not a number.", name) }

func failRange(name string) error { return fail("Error: '%s' value out of range.", name) }

func failDuplicate(name string) error {
	return fail("Error: Duplicate '%s' value in configuration.", name)
}
