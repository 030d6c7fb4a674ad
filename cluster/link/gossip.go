package link

import (
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// GossipConfig says how the nodes find one another.
type GossipConfig struct {
	// BindAddr is where TCP and UDP are listened on, an IP address and a port.
	BindAddr netip.AddrPort
	// Advertise is what others are told instead, where it differs.
	Advertise netip.AddrPort
	// Transport replaces the sockets, in tests.
	Transport memberlist.Transport
	// Keys are AES-256 keys, the first of which encrypts; the others are
	// still understood. None: only for loopback.
	Keys [][]byte
	// Join are gossip addresses of other nodes, host:port. Names are looked
	// up anew at each attempt, and may have several addresses.
	Join []string
	// Allowed are the networks that nodes may be in; none: all.
	Allowed []netip.Prefix
	// Relaxed waits longer before a node is suspected.
	Relaxed bool
	// Rejoin is how often nodes that are missing are called again; 0: 15 s.
	Rejoin time.Duration
}
