package router

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
)

const (
	domainStrangers = 10        // the limit of a domain, in those of one sender: senders may be made up
	knownTime       = time.Hour // at least, that who has written is no stranger
	maxKnown        = 1 << 17   // pairs remembered of all domains
)

// strangers limits how many recipients that are new to them other sites' users
// may write to at this node: what they are told is always the same, so that
// only who may send and not watch could find out by sending who listens (SIMP.md,
// section 8). What is counted does not depend on what became of a message. It
// may be used by any goroutine.
type strangers struct {
	limit rate.Limit // of one sender

	mu      sync.Mutex
	began   time.Time
	domains map[string]*strangerDomain // by what somebody has registered
	pairs   int                        // of all known
}

// strangerDomain is what is known of the users of one registered domain.
type strangerDomain struct {
	bucket          rate.Bucket
	senders         map[protocol.Address]*rate.Bucket
	known, knownOld map[pair]struct{}
	turned          time.Duration // when known began to be filled
}

// admit reports whether a stranger may write to somebody now.
func (s *strangers) admit(from, to protocol.Address) bool {
	if s.limit.IsUnlimited() {
		return true
	}
	p := pair{from.FoldCase(), to}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.domains == nil {
		s.began, s.domains = time.Now(), make(map[string]*strangerDomain)
	}
	now := time.Since(s.began)
	d := s.domainLocked(netaddr.Registrable(p.by.Domain()), now)
	if s.isKnownLocked(d, p) {
		return true
	}
	if !d.take(s.limit, p.by, now) {
		return false
	}
	s.rememberLocked(d, p)
	return true
}

// domainLocked returns the domain, with what is too old forgotten. s.mu is held.
func (s *strangers) domainLocked(name string, now time.Duration) *strangerDomain {
	d := s.domains[name]
	if d == nil {
		d = &strangerDomain{senders: make(map[protocol.Address]*rate.Bucket), known: make(map[pair]struct{}), turned: now}
		s.domains[name] = d
	}
	if now-d.turned >= knownTime {
		s.turnLocked(d, now)
	}
	return d
}

// turnLocked begins a new generation of known pairs, and forgets the one before
// the last. s.mu is held.
func (s *strangers) turnLocked(d *strangerDomain, now time.Duration) {
	s.pairs -= len(d.knownOld)
	d.knownOld, d.known, d.turned = d.known, make(map[pair]struct{}), now
	for sender, b := range d.senders {
		if b.IsFull(now) {
			delete(d.senders, sender)
		}
	}
}

// isKnownLocked reports whether p has been admitted before. s.mu is held.
func (s *strangers) isKnownLocked(d *strangerDomain, p pair) bool {
	if _, ok := d.known[p]; ok {
		return true
	}
	_, ok := d.knownOld[p]
	if ok {
		s.rememberLocked(d, p)
	}
	return ok
}

// rememberLocked makes p known. Where too many are, the domain that has most of
// them forgets its oldest. s.mu is held.
func (s *strangers) rememberLocked(d *strangerDomain, p pair) {
	d.known[p] = struct{}{}
	if s.pairs++; s.pairs <= maxKnown {
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
	s.turnLocked(d, now)
	if len(d.knownOld) == 0 {
		s.turnLocked(d, now)
	}
}

func (d *strangerDomain) size() int { return len(d.known) + len(d.knownOld) }

// take takes a token of the sender, and one of the domain, if both are there.
func (d *strangerDomain) take(l rate.Limit, sender protocol.Address, now time.Duration) bool {
	all := l.Divide(domainStrangers)
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
