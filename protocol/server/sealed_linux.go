package server

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"simpd/protocol/tlsrecord"
)

// sealed is the wire of TLS over TCP. It neither keeps a buffer while nothing
// comes nor waits for a client that does not read: what the kernel does not
// take of the ciphertext is kept, and nothing more is encrypted until it has.
type sealed struct {
	*socket
	tls  *tls.Conn
	low  *ciphertext
	left leftovers
}

// newSealed holds the handshake as the server; it waits until sock's deadline.
func newSealed(sock *socket, config *tls.Config, turn *handshakeTurn) (*sealed, error) {
	low := &ciphertext{sock: sock, turn: turn}
	s := &sealed{socket: sock, tls: tls.Server(low, config), low: low}
	err := s.tls.Handshake()
	turn.end()
	if err != nil {
		return nil, err
	}
	low.turn = nil
	low.steady = true
	low.records.Begin()
	s.left = findLeftovers(s.tls)
	s.left.giveBack()
	sock.forgetCalls()
	return s, nil
}

// readNow reads what there is in clear.
func (s *sealed) readNow(buf []byte) (octets []byte, more bool, err error) {
	n, err := s.tls.Read(buf)
	if n > 0 {
		s.low.records.Returned()
		return buf[:n], true, nil // TLS may hold another record
	}
	s.left.giveBack()
	return nil, false, err
}

func (s *sealed) read() ([]byte, bool, error) { return s.readFor(s) }

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
	sock    *socket
	steady  bool
	records tlsrecord.Counter
	turn    *handshakeTurn // nil once steady

	mu   sync.Mutex
	rest []byte // what the kernel has not taken
}

func (c *ciphertext) Read(b []byte) (int, error) {
	if err := c.records.Check(); err != nil {
		return 0, err
	}
	c.turn.end()
	for {
		octets, _, err := c.sock.readNow(b)
		c.records.Took(octets)
		if len(octets) > 0 {
			c.turn.begin()
		}
		if c.steady || err != error(errAgain) {
			return len(octets), err
		}
		if err := c.sock.await(unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

// Write keeps what the kernel does not take, and calls all of it written.
func (c *ciphertext) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if len(c.rest) == 0 {
		var err error
		if n, _, err = c.sock.write(b); err != nil {
			return n, err
		}
	}
	if n < len(b) && !c.steady {
		return n, errors.New("the client does not take the handshake")
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

// The rest of a net.Conn, of which TLS asks only Close.

func (c *ciphertext) Close() error                       { return c.sock.Close() }
func (c *ciphertext) LocalAddr() net.Addr                { return nil }
func (c *ciphertext) RemoteAddr() net.Addr               { return nil }
func (c *ciphertext) SetDeadline(at time.Time) error     { return c.sock.SetReadDeadline(at) }
func (c *ciphertext) SetReadDeadline(at time.Time) error { return c.sock.SetReadDeadline(at) }
func (c *ciphertext) SetWriteDeadline(time.Time) error   { return nil }

// errAgain says that nothing is there to be read yet. For TLS it is an error
// after which reading may go on.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing is there yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }
