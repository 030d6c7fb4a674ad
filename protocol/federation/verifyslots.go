package federation

import (
	"simpd/protocol/budget"
	"simpd/protocol/netaddr"
)

// maxVerifySlots limits the dialbacks of remote sites that are verified at a
// time.
const maxVerifySlots = 64

// verifySlots limits concurrent verifications. Registrable domains share the
// slots.
type verifySlots struct{ domains *budget.Owners[string] }

func newVerifySlots() verifySlots {
	return verifySlots{budget.NewOwners[string](budget.NewPool(maxVerifySlots * placeOctets))}
}

// acquire takes a slot if the domain's share allows it; done returns it.
func (v verifySlots) acquire(caller string) (done func(), ok bool) {
	domain := netaddr.Registrable(caller)
	owner := v.domains.Acquire(domain)
	if !owner.Reserve(placeOctets) {
		v.domains.Drop(domain)
		return nil, false
	}
	return func() {
		owner.Release(placeOctets)
		v.domains.Drop(domain)
	}, true
}
