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
	// Admit is asked about each node that connects or is dialled; an error
	// turns it away: it was removed. Nil: all nodes of the site.
	Admit  func(node string) error
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
	servers  atomic.Pointer[map[string]string] // as Know was told; nil: not yet

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open begins to accept connections on the cluster listener. Raft's are
// served from now on; all else waits for Start.
func Open(c Config) (*Link, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Link{config: c, logger: c.Logger, clock: clock{time.Now()}, addr: c.Member.ClusterAddr, failed: make(chan error, 1)}
	l.mux = newMux(&l.config, address(l.addr))
	l.mux.called = l.called
	l.server = newServer(l)
	l.peers = newPeers(l)
	l.herald = newHerald(c.Handler)
	l.gossip = newGossip(l)
	l.mux.start()
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
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.running.Go(func() { l.herald.run(ctx) })
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

// Know tells which nodes are in Raft's configuration, by id, and their
// addresses in it: streams are held to all of them, and these addresses are
// used until gossip knows newer ones. It replaces what was told before. Other
// nodes may still find out what this one is, and no more.
func (l *Link) Know(servers map[string]string) {
	l.servers.Store(&servers)
	l.peers.configured(servers)
}

// belongs tells whether a node is of the site, as far as this one knows: one
// without a configuration can't tell, and has nothing to keep.
func (l *Link) belongs(node string) bool {
	servers := l.servers.Load()
	if servers == nil || len(*servers) == 0 {
		return true
	}
	_, ok := (*servers)[node]
	return ok
}

// Forget ends all connections with a node that was removed. Config.Admit
// keeps it from coming back.
func (l *Link) Forget(node string) {
	l.peers.forget(node)
	l.mux.open.closeOf(node)
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

func (l *Link) called(node string) {
	if p := l.peers.find(node); p != nil {
		p.called()
	}
}

// dial connects to a node where it is known to be, else at addr.
func (l *Link) dial(ctx context.Context, node, addr, protocol string) (net.Conn, error) {
	if p := l.peers.find(node); p != nil && p.addr() != "" {
		addr = p.addr()
	}
	if addr == "" {
		return nil, errNoAddress
	}
	return l.mux.dial(ctx, node, addr, protocol)
}

// Close ends all connections and the listener, and waits for the link's
// goroutines. Messages that wait are answered 503, those on their way 201.
func (l *Link) Close() error {
	err := l.gossip.close()
	l.peers.close()
	l.server.Stop()
	l.mux.close()
	if l.cancel != nil {
		l.cancel()
	}
	l.running.Wait()
	return err
}
