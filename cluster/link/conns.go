package link

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
)

// conns are the connections that are open: Raft's transport leaves its own
// behind when it is closed.
type conns struct {
	mu     sync.Mutex
	all    map[*peerConn]struct{}
	closed bool
}

func (s *conns) add(c *peerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*peerConn]struct{}{}
	}
	s.all[c] = struct{}{}
	if s.closed {
		c.socket.Close()
	}
}

func (s *conns) remove(c *peerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

func (s *conns) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.all {
		c.socket.Close()
	}
}

// closeOf ends all connections with one node.
func (s *conns) closeOf(node string) {
	s.closeWhere(func(c *peerConn) bool { return c.node == node })
}

// countOf returns how many connections with one node are open.
func (s *conns) countOf(node string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.node == node {
			n++
		}
	}
	return n
}

// closeWhere ends the connections that ends reports true for, which is called
// without a lock.
func (s *conns) closeWhere(ends func(*peerConn) bool) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.all))
	s.mu.Unlock()
	for _, c := range all {
		if ends(c) {
			c.socket.Close()
		}
	}
}

// queue is a listener whose connections come from the mux.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (q *queue) put(ctx context.Context, c *peerConn) error {
	select {
	case q.conns <- c:
		return nil
	case <-q.done:
	case <-ctx.Done():
	}
	c.Close()
	return errors.New("nobody takes it now")
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
