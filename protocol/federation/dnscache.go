package federation

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/protocol/budget"
	"simpd/protocol/dns"
	"simpd/protocol/netaddr"
)

// dnsCache caches DNS answers. Their TTLs are not available; one minute suits
// records of servers. Registrable domains have shares of its memory. Any
// goroutine may use it.
type dnsCache struct {
	resolver dns.Resolver
	pool     *budget.Pool
	owners   *budget.Owners[string]

	mu      sync.Mutex
	answers map[string]dnsAnswer
	sweptAt time.Time // when expired answers were last removed
}

// dnsAnswer is one cached answer.
type dnsAnswer struct {
	records []*net.SRV
	ips     []netip.Addr
	err     error
	expires time.Time
	owner   string // the registrable domain that it was needed for
	cost    int    // octets
}

const (
	positiveTTL    = time.Minute     // of an answer
	negativeTTL    = 5 * time.Second // of an error
	maxCacheOctets = 8 << 20         // of all answers
	maxRecords     = 64              // records or addresses kept of an answer

	answerOctets = 512 // of an answer without its records
	recordOctets = 96  // of a record without its target
	ipOctets     = 24  // of an address
)

func newDNSCache(r dns.Resolver) *dnsCache {
	pool := budget.NewPool(maxCacheOctets)
	return &dnsCache{resolver: r, pool: pool, owners: budget.NewOwners[string](pool), answers: make(map[string]dnsAnswer)}
}

// domainResolver is a Resolver for connecting to one domain, whose share
// limits what is cached.
type domainResolver struct {
	*dnsCache
	owner string
}

// forDomain returns a Resolver for connecting to a domain.
func (n *dnsCache) forDomain(domain string) domainResolver {
	return domainResolver{n, netaddr.Registrable(domain)}
}

// LookupSRV returns records in the order to try them, randomized by weight
// each time (RFC 2782).
func (a domainResolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	found := a.resolve("_"+service+"._"+proto+"."+name, func() (found dnsAnswer) {
		_, found.records, found.err = a.resolver.LookupSRV(ctx, service, proto, name)
		found.records = found.records[:min(len(found.records), maxRecords)]
		return found
	})
	return "", orderSRV(found.records), found.err
}

// LookupNetIP returns the addresses of a host.
func (a domainResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	found := a.resolve(network+" "+host, func() (found dnsAnswer) {
		found.ips, found.err = a.resolver.LookupNetIP(ctx, network, host)
		found.ips = found.ips[:min(len(found.ips), maxRecords)]
		return found
	})
	return found.ips, found.err
}

func (a domainResolver) resolve(key string, look func() dnsAnswer) dnsAnswer {
	now := time.Now()
	a.mu.Lock()
	found, ok := a.answers[key]
	a.mu.Unlock()
	if ok && now.Before(found.expires) {
		return found
	}
	found = look()
	found.expires, found.owner = now.Add(positiveTTL), a.owner
	if found.err != nil {
		found.expires = now.Add(negativeTTL)
	}
	if !errors.Is(found.err, context.Canceled) { // which says nothing of the name
		found.cost = found.octets(key)
		a.store(key, found, now)
	}
	return found
}

// octets returns the memory that an answer takes.
func (l *dnsAnswer) octets(key string) int {
	n := answerOctets + len(key) + len(l.ips)*ipOctets
	for _, r := range l.records {
		n += recordOctets + len(r.Target)
	}
	return n
}

// store caches an answer if its owner's share allows it after expired answers
// are removed. If the memory is full of small shares, the largest one makes
// room.
func (n *dnsCache) store(key string, found dnsAnswer, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(key)
	owner := n.owners.Acquire(found.owner)
	if !owner.Reserve(found.cost) {
		n.removeExpiredLocked(now)
		if owner.Held() == 0 && n.pool.Held()+int64(found.cost) > n.pool.Limit() {
			n.removeLargestLocked()
		}
		if !owner.Reserve(found.cost) {
			n.owners.Drop(found.owner)
			return
		}
	}
	n.answers[key] = found
}

// removeLocked removes one answer.
func (n *dnsCache) removeLocked(key string) {
	found, ok := n.answers[key]
	if !ok {
		return
	}
	delete(n.answers, key)
	n.owners.Acquire(found.owner).Release(found.cost)
	n.owners.Drop(found.owner) // what was acquired now
	n.owners.Drop(found.owner) // and with the answer
}

// removeExpiredLocked removes expired answers, at most once a second.
func (n *dnsCache) removeExpiredLocked(now time.Time) {
	if now.Sub(n.sweptAt) < time.Second {
		return
	}
	n.sweptAt = now
	for key, found := range n.answers {
		if now.After(found.expires) {
			n.removeLocked(key)
		}
	}
}

// removeLargestLocked removes the answers of the owner with the most memory.
func (n *dnsCache) removeLargestLocked() {
	held := make(map[string]int)
	biggest := ""
	for _, found := range n.answers {
		if held[found.owner] += found.cost; held[found.owner] > held[biggest] {
			biggest = found.owner
		}
	}
	for key, found := range n.answers {
		if found.owner == biggest {
			n.removeLocked(key)
		}
	}
}

// removeDomain removes the answers for a domain's server, so that it is
// looked up again.
func (n *dnsCache) removeDomain(domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range []string{"_simps._tcp." + domain, "_simp._tcp." + domain, "ip " + domain} {
		n.removeLocked(key)
	}
}

// orderSRV sorts records by priority, and randomizes those of equal priority
// by weight.
func orderSRV(records []*net.SRV) []*net.SRV {
	left := slices.Clone(records)
	slices.SortStableFunc(left, func(a, b *net.SRV) int { return int(a.Priority) - int(b.Priority) })
	order := make([]*net.SRV, 0, len(left))
	for len(left) > 0 {
		i := pickWeighted(left)
		order = append(order, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// pickWeighted picks one of the records of the first priority.
func pickWeighted(records []*net.SRV) int {
	total, equals := 0, 0
	for _, r := range records {
		if r.Priority != records[0].Priority {
			break
		}
		total, equals = total+int(r.Weight)+1, equals+1
	}
	at := rand.IntN(total)
	for i, r := range records[:equals] {
		if at -= int(r.Weight) + 1; at < 0 {
			return i
		}
	}
	return 0
}
