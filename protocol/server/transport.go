package server

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// transport carries the octets of one session. The session's own goroutine
// calls read; write and waitWritable are called by one goroutine at a time,
// which the outbox ensures.
type transport interface {
	// read blocks until octets arrive, which are valid until the next read.
	// whole reports that a message of the transport ends with them, where a line
	// must end.
	read() (octets []byte, whole bool, err error)
	// write writes as much of b as possible. n octets of b are being sent; clear
	// reports that nothing is held back: the kernel has accepted them all and
	// would accept more.
	write(b []byte) (n int, clear bool, err error)
	// waitWritable blocks until write may continue.
	waitWritable() error
	// isBlocking reports whether write itself blocks, so that only a goroutine
	// that may block can call it.
	isBlocking() bool
	// batchSize returns the preferred size of a write in octets.
	batchSize() int
	// sentOctets returns how many octets were accepted so far. Any goroutine may
	// call it.
	sentOctets() uint64
	// closeWrite ends the sending side.
	closeWrite() error
}

// bufferSize is the approximate size of a write.
const bufferSize = 16 << 10

// conn is the connection below a transport. Any goroutine may use it.
type conn interface {
	SetReadDeadline(time.Time) error
	Close() error
}

// netTransport is the transport of any net.Conn. Its writes block.
type netTransport struct {
	net.Conn
	readBuf [512]byte
	written atomic.Uint64
}

func newNetTransport(c net.Conn) *netTransport { return &netTransport{Conn: c} }

func (s *netTransport) read() ([]byte, bool, error) {
	n, err := s.Read(s.readBuf[:])
	if n > 0 {
		err = nil
	}
	return s.readBuf[:n], false, err
}

func (s *netTransport) write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	n, err := s.Write(b)
	s.written.Add(uint64(n))
	return n, true, err
}

func (s *netTransport) waitWritable() error { return nil }
func (s *netTransport) isBlocking() bool    { return true }
func (s *netTransport) batchSize() int      { return 1 }
func (s *netTransport) sentOctets() uint64  { return s.written.Load() }

func (s *netTransport) closeWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// isEOF distinguishes an orderly end of input from a broken connection. TLS
// that ends without close_notify truncates nothing, since lines and literals
// mark their own ends.
func isEOF(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
