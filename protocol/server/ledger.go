package server

import (
	"sync"
	"time"

	"simpd/protocol"
)

// ledger counts what a client has asked and the server has not answered, and
// holds the SENDs among it.
type ledger struct {
	session *session

	mu       sync.Mutex
	requests int
	octets   int
	sends    *sending // the newest; the others by x.older
	given    bool     // nobody waits for answers any more
	ended    bool
	idle     chan struct{} // closed when nothing is unanswered; nil while nobody waits for that
}

// requestCost is what a request takes besides its octets until it is answered:
// what it is parsed into, its place among the jobs or the SENDs, and what the
// site keeps of it.
const requestCost = 1 << 10

// The bounds of what is unanswered before AUTH (SIMP.md, section 2).
const (
	maxEarlyRequests = 8
	maxEarlyOctets   = 64 << 10
)

// take counts a request, unless that would be too many, or more than its
// owner's share. waiting is how many octets wait to be written besides.
func (l *ledger) take(octets, waiting int) bool {
	requests, most := maxEarlyRequests, maxEarlyOctets
	if l.session.proved.Load() {
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

// extend counts more octets for a request that was taken, until it is answered,
// unless that is too much.
func (l *ledger) extend(r *request, octets int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.octets+octets > protocol.MaxRequestOctets || !l.session.usage.reserve(octets) {
		return false
	}
	l.octets += octets
	r.octets += octets
	return true
}

// settle uncounts a request that is answered.
func (l *ledger) settle(octets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.requests--
	l.octets -= octets
	l.session.usage.release(octets + requestCost)
	if l.requests == 0 {
		l.wake()
	}
}

// giveUp ends all waiting.
func (l *ledger) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = true
	l.wake()
}

// end counts nothing any more: nobody will be answered.
func (l *ledger) end() {
	l.giveUp()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.session.usage.release(l.octets + l.requests*requestCost)
	l.octets = 0
}

func (l *ledger) wake() {
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// settled waits until all requests are answered, or nobody waits for that any
// more.
func (l *ledger) settled() {
	l.mu.Lock()
	if l.requests == 0 || l.given {
		l.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	l.idle = idle
	l.mu.Unlock()
	<-idle
}

func (l *ledger) add(x *sending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.older = l.sends
	if x.older != nil {
		x.older.newer = x
	}
	l.sends = x
}

// note takes an outcome of x for recipient i. It returns true with the last of
// them: x has left the ledger then.
func (l *ledger) note(x *sending, i int, o protocol.Outcome) (all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.left == 0 || x.outcomes[i].Status != 0 {
		return false
	}
	x.outcomes[i] = o
	if x.left--; x.left > 0 {
		return false
	}
	l.remove(x)
	return true
}

// forgo has the outcomes of x that are not known in doubt. It returns false if
// all are known.
func (l *ledger) forgo(x *sending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.left == 0 {
		return false
	}
	x.left = 0
	for i := range x.outcomes {
		if x.outcomes[i].Status == 0 {
			x.outcomes[i].Status = protocol.StatusIndeterminate
		}
	}
	l.remove(x)
	return true
}

// remove takes x out. l.mu is held.
func (l *ledger) remove(x *sending) {
	if x.newer != nil {
		x.newer.older = x.older
	} else {
		l.sends = x.older
	}
	if x.older != nil {
		x.older.newer = x.newer
	}
	x.newer, x.older = nil, nil
}

// overdue returns the SENDs whose answer is overdue, and when the next is.
func (l *ledger) overdue(now time.Time) (all []*sending, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.sends; x != nil; x = x.older {
		if at := x.due(); now.Before(at) {
			next = sooner(next, at)
			continue
		}
		all = append(all, x)
	}
	return all, next
}
