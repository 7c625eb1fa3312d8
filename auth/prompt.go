package auth

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// ask gets a password: twice from a terminal, where it is not shown, or else from a
// line of the input. A second line must be the same.
func (c *Passwd) ask() ([]byte, error) {
	read := c.readLine(bufio.NewReader(c.Stdin))
	if term.IsTerminal(int(c.Stdin.Fd())) {
		show, err := c.hide()
		if err != nil {
			return nil, err
		}
		defer show()
		read = c.prompt
	}
	first, err := read("Password: ")
	if err != nil || len(first) == 0 {
		return nil, refuse("Error: Empty password.")
	}
	if len(first) > stringMax {
		return first, nil // which is refused
	}
	again, err := read("Reenter password: ")
	if err == io.EOF && !term.IsTerminal(int(c.Stdin.Fd())) {
		return first, nil
	}
	if !bytes.Equal(first, again) {
		return nil, &refused{text: "Error: Passwords do not match.", status: passwdDifferent}
	}
	return first, nil
}

// prompt reads a line from the terminal.
func (c *Passwd) prompt(text string) ([]byte, error) {
	fmt.Fprint(c.Stdout, text)
	defer fmt.Fprintln(c.Stdout)
	return term.ReadPassword(int(c.Stdin.Fd()))
}

// readLine reads a line of bounded length from what is no terminal. io.EOF is no line.
func (c *Passwd) readLine(r *bufio.Reader) func(string) ([]byte, error) {
	return func(string) ([]byte, error) {
		var line []byte
		for len(line) <= stringMax {
			b, err := r.ReadByte()
			if err == io.EOF && len(line) > 0 || err == nil && b == '\n' {
				return bytes.TrimSuffix(line, []byte("\r")), nil
			}
			if err != nil {
				return nil, err
			}
			line = append(line, b)
		}
		return line, nil // too long, which hash says
	}
}

// hide has the terminal not show what is typed, from before it is asked for. show ends
// that; so does a signal that ends the process.
func (c *Passwd) hide() (show func(), err error) {
	fd := int(c.Stdin.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, os.NewSyscallError("tcgetattr", err)
	}
	hidden := *state
	hidden.Lflag &^= unix.ECHO
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if _, ok := <-ch; ok {
			unix.IoctlSetTermios(fd, unix.TCSETS, state)
			fmt.Fprintln(c.Stdout)
			os.Exit(passwdFailed)
		}
	}()
	show = func() {
		signal.Stop(ch)
		close(ch)
		unix.IoctlSetTermios(fd, unix.TCSETS, state)
	}
	return show, os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(fd, unix.TCSETS, &hidden))
}
