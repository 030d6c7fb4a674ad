package server

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/budget"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
	"simpd/protocol/shrink"
)

// tenant is an owner of connections, all of them together: a source of
// connections that are not authenticated, a user, or a remote domain.
type tenant struct {
	source netip.Prefix // or
	name   string       // a user's address, or a domain, which has no @
	owner  *budget.Owner
	refs   int // guarded by the tenantTable's lock
	// accepted is the memory of owner used for remembering accepted messages.
	accepted atomic.Int64

	mu                      sync.Mutex
	commands, costly, idn   rate.Bucket
	changes, lists, reports rate.Bucket
}

// tenantTable holds the tenants with connections, and those whose limits are
// partly used up. Any goroutine may use it.
type tenantTable struct {
	pool   *budget.Pool
	limits atomic.Pointer[Limits]
	start  time.Time // time zero of all buckets

	mu      sync.Mutex
	sources map[netip.Prefix]*tenant
	named   map[string]*tenant
	// mostSources and mostNamed are the most entries of each since it was made.
	mostSources, mostNamed int

	idle  int // tenants without connections
	sweep int // the number of idle tenants at which those with full buckets are removed
}

// firstSweep is the number of idle tenants that are kept at least.
const firstSweep = 256

func newTenantTable(limit int64, limits Limits) *tenantTable {
	ps := &tenantTable{
		pool: budget.NewPool(limit), start: time.Now(), sweep: firstSweep,
		sources: make(map[netip.Prefix]*tenant), named: make(map[string]*tenant),
	}
	ps.limits.Store(&limits)
	return ps
}

// acquire returns the tenant that s belongs to now, until release.
func (ps *tenantTable) acquire(s *session) *tenant {
	name := s.client.Domain
	if !s.client.User.IsZero() {
		name = s.client.User.String()
	}
	source := netip.Prefix{}
	if name == "" {
		source = netaddr.Source(s.client.Remote.Addr())
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, known := ps.named[name], true
	if name == "" {
		p = ps.sources[source]
	}
	if p == nil {
		p, known = &tenant{source: source, name: name, owner: ps.pool.NewOwner()}, false
		ps.addLocked(p)
	}
	if known && p.refs == 0 {
		ps.idle--
	}
	p.refs++
	return p
}

func (ps *tenantTable) addLocked(p *tenant) {
	if p.name == "" {
		ps.sources[p.source] = p
	} else {
		ps.named[p.name] = p
	}
}

// release undoes acquire. Everything counted must have been released.
func (ps *tenantTable) release(p *tenant) {
	now := time.Since(ps.start)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.refs--; p.refs > 0 {
		return
	}
	ps.idle++
	if p.isUnused(now) {
		ps.removeLocked(p)
	}
	if ps.idle >= ps.sweep {
		ps.sweepLocked(now)
	}
}

// sweepLocked removes tenants whose buckets are full again. It is called less
// often the more there are.
func (ps *tenantTable) sweepLocked(now time.Duration) {
	for _, p := range ps.sources {
		if p.refs == 0 && p.isUnused(now) {
			ps.removeLocked(p)
		}
	}
	for _, p := range ps.named {
		if p.refs == 0 && p.isUnused(now) {
			ps.removeLocked(p)
		}
	}
	ps.sweep = max(firstSweep, 2*ps.idle)
}

func (ps *tenantTable) removeLocked(p *tenant) {
	ps.idle--
	if p.name == "" {
		delete(ps.sources, p.source)
		ps.sources = shrink.AfterDelete(ps.sources, &ps.mostSources)
	} else {
		delete(ps.named, p.name)
		ps.named = shrink.AfterDelete(ps.named, &ps.mostNamed)
	}
}

// setLimits replaces the limits of all tenants.
func (ps *tenantTable) setLimits(l Limits) {
	ps.limits.Store(&l)
	now := time.Since(ps.start)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.sources {
		p.limitDebts(l, now)
	}
	for _, p := range ps.named {
		p.limitDebts(l, now)
	}
}

func (p *tenant) limitDebts(l Limits, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands.LimitDebt(l.Commands, now)
	p.changes.LimitDebt(presenceChange.limit(l.Changes), now)
	p.lists.LimitDebt(listChange.limit(l.Changes), now)
}

// isUnused reports whether all buckets are full.
func (p *tenant) isUnused(now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands.IsFull(now) && p.costly.IsFull(now) && p.changes.IsFull(now) && p.lists.IsFull(now) && p.idn.IsFull(now) && p.reports.IsFull(now)
}
