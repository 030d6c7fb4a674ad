package router

import (
	"maps"
	"strings"

	"simpd/protocol"
	"simpd/protocol/budget"
)

// DefaultWatchMemory is how many octets all watches of a node may take if
// Config does not say: some 600,000 watches.
const DefaultWatchMemory = 256 << 20

// What a watch takes in memory, in octets, without the addresses that it
// keeps: itself and its places in two maps and a list. TestWatchOctets measures
// it. To a watch of another site's user comes what watches that user there.
const (
	watchOctets   = 416
	foreignOctets = 1024
	limitOctets   = 192 // a remote domain's limit
)

// watchOwners are the users and remote domains that watch: each has a share of
// the memory. A key without "@" is a domain.
type watchOwners struct {
	*budget.Owners[string]
	pool *budget.Pool
}

func newWatchOwners(memory int64) watchOwners {
	if memory == 0 {
		memory = DefaultWatchMemory
	}
	pool := budget.NewPool(memory)
	return watchOwners{budget.NewOwners[string](pool), pool}
}

// watchOwner returns what the owner's share of u's watches is found by.
func (u *User) watchOwner() string {
	if u.outsider {
		return u.client.Domain
	}
	return u.client.User.String()
}

// reserveWatches counts what new watches of pairs take, and refuses them if
// that is more than the owner's share. The hub's mutex is held.
func (u *User) reserveWatches(octets int) error {
	if u.share == nil {
		u.share = u.r.hub.owners.Acquire(u.watchOwner())
	}
	if !u.share.Reserve(octets) {
		u.dropShare()
		return &protocol.Error{Status: protocol.StatusSlowDown, Retry: watchRetry, Text: "too much is watched by " + u.watchOwner()}
	}
	return nil
}

// watchRetry is after how many seconds a WATCH may be tried again for which
// there was no memory.
const watchRetry = 30

// releaseWatch gives back what a watch of p took. The hub's mutex is held.
func (u *User) releaseWatch(p pair) {
	u.share.Release(u.watchCost(p))
	u.dropShare()
}

// dropShare leaves the owner's share if u watches nothing. The hub's mutex is
// held.
func (u *User) dropShare() {
	if len(u.watched) == 0 && u.share != nil {
		u.r.hub.owners.Drop(u.watchOwner())
		u.share, u.watched = nil, nil
	}
}

// shrinkWatched gives back the memory of a map that has become much too large.
// The hub's mutex is held.
func (u *User) shrinkWatched() {
	if n := len(u.watched); n*4 < u.mostHeld {
		u.watched, u.mostHeld = maps.Collect(maps.All(u.watched)), n
	}
}

// watchCost returns how many octets a watch of p takes.
func (u *User) watchCost(p pair) int {
	n := watchOctets + len(p.of.String())
	if u.outsider {
		n += limitOctets + 2*len(p.by.String()) // and its key for rules
	}
	if u.r.elsewhere(p) {
		n += foreignOctets
	}
	return n
}

// cloned returns an address that keeps no longer text in memory, such as the
// line that it was a part of.
func cloned(a protocol.Address) protocol.Address {
	return protocol.CanonicalAddress(strings.Clone(a.String()))
}
