package store

import (
	"net/netip"
	"sync/atomic"

	"simpd/protocol"
)

// blockIndex finds the blocks that concern somebody. Only the live table has one.
// The table's lock guards it, except version and count.
type blockIndex struct {
	version atomic.Uint64 // grows with each change of blocks
	count   atomic.Int64  // of blocks

	addresses map[string]addressBlocks
	domains   map[string]int
	ranges    map[netip.Prefix]int
	lengths   map[prefixKind]int // of the ranges
}

// prefixKind is the length of a prefix and the family of its addresses.
type prefixKind struct {
	bits int
	is6  bool
}

// addressBlocks counts the blocks of addresses that have a key in common. Most
// addresses have the same key whether their domain is the site's or not.
type addressBlocks struct{ remote, own int }

func (i *blockIndex) init() {
	i.addresses, i.domains = map[string]addressBlocks{}, map[string]int{}
	i.ranges, i.lengths = map[netip.Prefix]int{}, map[prefixKind]int{}
}

// reset makes i the index of v's blocks.
func (i *blockIndex) reset(v *View) {
	i.init()
	i.count.Store(0)
	v.Blocks("", func(b *Block) bool { i.change(b, 1); return true })
	i.version.Add(1)
}

func (i *blockIndex) add(b *Block) { i.change(b, 1); i.version.Add(1) }

func (i *blockIndex) remove(b *Block) { i.change(b, -1); i.version.Add(1) }

func (i *blockIndex) change(b *Block, by int) {
	i.count.Add(int64(by))
	if r, ok := b.Target.Range(); ok {
		changeCount(i.ranges, r, by)
		changeCount(i.lengths, prefixKind{r.Bits(), r.Addr().Is6()}, by)
		return
	}
	p, _ := b.Target.Pattern()
	if domain, ok := p.Domain(); ok {
		changeCount(i.domains, domain, by)
		return
	}
	remote, own := p.Key(false).String(), p.Key(true).String()
	i.changeAddress(remote, addressBlocks{remote: by})
	i.changeAddress(own, addressBlocks{own: by})
}

func (i *blockIndex) changeAddress(key string, by addressBlocks) {
	n := i.addresses[key]
	if n.remote, n.own = n.remote+by.remote, n.own+by.own; n == (addressBlocks{}) {
		delete(i.addresses, key)
		return
	}
	i.addresses[key] = n
}

// changeCount adds to a count of a map that has no zero counts.
func changeCount[K comparable](counts map[K]int, key K, by int) {
	if n := counts[key] + by; n != 0 {
		counts[key] = n
	} else {
		delete(counts, key)
	}
}

// BlocksVersion returns a number that grows with each change of blocks.
func (t *Table) BlocksVersion() uint64 { return t.blocks.version.Load() }

// BlocksUser reports whether the address or its domain is blocked. key is the
// address as protocol.Address.RuleKey returns it, and isLocal reports whether it
// is in one of the site's own domains.
func (t *Table) BlocksUser(key protocol.Address, isLocal bool) bool {
	if t.blocks.count.Load() == 0 {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.blocks.domains[key.Domain()] > 0 {
		return true
	}
	n := t.blocks.addresses[key.String()]
	return isLocal && n.own > 0 || !isLocal && n.remote > 0
}

// BlocksDomain reports whether the domain is blocked.
func (t *Table) BlocksDomain(domain string) bool {
	if t.blocks.count.Load() == 0 {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.blocks.domains[domain] > 0
}

// BlocksSource reports whether a range of blocked source addresses contains a. An
// IPv4 address within IPv6 is that IPv4 address.
func (t *Table) BlocksSource(a netip.Addr) bool {
	if t.blocks.count.Load() == 0 || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	t.mu.RLock()
	defer t.mu.RUnlock()
	for kind := range t.blocks.lengths {
		if kind.is6 != a.Is6() {
			continue
		}
		if r, err := a.Prefix(kind.bits); err == nil && t.blocks.ranges[r] > 0 {
			return true
		}
	}
	return false
}
