package sasl

import (
	"net/netip"
	"sync"

	"simpd/protocol/netaddr"
)

// Limits of concurrent dialback verifications. Each waits for another site's
// DNS and server, so they are shared out.
const (
	maxVerifying      = 64
	reservedVerifying = 16 // for domains that were verified before
	maxPerSite        = 4  // of one registrable domain, because DNS wildcards are free
	maxPerSource      = 4
	maxPerNetwork     = 8
	maxProved         = 4096 // registrable domains remembered as verified
)

// VerifySlots shares out concurrent verifications. Any goroutine may use it.
type VerifySlots struct {
	mu     sync.Mutex
	used   int
	held   map[any]int // by registrable domain, source and network
	proved map[string]struct{}
}

// verifySlot is what one dialback counts for.
type verifySlot struct {
	site            string
	source, network netip.Prefix // invalid: a source that many share
}

// Source is where a client connects from.
type Source struct {
	Addr   netip.Addr
	Shared bool // by many, so that it has no share of its own
}

func (s Source) slot(domain string) verifySlot {
	slot := verifySlot{site: netaddr.Registrable(domain)}
	if !s.Shared {
		slot.source, slot.network = netaddr.Source(s.Addr), netaddr.Network(s.Addr)
	}
	return slot
}

// networkKey distinguishes a network from a source with the same prefix.
type networkKey netip.Prefix

// acquire takes a slot, unless there is none or a share is used up.
func (v *VerifySlots) acquire(s verifySlot) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	most := maxVerifying
	if _, proved := v.proved[s.site]; !proved {
		most -= reservedVerifying
	}
	if v.used >= most || v.held[s.site] >= maxPerSite ||
		s.source.IsValid() && (v.held[s.source] >= maxPerSource || v.held[networkKey(s.network)] >= maxPerNetwork) {
		return false
	}
	v.countLocked(s, 1)
	return true
}

// release returns a slot. If the domain was verified, its site is known from
// now on.
func (v *VerifySlots) release(s verifySlot, proved bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.countLocked(s, -1)
	if !proved {
		return
	}
	if v.proved == nil {
		v.proved = make(map[string]struct{})
	}
	for site := range v.proved {
		if len(v.proved) < maxProved {
			break
		}
		delete(v.proved, site) // any: it still has the unreserved slots
	}
	v.proved[s.site] = struct{}{}
}

func (v *VerifySlots) countLocked(s verifySlot, n int) {
	if v.held == nil {
		v.held = make(map[any]int)
	}
	v.used += n
	for _, key := range [...]any{s.site, s.source, networkKey(s.network)} {
		if v.held[key] += n; v.held[key] == 0 {
			delete(v.held, key)
		}
	}
}
