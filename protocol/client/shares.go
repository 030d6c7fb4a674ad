package client

import (
	"simpd/protocol"
	"simpd/protocol/budget"
)

// place is what one of a limited number of places counts for in a budget.Pool:
// as much as an owner may always hold while any place is free.
const place = 16 << 10

// shares are places that users share in: one user alone gets a quarter of them,
// and who has none is served while any is free. It may be used by any goroutine.
type shares struct {
	owners *budget.Owners[protocol.Address]
}

func newShares(places int) shares {
	return shares{budget.NewOwners[protocol.Address](budget.NewPool(int64(places) * place))}
}

// share is a part of one or two budgets that is held for a user. The zero share
// is nothing.
type share struct {
	user protocol.Address
	held []holding
}

type holding struct {
	owners *budget.Owners[protocol.Address]
	owner  *budget.Owner
	n      int
}

// add holds n octets of what owners share for s.user, and reports whether that
// user may. If not, everything that s holds is given back.
func (s *share) add(owners *budget.Owners[protocol.Address], n int) bool {
	owner := owners.Acquire(s.user)
	if !owner.Reserve(n) {
		owners.Drop(s.user)
		s.release()
		return false
	}
	s.held = append(s.held, holding{owners, owner, n})
	return true
}

// charge holds n octets of what owners share for s.user, whatever that user's share.
func (s *share) charge(owners *budget.Owners[protocol.Address], n int) {
	owner := owners.Acquire(s.user)
	owner.Charge(n)
	s.held = append(s.held, holding{owners, owner, n})
}

// release gives back what s holds.
func (s *share) release() {
	for _, h := range s.held {
		h.owner.Release(h.n)
		h.owners.Drop(s.user)
	}
	s.held = nil
}
