package server

import "sync"

// bufferSize is how much is read at a time, and about how much is written.
const bufferSize = 16 << 10

// buffer is memory that a session has only while octets come or go.
type buffer struct{ octets []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, bufferSize)} }}

func newBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if cap(b.octets) <= 8*bufferSize {
		b.octets = b.octets[:0]
		buffers.Put(b)
	}
}
