package server

import (
	"net/netip"
	"sync"

	"simpd/protocol/netaddr"
)

// admission counts connections, before anything is spent on them: in all, by
// source, and those of them that are not authenticated.
type admission struct {
	limits  Config
	mu      sync.Mutex
	all     tally
	sources map[netip.Prefix]*tally
}

// tally is a number of connections, of one source or in all, and how many of them
// are unproved.
type tally struct {
	source         netip.Prefix // invalid: exempt from the limits by source
	open, unproved int
}

// admitted is one connection that is counted.
type admitted struct {
	by     *admission
	of     *tally
	proved bool
	left   bool
}

func newAdmission(limits Config) *admission {
	return &admission{limits: limits, sources: make(map[netip.Prefix]*tally)}
}

// admit counts a connection from remote, or says which limit it is over.
func (a *admission) admit(remote netip.AddrPort) (c *admitted, refusal string) {
	source := a.prefix(remote.Addr())
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.sources[source]
	switch {
	case a.all.open >= a.limits.MaxConnections:
		return nil, "this node has no room for another connection"
	case a.all.unproved >= a.limits.MaxUnauthenticated:
		return nil, "too many connections are not authenticated yet"
	case t != nil && source.IsValid() && t.open >= a.limits.PerSource:
		return nil, "too many connections from this address"
	case t != nil && source.IsValid() && t.unproved >= a.limits.PerSourceUnproved:
		return nil, "too many connections from this address are not authenticated yet"
	}
	if t == nil {
		t = &tally{source: source}
		a.sources[source] = t
	}
	a.count(t, 1, 1)
	return &admitted{by: a, of: t}, ""
}

// prefix is what counts as one source.
func (a *admission) prefix(source netip.Addr) netip.Prefix {
	source = source.Unmap()
	for _, p := range a.limits.Exempt {
		if p.Contains(source) {
			return netip.Prefix{}
		}
	}
	return netaddr.Source(source) // an address that is none is exempt
}

// isExempt reports whether no limit by source holds for the connection.
func (c *admitted) isExempt() bool { return !c.of.source.IsValid() }

func (a *admission) count(t *tally, open, unproved int) {
	a.all.open += open
	a.all.unproved += unproved
	t.open += open
	t.unproved += unproved
}

// prove says that the connection is authenticated.
func (c *admitted) prove() {
	c.by.mu.Lock()
	defer c.by.mu.Unlock()
	if !c.proved && !c.left {
		c.proved = true
		c.by.count(c.of, 0, -1)
	}
}

// leave uncounts the connection; a second time does nothing.
func (c *admitted) leave() {
	c.by.mu.Lock()
	defer c.by.mu.Unlock()
	if c.left {
		return
	}
	c.left = true
	unproved := -1
	if c.proved {
		unproved = 0
	}
	c.by.count(c.of, -1, unproved)
	if c.of.open == 0 {
		delete(c.by.sources, c.of.source)
	}
}
