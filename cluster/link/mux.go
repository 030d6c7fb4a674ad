package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The protocols that share the cluster listener: ALPN names, one for each use.
const (
	raftProtocol = "simp-raft/1"
	callProtocol = "simp-cluster/1"
)

// maxHandshakes bounds what strangers can make this node do at a time.
const maxHandshakes = 128

// mux shares the cluster listener between Raft and gRPC. It does the
// handshake itself: what it hands on comes from a node of this site.
type mux struct {
	listener   net.Listener
	dialer     func(ctx context.Context, addr string) (net.Conn, error)
	introducer introducer
	admit      func(node string) error
	called     func(node string) // told of each node that connects
	logger     *slog.Logger

	raft, calls *queue
	open        conns
	slots       chan struct{}
	stop        context.Context
	cancel      context.CancelFunc
	serving     sync.WaitGroup // what accepts
	greeting    sync.WaitGroup // handshakes

	mu       sync.Mutex
	logged   time.Time // when somebody was last logged as turned away
	unlogged int       // how many have been since
}

// introducer finds out who is at the other end of a connection and says who
// is at this one: by TLS, or, on loopback, by word alone.
type introducer interface {
	accept(ctx context.Context, c net.Conn) (conn net.Conn, node, protocol string, err error)
	dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, error)
}

// peerConn is a connection to a node that has proved who it is.
type peerConn struct {
	net.Conn
	socket net.Conn // below TLS
	node   string
	closed func(*peerConn)
}

// Close does not say goodbye in TLS, which can take seconds if the other end
// does not read: what is carried says itself where it ends.
func (c *peerConn) Close() error {
	c.closed(c)
	return c.socket.Close()
}

func newMux(c *Config, addr net.Addr) *mux {
	m := &mux{
		listener: c.Listener, dialer: c.Dial, admit: c.Admit, logger: c.Logger,
		raft: newQueue(addr), calls: newQueue(addr), slots: make(chan struct{}, maxHandshakes),
	}
	m.introducer = byWord{site: c.Site, node: c.NodeID}
	if c.Identity != nil {
		m.introducer = byTLS{c.Identity}
	}
	m.stop, m.cancel = context.WithCancel(context.Background())
	return m
}

func (m *mux) start() { m.serving.Go(m.serve) }

// serve accepts until close. A listener that fails for a moment, for want of
// descriptors, is tried again.
func (m *mux) serve() {
	for {
		c, err := m.listener.Accept()
		switch {
		case m.stop.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				c.Close()
			}
			return
		case err != nil:
			m.logger.Error("the cluster listener fails", "error", err)
			wait(m.stop, 100*time.Millisecond)
		default:
			m.welcome(c)
		}
	}
}

func (m *mux) welcome(c net.Conn) {
	select {
	case m.slots <- struct{}{}:
	default:
		c.Close()
		return
	}
	m.greeting.Go(func() {
		defer func() { <-m.slots }()
		if err := m.introduce(c); err != nil {
			c.Close()
			m.turnedAway(c.RemoteAddr(), err)
		}
	})
}

// turnedAway logs one stranger a second, and how many were not logged.
func (m *mux) turnedAway(who net.Addr, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.logged) < time.Second {
		m.unlogged++
		return
	}
	m.logger.Warn("a connection to the cluster listener was turned away", "remote", who, "error", err, "others", m.unlogged)
	m.logged, m.unlogged = time.Now(), 0
}

// introduce finds out who has connected and hands the connection on.
func (m *mux) introduce(c net.Conn) error {
	ctx, cancel := context.WithTimeout(m.stop, handshakeTimeout)
	defer cancel()
	conn, node, protocol, err := m.introducer.accept(ctx, c)
	if err != nil {
		return err
	}
	if err := m.admitted(node); err != nil {
		return err
	}
	m.called(node)
	return m.queueOf(protocol).put(ctx, m.hold(conn, c, node))
}

func (m *mux) queueOf(protocol string) *queue {
	if protocol == raftProtocol {
		return m.raft
	}
	return m.calls
}

func (m *mux) admitted(node string) error {
	if m.admit == nil {
		return nil
	}
	if err := m.admit(node); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	return nil
}

// dial connects to a node by one protocol; who answers there has proved to be
// that node.
func (m *mux) dial(ctx context.Context, node, addr, protocol string) (net.Conn, error) {
	if err := m.admitted(node); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.stop, cancel)()
	c, err := m.dialer(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, err := m.introducer.dial(ctx, c, node, protocol)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	return m.hold(conn, c, node), nil
}

func (m *mux) hold(c, socket net.Conn, node string) *peerConn {
	p := &peerConn{Conn: c, socket: socket, node: node, closed: m.open.remove}
	m.open.add(p)
	return p
}

// close ends the listener and every connection, and waits for handshakes to end.
func (m *mux) close() {
	m.cancel()
	m.listener.Close()
	m.raft.Close()
	m.calls.Close()
	m.open.closeAll()
	m.serving.Wait()
	m.greeting.Wait()
}

// wait returns after d, or early, with false, when ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
