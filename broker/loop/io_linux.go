package loop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrAgain is returned by a call that would have had to wait: no bytes to
// read, no room to write, no connection to accept. Compare with ==.
const ErrAgain = unix.EAGAIN

// iovecsMax bounds the buffers of one Writev, and so the stack it needs.
const iovecsMax = 64

// Read reads once from fd into buf, which must not be empty. 0 without an
// error is the end of the stream. An error is a plain syscall.Errno, ErrAgain
// among them; nothing is allocated.
func Read(fd int, buf []byte) (int, error) {
	return transfer(unix.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(buf)), len(buf))
}

// Unread says whether there are bytes in fd, a socket, that nobody has read yet.
func Unread(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// Write writes once from buf to fd and returns how many bytes were taken,
// which may be fewer than len(buf). buf is the caller's again on return. Errors
// are those of Read; a peer that is gone is EPIPE or ECONNRESET.
func Write(fd int, buf []byte) (int, error) {
	return transfer(unix.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(buf)), len(buf))
}

// Writev writes bufs to fd as one, with one call, and returns how many bytes
// were taken. Empty buffers are skipped. After 64 buffers the rest is left for
// another call, as in any short write. The buffers are the caller's again on
// return.
func Writev(fd int, bufs [][]byte) (int, error) {
	var vec [iovecsMax]unix.Iovec
	n := 0
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if n == len(vec) {
			break
		}
		vec[n].Base = unsafe.SliceData(b)
		vec[n].SetLen(len(b))
		n++
	}
	if n == 0 {
		return 0, nil
	}
	return transfer(unix.SYS_WRITEV, fd, unsafe.Pointer(&vec), n)
}

// Readv reads once from fd into a and, when that is full, on into b; b may be
// empty. It is Read with two buffers.
func Readv(fd int, a, b []byte) (int, error) {
	if len(b) == 0 {
		return Read(fd, a)
	}
	var vec [2]unix.Iovec
	vec[0].Base, vec[1].Base = unsafe.SliceData(a), unsafe.SliceData(b)
	vec[0].SetLen(len(a))
	vec[1].SetLen(len(b))
	return transfer(unix.SYS_READV, fd, unsafe.Pointer(&vec), len(vec))
}

// Close closes fd. The descriptor is gone even if there is an error. It does not
// block: none of our sockets lingers.
func Close(fd int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return os.NewSyscallError("close", errno)
	}
	return nil
}

// transfer makes one of the read and write calls, again if a signal cut it
// short. The raw entry does not tell the scheduler, so fd must not block.
func transfer(call uintptr, fd int, p unsafe.Pointer, n int) (int, error) {
	for {
		done, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(p), uintptr(n))
		switch errno {
		case 0:
			return int(done), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
