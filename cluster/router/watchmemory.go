package router

import (
	"maps"
	"strings"

	"simpd/protocol"
	"simpd/protocol/budget"
)

// DefaultWatchMemory limits the octets of all watches of a node if Config
// does not: it suffices for about 600,000 watches.
const DefaultWatchMemory = 256 << 20

// What a watch takes in memory, in octets, without the addresses that it
// keeps: itself and its places in two maps and a list. TestWatchOctets measures
// it. To a watch of another site's user comes what watches that user there.
const (
	watchOctets       = 416
	remoteWatchOctets = 1024
	limitOctets       = 192 // a remote domain's limit
)

// watchOwners holds the memory shares of the users and remote domains that
// watch. A key without "@" is a domain.
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

// watchOwner returns the key of u's share.
func (u *Connection) watchOwner() string {
	if u.isRemote {
		return u.client.Domain
	}
	return u.client.User.String()
}

// reserveWatchesLocked reserves memory for new watches, or refuses them if
// that exceeds the owner's share.
func (u *Connection) reserveWatchesLocked(octets int) error {
	if u.share == nil {
		u.share = u.r.hub.owners.Acquire(u.watchOwner())
	}
	if !u.share.Reserve(octets) {
		u.dropShareLocked()
		return &protocol.Error{Status: protocol.StatusSlowDown, Retry: watchRetry, Text: "too much is watched by " + u.watchOwner()}
	}
	return nil
}

// watchRetry is after how many seconds a WATCH that was refused for lack of
// memory may be tried again.
const watchRetry = 30

// releaseWatchLocked returns the memory of a watch of p.
func (u *Connection) releaseWatchLocked(p pair) {
	u.share.Release(u.watchCost(p))
	u.dropShareLocked()
}

// dropShareLocked gives up the owner's share if u watches nobody.
func (u *Connection) dropShareLocked() {
	if len(u.watched) == 0 && u.share != nil {
		u.r.hub.owners.Drop(u.watchOwner())
		u.share, u.watched = nil, nil
	}
}

// shrinkWatchedLocked reallocates a map that has become much too large.
func (u *Connection) shrinkWatchedLocked() {
	if n := len(u.watched); n*4 < u.peakWatches {
		u.watched, u.peakWatches = maps.Collect(maps.All(u.watched)), n
	}
}

// watchCost returns how many octets a watch of p takes.
func (u *Connection) watchCost(p pair) int {
	n := watchOctets + len(p.of.String())
	if u.isRemote {
		n += limitOctets + 2*len(p.by.String()) // and its key for rules
	}
	if u.r.isRemotePair(p) {
		n += remoteWatchOctets
	}
	return n
}

// cloned returns a copy of the address that does not keep a longer text in
// memory, such as the line that it was part of.
func cloned(a protocol.Address) protocol.Address {
	return protocol.CanonicalAddress(strings.Clone(a.String()))
}
