package server

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// wire carries the octets of one session. Its own goroutine reads; write and
// wait are called by one goroutine at a time, which the outbox sees to.
type wire interface {
	// read waits for octets, which are valid until the next read. whole says
	// that a message of the transport ends with them, where a line must end.
	read() (octets []byte, whole bool, err error)
	// write writes b, or as much of it as goes. n octets of b are on their
	// way; clear says that nothing is held back: all of them have been taken
	// by the kernel, and it would take more.
	write(b []byte) (n int, clear bool, err error)
	// wait waits until write may go on.
	wait() error
	// waits reports whether write itself waits, so that only a goroutine that
	// has the time may call it.
	waits() bool
	// batch is how many octets one write had better have.
	batch() int
	// sent counts octets that were taken; any goroutine.
	sent() uint64
	// closeWrite ends the sending side.
	closeWrite() error
}

// bufferSize is about how much is written at a time.
const bufferSize = 16 << 10

// conn is what a wire runs over, as any goroutine may use it.
type conn interface {
	SetReadDeadline(time.Time) error
	Close() error
}

// stream is the wire of any net.Conn. Its writes wait.
type stream struct {
	net.Conn
	small [512]byte
	taken atomic.Uint64
}

func newStream(c net.Conn) *stream { return &stream{Conn: c} }

func (s *stream) read() ([]byte, bool, error) {
	n, err := s.Read(s.small[:])
	if n > 0 {
		err = nil
	}
	return s.small[:n], false, err
}

func (s *stream) write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	n, err := s.Write(b)
	s.taken.Add(uint64(n))
	return n, true, err
}

func (s *stream) wait() error  { return nil }
func (s *stream) waits() bool  { return true }
func (s *stream) batch() int   { return 1 }
func (s *stream) sent() uint64 { return s.taken.Load() }

func (s *stream) closeWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// isEnd tells an orderly end of input from a broken connection. TLS that ends
// without saying so cuts nothing off that counts: lines and literals say
// themselves where they end.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
