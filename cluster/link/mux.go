package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/link/pki"
	"simpd/protocol/fairslots"
	"simpd/protocol/wait"
)

// The protocols that share the cluster listener, as ALPN names.
const (
	raftProtocol = "simp-raft/1"
	callProtocol = "simp-cluster/1"
)

// Limits of concurrent handshakes, from addresses where members were found
// and from others. They bound what strangers can make this node do.
const (
	memberHandshakes   = 128
	strangerHandshakes = 64
)

// maxOutsiders is how many connections a node that is not a member yet may
// have.
const maxOutsiders = 16

// mux shares the cluster listener between Raft and gRPC. It performs the
// handshake itself, so what it passes on comes from a node of this site.
type mux struct {
	listener      net.Listener
	dialer        func(ctx context.Context, addr string) (net.Conn, error)
	handshaker    handshaker
	members       *membership
	onInbound     func(node string)              // called for each node that connects
	onMemberFound func(node string, at net.Addr) // called with the address of a member
	logger        *slog.Logger

	raft, calls *subListener
	open        connSet
	slots       *connSlots
	turns       *fairslots.Slots // of handshakes that compute
	stop        context.Context
	cancel      context.CancelFunc
	serving     sync.WaitGroup // the accept loop
	handshakes  sync.WaitGroup // handshakes

	mu             sync.Mutex
	certificatesOf map[string][]pki.Fingerprint // of members, the newest last
}

// peerIdentity is the node at the other end of a connection, and the protocol
// of the connection.
type peerIdentity struct {
	node, protocol string
	certificate    pki.Fingerprint // zero without TLS
}

// handshaker performs the handshake that identifies both ends of a
// connection: by TLS, or on loopback in plaintext.
type handshaker interface {
	accept(ctx context.Context, c net.Conn) (net.Conn, peerIdentity, error)
	dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, peerIdentity, error)
}

// peerConn is a connection to a node that has proved its identity.
type peerConn struct {
	net.Conn
	peerIdentity
	socket  net.Conn    // the connection below TLS
	dialed  string      // the address that this node has dialed; empty if the other node has dialed
	members *membership // nil if this node has dialed
	// admitted is set when the other end was found to be a member.
	admitted atomic.Bool
	closed   func(*peerConn)
}

// Read reads what a node sent, after checking that it still belongs to the
// site.
func (c *peerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.members != nil && !c.members.mayRead(c.peerIdentity) {
		return 0, errNoMember
	}
	return n, err
}

// Close sends no TLS close_notify, which can take seconds if the other end
// does not read. The protocols inside mark their own ends.
func (c *peerConn) Close() error {
	c.closed(c)
	return c.socket.Close()
}

func newMux(c *Config, addr net.Addr) *mux {
	m := &mux{
		listener: c.Listener, dialer: c.Dial, logger: c.Logger, certificatesOf: map[string][]pki.Fingerprint{},
		raft: newSubListener(addr), calls: newSubListener(addr), turns: fairslots.New(),
	}
	m.handshaker = plaintextHandshaker{site: c.Site, node: c.NodeID}
	if c.Identity != nil {
		m.handshaker = tlsHandshaker{c.Identity}
	}
	m.stop, m.cancel = context.WithCancel(context.Background())
	return m
}

func (m *mux) start() { m.serving.Go(m.acceptLoop) }

// acceptLoop accepts connections until close. It retries when accepting fails
// temporarily, as for lack of file descriptors.
func (m *mux) acceptLoop() {
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
			wait.Sleep(m.stop, 100*time.Millisecond)
		default:
			m.handshakeAsync(c)
		}
	}
}

func (m *mux) handshakeAsync(c net.Conn) {
	ctx, cancel := context.WithTimeout(m.stop, handshakeTimeout)
	s, evicted := m.slots.acquire(&handshakingConn{c, cancel})
	if evicted != nil {
		m.logRefusal(evicted.RemoteAddr(), "", errTooMany)
	}
	m.handshakes.Go(func() {
		defer cancel()
		defer s.release()
		if node, err := m.handshake(ctx, c, s.network()); err != nil {
			c.Close()
			m.logRefusal(c.RemoteAddr(), node, err)
		}
	})
}

func (m *mux) logRefusal(remote net.Addr, node string, err error) {
	logRefusal(m.logger, "connections to the cluster listener are refused", remote, node, err)
}

// handshakingConn is a connection whose Close also ends its handshake.
type handshakingConn struct {
	net.Conn
	cancel context.CancelFunc
}

func (c *handshakingConn) Close() error {
	c.cancel()
	return c.Conn.Close()
}

// handshake identifies the node that has connected, and passes the connection
// on if the node may have it. The handshakes of networks compute in turns.
func (m *mux) handshake(ctx context.Context, c net.Conn, network netip.Prefix) (node string, err error) {
	below := fairslots.NewConn(c)
	below.Begin(m.turns.NewTurn(ctx, network))
	conn, who, err := m.handshaker.accept(ctx, below)
	below.Finish()
	if err != nil {
		return who.node, err
	}
	p := m.track(conn, c, "", who) // before it is admitted: what ends its membership ends it
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
	m.recordPeer(who, c.RemoteAddr())
	m.onInbound(who.node)
	return who.node, m.listenerFor(who.protocol).enqueue(ctx, p)
}

// recordPeer records the address of a member, for which slots are reserved,
// and its certificate, so that a removal can revoke it.
func (m *mux) recordPeer(p peerIdentity, at net.Addr) {
	if !m.members.isMember(p.node) {
		return
	}
	m.onMemberFound(p.node, at)
	if p.certificate == (pki.Fingerprint{}) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.certificatesOf[p.node]
	if !slices.Contains(seen, p.certificate) {
		seen = append(slices.Clone(seen), p.certificate)
		m.certificatesOf[p.node] = seen[max(0, len(seen)-maxSeenCertificates):]
	}
}

// maxSeenCertificates is how many certificates of a node are kept until they
// are recorded in the table.
const maxSeenCertificates = 16

// certificates returns the certificates that a member has presented.
func (m *mux) certificates(node string) []pki.Fingerprint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.certificatesOf[node]
}

func (m *mux) listenerFor(protocol string) *subListener {
	if protocol == raftProtocol {
		return m.raft
	}
	return m.calls
}

// dial connects to a node with one protocol. The handshake proves that the
// other end has that node's keys.
func (m *mux) dial(ctx context.Context, node, addr, protocol string) (*peerConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.stop, cancel)()
	c, err := m.dialer(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, who, err := m.handshaker.dial(ctx, c, node, protocol)
	if err == nil {
		err = m.members.mayDial(who)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	m.recordPeer(who, c.RemoteAddr())
	return m.track(conn, c, addr, who), nil
}

func (m *mux) track(c, socket net.Conn, dialed string, who peerIdentity) *peerConn {
	p := &peerConn{Conn: c, socket: socket, dialed: dialed, peerIdentity: who, closed: m.open.remove}
	m.open.add(p)
	return p
}

// close closes the listener and every connection, and waits for handshakes to
// end.
func (m *mux) close() {
	m.cancel()
	m.listener.Close()
	m.raft.Close()
	m.calls.Close()
	m.open.closeAll()
	m.serving.Wait()
	m.handshakes.Wait()
}
