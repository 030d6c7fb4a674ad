package netio

import (
	"testing"
	"unsafe"
)

// An idle connection holds its socket, in a size class of 96 octets.
func TestSizeOfASocket(t *testing.T) {
	if size := unsafe.Sizeof(socket{}); size > 96 {
		t.Errorf("a socket takes %d octets", size)
	}
}
