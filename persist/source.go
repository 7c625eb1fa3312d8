package persist

import (
	"fmt"
	"hash/crc32"
	"io"
)

// castagnoli is the polynomial of CRC-32C, by which all that midge writes is checked.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// source reads a file of known size from front to back. It holds a window of
// it, and nothing larger than what the file still has: a length that a file
// claims is compared with left before anything is allocated for it.
type source struct {
	r        io.Reader
	size     int64 // of the file
	at       int64 // offset of what comes next
	sum      uint32
	progress func(done, total int64) // called after each read; may be nil
	err      error                   // why reading failed; the end of the file is none

	buf        []byte
	start, end int // what is in buf and still to come
	large      []byte
}

const (
	windowSize = 256 << 10
	largeKept  = 1 << 20 // a buffer larger than this is used once
)

func newSource(r io.Reader, size int64, progress func(done, total int64)) *source {
	return &source{r: r, size: size, progress: progress, buf: make([]byte, min(size, windowSize))}
}

// left is how many bytes are still to come.
func (s *source) left() int64 { return s.size - s.at }

// peek looks at the next n bytes, at most windowSize; there are fewer at the end.
func (s *source) peek(n int) []byte {
	n = int(min(int64(n), s.left()))
	if s.end-s.start < n {
		s.fill(n)
	}
	return s.buf[s.start:min(s.start+n, s.end)]
}

// look looks at n bytes that are off bytes ahead, at most windowSize; there are
// fewer at the end. Beyond the window it can only where the file can be read
// anywhere; ok tells whether it could.
func (s *source) look(off int64, n int) (b []byte, ok bool) {
	n = int(max(0, min(int64(n), s.left()-off)))
	if off+int64(n) <= int64(len(s.buf)) {
		b = s.peek(int(off) + n)
		return b[min(int(off), len(b)):], true
	}
	r, ok := s.r.(io.ReaderAt)
	if !ok {
		return nil, false
	}
	b = make([]byte, n)
	n, err := r.ReadAt(b, s.at+off)
	if err != nil && err != io.EOF {
		s.failed(err, s.at+off+int64(n))
	}
	return b[:n], true
}

// fill has n bytes in the window, unless the file ends.
func (s *source) fill(n int) {
	s.end = copy(s.buf, s.buf[s.start:s.end])
	s.start = 0
	if s.err != nil {
		return
	}
	room := s.buf[s.end:min(int64(len(s.buf)), s.left())]
	got, err := io.ReadAtLeast(s.r, room, n-s.end)
	s.end += got
	s.failed(err, s.at+int64(s.end))
	s.tell(s.at + int64(s.end))
}

func (s *source) tell(done int64) {
	if s.progress != nil {
		s.progress(done, s.size)
	}
}

// failed notes an error of the reader, which has given the file up to end.
func (s *source) failed(err error, end int64) {
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		s.size = end // it is shorter than it was said to be
	case err != nil && s.err == nil:
		s.err = fmt.Errorf("read at byte %d: %w", end, err)
	}
}

// take reads n bytes, which are valid until the next call. It gives nil when the
// file has fewer.
func (s *source) take(n int64) []byte {
	if n > s.left() {
		return nil
	}
	if n > windowSize {
		return s.takeLarge(int(n))
	}
	b := s.peek(int(n))
	if int64(len(b)) < n {
		return nil
	}
	s.pass(b)
	s.start += len(b)
	return b
}

func (s *source) takeLarge(n int) []byte {
	if cap(s.large) < n {
		s.large = make([]byte, n)
	}
	b := s.large[:n]
	if n > largeKept {
		s.large = nil
	}
	held := copy(b, s.buf[s.start:s.end])
	s.start, s.end = 0, 0
	got, err := io.ReadFull(s.r, b[held:])
	s.failed(err, s.at+int64(held+got))
	if err != nil {
		s.at += int64(held + got)
		return nil
	}
	s.pass(b)
	s.tell(s.at)
	return b
}

func (s *source) pass(b []byte) {
	s.sum = crc32.Update(s.sum, castagnoli, b)
	s.at += int64(len(b))
}

// skip passes over n bytes, or over what there is.
func (s *source) skip(n int64) {
	for n > 0 && s.err == nil {
		b := s.take(min(n, windowSize, s.left()))
		if len(b) == 0 {
			return
		}
		n -= int64(len(b))
	}
}
