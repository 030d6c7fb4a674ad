package server

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"
)

// sealed is the wire of TLS over TCP. It neither keeps a buffer while nothing
// comes nor waits for a client that does not read: what the kernel does not
// take of the ciphertext is kept, and nothing more is encrypted until it has.
type sealed struct {
	*socket
	tls *tls.Conn
	low *ciphertext
}

// newSealed holds the handshake as the server, which may wait as long as
// tcp's deadline lets it.
func newSealed(tcp *net.TCPConn, config *tls.Config) (*sealed, error) {
	sock, err := newSocket(tcp)
	if err != nil {
		return nil, err
	}
	low := &ciphertext{TCPConn: tcp, sock: sock}
	s := &sealed{socket: sock, tls: tls.Server(low, config), low: low}
	if err := s.tls.Handshake(); err != nil {
		return nil, err
	}
	low.steady = true
	sock.readable = s.fill
	return s, nil
}

// fill reads what there is in clear into a buffer of the pool, or gives it
// back and waits.
func (s *sealed) fill(fd uintptr) bool {
	b := newBuffer()
	s.low.fd = fd
	n, err := s.tls.Read(b.octets[:cap(b.octets)])
	if n > 0 {
		b.octets = b.octets[:n]
		s.got = b
		return true
	}
	b.free()
	if err == error(errAgain) {
		return false
	}
	s.readErr = err
	return true
}

func (s *sealed) write(b []byte) (int, bool, error) {
	clear, err := s.low.flush()
	if !clear || err != nil || len(b) == 0 {
		return 0, clear, err
	}
	n, err := s.tls.Write(b)
	if err != nil {
		return n, false, err
	}
	clear, err = s.low.flush()
	return n, clear, err
}

// wait waits until all that is encrypted is taken.
func (s *sealed) wait() error {
	for {
		if err := s.socket.wait(); err != nil {
			return err
		}
		if clear, err := s.low.flush(); clear || err != nil {
			return err
		}
	}
}

func (s *sealed) batch() int { return bufferSize }

// closeWrite says that nothing more comes, in TLS and in TCP.
func (s *sealed) closeWrite() error {
	if err := s.tls.CloseWrite(); err != nil {
		return err
	}
	return s.socket.closeWrite()
}

// ciphertext is what TLS runs on. Once steady it never waits.
type ciphertext struct {
	*net.TCPConn
	sock   *socket
	steady bool
	fd     uintptr // while it is readable

	mu   sync.Mutex
	rest []byte // what the kernel has not taken
}

func (c *ciphertext) Read(b []byte) (int, error) {
	if !c.steady {
		return c.TCPConn.Read(b)
	}
	n, err := readFD(c.fd, b)
	if err == syscall.EAGAIN {
		return 0, errAgain
	}
	return max(n, 0), err
}

// Write keeps what the kernel does not take, and calls all of it written.
func (c *ciphertext) Write(b []byte) (int, error) {
	if !c.steady {
		return c.TCPConn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if len(c.rest) == 0 {
		var err error
		if n, _, err = c.sock.write(b); err != nil {
			return n, err
		}
	}
	c.rest = append(c.rest, b[n:]...)
	return len(b), nil
}

// flush writes what is kept, as far as it goes; clear: nothing is left.
func (c *ciphertext) flush() (clear bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rest) == 0 {
		return true, nil
	}
	n, _, err := c.sock.write(c.rest)
	if n == len(c.rest) {
		c.rest = nil
		return true, err
	}
	c.rest = c.rest[n:]
	return false, err
}

// errAgain says that nothing is there to be read yet. For TLS it is an error
// after which reading may go on.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing is there yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }
