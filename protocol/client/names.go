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
)

// names is a Resolver that remembers for a while what DNS said. The answers'
// own times to live are not known here; one minute suits those of servers.
type names struct {
	resolver Resolver

	mu    sync.Mutex
	known map[string]lookedUp
}

// lookedUp is one remembered answer.
type lookedUp struct {
	records []*net.SRV
	ips     []netip.Addr
	err     error
	until   time.Time
}

const (
	nameTime   = time.Minute     // that an answer is remembered
	noNameTime = 5 * time.Second // that it is, where there was none
	maxNames   = 8192
)

func newNames(r Resolver) *names { return &names{resolver: r, known: make(map[string]lookedUp)} }

// LookupSRV returns records in the order to try them, the weights drawn anew
// each time (RFC 2782).
func (n *names) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	a := n.ask("_"+service+"._"+proto+"."+name, func() (a lookedUp) {
		_, a.records, a.err = n.resolver.LookupSRV(ctx, service, proto, name)
		return a
	})
	return "", drawn(a.records), a.err
}

// LookupNetIP returns the addresses of a host.
func (n *names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	a := n.ask(network+" "+host, func() (a lookedUp) {
		a.ips, a.err = n.resolver.LookupNetIP(ctx, network, host)
		return a
	})
	return a.ips, a.err
}

func (n *names) ask(key string, look func() lookedUp) lookedUp {
	now := time.Now()
	n.mu.Lock()
	a, ok := n.known[key]
	n.mu.Unlock()
	if ok && now.Before(a.until) {
		return a
	}
	a = look()
	a.until = now.Add(nameTime)
	if a.err != nil {
		a.until = now.Add(noNameTime)
	}
	if errors.Is(a.err, context.Canceled) {
		return a // it says nothing of the name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.makeRoom(now)
	n.known[key] = a
	return a
}

// makeRoom forgets what is old, and everything where that is not enough. n.mu
// is held.
func (n *names) makeRoom(now time.Time) {
	if len(n.known) < maxNames {
		return
	}
	for key, a := range n.known {
		if now.After(a.until) {
			delete(n.known, key)
		}
	}
	if len(n.known) >= maxNames {
		clear(n.known)
	}
}

// forgetDomain has the server of a domain looked up anew.
func (n *names) forgetDomain(domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range []string{"_simps._tcp." + domain, "_simp._tcp." + domain, "ip " + domain} {
		delete(n.known, key)
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
