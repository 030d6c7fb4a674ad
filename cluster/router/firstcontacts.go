package router

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
)

const (
	domainFactor     = 10        // limit of a domain, in limits of one sender; senders may be invented
	contactMemory    = time.Hour // how long a pair is remembered at least
	maxKnownContacts = 1 << 17   // pairs remembered of all domains
)

// firstContactLimiter limits how many recipients that are new to them remote
// users may write to at this node. A sender who may send but not watch could
// otherwise find out who listens by writing to many users (SIMP.md, section
// 8). It counts whatever the outcome was. Any goroutine may use it.
type firstContactLimiter struct {
	mu      sync.Mutex
	limit   rate.Limit // of one sender
	began   time.Time
	domains map[string]*domainContacts // by registrable domain
	pairs   int                        // in all domains together
}

// domainContacts holds the contacts of one registrable domain's users.
type domainContacts struct {
	bucket          rate.Bucket
	senders         map[protocol.Address]*rate.Bucket
	known, knownOld map[pair]struct{}
	rotatedAt       time.Duration // when known was last emptied
}

// admit reports whether from may write to to now.
func (s *firstContactLimiter) admit(from, to protocol.Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit.IsUnlimited() {
		return true
	}
	p := pair{from.CaseFold(), to}
	if s.domains == nil {
		s.began, s.domains = time.Now(), make(map[string]*domainContacts)
	}
	now := time.Since(s.began)
	d := s.domainLocked(netaddr.Registrable(p.by.Domain()), now)
	if s.isKnownLocked(d, p) {
		return true
	}
	if !d.takeTokens(s.limit, p.by, now) {
		return false
	}
	s.rememberLocked(d, p)
	return true
}

// setLimit replaces the limit. What senders have used of the previous one
// counts, but at most as much as empties a bucket of the new one.
func (s *firstContactLimiter) setLimit(l rate.Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = l
	if s.domains == nil {
		return
	}
	now := time.Since(s.began)
	for _, d := range s.domains {
		d.bucket.LimitDebt(l.Divide(domainFactor), now)
		for _, b := range d.senders {
			b.LimitDebt(l, now)
		}
	}
}

// domainLocked returns the domain's contacts without those that are too old.
func (s *firstContactLimiter) domainLocked(name string, now time.Duration) *domainContacts {
	d := s.domains[name]
	if d == nil {
		d = &domainContacts{senders: make(map[protocol.Address]*rate.Bucket), known: make(map[pair]struct{}), rotatedAt: now}
		s.domains[name] = d
	}
	if now-d.rotatedAt >= contactMemory {
		s.rotateLocked(d, now)
	}
	return d
}

// rotateLocked starts a new generation of known pairs, and forgets the one
// before the last.
func (s *firstContactLimiter) rotateLocked(d *domainContacts, now time.Duration) {
	s.pairs -= len(d.knownOld)
	d.knownOld, d.known, d.rotatedAt = d.known, make(map[pair]struct{}), now
	for sender, b := range d.senders {
		if b.IsFull(now) {
			delete(d.senders, sender)
		}
	}
}

// isKnownLocked reports whether p has been admitted before.
func (s *firstContactLimiter) isKnownLocked(d *domainContacts, p pair) bool {
	if _, ok := d.known[p]; ok {
		return true
	}
	_, ok := d.knownOld[p]
	if ok {
		s.rememberLocked(d, p)
	}
	return ok
}

// rememberLocked makes p known. If there are too many, the domain with the
// most forgets its oldest.
func (s *firstContactLimiter) rememberLocked(d *domainContacts, p pair) {
	d.known[p] = struct{}{}
	if s.pairs++; s.pairs <= maxKnownContacts {
		return
	}
	now := time.Since(s.began)
	for name, one := range s.domains {
		if one.size() == 0 && one.bucket.IsFull(now) {
			delete(s.domains, name)
		} else if one.size() > d.size() {
			d = one
		}
	}
	s.rotateLocked(d, now)
	if len(d.knownOld) == 0 {
		s.rotateLocked(d, now)
	}
}

func (d *domainContacts) size() int { return len(d.known) + len(d.knownOld) }

// takeTokens takes a token of the sender and one of the domain, if both have
// one.
func (d *domainContacts) takeTokens(l rate.Limit, sender protocol.Address, now time.Duration) bool {
	all := l.Divide(domainFactor)
	if d.bucket.Wait(all, 1, now) > 0 {
		return false
	}
	b := d.senders[sender]
	if b == nil {
		b = new(rate.Bucket)
		d.senders[sender] = b
	}
	return b.Take(l, 1, now) && d.bucket.Take(all, 1, now)
}
