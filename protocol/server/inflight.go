package server

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// inflight tracks the requests of a client that have not been answered, and
// the SENDs among them.
type inflight struct {
	session *session

	mu         sync.Mutex
	requests   int
	octets     int
	newestSend *pendingSend // the others follow by pendingSend.older
	abandoned  bool         // nobody waits for responses any more
	ended      bool
	idle       chan struct{} // closed when everything is answered; nil if nobody waits for it
}

// requestCost is the memory of a request, besides its octets, until it is
// answered: the parsed form, its task or SEND, and what the site keeps.
const requestCost = 1 << 10

// Limits on unanswered requests before AUTH (SIMP.md, section 2).
const (
	maxEarlyRequests = 8
	maxEarlyOctets   = 64 << 10
)

// reserve counts a request, unless there are too many or they exceed the
// owner's share. waiting is the size of the queued output.
func (l *inflight) reserve(octets, waiting int) bool {
	requests, most := maxEarlyRequests, maxEarlyOctets
	if l.session.state.isAuthenticated() {
		requests, most = protocol.MaxRequests, protocol.MaxRequestOctets
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests >= requests || l.octets+octets > most || waiting > most || !l.session.usage.reserve(octets+requestCost) {
		return false
	}
	l.requests++
	l.octets += octets
	return true
}

// extend counts more octets for a request until it is answered, unless that
// is too much.
func (l *inflight) extend(r *request, octets int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.octets+octets > protocol.MaxRequestOctets || !l.session.usage.reserve(octets) {
		return false
	}
	l.octets += octets
	r.octets += octets
	return true
}

// release stops counting a request that was answered.
func (l *inflight) release(octets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.requests--
	l.octets -= octets
	l.session.usage.release(octets + requestCost)
	if l.requests == 0 {
		l.notifyIdleLocked()
	}
}

// abandon ends all waiting.
func (l *inflight) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandoned = true
	l.notifyIdleLocked()
}

// close stops counting: nothing will be answered any more.
func (l *inflight) close() {
	l.abandon()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.session.usage.release(l.octets + l.requests*requestCost)
	l.octets = 0
}

func (l *inflight) notifyIdleLocked() {
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// waitIdle waits until all requests are answered, or until abandon.
func (l *inflight) waitIdle() {
	l.mu.Lock()
	if l.requests == 0 || l.abandoned {
		l.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	l.idle = idle
	l.mu.Unlock()
	<-idle
}

func (l *inflight) addSend(x *pendingSend) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.older = l.newestSend
	if x.older != nil {
		x.older.newer = x
	}
	l.newestSend = x
}

// recordOutcome records the outcome of x for recipient i. It returns true for
// the last one, after removing x.
func (l *inflight) recordOutcome(x *pendingSend, i int, o protocol.Outcome) (all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.remaining == 0 || x.outcomes[i].Status != 0 {
		return false
	}
	x.outcomes[i] = o
	if x.remaining--; x.remaining > 0 {
		return false
	}
	l.removeLocked(x)
	return true
}

// markUnknown sets the missing outcomes of x to "in doubt". It returns false
// if none was missing.
func (l *inflight) markUnknown(x *pendingSend) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.remaining == 0 {
		return false
	}
	x.remaining = 0
	for i := range x.outcomes {
		if x.outcomes[i].Status == 0 {
			x.outcomes[i].Status = protocol.StatusIndeterminate
		}
	}
	l.removeLocked(x)
	return true
}

// removeLocked removes x.
func (l *inflight) removeLocked(x *pendingSend) {
	if x.newer != nil {
		x.newer.older = x.older
	} else {
		l.newestSend = x.older
	}
	if x.older != nil {
		x.older.newer = x.newer
	}
	x.newer, x.older = nil, nil
}

// overdueSends returns the SENDs whose response is overdue, and when the next
// one will be.
func (l *inflight) overdueSends(now time.Time) (all []*pendingSend, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.newestSend; x != nil; x = x.older {
		if at := x.dueAt(); now.Before(at) {
			next = wait.Earlier(next, at)
			continue
		}
		all = append(all, x)
	}
	return all, next
}
