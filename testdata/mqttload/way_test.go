package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
)

// TestFrames: what is written is one masked frame, and what is read comes from frames
// of any length.
func TestFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		want := bytes.Repeat([]byte("midge"), n)[:n]
		here, there := net.Pipe()
		c := &wsConn{Conn: here, in: bufio.NewReader(here)}
		go func() {
			c.Write(want)
			here.Close()
		}()
		frame, _ := io.ReadAll(there)
		head := map[int]int{126: 4, 127: 10}[int(frame[1]&127)]
		if head == 0 {
			head = 2
		}
		if len(frame) != head+4+n || frame[0] != 0x82 || frame[1]&0x80 == 0 {
			t.Fatalf("%d bytes are a frame of %d, % x", n, len(frame), frame[:2])
		}
		mask, body := frame[head:head+4], frame[head+4:]
		for i := range body {
			body[i] ^= mask[i%4]
		}
		if !bytes.Equal(body, want) {
			t.Errorf("%d bytes are others in the frame", n)
		}
		plain := append(append([]byte{0x82, frame[1] & 127}, frame[2:head]...), want...)
		c.in = bufio.NewReader(bytes.NewReader(append(plain, plain...)))
		got := make([]byte, 2*n)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, append(want, want...)) {
			t.Errorf("two frames of %d bytes are read as %d, %v", n, len(got), err)
		}
	}
}
