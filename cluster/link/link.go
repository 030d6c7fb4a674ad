// Package link carries everything that crosses between the nodes of a site:
// one TCP listener shared by Raft and gRPC, mutual TLS with certificates that
// name the site and the node, a stream of messages for each pair of nodes,
// calls to single nodes, and gossip.
//
// It transports and reports; it decides nothing. Gossip and broken streams
// only raise suspicion: which node is down is recorded in the table.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"simpd/cluster/link/pki"
	"simpd/cluster/ratelimit"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// Config configures a Link.
type Config struct {
	NodeID string
	Site   string
	// Identity holds the certificates used between nodes. Nil disables
	// encryption and authentication, which is allowed only on loopback.
	Identity *pki.Identity
	// Listener is the cluster listener, without TLS. Close closes it. Nil means
	// that there are no other nodes: the link reaches nobody.
	Listener net.Listener
	// Dial connects to another node's cluster listener, without TLS. Nil means
	// TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Member is this node's gossip metadata. ID is filled in, and ClusterAddr is
	// derived from Listener if it is empty.
	Member  Member
	Gossip  GossipConfig
	Handler Handler
	// Calls serves the calls of other nodes; its Messages is not used. Nil
	// serves none.
	Calls clusterv1.PeerServer
	// InTouch reports whether this node leads or has just heard from the leader,
	// so that its log tells which nodes belong to the site. Nil means never.
	InTouch func() bool
	// Lineage returns the lineage of the data with which this process was
	// started. Nil means no data.
	Lineage func() *clusterv1.Lineage
	// Check decides by its lineage whether the process with that incarnation may
	// be admitted as node. upToDate reports that this node has followed the
	// leader for a while. It returns REASON_UNSPECIFIED if the process may. Nil
	// admits all.
	Check  func(node string, incarnation uint64, of *clusterv1.Lineage, upToDate bool) clusterv1.Rejection_Reason
	Logger *slog.Logger // nil disables logging
}

// Timeouts between nodes.
const (
	handshakeTimeout = 5 * time.Second
	dialTimeout      = 2 * time.Second
	pingInterval     = 1 * time.Second
	silenceTimeout   = 3 * time.Second
	raftTimeout      = 5 * time.Second
)

// Link connects a node to the other nodes. Any goroutine may call its
// methods.
type Link struct {
	config  Config
	logger  *slog.Logger
	clock   clock
	addr    string
	streams atomic.Uint64

	mux      *mux
	server   *grpc.Server
	peers    *peerSet
	inbounds inboundStreams
	gossip   *gossip
	events   *eventDispatcher
	isAlone  bool // there are no other nodes
	fatal    chan error
	members  *membership

	processes  processTable
	rejections rejectionTracker
	// slots and gossipSlots are for connections whose owner is not known yet.
	slots, gossipSlots *connSlots

	stop    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open begins to accept connections on the cluster listener. Raft's are
// served once SetConfiguration has been called; everything else waits for
// Start.
func Open(c Config) (*Link, error) {
	isAlone := c.Listener == nil
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Link{config: c, isAlone: isAlone, logger: c.Logger, clock: clock{time.Now()}, addr: c.Member.ClusterAddr, fatal: make(chan error, 1)}
	l.processes.clock = l.clock
	l.stop, l.cancel = context.WithCancel(context.Background())
	l.peers = newPeerSet(l)
	l.members = newMembership(l)
	l.slots, l.gossipSlots = newConnSlots(memberHandshakes, strangerHandshakes), newConnSlots(memberGossipSlots, otherGossipSlots)
	l.mux = newMux(&l.config, address(l.addr))
	l.mux.onInbound, l.mux.members, l.mux.slots, l.mux.onMemberFound = l.onInbound, l.members, l.slots, l.onMemberFound
	l.server = newServer(l)
	l.events = newEventDispatcher(c.Handler)
	l.gossip = newGossip(l)
	l.mux.start()
	l.running.Go(func() { l.members.run(l.stop) })
	return l, nil
}

// complete fills in defaults, and returns an error if the configuration is
// invalid.
func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{KeepAlive: 10 * time.Second}).DialContext(ctx, "tcp", addr)
		}
	}
	if c.InTouch == nil {
		c.InTouch = func() bool { return false }
	}
	if c.Lineage == nil {
		c.Lineage = func() *clusterv1.Lineage { return &clusterv1.Lineage{} }
	}
	if c.Check == nil {
		c.Check = func(string, uint64, *clusterv1.Lineage, bool) clusterv1.Rejection_Reason {
			return clusterv1.Rejection_REASON_UNSPECIFIED
		}
	}
	if c.Calls == nil {
		c.Calls = clusterv1.UnimplementedPeerServer{}
	}
	for c.Member.Incarnation == 0 {
		c.Member.Incarnation = rand.Uint64()
	}
	c.Member.ID = c.NodeID
	if c.Listener == nil {
		c.isolate()
		return nil
	}
	return c.checkNames()
}

var errAlone = errors.New("this node is alone, there are no other nodes")

// isolate makes the configuration one of a node that nobody reaches, and that
// reaches nobody.
func (c *Config) isolate() {
	c.Identity, c.Member.ClusterAddr, c.Listener = nil, c.NodeID, newSubListener(address(c.NodeID))
	c.Dial = func(context.Context, string) (net.Conn, error) { return nil, errAlone }
}

