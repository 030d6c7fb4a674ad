package link

import (
	"net"
	"net/netip"
	"sync"

	"simpd/protocol/netaddr"
)

// slots bounds the connections that are open before it is known whose they
// are, in all and by source. Whoever comes when there is no room takes the
// place of the oldest connection of who holds most: an honest handshake takes
// milliseconds, so that silent strangers keep nobody out. Addresses at which
// members were found have slots of their own.
type slots struct {
	members, strangers pool

	mu    sync.Mutex
	known map[netip.Prefix]string // sources of members
}

// pool is the slots of one kind.
type pool struct {
	max, perSource int

	mu   sync.Mutex
	held []*slot // the oldest first
}

// slot is one connection's place.
type slot struct {
	pool   *pool
	source netip.Prefix
	conn   net.Conn
}

func newSlots(members, strangers int) *slots {
	return &slots{
		members:   pool{max: members, perSource: members / 2},
		strangers: pool{max: strangers, perSource: max(1, strangers/4)},
		known:     map[netip.Prefix]string{},
	}
}

// maxKnown bounds how many sources of members are remembered.
const maxKnown = 1024

// learn notes that a member was found at an address.
func (s *slots) learn(node string, at net.Addr) {
	source := sourceOf(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[source]; !ok && len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[source] = node
}

// forget drops the sources of nodes that are members no more.
func (s *slots) forget(isMember func(node string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for source, node := range s.known {
		if !isMember(node) {
			delete(s.known, source)
		}
	}
}

func (s *slots) knows(source netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.known[source]
	return ok
}

// take gives a connection a slot, and returns the connection that had to make
// room for it, closed; nil if none had to.
func (s *slots) take(c net.Conn) (taken *slot, evicted net.Conn) {
	source := sourceOf(c.RemoteAddr())
	p := &s.strangers
	if s.knows(source) {
		p = &s.members
	}
	return p.take(&slot{pool: p, source: source, conn: c})
}

func (p *pool) take(s *slot) (taken *slot, evicted net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.crowdedLocked(s.source); i >= 0 {
		evicted = p.held[i].conn
		evicted.Close()
		p.removeLocked(i)
	}
	p.held = append(p.held, s)
	return s, evicted
}

// crowdedLocked returns which slot has to make room for one of a source; -1:
// none.
func (p *pool) crowdedLocked(source netip.Prefix) int {
	counts := map[netip.Prefix]int{}
	most := source
	for _, s := range p.held {
		counts[s.source]++
		if counts[s.source] > counts[most] {
			most = s.source
		}
	}
	if counts[source] >= p.perSource {
		most = source
	} else if len(p.held) < p.max {
		return -1
	}
	for i, s := range p.held {
		if s.source == most {
			return i
		}
	}
	return -1
}

func (p *pool) removeLocked(i int) { p.held = append(p.held[:i], p.held[i+1:]...) }

// release gives a slot back; once more, or after it was taken away, is nothing.
func (s *slot) release() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for i, held := range s.pool.held {
		if held == s {
			s.pool.removeLocked(i)
			return
		}
	}
}

// sourceOf returns the source of an address; the zero Prefix if it has no IP.
func sourceOf(a net.Addr) netip.Prefix {
	if a == nil {
		return netip.Prefix{}
	}
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	return netaddr.Source(at.Addr())
}

// count returns how many slots are taken.
func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}
