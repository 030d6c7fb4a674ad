package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"simpd/protocol/wait"
)

// GossipConfig configures how the nodes find one another.
type GossipConfig struct {
	// BindAddr is the IP address and port to listen on with TCP and UDP. Port 0
	// selects a free one; see Link.GossipAddr.
	BindAddr netip.AddrPort
	// Advertise is the address that other nodes are told, if it differs.
	Advertise netip.AddrPort
	// Transport replaces the sockets, in tests.
	Transport memberlist.Transport
	// Keys are AES-256 keys. The first encrypts; all decrypt. None is allowed
	// only on loopback.
	Keys [][]byte
	// Join lists gossip addresses of other nodes as host:port. Names are
	// resolved again at each attempt, and may have several addresses.
	Join []string
	// Allowed lists the networks that nodes may be in; empty means all.
	Allowed []netip.Prefix
	// Relaxed waits longer before a node is suspected, for slow networks.
	Relaxed bool

	lookup func(ctx context.Context, host string) ([]netip.Addr, error) // resolves a name; nil: the system's resolver
}

const (
	rejoinInterval = 15 * time.Second
	firstRejoin    = 100 * time.Millisecond
	updateTimeout  = 5 * time.Second
	// newcomerUptime bounds the uptime up to which a node that finds its own id in use
	// elsewhere counts as the newcomer, if the other does not say how old it is.
	newcomerUptime = 30 * time.Second
	// gossipedIDOctets is the number of octets of a cluster ID's hash that gossip
	// carries.
	gossipedIDOctets = 8
)

// gossip finds the other nodes and receives their metadata. Its opinion of
// who is alive is only a hint.
type gossip struct {
	link        *Link
	list        *memberlist.Memberlist
	keys        *memberlist.Keyring
	started     time.Time
	rejoinSoon  wait.Signal // signals that a missing node may be found at a new address
	ctx         context.Context
	cancel      context.CancelFunc
	dialCtx     context.Context // of outgoing connections, which outlive ctx
	cancelDials context.CancelFunc
	running     sync.WaitGroup

	mu        sync.Mutex
	self      Member
	meta      []byte
	members   map[string]Member     // live nodes except this one
	seen      map[string]string     // gossip addresses of nodes that have not left
	excluded  map[string]toldMember // live nodes that are excluded from the site
	ownAddr   string                // of this node
	foreign   map[string]string     // IDs of nodes of another cluster, by cluster address
	resolving bool                  // resolveConflict is running
}

