package server

import (
	"sync"
	"time"

	"simpd/protocol"
)

// ledger counts what a client has asked and the server has not answered, and
// holds the SENDs among it.
type ledger struct {
	budget *budget

	mu       sync.Mutex
	requests int
	octets   int
	sends    *sending // the newest; the others by x.older
	given    bool     // nobody waits for answers any more
	ended    bool
	idle     chan struct{} // closed when nothing is unanswered; nil while nobody waits for that
}

// take counts a request, unless that would be too many.
func (l *ledger) take(octets int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests >= protocol.MaxRequests || l.octets+octets > protocol.MaxRequestOctets || l.budget.spent() {
		return false
	}
	l.requests++
	l.grow(octets)
	return true
}

func (l *ledger) grow(octets int) {
	l.octets += octets
	l.budget.hold(octets)
}

func (l *ledger) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.octets
}

// settle uncounts a request that is answered.
func (l *ledger) settle(octets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.requests--
	l.grow(-octets)
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
	l.grow(-l.octets)
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
