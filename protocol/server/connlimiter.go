package server

import (
	"net/netip"
	"sync"

	"simpd/protocol/netaddr"
	"simpd/protocol/shrink"
)

// connLimiter limits connections before anything is spent on them: in total,
// by source, and those that are not authenticated.
type connLimiter struct {
	limits  Config
	mu      sync.Mutex
	total   connCount
	sources map[netip.Prefix]*connCount
	most    int // the most entries of sources since it was made
}

// connCount counts the connections of one source, or all, and how many of
// them are not authenticated.
type connCount struct {
	source                netip.Prefix // invalid: exempt from the limits by source
	open, unauthenticated int
}

// connSlot is held by one connection.
type connSlot struct {
	limiter       *connLimiter
	count         *connCount
	authenticated bool
	released      bool
}

func newConnLimiter(limits Config) *connLimiter {
	return &connLimiter{limits: limits, sources: make(map[netip.Prefix]*connCount)}
}

// acquire counts a connection from remote, or returns which limit it exceeds.
func (a *connLimiter) acquire(remote netip.AddrPort) (c *connSlot, refusal string) {
	source := a.sourceOf(remote.Addr())
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.sources[source]
	switch {
	case a.total.open >= a.limits.maxConnections:
		return nil, "this node has no room for another connection"
	case a.total.unauthenticated >= a.limits.maxUnauthenticated:
		return nil, "too many connections are not authenticated yet"
	case t != nil && source.IsValid() && t.open >= a.limits.perSource:
		return nil, "too many connections from this address"
	case t != nil && source.IsValid() && t.unauthenticated >= a.limits.perSourceUnauthenticated:
		return nil, "too many connections from this address are not authenticated yet"
	}
	if t == nil {
		t = &connCount{source: source}
		a.sources[source] = t
	}
	a.addLocked(t, 1, 1)
	return &connSlot{limiter: a, count: t}, ""
}

// sourceOf returns the source that an address counts as; the zero Prefix if
// it is exempt.
func (a *connLimiter) sourceOf(source netip.Addr) netip.Prefix {
	source = source.Unmap()
	for _, p := range a.limits.Exempt {
		if p.Contains(source) {
			return netip.Prefix{}
		}
	}
	return netaddr.Source(source) // an invalid address is exempt
}

// isExempt reports whether the connection is exempt from the limits by
// source.
func (c *connSlot) isExempt() bool { return !c.count.source.IsValid() }

func (a *connLimiter) addLocked(t *connCount, open, unproved int) {
	a.total.open += open
	a.total.unauthenticated += unproved
	t.open += open
	t.unauthenticated += unproved
}

// markAuthenticated records that the connection is authenticated.
func (c *connSlot) markAuthenticated() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if !c.authenticated && !c.released {
		c.authenticated = true
		c.limiter.addLocked(c.count, 0, -1)
	}
}

// release stops counting the connection. It may be called more than once.
func (c *connSlot) release() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if c.released {
		return
	}
	c.released = true
	unproved := -1
	if c.authenticated {
		unproved = 0
	}
	c.limiter.addLocked(c.count, -1, unproved)
	if c.count.open == 0 {
		delete(c.limiter.sources, c.count.source)
		c.limiter.sources = shrink.AfterDelete(c.limiter.sources, &c.limiter.most)
	}
}
