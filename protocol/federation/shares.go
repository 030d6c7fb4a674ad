package federation

import (
	"simpd/protocol"
	"simpd/protocol/budget"
)

// placeOctets is what one of a limited number of places counts as in a
// budget.Pool: as much as an owner may always hold while any place is free.
const placeOctets = 16 << 10

// userShares divides a number of places among users: one user alone can have
// a quarter of them, and a user without any is served while one is free. Any
// goroutine may use it.
type userShares struct {
	owners *budget.Owners[protocol.Address]
}

func newUserShares(places int) userShares {
	return userShares{budget.NewOwners[protocol.Address](budget.NewPool(int64(places) * placeOctets))}
}

// userShare is what is held of one or more budgets for a user. The zero
// userShare holds nothing.
type userShare struct {
	user protocol.Address
	held []holding
}

type holding struct {
	owners *budget.Owners[protocol.Address]
	owner  *budget.Owner
	n      int
}

// reserve reserves n octets for s.user, and reports whether the user's share
// allows it. If not, it releases everything that s holds.
func (s *userShare) reserve(owners *budget.Owners[protocol.Address], n int) bool {
	owner := owners.Acquire(s.user)
	if !owner.Reserve(n) {
		owners.Drop(s.user)
		s.release()
		return false
	}
	s.held = append(s.held, holding{owners, owner, n})
	return true
}

// charge reserves n octets for s.user whatever the user's share.
func (s *userShare) charge(owners *budget.Owners[protocol.Address], n int) {
	owner := owners.Acquire(s.user)
	owner.Charge(n)
	s.held = append(s.held, holding{owners, owner, n})
}

// release returns everything that s holds.
func (s *userShare) release() {
	for _, h := range s.held {
		h.owner.Release(h.n)
		h.owners.Drop(s.user)
	}
	s.held = nil
}
