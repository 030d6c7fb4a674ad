package outboundtest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Pipe makes both ends of a connection in memory that, unlike
// net.Pipe's, holds what is written until it is read: where both sides speak
// at once, as in a handshake that fails, none gets stuck. All waiting in it is
// such that synctest's time goes on.
func Pipe() (here, there net.Conn) {
	a, b := newHalf(), newHalf()
	return &pipeEnd{in: a, out: b}, &pipeEnd{in: b, out: a}
}

type pipeEnd struct{ in, out *half }

// half is one way of a connection.
type half struct {
	mu       sync.Mutex
	moved    *sync.Cond
	octets   []byte
	ended    bool // the writer has said all
	broken   bool // the reader is gone
	deadline time.Time
}

func newHalf() *half {
	h := &half{}
	h.moved = sync.NewCond(&h.mu)
	return h
}

func (c *pipeEnd) Read(b []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(h.octets) > 0:
			n := copy(b, h.octets)
			h.octets = h.octets[n:]
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.moved.Wait()
	}
}

func (c *pipeEnd) Write(b []byte) (int, error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken || h.ended {
		return 0, syscall.EPIPE
	}
	h.octets = append(h.octets, b...)
	h.moved.Broadcast()
	return len(b), nil
}

func (c *pipeEnd) SetReadDeadline(t time.Time) error {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	h.moved.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.moved.Broadcast()
		})
	}
	return nil
}

func (c *pipeEnd) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *pipeEnd) SetWriteDeadline(time.Time) error { return nil }

func (c *pipeEnd) Close() error {
	for _, h := range []*half{c.in, c.out} {
		h.mu.Lock()
		h.ended = true
		h.broken = h.broken || h == c.in
		h.moved.Broadcast()
		h.mu.Unlock()
	}
	return nil
}

func (c *pipeEnd) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 100)} }
func (c *pipeEnd) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 101)} }
