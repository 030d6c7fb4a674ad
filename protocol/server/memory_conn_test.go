package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// memConn is one end of a connection in memory, which holds so many octets a
// way as a real one's buffers would. Unlike net.Pipe's it can be half-closed.
// All waiting in it is such that synctest's time goes on.
type memConn struct {
	in, out *memHalf
	remote  net.Addr
}

// memHalf is one way of a connection.
type memHalf struct {
	mu       sync.Mutex
	moved    *sync.Cond
	octets   []byte
	room     int
	ended    bool // the writer has said all
	broken   bool // one end is closed
	deadline time.Time
	timer    *time.Timer
}

func newMemHalf(room int) *memHalf {
	h := &memHalf{room: room}
	h.moved = sync.NewCond(&h.mu)
	return h
}

// memPipe returns both ends of a connection.
func memPipe(room int, remote netip.AddrPort) (client, server *memConn) {
	a, b := newMemHalf(room), newMemHalf(room)
	addr := net.TCPAddrFromAddrPort(remote)
	return &memConn{in: a, out: b, remote: addr}, &memConn{in: b, out: a, remote: addr}
}

func (c *memConn) Read(b []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case h.late():
			return 0, os.ErrDeadlineExceeded
		case len(h.octets) > 0:
			n := copy(b, h.octets)
			h.octets = h.octets[n:]
			h.moved.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.moved.Wait()
	}
}

func (c *memConn) Write(b []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(b) > 0 {
		if h.broken || h.ended {
			return n, errors.New("broken pipe")
		}
		if free := min(h.room-len(h.octets), len(b)); free > 0 {
			h.octets = append(h.octets, b[:free]...)
			n, b = n+free, b[free:]
			h.moved.Broadcast()
			continue
		}
		h.moved.Wait()
	}
	return n, nil
}

func (h *memHalf) late() bool { return !h.deadline.IsZero() && !time.Now().Before(h.deadline) }

func (c *memConn) SetReadDeadline(t time.Time) error {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	if h.timer != nil {
		h.timer.Stop()
	}
	if !t.IsZero() {
		h.timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.moved.Broadcast()
		})
	}
	h.moved.Broadcast()
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

func (c *memConn) CloseWrite() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.ended = true
	c.out.moved.Broadcast()
	return nil
}

// Close leaves the other side what is written, and reads no more.
func (c *memConn) Close() error {
	_ = c.CloseWrite()
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.broken = true
	if c.in.timer != nil {
		c.in.timer.Stop()
	}
	c.in.moved.Broadcast()
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return c.remote }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

// memListener hands out connections in memory.
type memListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7467} }

// dial connects; room is how many octets each way holds.
func (l *memListener) dial(room int, remote netip.AddrPort) *memConn {
	client, server := memPipe(room, remote)
	select {
	case l.conns <- server:
	case <-l.done:
		_ = client.Close()
	}
	return client
}
