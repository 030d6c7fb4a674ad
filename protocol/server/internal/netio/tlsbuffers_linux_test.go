package netio

import (
	"bytes"
	"crypto/tls"
	"testing"
)

// The buffers are found in this version of Go.
func TestTLSBuffersAreFound(t *testing.T) {
	b := findTLSBuffers(tls.Server(nil, &tls.Config{}))
	if b.raw == nil || b.hand == nil {
		t.Fatal("package tls keeps its buffers under other names now: findTLSBuffers has to be adapted")
	}
}

// Empty buffers are given back, and those that hold something are not.
func TestLeftoversKeepWhatIsNotRead(t *testing.T) {
	var empty, full, small bytes.Buffer
	empty.Grow(2 * minReleasable)
	full.Write(make([]byte, 2*minReleasable))
	small.Grow(minReleasable / 2)
	tlsBuffers{&full, &empty}.release()
	tlsBuffers{nil, &small}.release()
	if empty.Cap() > 0 || full.Len() < 2*minReleasable || small.Cap() == 0 {
		t.Errorf("room for %d is kept in an empty one, %d octets in a full one, room for %d in a small one", empty.Cap(), full.Len(), small.Cap())
	}
}
