package api

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// A message that is too large is found whatever frames and pieces it comes in.
func TestTooLargeMessagesAreFound(t *testing.T) {
	message := func(size uint32, body int) []byte {
		return append([]byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, body)...)
	}
	for _, c := range []struct {
		what string
		data []byte
		want bool
	}{
		{"small ones", append(message(100, 100), message(50, 50)...), false},
		{"a large one", message(101, 0), true},
		{"a large one after small ones", append(append(message(7, 7), message(0, 0)...), message(1<<31, 3)...), true},
		{"octets that look like a prefix", message(100, 100), false},
	} {
		for _, pad := range []int{-1, 0, 3} {
			for _, size := range []int{1, 4, 1000} { // of frames, and of pieces that are read
				if got := findsTooLarge(c.data, pad, size); got != c.want {
					t.Errorf("%s, padded by %d, in frames of %d: %v", c.what, pad, size, got)
				}
			}
		}
	}
}

// findsTooLarge sends data of a call in frames, and reports whether a message in
// it is found to have more than 100 octets.
func findsTooLarge(data []byte, pad, size int) (found bool) {
	var wire bytes.Buffer
	framer := http2.NewFramer(&wire, nil)
	for rest := data; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		if pad < 0 {
			framer.WriteData(1, false, rest[:min(size, len(rest))])
		} else {
			framer.WriteDataPadded(1, false, rest[:min(size, len(rest))], make([]byte, pad))
		}
		framer.WritePing(false, [8]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	}
	var f frames
	var m messages
	for wire.Len() > 0 {
		f.parse(wire.Next(size), func(frame) {}, func(_ uint32, b []byte) { found = found || m.countMessages(b, 100) })
	}
	return found
}
