package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/link/pki"
)

// The protocols that share the cluster listener: ALPN names, one for each use.
const (
	raftProtocol = "simp-raft/1"
	callProtocol = "simp-cluster/1"
)

// How many handshakes are under way at a time: from addresses at which members
// were found, and from others. They bound what strangers make this node do.
const (
	memberHandshakes   = 128
	strangerHandshakes = 64
)

// maxOutsiders is how many connections a node that may join has at a time.
const maxOutsiders = 16

// mux shares the cluster listener between Raft and gRPC. It does the
// handshake itself: what it hands on comes from a node of this site.
type mux struct {
	listener   net.Listener
	dialer     func(ctx context.Context, addr string) (net.Conn, error)
	introducer introducer
	members    *membership
	called     func(node string)              // told of each node that connects
	found      func(node string, at net.Addr) // told where members are
	logger     *slog.Logger

	raft, calls *queue
	open        conns
	slots       *slots
	stop        context.Context
	cancel      context.CancelFunc
	serving     sync.WaitGroup // what accepts
	greeting    sync.WaitGroup // handshakes

	mu   sync.Mutex
	seen map[string][]pki.Fingerprint // of members, the newest last
}

// peerIdentity is who is at the other end of a connection, and what it speaks.
type peerIdentity struct {
	node, protocol string
	certificate    pki.Fingerprint // zero without TLS
}

// introducer finds out who is at the other end of a connection and says who
// is at this one: by TLS, or, on loopback, by word alone.
type introducer interface {
	accept(ctx context.Context, c net.Conn) (net.Conn, peerIdentity, error)
	dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, peerIdentity, error)
}

// peerConn is a connection to a node that has proved who it is.
type peerConn struct {
	net.Conn
	peerIdentity
	socket  net.Conn    // below TLS
	dialed  string      // the address that this node has dialled; empty: the other one has
	members *membership // nil: this node has dialled
	// admitted is set once the other end was found to be a member.
	admitted atomic.Bool
	closed   func(*peerConn)
}

// Read reads what a node sent, once it is certain that it still is a node.
func (c *peerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.members != nil && !c.members.mayRead(c.peerIdentity) {
		return 0, errNoMember
	}
	return n, err
}

// Close does not say goodbye in TLS, which can take seconds if the other end
// does not read: what is carried says itself where it ends.
func (c *peerConn) Close() error {
	c.closed(c)
	return c.socket.Close()
}

func newMux(c *Config, addr net.Addr) *mux {
	m := &mux{
		listener: c.Listener, dialer: c.Dial, logger: c.Logger, seen: map[string][]pki.Fingerprint{},
		raft: newQueue(addr), calls: newQueue(addr),
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
	s, evicted := m.slots.take(c)
	if evicted != nil {
		m.logRefusal(evicted.RemoteAddr(), "", errTooMany)
	}
	m.greeting.Go(func() {
		defer s.release()
		if node, err := m.introduce(c); err != nil {
			c.Close()
			m.logRefusal(c.RemoteAddr(), node, err)
		}
	})
}

func (m *mux) logRefusal(remote net.Addr, node string, err error) {
	logRefusal(m.logger, "connections to the cluster listener are refused", remote, node, err)
}

// introduce finds out who has connected and hands the connection on, if that
// node may have it.
func (m *mux) introduce(c net.Conn) (node string, err error) {
	ctx, cancel := context.WithTimeout(m.stop, handshakeTimeout)
	defer cancel()
	conn, who, err := m.introducer.accept(ctx, c)
	if err != nil {
		return who.node, err
	}
	p := m.hold(conn, c, "", who) // before it is admitted: what ends its membership ends it
	p.members = m.members
	err = m.members.admit(ctx, who)
	if err == nil && !m.members.isMember(who.node) && m.open.countOf(who.node) > maxOutsiders {
		err = errTooMany
	}
	if err != nil {
		p.Close()
		return who.node, err
	}
	p.admitted.Store(true)
	m.note(who, c.RemoteAddr())
	m.called(who.node)
	return who.node, m.queueOf(who.protocol).put(ctx, p)
}

// note keeps where members are, for whom slots are kept, and their certificates,
// so that a removal can revoke them.
func (m *mux) note(p peerIdentity, at net.Addr) {
	if !m.members.isMember(p.node) {
		return
	}
	m.found(p.node, at)
	if p.certificate == (pki.Fingerprint{}) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen[p.node]
	if !slices.Contains(seen, p.certificate) {
		seen = append(slices.Clone(seen), p.certificate)
		m.seen[p.node] = seen[max(0, len(seen)-maxSeen):]
	}
}

// maxSeen is how many certificates of a node are kept until they are recorded.
const maxSeen = 16

// certificates returns those of a member that were seen.
func (m *mux) certificates(node string) []pki.Fingerprint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[node]
}

func (m *mux) queueOf(protocol string) *queue {
	if protocol == raftProtocol {
		return m.raft
	}
	return m.calls
}

// dial connects to a node by one protocol; who answers there has proved to have
// that node's keys.
func (m *mux) dial(ctx context.Context, node, addr, protocol string) (*peerConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.stop, cancel)()
	c, err := m.dialer(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, who, err := m.introducer.dial(ctx, c, node, protocol)
	if err == nil {
		err = m.members.mayDial(who)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	m.note(who, c.RemoteAddr())
	return m.hold(conn, c, addr, who), nil
}

func (m *mux) hold(c, socket net.Conn, dialed string, who peerIdentity) *peerConn {
	p := &peerConn{Conn: c, socket: socket, dialed: dialed, peerIdentity: who, closed: m.open.remove}
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