func newGossip(l *Link) *gossip {
	g := &gossip{link: l, self: l.config.Member, rejoinSoon: wait.NewSignal(), members: map[string]Member{}, excluded: map[string]toldMember{}, seen: map[string]string{}, foreign: map[string]string{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.dialCtx, g.cancelDials = context.WithCancel(context.Background())
	return g
}

func (g *gossip) start() (err error) {
	g.mu.Lock()
	g.self.ClusterIDSum = g.clusterIDSum()
	g.meta, err = g.self.encode(g.link.config.Site)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	c, err := g.config()
	if err != nil {
		return err
	}
	g.started = time.Now()
	list, err := memberlist.Create(c)
	if err != nil {
		c.Transport.Shutdown()
		return fmt.Errorf("gossip: %w", err)
	}
	own := list.LocalNode().Address() // not under g.mu: memberlist calls here under its own lock
	g.mu.Lock()
	g.list, g.ownAddr = list, own
	g.mu.Unlock()
	g.running.Go(g.runRejoin)
	return nil
}

// config returns settings that detect a dead node in 2.5 to 3.2 s, where the
// defaults take 5 s, without more false alarms.
func (g *gossip) config() (*memberlist.Config, error) {
	from := &g.link.config.Gossip
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = g.link.config.NodeID, g.link.config.Site
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = 500*time.Millisecond, 300*time.Millisecond, 4
	if from.Relaxed {
		c.ProbeInterval, c.ProbeTimeout = time.Second, 500*time.Millisecond
	}
	c.DeadNodeReclaimTime, c.GossipToTheDeadTime, c.TCPTimeout = 5*time.Second, 60*time.Second, 5*time.Second
	c.EnableCompression = false
	c.DelegateProtocolMin, c.DelegateProtocolVersion, c.DelegateProtocolMax = 1, 1, 1
	c.BindAddr, c.BindPort = from.BindAddr.Addr().String(), int(from.BindAddr.Port())
	if from.Advertise.IsValid() {
		c.AdvertiseAddr, c.AdvertisePort = from.Advertise.Addr().String(), int(from.Advertise.Port())
	} else {
		c.AdvertisePort = c.BindPort
	}
	for _, p := range g.allowed() {
		c.CIDRsAllowed = append(c.CIDRsAllowed, net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	c.Delegate, c.Events, c.Conflict, c.Alive = delegate{g}, g, g, g
	c.LogOutput, c.Logger = nil, memberlistLog(g.link.logger)
	if len(from.Keys) > 0 {
		keys, err := memberlist.NewKeyring(from.Keys, from.Keys[0])
		if err != nil {
			return nil, fmt.Errorf("gossip keys: %w", err)
		}
		g.keys, c.Keyring = keys, keys
	}
	return c, g.guardTransport(c)
}

// guardTransport opens the sockets and puts a gossipGuard in front of them.
func (g *gossip) guardTransport(c *memberlist.Config) error {
	below := g.link.config.Gossip.Transport
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	if below != nil {
		dial = func(_ context.Context, addr string) (net.Conn, error) { return below.DialTimeout(addr, c.TCPTimeout) }
	} else {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger})
		if err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
		if c.BindPort == 0 {
			c.BindPort = t.GetAutoBindPort()
			c.AdvertisePort = c.BindPort
		}
		below = t
	}
	guard := &gossipGuard{
		Transport: below, label: c.Label, encrypted: len(g.link.config.Gossip.Keys) > 0, allowed: g.allowed(), slots: g.link.gossipSlots,
		logger: g.link.logger, dial: dial, stop: g.dialCtx,
	}
	guard.start()
	c.Transport = guard
	return nil
}

// allowed returns the networks that nodes may be in, including this node's
// own addresses; empty means all.
func (g *gossip) allowed() []netip.Prefix {
	from := &g.link.config.Gossip
	if len(from.Allowed) == 0 {
		return nil
	}
	all := slices.Clone(from.Allowed)
	for _, own := range []netip.AddrPort{from.BindAddr, from.Advertise} {
		if own.IsValid() && !own.Addr().IsUnspecified() {
			all = append(all, netip.PrefixFrom(own.Addr(), own.Addr().BitLen()))
		}
	}
	return all
}

// Members returns the nodes that gossip believes to be alive, including this
// one, sorted by ID; none without a listener.
func (l *Link) Members() []Member {
	if l.isAlone {
		return nil
	}
	g := l.gossip
	g.mu.Lock()
	defer g.mu.Unlock()
	all := append(slices.Collect(maps.Values(g.members)), g.self)
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// GossipAddr returns the gossip address that this node tells others. It may
// be called after Start.
func (l *Link) GossipAddr() string { return l.gossip.list.LocalNode().Address() }

// clusterIDSum returns the part of the hash of this node's cluster ID that
// gossip carries.
func (g *gossip) clusterIDSum() string {
	sum := g.link.config.Lineage().ClusterIdSum
	return string(sum[:min(len(sum), gossipedIDOctets)])
}

// errNotStarted is returned before there is anybody to tell: what is to be told
// is kept, and may have come too late for the first message.
var errNotStarted = errors.New("gossip has not started yet")

// UpdateMember changes this node's gossip metadata, except its ID, cluster
// address and data, and waits at most 5 s until the others have received it.
func (l *Link) UpdateMember(change func(*Member)) error {
	if l.isAlone {
		return nil
	}
	g := l.gossip
	g.mu.Lock()
	m := g.self
	change(&m)
	m.ID, m.Incarnation, m.ClusterAddr, m.ClusterIDSum = g.self.ID, g.self.Incarnation, g.self.ClusterAddr, g.clusterIDSum()
	meta, err := m.encode(l.config.Site)
	if err == nil {
		g.self, g.meta = m, meta
	}
	list := g.list
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if list == nil {
		return errNotStarted
	}
	return list.UpdateNode(updateTimeout)
}

// SetKeys replaces the gossip keys while running: the first encrypts, all
// decrypt. To change keys without interruption, add the new key behind the
// old one on every node, then put it first on every node, then remove the old
// one.
func (l *Link) SetKeys(keys [][]byte) error {
	if l.isAlone {
		return nil
	}
	ring := l.gossip.keys
	if ring == nil || len(keys) == 0 {
		return fmt.Errorf("gossip keys: a site that has none can't be given some while it runs, nor lose them")
	}
	for _, k := range keys {
		if len(k) != 32 {
			return fmt.Errorf("gossip keys: a key has %d octets, not 32", len(k))
		}
		if err := ring.AddKey(k); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip keys: %w", err)
	}
	for _, old := range ring.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return string(k) == string(old) }) {
			if err := ring.RemoveKey(old); err != nil {
				return fmt.Errorf("gossip keys: %w", err)
			}
		}
	}
	return nil
}

// Leave tells the others that this node leaves on purpose, and waits at most
// 10 s until they have received it. Afterwards the link must only be closed.
func (l *Link) Leave() error {
	if l.gossip.list == nil {
		return nil
	}
	l.gossip.cancel()
	if err := l.UpdateMember(func(m *Member) { m.Leaving = true }); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if err := l.gossip.list.Leave(updateTimeout); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

func (g *gossip) close() error {
	g.mu.Lock()
	g.cancel() // under the lock: a challenge begins before it or not at all
	g.mu.Unlock()
	g.cancelDials() // whoever was called may never answer
	g.running.Wait()
	if g.list == nil {
		return nil
	}
	return g.list.Shutdown()
}
