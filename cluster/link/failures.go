package link

import (
	"net/netip"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

const (
	// maxFailures bounds what attackers can make a node keep between two pings.
	maxFailures = 4096
	// failuresTime is how long failures are gathered before they are told.
	failuresTime = 50 * time.Millisecond
)

// failures are the failed logins here that another node has not been told of.
type failures struct {
	mu    sync.Mutex
	times map[failure]uint32
}

type failure struct {
	source netip.Addr
	user   protocol.Address
}

// add counts a failed login, and tells whether it is the first to be told.
func (f *failures) add(source netip.Addr, user protocol.Address) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = len(f.times) == 0
	if f.times == nil {
		f.times = map[failure]uint32{}
	}
	if k := (failure{source, user}); f.times[k] > 0 || len(f.times) < maxFailures {
		f.times[k]++
	}
	return first
}

func (f *failures) take() []*clusterv1.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	var taken []*clusterv1.Failure
	for k, n := range f.times {
		taken = append(taken, &clusterv1.Failure{Source: k.source.AsSlice(), User: k.user.String(), Times: n})
	}
	clear(f.times)
	return taken
}

// failed passes on what another node tells.
func failed(h Handler, told []*clusterv1.Failure) {
	for _, f := range told {
		source, ok := netip.AddrFromSlice(f.Source)
		user, err := protocol.ParseAddress(f.User)
		if ok && err == nil {
			h.Failed(source, user, int(f.Times))
		}
	}
}
