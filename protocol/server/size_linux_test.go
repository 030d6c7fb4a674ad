package server

import (
	"testing"
	"unsafe"
)

// An idle connection is its session and little else. The runtime adds a word to
// an object of this size, and rounds up to a size class: of 896 octets, and then
// of 960, 1024 and 1152. What a session needs only now and then belongs behind a
// pointer, and flags stand together.
func TestSizeOfASession(t *testing.T) {
	const most = 896 - 8
	if size := unsafe.Sizeof(session{}); size > most {
		t.Errorf("a session takes %d octets, %d more than its size class has", size, size-most)
	}
	if size := unsafe.Sizeof(connSlot{}); size > 24 {
		t.Errorf("a slot takes %d octets", size)
	}
}
