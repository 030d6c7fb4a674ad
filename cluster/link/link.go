// Package link is everything that crosses between the nodes of a site: one
// TCP listener that Raft and gRPC share, mutual TLS in which a certificate
// names the site and the node, a stream of messages for each pair of nodes,
// calls to single nodes, and gossip.
//
// It carries and tells; it decides nothing. Gossip and broken streams only
// suspect: who is down is a matter of the table.
package link

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// Config says how a node reaches the others and is reached.
type Config struct {
	NodeID string
	Site   string
	// Identity holds the certificates between nodes. Nil: nothing is
	// encrypted and nobody is proved to be anybody, for loopback only.
	Identity *pki.Identity
	// Listener is the cluster listener, a plain one; Close closes it.
	Listener net.Listener
	// Dial reaches another node's cluster listener, without TLS. Nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Member is what this node tells of itself by gossip. ID is filled in,
	// and ClusterAddr where it is empty, from Listener.
	Member  Member
	Gossip  GossipConfig
	Handler Handler
	// InTouch reports whether this node leads, or has heard of the leader just
	// now: then its log tells who is of the site. Nil: it never has.
	InTouch func() bool
	// Lineage tells on which data this process was started. Nil: on none.
	Lineage func() *clusterv1.Lineage
	// Check judges whether the process of that number may be let in as a node,
	// by its lineage; upToDate: this node has followed the leader for a while.
	// It returns REASON_UNSPECIFIED if the process may. Nil: all may.
	Check  func(node string, boot uint64, of *clusterv1.Lineage, upToDate bool) clusterv1.Rejection_Reason
	Logger *slog.Logger // nil: none
}

// The times that nodes hold each other to.
const (
	handshakeTimeout = 5 * time.Second
	dialTimeout      = 2 * time.Second
	pingInterval     = 1 * time.Second
	silenceTimeout   = 3 * time.Second
	raftTimeout      = 5 * time.Second
)

// Link is a node's way to the others. Its methods may be called from any goroutine.
type Link struct {
	config  Config
	logger  *slog.Logger
	clock   clock
	addr    string
	streams atomic.Uint64

	mux      *mux
	server   *grpc.Server
	peers    *peers
	inbounds inbounds
	gossip   *gossip
	herald   *herald
	failed   chan error
	members  *membership

	processes  processes
	rejections rejections
	// slots are for connections whose owner is not known yet.
	slots, gossipSlots *slots

	stop    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open begins to accept connections on the cluster listener. Raft's are
// served once Know has told who is of the site; all else waits for Start.
func Open(c Config) (*Link, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Link{config: c, logger: c.Logger, clock: clock{time.Now()}, addr: c.Member.ClusterAddr, failed: make(chan error, 1)}
	l.processes.clock = l.clock
	l.stop, l.cancel = context.WithCancel(context.Background())
	l.peers = newPeers(l)
	l.members = newMembership(l)
	l.slots, l.gossipSlots = newSlots(memberHandshakes, strangerHandshakes), newSlots(gossipMembers, gossipStrangers)
	l.mux = newMux(&l.config, address(l.addr))
	l.mux.called, l.mux.members, l.mux.slots, l.mux.found = l.called, l.members, l.slots, l.found
	l.server = newServer(l)
	l.herald = newHerald(c.Handler)
	l.gossip = newGossip(l)
	l.mux.start()
	l.running.Go(func() { l.members.run(l.stop) })
	return l, nil
}

// complete fills in what is left out and says what can't be.
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
	for c.Member.Boot == 0 {
		c.Member.Boot = rand.Uint64()
	}
	c.Member.ID = c.NodeID
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

// Start begins to answer other nodes through Config.Handler, to gossip, and
// to hold a stream to each node that is known.
func (l *Link) Start() error {
	l.running.Go(func() { l.herald.run(l.stop) })
	l.running.Go(func() { l.server.Serve(l.mux.calls) })
	return l.gossip.start()
}

// address is a net.Addr for what is advertised.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// Addr is what others dial to reach the cluster listener.
func (l *Link) Addr() string { return l.addr }

// Fatal gives the reason if the link finds that this node must not go on:
// another process uses its id.
func (l *Link) Fatal() <-chan error { return l.failed }

func (l *Link) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// Know tells which nodes are in Raft's newest configuration: streams are held
// to all of them, and their addresses in it are used until newer ones are
// known. It replaces what was told before. Connections of nodes that are
// members no more end at once, and nobody else may do more than ask to join.
func (l *Link) Know(c Configuration) {
	l.members.know(c)
	l.peers.configured(c.Servers)
}

// SetRemoved tells which nodes and certificates are kept out of the site. It
// replaces what was told before; their connections end at once.
func (l *Link) SetRemoved(r Removed) {
	l.members.setRemoved(r)
	for id := range r.Nodes {
		if l.members.isExcluded(id) {
			l.gossip.forget(id)
			l.peers.forget(id)
		}
	}
	l.gossip.recall()
}

// IsMember reports whether a node is of the site, as far as this node and those
// that it reaches know. A node without a configuration takes everyone for a
// member whom no other node denies.
func (l *Link) IsMember(node string) bool { return l.members.isMember(node) }

// Certificates returns the certificates that a member has shown since this
// process began; its own for this node.
func (l *Link) Certificates(node string) []pki.Fingerprint {
	if node == l.config.NodeID && l.config.Identity != nil {
		return []pki.Fingerprint{l.config.Identity.Fingerprint()}
	}
	return l.mux.certificates(node)
}

// Deliver hands a message to a session on another node. It never blocks; done
// is called exactly once, from any goroutine: with what the node answered,
// with 503 if the message was certainly not handed over there, with 201 if it
// may have been.
func (l *Link) Deliver(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	p := l.peers.find(node)
	if p == nil {
		done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the recipient's node is not known here"})
		return
	}
	p.deliver(parcel{s, m, done})
}

// Failed tells all other nodes of a failed login, at once but for what it takes
// to tell several together. What a broken stream held is lost. It never blocks.
func (l *Link) Failed(a protocol.Attempt) {
	for _, p := range l.peers.all() {
		if p.failures.add(a) {
			poke(p.failed)
		}
	}
}

// Succeeded tells all other nodes of a login from a new source, as Failed does.
func (l *Link) Succeeded(a protocol.Attempt) {
	for _, p := range l.peers.all() {
		if p.failures.addKnown(a) {
			poke(p.failed)
		}
	}
}

// Contact says how this node's own stream to another one stands. A node that
// is not known is Silent since ever.
func (l *Link) Contact(node string) Contact {
	p := l.peers.find(node)
	if p == nil {
		return Contact{Suspicion: Silent}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.contact
}

// found notes at which address a member was found.
func (l *Link) found(node string, at net.Addr) {
	l.slots.learn(node, at)
	l.gossipSlots.learn(node, at)
}

func (l *Link) called(node string) {
	if p := l.peers.find(node); p != nil {
		p.called()
	}
}

// Close ends all connections and the listener, and waits for the link's
// goroutines. Messages that wait are answered 503, those on their way 201.
func (l *Link) Close() error {
	err := l.gossip.close()
	l.peers.close()
	l.server.Stop()
	l.mux.close()
	l.cancel()
	l.running.Wait()
	return err
}
