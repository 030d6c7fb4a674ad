package server

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/budget"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
)

// party is who connections belong to, all of them together: a source of
// connections that are not authenticated, a user, or a remote domain.
type party struct {
	source netip.Prefix // or
	name   string       // a user's address or a domain, which has no @
	owner  *budget.Owner
	uses   int // of parties, whose lock guards it
	// accepted are the octets of owner that remember accepted messages.
	accepted atomic.Int64

	mu                         sync.Mutex
	commands, messages, costly rate.Bucket
	changes, watches, idn      rate.Bucket
}

// parties holds those that some connection belongs to, and those whose limits
// are used up in part. Any goroutine may use it.
type parties struct {
	pool   *budget.Pool
	limits atomic.Pointer[Limits]
	start  time.Time // the zero of all buckets

	mu      sync.Mutex
	sources map[netip.Prefix]*party
	named   map[string]*party
	idle    int // parties that no connection belongs to
	sweep   int // number of them at which those are forgotten whose buckets are full
}

// firstSweep is the number of parties without a connection that are kept
// before the first is forgotten.
const firstSweep = 256

func newParties(limit int64, limits Limits) *parties {
	ps := &parties{
		pool: budget.NewPool(limit), start: time.Now(), sweep: firstSweep,
		sources: make(map[netip.Prefix]*party), named: make(map[string]*party),
	}
	ps.limits.Store(&limits)
	return ps
}

// acquire returns the party that s belongs to now, until drop.
func (ps *parties) acquire(s *session) *party {
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
		p, known = &party{source: source, name: name, owner: ps.pool.NewOwner()}, false
		ps.addLocked(p)
	}
	if known && p.uses == 0 {
		ps.idle--
	}
	p.uses++
	return p
}

func (ps *parties) addLocked(p *party) {
	if p.name == "" {
		ps.sources[p.source] = p
	} else {
		ps.named[p.name] = p
	}
}

// drop undoes one acquire. All that was counted has to be released.
func (ps *parties) drop(p *party) {
	now := time.Since(ps.start)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.uses--; p.uses > 0 {
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

// sweepLocked forgets parties whose buckets are full again. It is called ever
// less often while there are many of them.
func (ps *parties) sweepLocked(now time.Duration) {
	for _, p := range ps.sources {
		if p.uses == 0 && p.isUnused(now) {
			ps.removeLocked(p)
		}
	}
	for _, p := range ps.named {
		if p.uses == 0 && p.isUnused(now) {
			ps.removeLocked(p)
		}
	}
	ps.sweep = max(firstSweep, 2*ps.idle)
}

func (ps *parties) removeLocked(p *party) {
	ps.idle--
	if p.name == "" {
		delete(ps.sources, p.source)
	} else {
		delete(ps.named, p.name)
	}
}

// isUnused reports whether no limit remembers anything of p.
func (p *party) isUnused(now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands.IsFull(now) && p.messages.IsFull(now) && p.costly.IsFull(now) &&
		p.changes.IsFull(now) && p.watches.IsFull(now) && p.idn.IsFull(now)
}
