package ratelimit

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/rate"
	"simpd/protocol/wait"
)

const (
	// ReportInterval is the least time between two reports to other nodes.
	ReportInterval = 250 * time.Millisecond
	// maxReport is how many keys one report names. Those that have used the most
	// come first, and the others with the next one.
	maxReport = 1024
	// maxTaken bounds what one report of a key counts.
	maxTaken = 1 << 24
)

// Peers are the other nodes of the site.
type Peers interface {
	// Peers returns how many other nodes are up, and to how many of them this
	// node has a stream.
	Peers() (connected, up int)
	// Counted tells the other nodes what this one has counted. It does not block
	// and does not keep counts.
	Counted(counts []Count)
}

// Limiter keeps the limits of a site on one node. Any goroutine may use it.
type Limiter struct {
	began  time.Time
	limits [Kinds]atomic.Pointer[rate.Limit]
	tables [Kinds]table
	peers  Peers // since Run

	nodes       atomic.Int32 // of the site that are up, this one among them
	unreachable atomic.Int32

	mu    sync.Mutex
	dirty []*counter // those that are to be reported
	wake  wait.Signal

	refused            [Kinds]atomic.Uint64
	reported, received atomic.Uint64
}

// New returns a Limiter, which counts for this node alone until Run.
func New(l Limits) *Limiter {
	r := &Limiter{began: time.Now(), wake: wait.NewSignal()}
	r.nodes.Store(1)
	for k := range Kinds {
		r.limits[k].Store(&l[k])
	}
	return r
}

// SetLimits replaces the limits. What was used of the previous ones counts, but
// at most as much as empties a bucket of the new one.
func (r *Limiter) SetLimits(l Limits) {
	now := r.now()
	for k := range Kinds {
		r.limits[k].Store(&l[k])
		r.tables[k].each(func(c *counter) { c.bucket.LimitDebt(l[k], now) })
	}
}

// IsUnlimited reports whether a limit is off.
func (r *Limiter) IsUnlimited(k Kind) bool { return r.limits[k].Load().IsUnlimited() }

func (r *Limiter) now() time.Duration { return time.Since(r.began) }

func (r *Limiter) settings(k Kind) settings {
	return settings{*r.limits[k].Load(), int(r.nodes.Load()), int(r.unreachable.Load())}
}

// KeyOf returns the key of a name, such as an address or a network.
func KeyOf(name string) (k Key) {
	var buf [256]byte
	sum := sha256.Sum256(append(buf[:0], name...))
	copy(k[:], sum[:])
	return k
}

// Meter counts for one key of one limit. Looking it up once and keeping it
// makes counting cheap. The zero Meter limits nothing.
type Meter struct {
	limiter *Limiter
	kind    Kind
	key     Key
	counter atomic.Pointer[counter]
}

// Set has m count for a key. It is called before m is used.
func (m *Meter) Set(r *Limiter, kind Kind, key Key) { m.limiter, m.kind, m.key = r, kind, key }

// locked returns the meter's counter, which is locked.
func (m *Meter) locked(now time.Duration) *counter {
	for c := m.counter.Load(); ; {
		if c != nil {
			c.mu.Lock()
			if !c.evicted {
				return c
			}
			c.mu.Unlock()
		}
		c = m.limiter.tables[m.kind].get(m.kind, m.key, now)
		m.counter.Store(c)
	}
}

// isOff reports whether the meter limits nothing.
func (m *Meter) isOff() bool { return m.limiter == nil || m.limiter.IsUnlimited(m.kind) }

func (m *Meter) take(n int, now time.Duration) time.Duration {
	s := m.limiter.settings(m.kind)
	c := m.locked(now)
	wait, report := c.take(s, n, now)
	c.mu.Unlock()
	if report {
		m.limiter.schedule(c)
	}
	return wait
}

func (m *Meter) giveBack(n int, now time.Duration) {
	if m.isOff() {
		return
	}
	c := m.locked(now)
	c.giveBack(m.limiter.settings(m.kind), n)
	c.mu.Unlock()
}

