package router

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
)

// The failed logins that are allowed in a minute (SIMP.md, section 4).
const (
	sourceFailures  = 30
	networkFailures = 8 * sourceFailures // of a /24 or a /48
	accountFailures = 10
	turnBurst       = 5 // attempts at once at an account above its limit
)

func perMinute(failures, burst float64) rate.Limit { return rate.NewLimit(failures/60, burst) }

// loginLimiter limits failed logins over the whole site: by source, by the
// network of the source, by account, and by source at one account. It refuses
// a source above its own limit. At an account or in a network above its limit
// it refuses the sources that have failed within the last minute, lets
// sources without failures proceed in turns, and does not affect the sources
// of the account's last successful logins. So nobody can lock out anybody
// else. Any goroutine may use it.
type loginLimiter struct {
	seed  maphash.Seed
	began time.Time

	mu       sync.Mutex
	sources  buckets
	networks buckets
	accounts buckets
	pairs    buckets // a source at an account
	turns    buckets // by account or network
	known    knownSources
	queues   map[uint64]*turnQueue // by account or network
}

func (l *loginLimiter) init() {
	l.seed, l.began = maphash.MakeSeed(), time.Now()
	l.sources.limit = perMinute(sourceFailures, sourceFailures)
	l.networks.limit = perMinute(networkFailures, networkFailures)
	l.accounts.limit = perMinute(accountFailures, accountFailures)
	l.pairs.limit = perMinute(accountFailures, accountFailures)
	l.turns.limit = perMinute(accountFailures, turnBurst)
	l.queues = make(map[uint64]*turnQueue)
}

// attemptKeys are the hashes that an attempt is counted under; 0 means not
// counted there.
type attemptKeys struct {
	source, network, account, pair uint64
	exempt                         bool
}

// kind separates the hashes of different kinds of keys.
type kind uint8

const (
	bySource kind = iota
	byNetwork
	byAccount
	byPair
)

func (l *loginLimiter) keys(a protocol.Attempt) (k attemptKeys) {
	k.exempt = a.Exempt || !a.Source.IsValid()
	source := netaddr.Source(a.Source)
	none := protocol.Principal{}
	if !k.exempt {
		k.source = l.hash(bySource, source, none)
		k.network = l.hash(byNetwork, netaddr.Network(a.Source), none)
	}
	if a.Principal != none {
		k.account = l.hash(byAccount, netip.Prefix{}, a.Principal)
		k.pair = l.hash(byPair, source, a.Principal)
	}
	return k
}

func (l *loginLimiter) hash(what kind, from netip.Prefix, who protocol.Principal) uint64 {
	return max(1, maphash.Comparable(l.seed, struct {
		what kind
		from netip.Prefix
		who  protocol.Principal
	}{what, from, who}))
}

func (l *loginLimiter) now() time.Duration { return time.Since(l.began) }

// admit returns 0, or how long the source must wait before its next attempt.
func (l *loginLimiter) admit(a protocol.Attempt) time.Duration {
	k, now := l.keys(a), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.ownWait(k, now); wait > 0 {
		return wait
	}
	if k.exempt || l.known.has(k) {
		return 0
	}
	var wait time.Duration
	if ago, lately := l.pairs.sinceLast(k.pair, now); lately && l.isOver(k.account, k, now) {
		wait = failureMemory - ago
	}
	if ago, lately := l.sources.sinceLast(k.source, now); lately && l.isOver(k.network, k, now) {
		wait = max(wait, failureMemory-ago)
	}
	return wait
}

// ownWait returns the wait that the source's own failures cause.
func (l *loginLimiter) ownWait(k attemptKeys, now time.Duration) (wait time.Duration) {
	if k.source != 0 {
		wait = l.sources.wait(k.source, now)
	}
	if k.pair != 0 {
		wait = max(wait, l.pairs.wait(k.pair, now))
	}
	return wait
}

// isOver reports whether scope, the account or the network of k, is above its
// limit.
func (l *loginLimiter) isOver(scope uint64, k attemptKeys, now time.Duration) bool {
	switch scope {
	case 0:
		return false
	case k.account:
		return l.accounts.wait(scope, now) > 0
	}
	return l.networks.wait(scope, now) > 0
}

// isPaced reports whether the attempt must wait for its turn.
func (l *loginLimiter) isPaced(a protocol.Attempt) bool {
	k, now := l.keys(a), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.scopesOver(k, now)) > 0
}

// scopesOver returns the scopes at which the attempt must wait for its turn.
func (l *loginLimiter) scopesOver(k attemptKeys, now time.Duration) (over []uint64) {
	if l.known.has(k) {
		return nil
	}
	for _, scope := range [...]uint64{k.account, k.network} {
		if l.isOver(scope, k, now) {
			over = append(over, scope)
		}
	}
	return over
}

// awaitTurn blocks until the attempt may proceed and returns 0. If ctx ends
// first, or too many attempts are waiting, it returns how long to wait before
// the next attempt.
func (l *loginLimiter) awaitTurn(ctx context.Context, a protocol.Attempt) time.Duration {
	k := l.keys(a)
	l.mu.Lock()
	over := l.scopesOver(k, l.now())
	l.mu.Unlock()
	for _, scope := range over {
		if wait := l.awaitScope(ctx, scope, k); wait > 0 {
			return wait
		}
	}
	return 0
}

// failed counts failed logins at this node.
func (l *loginLimiter) failed(a protocol.Attempt) { l.count(a, 1, false) }

// failedElsewhere counts failed logins that another node reported. They have
// used up turns there.
func (l *loginLimiter) failedElsewhere(a protocol.Attempt, times int) { l.count(a, times, true) }

func (l *loginLimiter) count(a protocol.Attempt, times int, elsewhere bool) {
	k, now := l.keys(a), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known.has(k)
	for _, scope := range [...]uint64{k.account, k.network} {
		if elsewhere && !known && l.isOver(scope, k, now) {
			l.turns.spend(scope, times, now)
		}
	}
	spend := func(b *buckets, key uint64) {
		if key != 0 {
			b.spend(key, times, now)
		}
	}
	spend(&l.sources, k.source)
	spend(&l.networks, k.network)
	spend(&l.accounts, k.account)
	spend(&l.pairs, k.pair)
}

// succeeded remembers the source of a successful login, and reports whether
// it is new for the account.
func (l *loginLimiter) succeeded(a protocol.Attempt) bool {
	k := l.keys(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.add(k)
}
