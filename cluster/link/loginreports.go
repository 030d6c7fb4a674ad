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
	// maxReports bounds what attackers can make a node keep between two pings.
	maxReports = 4096
	// reportDelay is the time for which failures are collected before they are sent.
	reportDelay = 50 * time.Millisecond
	// evictSample is the number of entries of which the smallest is evicted.
	evictSample = 16
)

// loginReports holds the logins at this node, failed ones and successful ones
// from new sources, that have not been reported to another node yet.
type loginReports struct {
	mu     sync.Mutex
	failed map[protocol.Attempt]uint32
	known  map[protocol.Attempt]struct{}
}

// normalizeAttempt returns the attempt as it is counted: an IPv6 source as
// its /64, an exempt source not at all.
func normalizeAttempt(a protocol.Attempt) protocol.Attempt {
	if a.Exempt {
		return protocol.Attempt{Principal: a.Principal}
	}
	a.Source = netaddr.Source(a.Source).Addr()
	return a
}

// addFailure counts a failed login, and reports whether it is the first to be
// reported. If there is no room, it evicts one that has failed least often.
func (f *loginReports) addFailure(a protocol.Attempt) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.isEmptyLocked()
	if f.failed == nil {
		f.failed = map[protocol.Attempt]uint32{}
	}
	k := normalizeAttempt(a)
	if f.failed[k] == 0 && len(f.failed) >= maxReports {
		f.evictLocked()
	}
	f.failed[k]++
	return first
}

func (f *loginReports) evictLocked() {
	var smallest protocol.Attempt
	least, seen := uint32(0), 0
	for k, n := range f.failed {
		if least == 0 || n < least {
			smallest, least = k, n
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(f.failed, smallest)
}

// addSuccess records a successful login, and reports whether it is the first
// to be reported. If there is no room, it is dropped; at worst the user has
// to wait for a turn later.
func (f *loginReports) addSuccess(a protocol.Attempt) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.isEmptyLocked()
	if f.known == nil {
		f.known = map[protocol.Attempt]struct{}{}
	}
	if len(f.known) < maxReports {
		f.known[normalizeAttempt(a)] = struct{}{}
	}
	return first
}

func (f *loginReports) isEmptyLocked() bool { return len(f.failed) == 0 && len(f.known) == 0 }

func (f *loginReports) drain() (failed []*clusterv1.Failure, known []*clusterv1.KnownSource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, n := range f.failed {
		failed = append(failed, &clusterv1.Failure{Source: k.Source.AsSlice(), User: k.Principal.String(), Times: n})
	}
	for k := range f.known {
		known = append(known, &clusterv1.KnownSource{Source: k.Source.AsSlice(), User: k.Principal.String()})
	}
	f.failed, f.known = nil, nil
	return failed, known
}

// dispatchReports passes another node's reports to the Handler.
func dispatchReports(h Handler, f *clusterv1.Frame) {
	for _, one := range f.Failure {
		if a, ok := decodeAttempt(one.Source, one.User); ok {
			h.Failed(a, int(one.Times))
		}
	}
	for _, one := range f.Known {
		if a, ok := decodeAttempt(one.Source, one.User); ok {
			h.Succeeded(a)
		}
	}
}

// decodeAttempt decodes an attempt of a report. One without a source is
// exempt.
func decodeAttempt(source []byte, user string) (a protocol.Attempt, ok bool) {
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
