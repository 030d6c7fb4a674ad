package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/protocol/netaddr"
)

const (
	addressDelay = 250 * time.Millisecond // between the attempts at addresses of one target (RFC 8305)
	targetDelay  = time.Second            // between targets, the next of which may have a lower priority
	maxTargets   = 16                     // targets of a domain that are tried
	maxAddresses = 8                      // addresses of a target that are tried
)

// errPrivate reports that a target found by DNS has no public address.
var errPrivate = errors.New("it has no public address, and no route of the operator's leads there")

// connector connects to targets over TCP, for Client and Relay.
type connector struct {
	resolver     Resolver
	dial         func(ctx context.Context, network, address string) (net.Conn, error)
	allowPrivate bool          // also connect to addresses outside the public internet
	dialsNames   bool          // dial resolves names itself
	timeout      time.Duration // for TCP to one target
	running      *sync.WaitGroup
}

// candidate is a target with the addresses that have not been tried yet.
type candidate struct {
	target
	*connector

	mu               sync.Mutex
	lookedUp         bool
	remaining        []string // host:ports
	privateAddresses []string // not public, hence not tried
	exhausted        bool
}

func (c *connector) newCandidate(t target) *candidate { return &candidate{target: t, connector: c} }

// connectAny connects to the targets until open succeeds on a connection, or
// returns an error for which final returns true. open closes the connection
// if it fails.
func (c *connector) connectAny(ctx context.Context, targets []target, open func(net.Conn, target) (*handshakeConn, error), final func(error) bool) (*handshakeConn, error) {
	left := make([]*candidate, 0, len(targets))
	for _, t := range targets[:min(len(targets), maxTargets)] {
		left = append(left, c.newCandidate(t))
	}
	failed := errors.New("no server is named")
	for {
		left = slices.DeleteFunc(left, (*candidate).isExhausted)
		if len(left) == 0 || ctx.Err() != nil {
			return nil, failed
		}
		r, err := dialHappyEyeballs(ctx, c.running, targetDelay, left, (*candidate).tryConnect)
		if err != nil {
			failed = err
			continue
		}
		o, err := open(r.conn, r.target)
		if err == nil || final(err) {
			return o, err
		}
		failed = err
	}
}

// targetConn is a connection to one of several targets.
type targetConn struct {
	conn   net.Conn
	target target
}

func (r targetConn) Close() error { return r.conn.Close() }

// tryConnect connects to the first address that responds. If none does, the
// candidate is exhausted, unless ctx ended first.
func (c *candidate) tryConnect(ctx context.Context) (targetConn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.mu.Lock()
			c.exhausted = true
			c.mu.Unlock()
		}
		return targetConn{}, &targetError{c.target, err}
	}
	return targetConn{conn, c.target}, nil
}

func (c *candidate) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	addresses, err := c.addresses(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dialHappyEyeballs(ctx, c.running, addressDelay, addresses, func(address string, ctx context.Context) (net.Conn, error) {
		conn, err := c.dialAddress(ctx, address)
		if err == nil {
			c.removeAddress(address)
		}
		return conn, err
	})
	if err != nil && ctx.Err() != nil {
		err = timeoutError(ctx, "it did not answer")
	}
	return conn, err
}

// dialAddress connects to one address. The address is checked here, where it
// is dialed, so that a later DNS answer can't lead elsewhere (DNS rebinding).
func (c *connector) dialAddress(ctx context.Context, address string) (net.Conn, error) {
	if !c.allowPrivate {
		if a, err := netip.ParseAddrPort(address); err != nil || !netaddr.IsPublic(a.Addr()) {
			return nil, errPrivate
		}
	}
	return c.dial(ctx, "tcp", address)
}

// addresses returns the host:ports that have not been tried, looking them up
// the first time.
func (c *candidate) addresses(ctx context.Context) ([]string, error) {
	if left, known := c.cachedAddresses(); known {
		return left, nil
	}
	ips, err := c.lookupIPs(ctx)
	if err != nil {
		return nil, &lookupError{"its address", err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.setAddressesLocked(ips); len(c.remaining) == 0 {
		return nil, errPrivate
	}
	return slices.Clone(c.remaining), nil
}

// cachedAddresses returns the addresses and true if no look-up is needed.
func (c *candidate) cachedAddresses() ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lookedUp && c.allowPrivate && c.dialsNames {
		c.remaining, c.lookedUp = []string{c.target.String()}, true
	}
	return slices.Clone(c.remaining), c.lookedUp
}

func (c *candidate) lookupIPs(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(c.host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return c.resolver.LookupNetIP(ctx, "ip", c.host)
}

// setAddressesLocked stores the allowed addresses, alternating between the
// two families. The resolver has sorted them by preference (RFC 6724).
func (c *candidate) setAddressesLocked(ips []netip.Addr) {
	var family [2][]string // that of the first address, the other
	for _, ip := range ips {
		if !c.allowPrivate && !netaddr.IsPublic(ip) {
			c.privateAddresses = append(c.privateAddresses, ip.Unmap().String())
			continue
		}
		i := 0
		if ip.Unmap().Is4() != ips[0].Unmap().Is4() {
			i = 1
		}
		family[i] = append(family[i], net.JoinHostPort(ip.Unmap().String(), c.port))
	}
	c.remaining, c.lookedUp = alternate(family[0], family[1]), true
	c.remaining = c.remaining[:min(len(c.remaining), maxAddresses)]
	c.privateAddresses = c.privateAddresses[:min(len(c.privateAddresses), maxAddresses)]
}

// removeAddress removes an address that has been tried.
func (c *candidate) removeAddress(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remaining = slices.DeleteFunc(c.remaining, func(s string) bool { return s == address })
	c.exhausted = c.exhausted || len(c.remaining) == 0
}

func (c *candidate) isExhausted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exhausted
}

func alternate(a, b []string) (all []string) {
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			all = append(all, a[i])
		}
		if i < len(b) {
			all = append(all, b[i])
		}
	}
	return all
}
