package link

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
)

// connSet tracks the open connections, since Raft's transport does not close
// its own.
type connSet struct {
	mu     sync.Mutex
	open   map[*peerConn]struct{}
	closed bool
}

func (s *connSet) add(c *peerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*peerConn]struct{}{}
	}
	s.open[c] = struct{}{}
	if s.closed {
		c.socket.Close()
	}
}

func (s *connSet) remove(c *peerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *connSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.socket.Close()
	}
}

// closeOf closes all connections with one node.
func (s *connSet) closeOf(node string) {
	s.closeWhere(func(c *peerConn) bool { return c.node == node })
}

// countOf returns the number of open connections with one node.
func (s *connSet) countOf(node string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if c.node == node {
			n++
		}
	}
	return n
}

// closeWhere closes the connections for which ends returns true. It calls
// ends without a lock.
func (s *connSet) closeWhere(ends func(*peerConn) bool) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, c := range all {
		if ends(c) {
			c.socket.Close()
		}
	}
}

// subListener is a net.Listener whose connections come from the mux.
type subListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newSubListener(addr net.Addr) *subListener {
	return &subListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (q *subListener) enqueue(ctx context.Context, c *peerConn) error {
	select {
	case q.conns <- c:
		return nil
	case <-q.done:
	case <-ctx.Done():
	}
	c.Close()
	return errors.New("the connection is not accepted now")
}

func (q *subListener) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *subListener) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *subListener) Addr() net.Addr { return q.addr }
