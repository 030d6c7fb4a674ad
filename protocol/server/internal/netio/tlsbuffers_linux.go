package netio

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// tlsBuffers are buffers that package tls keeps as long as a connection
// lasts, as large as the longest record of the handshake, which is more than
// everything else that an idle connection holds. The package has no way to
// release them, so they are found by their field names. If a later Go version
// has no such fields, or of other types, the buffers are kept: the zero
// tlsBuffers does nothing.
//
// BenchmarkIdleTLSBuffers compares both: after a message of 16 KiB the buffers
// of a connection take 32,768 octets, and none when they were released.
type tlsBuffers struct {
	raw  *bytes.Buffer // records as received
	hand *bytes.Buffer // handshake data
}

// findTLSBuffers returns the buffers of c.
func findTLSBuffers(c *tls.Conn) tlsBuffers {
	return tlsBuffers{bufferOf(c, "rawInput"), bufferOf(c, "hand")}
}

func bufferOf(c *tls.Conn, name string) *bytes.Buffer {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return nil
	}
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), f.Offset))
}

// minReleasable is the capacity up to which an empty buffer is kept: what
// reading one short line needs.
const minReleasable = 1 << 10

// release frees the buffers that are empty. The reading goroutine calls it
// when there is nothing more to read.
func (l tlsBuffers) release() {
	for _, b := range []*bytes.Buffer{l.raw, l.hand} {
		if b != nil && b.Len() == 0 && b.Cap() > minReleasable {
			*b = bytes.Buffer{}
		}
	}
}
