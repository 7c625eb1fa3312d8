package persist

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// A segment of the journal is a file named <persistence_file>.journal.<number>. It is
//
//	+---------------------------+-------------+---------+----------+
//	| "midge journal\0\0\1" (16)| number (8)  | file (8)| first (8)|
//	+---------+----------+------+-----+-------+----+----+----------+
//	| now (8) | wall (8) | CRC-32C (4)| record 1   | record 2 | ...
//	+---------+----------+------------+------------+----------+
//
// with numbers in little-endian order. file is the id of the snapshot that it was
// opened for, 0 for none; first the position of its first record; now and wall
// are the broker's clock and the machine's. The checksum is that of all before it.
//
// Segments are read in the order of their numbers, from the one on that the
// snapshot asks for, and each has to begin with the position that the one before
// came to. So one that was damaged, or that belongs to another history, is never
// taken for what follows.
type segment struct {
	number   uint64
	snapshot uint64
	first    Position
	clock    clock
}

// clock is one instant on both clocks, in milliseconds.
type clock struct {
	now  Time
	wall int64
}

const (
	segmentMagic = "midge journal\x00\x00\x01"
	segmentHead  = len(segmentMagic) + 5*8 + 4
	segmentInfix = ".journal."
)

func segmentName(base string, number uint64) string {
	return base + segmentInfix + strconv.FormatUint(number, 10)
}

// segmentNumber is that of the file name, or 0.
func segmentNumber(base, name string) uint64 {
	rest, ok := strings.CutPrefix(name, base+segmentInfix)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(rest, 10, 64)
	if err != nil || segmentName(base, n) != name {
		return 0
	}
	return n
}

func (s *segment) append(b []byte) []byte {
	at := len(b)
	b = append(b, segmentMagic...)
	for _, v := range [...]uint64{s.number, s.snapshot, uint64(s.first), uint64(s.clock.now), uint64(s.clock.wall)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// errSegment says that the file does not begin as a segment does.
var errSegment = errors.New("it has no header")

func (s *segment) decode(b []byte) error {
	end := segmentHead - 4
	if len(b) < segmentHead || string(b[:len(segmentMagic)]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return errSegment
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(segmentMagic)+8*i:]) }
	*s = segment{v(0), v(1), Position(v(2)), clock{Time(v(3)), int64(v(4))}}
	return nil
}

// segmentFound is what was found in a segment's file.
type segmentFound struct {
	name     string
	number   uint64
	snapshot uint64   // the one it was opened for
	first    Position // of its first record
	records  int
	size     int64 // of the file, in bytes
	good     int64 // of it can be used; what follows is torn or wrong
	now      Time  // the last instant it tells of, on the broker's clock
	wall     int64 // and in Unix milliseconds
}

// segmentReader reads a segment record by record. It needs memory for the largest
// record, and never for more than the file has.
type segmentReader struct {
	segmentFound
	r   *bufio.Reader
	buf []byte
}

// openSegment reads the header. Without one Good is 0, and there is no record.
// An error is that of the disk.
func openSegment(r io.Reader, name string, size int64) (*segmentReader, error) {
	s := &segmentReader{segmentFound: segmentFound{name: name, size: size}, r: bufio.NewReaderSize(r, 256<<10)}
	head := make([]byte, segmentHead)
	if _, err := io.ReadFull(s.r, head); err != nil {
		return s, s.failed(err)
	}
	var h segment
	if h.decode(head) != nil {
		return s, nil
	}
	s.number, s.snapshot, s.first, s.now, s.wall = h.number, h.snapshot, h.first, h.clock.now, h.clock.wall
	s.good = int64(segmentHead)
	return s, nil
}

// failed is the error of a read, unless the file has just ended.
func (s *segmentReader) failed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return fmt.Errorf("read %s: %w", s.name, err)
}

// next gives the next whole record, its type first; it is valid until the next
// call. nil is the end, or what cannot be used.
func (s *segmentReader) next() ([]byte, error) {
	if s.good == 0 {
		return nil, nil
	}
	var head [recordHead]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, s.failed(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n == 0 || n > s.size-s.good-recordHead {
		return nil, nil
	}
	if int64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	body := s.buf[:n]
	if _, err := io.ReadFull(s.r, body); err != nil {
		return nil, s.failed(err)
	}
	if recordSum(head[:4], body) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, nil
	}
	return body, nil
}

// replay has the image take all records that can be used.
func (s *segmentReader) replay(d *decoder, progress func(int64)) error {
	for {
		body, err := s.next()
		if body == nil || err != nil {
			return err
		}
		if !s.apply(d, body) {
			return nil
		}
		s.good += recordHead + int64(len(body))
		if progress != nil {
			progress(s.good)
		}
	}
}

func (s *segmentReader) apply(d *decoder, body []byte) bool {
	switch {
	case body[0] == recordChanges:
		if !d.changes(body[1:]) {
			return false
		}
		d.image.Commit(s.first + Position(s.records))
		s.records++
	case body[0] == recordClock && len(body) == 1+16:
		s.now = Time(binary.LittleEndian.Uint64(body[1:]))
		s.wall = int64(binary.LittleEndian.Uint64(body[9:]))
	default:
		return false
	}
	return true
}
