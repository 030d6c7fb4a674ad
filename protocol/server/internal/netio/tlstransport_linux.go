package netio

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"simpd/protocol/fairslots"
	"simpd/protocol/tlsrecord"
)

// tlsTransport is the transport of TLS over TCP. It keeps no buffer while
// nothing arrives, and does not wait for a client that does not read: it
// keeps the ciphertext that the kernel does not accept, and encrypts nothing
// more until it has.
type tlsTransport struct {
	*socket
	tls        *tls.Conn
	ciphertext *ciphertext
	buffers    tlsBuffers
}

// newTLSOverSocket performs the handshake as the server. It blocks until
// sock's deadline.
func newTLSOverSocket(sock *socket, config *tls.Config, turn *fairslots.Turn) (*tlsTransport, error) {
	low := &ciphertext{sock: sock, turn: turn}
	s := &tlsTransport{socket: sock, tls: tls.Server(low, config), ciphertext: low}
	err := s.tls.Handshake()
	turn.Release()
	if err != nil {
		return nil, err
	}
	low.turn = nil
	low.nonBlocking = true
	low.records.Begin()
	s.buffers = findTLSBuffers(s.tls)
	s.buffers.release()
	sock.releaseWaiters()
	return s, nil
}

// readNow reads the plaintext that is available.
func (s *tlsTransport) readNow(buf []byte) (octets []byte, more bool, err error) {
	n, err := s.tls.Read(buf)
	if n > 0 {
		s.ciphertext.records.Returned()
		return buf[:n], true, nil // TLS may hold another record
	}
	s.buffers.release()
	return nil, false, err
}

func (s *tlsTransport) Read() ([]byte, bool, error) { return s.readFor(s) }

func (s *tlsTransport) Write(b []byte) (int, bool, error) {
	clear, err := s.ciphertext.flush()
	if !clear || err != nil || len(b) == 0 {
		return 0, clear, err
	}
	n, err := s.tls.Write(b)
	if err != nil {
		return n, false, err
	}
	clear, err = s.ciphertext.flush()
	return n, clear, err
}

// WaitWritable waits until all ciphertext has been accepted.
func (s *tlsTransport) WaitWritable() error {
	for {
		if err := s.socket.WaitWritable(); err != nil {
			return err
		}
		if clear, err := s.ciphertext.flush(); clear || err != nil {
			return err
		}
	}
}

func (s *tlsTransport) BatchSize() int { return BufferSize }

// CloseWrite ends the sending side of TLS and of TCP.
func (s *tlsTransport) CloseWrite() error {
	if err := s.tls.CloseWrite(); err != nil {
		return err
	}
	return s.socket.CloseWrite()
}

// ciphertext is the connection that TLS runs on. After the handshake it never
// blocks.
type ciphertext struct {
	sock        *socket
	nonBlocking bool
	records     tlsrecord.Counter
	turn        *fairslots.Turn // nil once steady

	mu     sync.Mutex
	unsent []byte // what the kernel has not accepted
}

func (c *ciphertext) Read(b []byte) (int, error) {
	if err := c.records.Check(); err != nil {
		return 0, err
	}
	c.turn.Release()
	for {
		octets, _, err := c.sock.readNow(b)
		c.records.Took(octets)
		if len(octets) > 0 {
			if err := c.turn.Acquire(); err != nil {
				return 0, err
			}
		}
		if c.nonBlocking || err != error(errAgain) {
			return len(octets), err
		}
		if err := c.sock.awaitReady(unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

// Write keeps what the kernel does not accept, and reports all as written.
func (c *ciphertext) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if len(c.unsent) == 0 {
		var err error
		if n, _, err = c.sock.Write(b); err != nil {
			return n, err
		}
	}
	if n < len(b) && !c.nonBlocking {
		return n, errors.New("the client does not take the handshake")
	}
	c.unsent = append(c.unsent, b[n:]...)
	return len(b), nil
}

// flush writes what is kept, as far as possible. clear reports that nothing
// is left.
func (c *ciphertext) flush() (clear bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unsent) == 0 {
		return true, nil
	}
	n, _, err := c.sock.Write(c.unsent)
	if n == len(c.unsent) {
		c.unsent = nil
		return true, err
	}
	c.unsent = c.unsent[n:]
	return false, err
}

// The rest of a net.Conn, of which TLS asks only Close.

func (c *ciphertext) Close() error                       { return c.sock.Close() }
func (c *ciphertext) LocalAddr() net.Addr                { return nil }
func (c *ciphertext) RemoteAddr() net.Addr               { return nil }
func (c *ciphertext) SetDeadline(at time.Time) error     { return c.sock.SetReadDeadline(at) }
func (c *ciphertext) SetReadDeadline(at time.Time) error { return c.sock.SetReadDeadline(at) }
func (c *ciphertext) SetWriteDeadline(time.Time) error   { return nil }
