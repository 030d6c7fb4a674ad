package link

import (
	"net/netip"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/protocol/netaddr"
)

const (
	// maxFailures bounds what attackers can make a node keep between two pings.
	maxFailures = 4096
	// failuresTime is how long failures are gathered before they are told.
	failuresTime = 50 * time.Millisecond
	// evictSample is among how many the smallest makes room for another one.
	evictSample = 16
)

// failures holds the logins here, failed ones and those from new sources,
// that another node has not been told of.
type failures struct {
	mu    sync.Mutex
	times map[protocol.Attempt]uint32
	known map[protocol.Attempt]struct{}
}

// counted returns the attempt as it is counted: an IPv6 source by its /64, and
// an exempt one not at all.
func counted(a protocol.Attempt) protocol.Attempt {
	if a.Exempt {
		return protocol.Attempt{Principal: a.Principal}
	}
	a.Source = netaddr.Source(a.Source).Addr()
	return a
}

// add counts a failed login, and reports whether it is the first to be told.
// Where there is no room, one that has failed least makes some.
func (f *failures) add(a protocol.Attempt) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.isEmptyLocked()
	if f.times == nil {
		f.times = map[protocol.Attempt]uint32{}
	}
	k := counted(a)
	if f.times[k] == 0 && len(f.times) >= maxFailures {
		f.evictLocked()
	}
	f.times[k]++
	return first
}

func (f *failures) evictLocked() {
	var smallest protocol.Attempt
	least, seen := uint32(0), 0
	for k, n := range f.times {
		if least == 0 || n < least {
			smallest, least = k, n
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(f.times, smallest)
}

// addKnown notes a login, and reports whether it is the first to be told. One
// for which there is no room is left out: the user then waits for a turn, at
// worst.
func (f *failures) addKnown(a protocol.Attempt) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.isEmptyLocked()
	if f.known == nil {
		f.known = map[protocol.Attempt]struct{}{}
	}
	if len(f.known) < maxFailures {
		f.known[counted(a)] = struct{}{}
	}
	return first
}

func (f *failures) isEmptyLocked() bool { return len(f.times) == 0 && len(f.known) == 0 }

func (f *failures) take() (failed []*clusterv1.Failure, known []*clusterv1.KnownSource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, n := range f.times {
		failed = append(failed, &clusterv1.Failure{Source: k.Source.AsSlice(), User: k.Principal.String(), Times: n})
	}
	for k := range f.known {
		known = append(known, &clusterv1.KnownSource{Source: k.Source.AsSlice(), User: k.Principal.String()})
	}
	f.times, f.known = nil, nil
	return failed, known
}

// tellLogins passes on what another node tells.
func tellLogins(h Handler, f *clusterv1.Frame) {
	for _, one := range f.Failure {
		if a, ok := attemptOf(one.Source, one.User); ok {
			h.Failed(a, int(one.Times))
		}
	}
	for _, one := range f.Known {
		if a, ok := attemptOf(one.Source, one.User); ok {
			h.Succeeded(a)
		}
	}
}

// attemptOf reads what take wrote. An attempt without a source is exempt.
func attemptOf(source []byte, user string) (a protocol.Attempt, ok bool) {
	var err error
	if a.Principal, err = protocol.ParsePrincipal(user); err != nil {
		return a, false
	}
	if len(source) == 0 {
		a.Exempt = true
		return a, true
	}
	a.Source, ok = netip.AddrFromSlice(source)
	return a, ok
}