// Take counts n events at each of the meters if all of them allow it.
// Otherwise it counts nothing, and returns how long to wait.
func (r *Limiter) Take(n int, meters ...*Meter) time.Duration {
	now := time.Duration(-1)
	for i, m := range meters {
		if m.isOff() {
			continue
		}
		if now < 0 {
			now = r.now()
		}
		if wait := m.take(n, now); wait > 0 {
			r.refused[m.kind].Add(1)
			for _, before := range meters[:i] {
				before.giveBack(n, now)
			}
			return wait
		}
	}
	return 0
}

// Spend counts n events at each of the meters whether or not they allow it.
func (r *Limiter) Spend(n int, meters ...*Meter) {
	now := r.now()
	for _, m := range meters {
		if m.isOff() {
			continue
		}
		s := r.settings(m.kind)
		c := m.locked(now)
		c.expireLocked(s, now)
		report := c.spend(s, n, now)
		c.mu.Unlock()
		if report {
			r.schedule(c)
		}
	}
}

// Used returns how many tokens of the meter's limit are used up now.
func (m *Meter) Used() int {
	if m.isOff() {
		return 0
	}
	now := m.limiter.now()
	c := m.locked(now)
	defer c.mu.Unlock()
	s := m.limiter.settings(m.kind)
	c.expireLocked(s, now)
	return c.bucket.Used(s.limit, now)
}

// Refused returns how many requests a limit has refused.
func (r *Limiter) Refused(k Kind) uint64 { return r.refused[k].Load() }

// Keys returns how many keys are remembered.
func (r *Limiter) Keys() (n int) {
	for k := range Kinds {
		n += r.tables[k].len()
	}
	return n
}

// Reported returns how many counts were sent to other nodes, and how many came
// from them.
func (r *Limiter) Reported() (sent, received uint64) { return r.reported.Load(), r.received.Load() }

// schedule puts a counter on the list of those that are to be reported.
func (r *Limiter) schedule(c *counter) {
	r.mu.Lock()
	r.dirty = append(r.dirty, c)
	r.mu.Unlock()
	r.wake.Notify()
}

// Run reports to the other nodes until ctx ends: a key at once where nothing
// was reported for ReportInterval, and otherwise when that time is over.
func (r *Limiter) Run(ctx context.Context, p Peers) {
	r.mu.Lock()
	r.peers = p
	r.mu.Unlock()
	r.Refresh()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.Refresh()
		if counts := r.collect(); len(counts) > 0 {
			r.reported.Add(uint64(len(counts)))
			p.Counted(counts)
		}
		if !wait.Sleep(ctx, ReportInterval) {
			return
		}
	}
}

// Refresh looks which nodes there are.
func (r *Limiter) Refresh() {
	r.mu.Lock()
	p := r.peers
	r.mu.Unlock()
	if p == nil {
		return
	}
	connected, up := p.Peers()
	r.nodes.Store(int32(up + 1))
	r.unreachable.Store(int32(max(0, up-connected)))
}

// collect returns what is to be reported, those that have used the most first,
// and schedules what does not fit.
func (r *Limiter) collect() (counts []Count) {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = nil
	r.mu.Unlock()
	if len(dirty) > maxReport {
		now := r.now()
		slices.SortFunc(dirty, func(a, b *counter) int { return int(b.owes(now)>>20) - int(a.owes(now)>>20) })
		r.mu.Lock()
		r.dirty = append(r.dirty, dirty[maxReport:]...)
		r.mu.Unlock()
		r.wake.Notify()
		dirty = dirty[:maxReport]
	}
	for _, c := range dirty {
		c.mu.Lock()
		if c.pending > 0 {
			counts = append(counts, Count{c.kind, c.key, c.pending})
		}
		c.pending, c.dirty = 0, false
		c.mu.Unlock()
	}
	return counts
}

// Receive counts what another node has reported.
func (r *Limiter) Receive(node string, counts []Count) {
	now := r.now()
	r.received.Add(uint64(len(counts)))
	for _, n := range counts {
		if n.Kind >= Kinds || r.IsUnlimited(n.Kind) {
			continue
		}
		m := Meter{limiter: r, kind: n.Kind, key: n.Key}
		c := m.locked(now)
		c.receive(r.settings(n.Kind), node, int(min(n.Taken, maxTaken)), now)
		report := len(c.others) > 0 && c.pending > 0 && !c.dirty
		c.dirty = c.dirty || report
		c.mu.Unlock()
		if report {
			r.schedule(c)
		}
	}
}
