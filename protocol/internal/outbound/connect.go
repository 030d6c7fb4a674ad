package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/protocol/dns"
	"simpd/protocol/netaddr"
)

const (
	addressDelay = 250 * time.Millisecond // between the attempts at addresses of one target (RFC 8305)
	targetDelay  = time.Second            // between targets, the next of which may have a lower priority
	MaxTargets   = 16                     // targets of a domain that are tried
	maxAddresses = 8                      // addresses of a target that are tried
)

// ErrPrivate reports that a target found by DNS has no public address.
var ErrPrivate = errors.New("it has no public address, and no route of the operator's leads there")

// Connector connects to targets over TCP.
type Connector struct {
	Resolver     dns.Resolver
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
	AllowPrivate bool            // also connect to addresses outside the public internet
	DialsNames   bool            // Dial resolves names itself
	Timeout      time.Duration   // for TCP to one target
	Running      *sync.WaitGroup // counts the goroutines that dial
}

// Candidate is a target with the addresses that have not been tried yet.
type Candidate struct {
	Target
	*Connector

	mu               sync.Mutex
	lookedUp         bool
	remaining        []string // host:ports
	PrivateAddresses []string // not public, hence not tried
	exhausted        bool
}

// NewCandidate returns a target of which no address was tried.
func (c *Connector) NewCandidate(t Target) *Candidate { return &Candidate{Target: t, Connector: c} }

// ConnectAny connects to the targets until open succeeds on a connection, or
// returns an error for which final returns true. open closes the connection
// if it fails.
func (c *Connector) ConnectAny(ctx context.Context, targets []Target, open func(net.Conn, Target) (*Conn, error), final func(error) bool) (*Conn, error) {
	left := make([]*Candidate, 0, len(targets))
	for _, t := range targets[:min(len(targets), MaxTargets)] {
		left = append(left, c.NewCandidate(t))
	}
	failed := errors.New("no server is named")
	for {
		left = slices.DeleteFunc(left, (*Candidate).isExhausted)
		if len(left) == 0 || ctx.Err() != nil {
			return nil, failed
		}
		r, err := dialHappyEyeballs(ctx, c.Running, targetDelay, left, (*Candidate).tryConnect)
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
	target Target
}

func (r targetConn) Close() error { return r.conn.Close() }

// tryConnect connects to the first address that responds. If none does, the
// candidate is exhausted, unless ctx ended first.
func (c *Candidate) tryConnect(ctx context.Context) (targetConn, error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.mu.Lock()
			c.exhausted = true
			c.mu.Unlock()
		}
		return targetConn{}, &TargetError{c.Target, err}
	}
	return targetConn{conn, c.Target}, nil
}

// Connect connects to the first address that responds.
func (c *Candidate) Connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	addresses, err := c.Addresses(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dialHappyEyeballs(ctx, c.Running, addressDelay, addresses, func(address string, ctx context.Context) (net.Conn, error) {
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
func (c *Connector) dialAddress(ctx context.Context, address string) (net.Conn, error) {
	if !c.AllowPrivate {
		if a, err := netip.ParseAddrPort(address); err != nil || !netaddr.IsPublic(a.Addr()) {
			return nil, ErrPrivate
		}
	}
	return c.Dial(ctx, "tcp", address)
}

// Addresses returns the host:ports that have not been tried, looking them up
// the first time.
func (c *Candidate) Addresses(ctx context.Context) ([]string, error) {
	if left, known := c.cachedAddresses(); known {
		return left, nil
	}
	ips, err := c.lookupIPs(ctx)
	if err != nil {
		return nil, &LookupError{"its address", err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.setAddressesLocked(ips); len(c.remaining) == 0 {
		return nil, ErrPrivate
	}
	return slices.Clone(c.remaining), nil
}

// cachedAddresses returns the addresses and true if no look-up is needed.
func (c *Candidate) cachedAddresses() ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lookedUp && c.AllowPrivate && c.DialsNames {
		c.remaining, c.lookedUp = []string{c.Target.String()}, true
	}
	return slices.Clone(c.remaining), c.lookedUp
}

func (c *Candidate) lookupIPs(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(c.Host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return c.Resolver.LookupNetIP(ctx, "ip", c.Host)
}

// setAddressesLocked stores the allowed addresses, alternating between the
// two families. The resolver has sorted them by preference (RFC 6724).
func (c *Candidate) setAddressesLocked(ips []netip.Addr) {
	var family [2][]string // that of the first address, the other
	for _, ip := range ips {
		if !c.AllowPrivate && !netaddr.IsPublic(ip) {
			c.PrivateAddresses = append(c.PrivateAddresses, ip.Unmap().String())
			continue
		}
		i := 0
		if ip.Unmap().Is4() != ips[0].Unmap().Is4() {
			i = 1
		}
		family[i] = append(family[i], net.JoinHostPort(ip.Unmap().String(), c.Port))
	}
	c.remaining, c.lookedUp = alternate(family[0], family[1]), true
	c.remaining = c.remaining[:min(len(c.remaining), maxAddresses)]
	c.PrivateAddresses = c.PrivateAddresses[:min(len(c.PrivateAddresses), maxAddresses)]
}

// removeAddress removes an address that has been tried.
func (c *Candidate) removeAddress(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remaining = slices.DeleteFunc(c.remaining, func(s string) bool { return s == address })
	c.exhausted = c.exhausted || len(c.remaining) == 0
}

func (c *Candidate) isExhausted() bool {
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
