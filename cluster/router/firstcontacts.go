package router

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	contactMemory    = time.Hour // how long a pair is remembered at least
	maxKnownContacts = 1 << 17   // pairs remembered in all groups
	localGroups      = 256       // that local users and programs are divided into
)

// knownContacts remembers who has lately written to whom, so that only
// recipients that are new to a sender count for the limits on first contacts.
// A sender who may send but not watch could otherwise find out who listens by
// writing to many users (SIMP.md, section 8). Any goroutine may use it.
type knownContacts struct {
	seed  maphash.Seed
	began time.Time

	mu     sync.Mutex
	groups map[contactGroup]*knownGroup
	pairs  int // in all groups together
}

// contactGroup is a set of senders who forget only their own contacts when
// there are too many: a registrable domain, or a part of the site's users.
type contactGroup struct {
	domain string
	part   uint16
}

// knownGroup holds the contacts of one group's senders.
type knownGroup struct {
	known, knownOld map[pair]struct{}
	rotatedAt       time.Duration // when known was last emptied
}

func (s *knownContacts) init() {
	s.seed, s.began = maphash.MakeSeed(), time.Now()
	s.groups = make(map[contactGroup]*knownGroup)
}

// isKnown reports whether p was remembered.
func (s *knownContacts) isKnown(g contactGroup, p pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.groups[g]
	if d == nil {
		return false
	}
	s.rotateIfOldLocked(d)
	if _, ok := d.known[p]; ok {
		return true
	}
	_, ok := d.knownOld[p]
	if ok {
		s.rememberLocked(d, p)
	}
	return ok
}

// remember makes p known.
func (s *knownContacts) remember(g contactGroup, p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.groups[g]
	if d == nil {
		d = &knownGroup{known: make(map[pair]struct{}), rotatedAt: time.Since(s.began)}
		s.groups[g] = d
	}
	s.rotateIfOldLocked(d)
	if _, ok := d.known[p]; !ok {
		s.rememberLocked(d, pair{cloned(p.by), cloned(p.of)})
	}
}

func (s *knownContacts) rotateIfOldLocked(d *knownGroup) {
	if now := time.Since(s.began); now-d.rotatedAt >= contactMemory {
		s.rotateLocked(d, now)
	}
}

// rotateLocked starts a new generation of known pairs, and forgets the one
// before the last.
func (s *knownContacts) rotateLocked(d *knownGroup, now time.Duration) {
	s.pairs -= len(d.knownOld)
	d.knownOld, d.known, d.rotatedAt = d.known, make(map[pair]struct{}), now
}

// rememberLocked adds p. If there are too many, the group with the most
// forgets its oldest.
func (s *knownContacts) rememberLocked(d *knownGroup, p pair) {
	d.known[p] = struct{}{}
	if s.pairs++; s.pairs <= maxKnownContacts {
		return
	}
	now := time.Since(s.began)
	for name, one := range s.groups {
		if one.size() == 0 || now-one.rotatedAt >= 2*contactMemory {
			s.pairs -= one.size()
			delete(s.groups, name)
		} else if one.size() > d.size() {
			d = one
		}
	}
	s.rotateLocked(d, now)
	if len(d.knownOld) == 0 {
		s.rotateLocked(d, now)
	}
}

func (d *knownGroup) size() int { return len(d.known) + len(d.knownOld) }
