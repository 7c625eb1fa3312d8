package loop

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SIGRTMIN is what C libraries call by that name: the first real-time signal that
// they leave to programs. Go leaves it to the C library too: os/signal does not
// deliver it, its runtime unblocks it on every thread, so that a signalfd sees
// nothing, and ends the process should its own handler be called for it. So the
// handler here is not Go: a few instructions that write to an eventfd, which the
// poller watches.
const SIGRTMIN = syscall.Signal(34)

// What the handler writes, and where to. It belongs to the process, as the
// handler does.
var (
	//lint:ignore U1000 assembly reads it
	rtminFD int32 = -1
	//lint:ignore U1000 assembly reads it
	rtminOne uint64 = 1
)

// onRTMin is the handler. Go must not call it.
//
//lint:ignore U1000 assembly knows it
func onRTMin()

// rtminHandler is its address; a Go function value is that of a wrapper.
func rtminHandler() uintptr

// sigaction is the kernel's structure, of which all that differs between
// processors lies behind the handler.
type sigaction struct {
	handler uintptr
	rest    [64]byte
}

// sigsetSize is the size of the kernel's set of signals, in bytes.
const sigsetSize = 8

func rtSigaction(sig syscall.Signal, set, old *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), sigsetSize, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}

// RTMin tells of SIGRTMIN by a descriptor. There may be one in a process.
type RTMin struct{ fd int }

// NewRTMin catches SIGRTMIN from now on.
func NewRTMin() (*RTMin, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	rtminFD = int32(fd)
	var a sigaction // flags, mask and the way back as the runtime has them: its signal stack above all
	if err = rtSigaction(syscall.SIGURG, nil, &a); err == nil {
		a.handler = rtminHandler()
		err = rtSigaction(SIGRTMIN, &a, nil)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &RTMin{fd}, nil
}

// FD becomes readable by the signal.
func (r *RTMin) FD() int { return r.fd }

// Came reports whether the signal came since the last call.
func (r *RTMin) Came() bool {
	var count [8]byte
	n, err := Read(r.fd, count[:])
	return err == nil && n == len(count)
}

// Close ignores the signal from now on, and closes the descriptor.
func (r *RTMin) Close() {
	var a sigaction
	rtSigaction(SIGRTMIN, nil, &a)
	const ignore = 1 // SIG_IGN
	a.handler = ignore
	rtSigaction(SIGRTMIN, &a, nil)
	rtminFD = -1 // for a handler that has begun
	unix.Close(r.fd)
}
