package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/protocol/netaddr"
)

const (
	headStart       = 250 * time.Millisecond // of one address before the next (RFC 8305)
	targetHeadStart = time.Second            // of one target before the next, which may be of a lower priority
	maxTargets      = 16                     // of a domain that are tried
	maxAddresses    = 8                      // of a target that are tried
)

// errPrivate says that a target that DNS names has no public address.
var errPrivate = errors.New("it has no public address, and no route of the operator's leads there")

// connector connects to targets over TCP, for users' clients and for relays.
type connector struct {
	resolver Resolver
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	private  bool          // addresses that the public internet does not lead to will do
	byName   bool          // dial is given names, and looks them up itself
	patience time.Duration // for TCP to one target
	running  *sync.WaitGroup
}

// candidate is a target with those of its addresses that are left to be tried.
type candidate struct {
	target
	*connector

	mu        sync.Mutex
	lookedUp  bool
	left      []string // host:ports
	refused   []string // addresses that are not public
	exhausted bool
}

func (c *connector) candidate(t target) *candidate { return &candidate{target: t, connector: c} }

// connectAny connects to the targets until open succeeds with one of the
// connections, or fails with an error that final reports to be final. open
// closes the connection if it fails.
func (c *connector) connectAny(ctx context.Context, targets []target, open func(net.Conn, target) (*opening, error), final func(error) bool) (*opening, error) {
	left := make([]*candidate, 0, len(targets))
	for _, t := range targets[:min(len(targets), maxTargets)] {
		left = append(left, c.candidate(t))
	}
	failed := errors.New("no server is named")
	for {
		left = slices.DeleteFunc(left, (*candidate).isExhausted)
		if len(left) == 0 || ctx.Err() != nil {
			return nil, failed
		}
		r, err := race(ctx, c.running, targetHeadStart, left, (*candidate).reach)
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

// reached is a connection to one of several targets.
type reached struct {
	conn   net.Conn
	target target
}

func (r reached) Close() error { return r.conn.Close() }

// reach connects to the first address that answers. It gives the candidate up
// if none does, unless ctx ended before.
func (c *candidate) reach(ctx context.Context) (reached, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.mu.Lock()
			c.exhausted = true
			c.mu.Unlock()
		}
		return reached{}, fmt.Errorf("%s: %w", c.target, err)
	}
	return reached{conn, c.target}, nil
}

func (c *candidate) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	addresses, err := c.addresses(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := race(ctx, c.running, headStart, addresses, func(address string, ctx context.Context) (net.Conn, error) {
		conn, err := c.dialAddress(ctx, address)
		if err == nil {
			c.drop(address)
		}
		return conn, err
	})
	if err != nil && ctx.Err() != nil {
		err = inTime(ctx, "it did not answer")
	}
	return conn, err
}

// dialAddress connects to one address. It is checked here, where it is dialled,
// so that nothing that DNS says later leads elsewhere (DNS rebinding).
func (c *connector) dialAddress(ctx context.Context, address string) (net.Conn, error) {
	if !c.private {
		if a, err := netip.ParseAddrPort(address); err != nil || !netaddr.IsPublic(a.Addr()) {
			return nil, errPrivate
		}
	}
	return c.dial(ctx, "tcp", address)
}

// addresses returns the host:ports that are left to be tried. It looks them up
// the first time.
func (c *candidate) addresses(ctx context.Context) ([]string, error) {
	if left, known := c.known(); known {
		return left, nil
	}
	ips, err := c.lookUp(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking up its address: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.take(ips); len(c.left) == 0 {
		return nil, errPrivate
	}
	return slices.Clone(c.left), nil
}

// known returns the addresses if they need not be looked up any more.
func (c *candidate) known() ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lookedUp && c.private && c.byName {
		c.left, c.lookedUp = []string{c.target.String()}, true
	}
	return slices.Clone(c.left), c.lookedUp
}

func (c *candidate) lookUp(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(c.host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return c.resolver.LookupNetIP(ctx, "ip", c.host)
}

// take keeps those of the addresses that may be dialled, the two families in
// turn. The resolver has put those first that are reached best (RFC 6724).
// c.mu is held.
func (c *candidate) take(ips []netip.Addr) {
	var family [2][]string // that of the first address, the other
	for _, ip := range ips {
		if !c.private && !netaddr.IsPublic(ip) {
			c.refused = append(c.refused, ip.Unmap().String())
			continue
		}
		i := 0
		if ip.Unmap().Is4() != ips[0].Unmap().Is4() {
			i = 1
		}
		family[i] = append(family[i], net.JoinHostPort(ip.Unmap().String(), c.port))
	}
	c.left, c.lookedUp = alternate(family[0], family[1]), true
	c.left = c.left[:min(len(c.left), maxAddresses)]
	c.refused = c.refused[:min(len(c.refused), maxAddresses)]
}

// drop takes an address off those that are left.
func (c *candidate) drop(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = slices.DeleteFunc(c.left, func(s string) bool { return s == address })
	c.exhausted = c.exhausted || len(c.left) == 0
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
