package client

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
	"simpd/protocol/netaddr"
)

// names remembers for a while what DNS said. The answers' own times to live are
// not known here; one minute suits those of servers. Registrable domains have
// shares in its memory. It may be used by any goroutine.
type names struct {
	resolver Resolver
	pool     *budget.Pool
	owners   *budget.Owners[string]

	mu    sync.Mutex
	known map[string]lookedUp
	swept time.Time // when what was old was forgotten
}

// lookedUp is one remembered answer.
type lookedUp struct {
	records []*net.SRV
	ips     []netip.Addr
	err     error
	until   time.Time
	owner   string // the registrable domain for which it was asked
	cost    int    // octets
}

const (
	nameTime   = time.Minute     // that an answer is remembered
	noNameTime = 5 * time.Second // that it is, where there was none
	maxNames   = 8 << 20         // octets of all answers
	maxRecords = 64              // of an answer that are kept, and addresses

	answerCost = 512 // octets that an answer takes beside its records
	recordCost = 96  // that a record takes beside its target
	ipCost     = 24  // that an address takes
)

func newNames(r Resolver) *names {
	pool := budget.NewPool(maxNames)
	return &names{resolver: r, pool: pool, owners: budget.NewOwners[string](pool), known: make(map[string]lookedUp)}
}

// asker is a Resolver that asks for one domain, whose share bounds what is
// remembered of the answers.
type asker struct {
	*names
	owner string
}

// forDomain returns a Resolver that asks in order to reach a domain.
func (n *names) forDomain(domain string) asker { return asker{n, netaddr.Registrable(domain)} }

// LookupSRV returns records in the order to try them, the weights drawn anew
// each time (RFC 2782).
func (a asker) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	found := a.ask("_"+service+"._"+proto+"."+name, func() (found lookedUp) {
		_, found.records, found.err = a.resolver.LookupSRV(ctx, service, proto, name)
		found.records = found.records[:min(len(found.records), maxRecords)]
		return found
	})
	return "", drawn(found.records), found.err
}

// LookupNetIP returns the addresses of a host.
func (a asker) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	found := a.ask(network+" "+host, func() (found lookedUp) {
		found.ips, found.err = a.resolver.LookupNetIP(ctx, network, host)
		found.ips = found.ips[:min(len(found.ips), maxRecords)]
		return found
	})
	return found.ips, found.err
}

func (a asker) ask(key string, look func() lookedUp) lookedUp {
	now := time.Now()
	a.mu.Lock()
	found, ok := a.known[key]
	a.mu.Unlock()
	if ok && now.Before(found.until) {
		return found
	}
	found = look()
	found.until, found.owner = now.Add(nameTime), a.owner
	if found.err != nil {
		found.until = now.Add(noNameTime)
	}
	if !errors.Is(found.err, context.Canceled) { // which says nothing of the name
		found.cost = found.octets(key)
		a.keep(key, found, now)
	}
	return found
}

// octets returns what an answer takes.
func (l *lookedUp) octets(key string) int {
	n := answerCost + len(key) + len(l.ips)*ipCost
	for _, r := range l.records {
		n += recordCost + len(r.Target)
	}
	return n
}

// keep remembers an answer, if its owner's share allows it once what is old is
// forgotten. Where the memory is full of small shares, the biggest makes room.
func (n *names) keep(key string, found lookedUp, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetLocked(key)
	owner := n.owners.Acquire(found.owner)
	if !owner.Reserve(found.cost) {
		n.forgetOldLocked(now)
		if owner.Held() == 0 && n.pool.Held()+int64(found.cost) > n.pool.Limit() {
			n.forgetBiggestLocked()
		}
		if !owner.Reserve(found.cost) {
			n.owners.Drop(found.owner)
			return
		}
	}
	n.known[key] = found
}

// forgetLocked forgets one answer. n.mu is held.
func (n *names) forgetLocked(key string) {
	found, ok := n.known[key]
	if !ok {
		return
	}
	delete(n.known, key)
	n.owners.Acquire(found.owner).Release(found.cost)
	n.owners.Drop(found.owner) // what was acquired now
	n.owners.Drop(found.owner) // and with the answer
}

// forgetOldLocked forgets the answers that are not used any more, once a second
// at most. n.mu is held.
func (n *names) forgetOldLocked(now time.Time) {
	if now.Sub(n.swept) < time.Second {
		return
	}
	n.swept = now
	for key, found := range n.known {
		if now.After(found.until) {
			n.forgetLocked(key)
		}
	}
}

// forgetBiggestLocked forgets the answers of the owner that holds most. n.mu is
// held.
func (n *names) forgetBiggestLocked() {
	held := make(map[string]int)
	biggest := ""
	for _, found := range n.known {
		if held[found.owner] += found.cost; held[found.owner] > held[biggest] {
			biggest = found.owner
		}
	}
	for key, found := range n.known {
		if found.owner == biggest {
			n.forgetLocked(key)
		}
	}
}

// forgetDomain has the server of a domain looked up anew.
func (n *names) forgetDomain(domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range []string{"_simps._tcp." + domain, "_simp._tcp." + domain, "ip " + domain} {
		n.forgetLocked(key)
	}
}

// drawn orders records by priority, and among equals draws by weight.
func drawn(records []*net.SRV) []*net.SRV {
	left := slices.Clone(records)
	slices.SortStableFunc(left, func(a, b *net.SRV) int { return int(a.Priority) - int(b.Priority) })
	order := make([]*net.SRV, 0, len(left))
	for len(left) > 0 {
		i := draw(left)
		order = append(order, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// draw picks one of the records of the first priority.
func draw(records []*net.SRV) int {
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
