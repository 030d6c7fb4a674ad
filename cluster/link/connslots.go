package link

import (
	"net"
	"net/netip"
	"sync"

	"simpd/protocol/netaddr"
)

// connSlots limits the connections whose owner is not known yet, in total and
// by source. A new connection replaces the oldest one of the source that has
// most when there is no room. An honest handshake takes milliseconds, so
// silent strangers can't keep anybody out. Addresses where members were found
// have slots of their own.
type connSlots struct {
	members, strangers slotPool

	mu            sync.Mutex
	memberSources map[netip.Prefix]string // the node last found at each source
}

// slotPool holds the slots of one kind.
type slotPool struct {
	max, perSource int

	mu   sync.Mutex
	held []*slot // the oldest first
}

// slot is held by one connection.
type slot struct {
	pool     *slotPool
	source   netip.Prefix
	ofMember bool // members were found at source
	conn     net.Conn
}

func newConnSlots(members, strangers int) *connSlots {
	return &connSlots{
		members:       slotPool{max: members, perSource: members / 2},
		strangers:     slotPool{max: strangers, perSource: max(1, strangers/4)},
		memberSources: map[netip.Prefix]string{},
	}
}

// maxMemberSources limits how many sources of members are remembered.
const maxMemberSources = 1024

// addMemberSource records that a member was found at an address.
func (s *connSlots) addMemberSource(node string, at net.Addr) {
	source := sourceOf(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.memberSources[source]; !ok && len(s.memberSources) >= maxMemberSources {
		clear(s.memberSources)
	}
	s.memberSources[source] = node
}

// removeMemberSources removes the sources of nodes that are no longer
// members.
func (s *connSlots) removeMemberSources(isMember func(node string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for source, node := range s.memberSources {
		if !isMember(node) {
			delete(s.memberSources, source)
		}
	}
}

func (s *connSlots) isMemberSource(source netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.memberSources[source]
	return ok
}

// acquire gives c a slot. It returns the connection that it closed to make
// room, or nil.
func (s *connSlots) acquire(c net.Conn) (taken *slot, evicted net.Conn) {
	source := sourceOf(c.RemoteAddr())
	if s.isMemberSource(source) {
		return s.members.acquire(&slot{pool: &s.members, source: source, ofMember: true, conn: c})
	}
	return s.strangers.acquire(&slot{pool: &s.strangers, source: source, conn: c})
}

func (p *slotPool) acquire(s *slot) (taken *slot, evicted net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.victimLocked(s.source); i >= 0 {
		evicted = p.held[i].conn
		evicted.Close()
		p.removeLocked(i)
	}
	p.held = append(p.held, s)
	return s, evicted
}

// victimLocked returns the index of the slot to evict for a connection from
// source; -1 if there is room.
func (p *slotPool) victimLocked(source netip.Prefix) int {
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

func (p *slotPool) removeLocked(i int) { p.held = append(p.held[:i], p.held[i+1:]...) }

// release frees the slot. It does nothing if the slot was already freed or
// taken away.
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

// network returns whose turn the handshake takes: the source's own if members
// were found there, and otherwise that of its network, as one stranger often
// has many sources.
func (s *slot) network() netip.Prefix {
	if s.ofMember {
		return s.source
	}
	return netaddr.Network(s.source.Addr())
}

// sourceOf returns the source of an address; the zero Prefix if it has no IP
// address.
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

// count returns the number of slots in use.
func (p *slotPool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}