// checkNames returns an error if other nodes could not reach this one, or
// would not know it by its certificate.
func (c *Config) checkNames() error {
	if c.Member.ClusterAddr == "" {
		c.Member.ClusterAddr = c.Listener.Addr().String()
	}
	if host, _, err := net.SplitHostPort(c.Member.ClusterAddr); err == nil && net.ParseIP(host).IsUnspecified() {
		return fmt.Errorf("other nodes can't reach this one at %s: an address to advertise is needed", c.Member.ClusterAddr)
	}
	if c.Identity == nil {
		return nil
	}
	if name := c.Identity.Name(); name.Site != c.Site || name.ID != c.NodeID {
		return fmt.Errorf("the certificate names %s; this is node %s of site %s", name, c.NodeID, c.Site)
	}
	return nil
}

// Start begins to serve other nodes through Config.Handler and Config.Calls, to
// gossip, and to keep a stream to each known node.
func (l *Link) Start() error {
	if l.isAlone {
		return nil
	}
	l.running.Go(func() { l.events.run(l.stop) })
	l.running.Go(func() { l.server.Serve(l.mux.calls) })
	return l.gossip.start()
}

// address is a net.Addr for an advertised address.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// Addr returns the address at which others dial the cluster listener; the
// node's ID if there are no others.
func (l *Link) Addr() string { return l.addr }

// Fatal delivers the reason if this node must stop because another process
// uses its ID.
func (l *Link) Fatal() <-chan error { return l.fatal }

func (l *Link) reportFatal(err error) {
	select {
	case l.fatal <- err:
	default:
	}
}

// SetConfiguration sets Raft's newest configuration, replacing the previous
// one: streams are kept to all of its nodes, and its addresses are used until
// newer ones are known. Connections of nodes that are no longer members are
// closed at once, and all other nodes may only ask to join.
func (l *Link) SetConfiguration(c Configuration) {
	l.members.setConfiguration(c)
	if !l.isAlone {
		l.peers.setConfigured(c.Servers)
	}
}

// SetRemoved sets which nodes and certificates are excluded from the site,
// replacing the previous value. Their connections are closed at once.
func (l *Link) SetRemoved(r Removed) {
	l.members.setRemoved(r)
	for id := range r.Nodes {
		if l.members.isExcluded(id) {
			l.gossip.removeMember(id)
			l.peers.remove(id)
		}
	}
	l.gossip.readmit()
}

// IsMember reports whether a node belongs to the site, as far as this node
// and those that it reaches know. A node without a configuration accepts
// every node that no other node denies.
func (l *Link) IsMember(node string) bool { return l.members.isMember(node) }

// Certificates returns the certificates that a member has presented since
// this process started; for this node, its own.
func (l *Link) Certificates(node string) []pki.Fingerprint {
	if node == l.config.NodeID && l.config.Identity != nil {
		return []pki.Fingerprint{l.config.Identity.Fingerprint()}
	}
	return l.mux.certificates(node)
}

// SendToNode sends a message to a session on another node. It never blocks. done
// is called exactly once, from any goroutine: with the other node's outcome,
// with 503 if the message was certainly not delivered there, or with 201 if
// it may have been.
func (l *Link) SendToNode(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	p := l.peers.get(node)
	if p == nil && l.isAlone {
		done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the site has no other node"})
		return
	}
	if p == nil {
		done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the recipient's node is not known here"})
		return
	}
	p.enqueue(envelope{s, m, done})
}

// Failed reports a failed login to all other nodes, after a short delay in
// which several are collected. Reports on a broken stream are lost. It never
// blocks.
func (l *Link) Failed(a protocol.Attempt) {
	for _, p := range l.peers.all() {
		if p.loginReports.addFailure(a) {
			p.reportsPending.Notify()
		}
	}
}

// Succeeded reports a login from a new source to all other nodes, like
// Failed.
func (l *Link) Succeeded(a protocol.Attempt) {
	for _, p := range l.peers.all() {
		if p.loginReports.addSuccess(a) {
			p.reportsPending.Notify()
		}
	}
}

// Counted reports what this node has counted of the site's limits to all other
// nodes that it has a stream to. It never blocks.
func (l *Link) Counted(counts []ratelimit.Count) {
	for _, p := range l.peers.all() {
		if p.usageReports.add(counts) {
			p.usagePending.Notify()
		}
	}
}

// Connectivity returns the state of this node's own stream to another node.
// An unknown node is Silent; a link without a listener suspects nobody.
func (l *Link) Connectivity(node string) Connectivity {
	p := l.peers.get(node)
	if p == nil && l.isAlone {
		return Connectivity{}
	}
	if p == nil {
		return Connectivity{Suspicion: Silent}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connectivity
}

// onMemberFound records at which address a member was found.
func (l *Link) onMemberFound(node string, at net.Addr) {
	l.slots.addMemberSource(node, at)
	l.gossipSlots.addMemberSource(node, at)
}

func (l *Link) onInbound(node string) {
	if p := l.peers.get(node); p != nil {
		p.onInbound()
	}
}

// Close closes all connections and the listener, and waits for the link's
// goroutines. Queued messages end with 503, sent ones with 201.
func (l *Link) Close() error {
	err := l.gossip.close()
	l.peers.close()
	l.server.Stop()
	l.mux.close()
	l.cancel()
	l.running.Wait()
	return err
}
