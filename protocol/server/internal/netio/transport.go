package netio

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Transport carries the octets of one connection. One goroutine at a time
// calls Read, and one at a time Write and WaitWritable, which Conn ensures.
type Transport interface {
	// Read blocks until octets arrive, which are valid until the next Read.
	// whole reports that a message of the transport ends with them, where a line
	// must end.
	Read() (octets []byte, whole bool, err error)
	// Write writes as much of b as possible. n octets of b are being sent; clear
	// reports that nothing is held back: the kernel has accepted them all and
	// would accept more.
	Write(b []byte) (n int, clear bool, err error)
	// WaitWritable blocks until Write may continue.
	WaitWritable() error
	// IsBlocking reports whether Write itself blocks, so that only a goroutine
	// that may block can call it.
	IsBlocking() bool
	// BatchSize returns the preferred size of a write in octets.
	BatchSize() int
	// SentOctets returns how many octets were accepted so far. Any goroutine may
	// call it.
	SentOctets() uint64
	// CloseWrite ends the sending side.
	CloseWrite() error
}

// nonBlockingTransport is a transport for which an event loop reads.
type nonBlockingTransport interface {
	Transport
	// readNow reads what has arrived into buf without blocking; errAgain means
	// nothing. more reports that there may be more.
	readNow(buf []byte) (octets []byte, more bool, err error)
}

// Base is the connection below a transport. Any goroutine may use it.
type Base interface {
	SetReadDeadline(time.Time) error
	Close() error
}

// Stream is a connection: how its octets are carried, and what lies below. TLS
// replaces the transport and not the base.
type Stream struct {
	Base      Base
	Transport Transport
}

// BufferSize is the approximate size of a write.
const BufferSize = 16 << 10

// netTransport is the transport of any net.Conn. Its writes block.
type netTransport struct {
	net.Conn
	readBuf [512]byte
	written atomic.Uint64
}

func newNetTransport(c net.Conn) *netTransport { return &netTransport{Conn: c} }

func (s *netTransport) Read() ([]byte, bool, error) {
	n, err := s.Conn.Read(s.readBuf[:])
	if n > 0 {
		err = nil
	}
	return s.readBuf[:n], false, err
}

func (s *netTransport) Write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	n, err := s.Conn.Write(b)
	s.written.Add(uint64(n))
	return n, true, err
}

func (s *netTransport) WaitWritable() error { return nil }
func (s *netTransport) IsBlocking() bool    { return true }
func (s *netTransport) BatchSize() int      { return 1 }
func (s *netTransport) SentOctets() uint64  { return s.written.Load() }

func (s *netTransport) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// IsEOF distinguishes an orderly end of input from a broken connection. TLS
// that ends without close_notify truncates nothing, since lines and literals
// mark their own ends.
func IsEOF(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// errAgain means that nothing is available yet. For TLS it is an error after
// which reading may continue.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing is there yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// IsAgain reports whether err means that nothing is available yet.
func IsAgain(err error) bool { return err == error(errAgain) }

// LongAgo, as a deadline, ends a pending read.
var LongAgo = time.Unix(1, 0)
