package client

import (
	"simpd/protocol/budget"
	"simpd/protocol/netaddr"
)

// maxVerifying bounds how many strangers' dialbacks are looked into at a time.
const maxVerifying = 64

// verifying has places for the dialbacks that are being looked into, which
// registrable domains share in.
type verifying struct{ domains *budget.Owners[string] }

func newVerifying() verifying {
	return verifying{budget.NewOwners[string](budget.NewPool(maxVerifying * place))}
}

// begin takes a place, if the domain's share allows it; done gives it back.
func (v verifying) begin(caller string) (done func(), ok bool) {
	domain := netaddr.Registrable(caller)
	owner := v.domains.Acquire(domain)
	if !owner.Reserve(place) {
		v.domains.Drop(domain)
		return nil, false
	}
	return func() {
		owner.Release(place)
		v.domains.Drop(domain)
	}, true
}
