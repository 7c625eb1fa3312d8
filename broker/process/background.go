package process

import (
	"os"
	"os/exec"
	"syscall"
)

// daemonMark is the environment variable by which the process in the background
// knows that it is there already.
const daemonMark = "MIDGE_IN_BACKGROUND"

// Background starts the program once more, with the same arguments, in a session
// of its own and without standard streams, for -d. It returns false in the
// process that is that one: Go programs cannot fork.
func Background() (started bool, err error) {
	if os.Getenv(daemonMark) != "" {
		return false, os.Unsetenv(daemonMark)
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), daemonMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return true, cmd.Start()
}
