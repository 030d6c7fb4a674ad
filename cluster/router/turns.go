package router

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxTurnWaiters limits the attempts that wait for a turn at one account or
// network.
const maxTurnWaiters = 256

// turnQueue holds the attempts that wait for a turn at an account or network
// above its limit. Networks have equal shares of the turns, whatever their
// number of sources. The loginLimiter's lock guards it.
type turnQueue struct {
	waiting map[uint64][]*turnWaiter // by network
	count   int
	timer   *time.Timer
}

// turnWaiter is one waiting attempt.
type turnWaiter struct {
	source, network uint64
	done            chan struct{} // closed when it no longer waits
	granted         bool          // valid after done
}

// awaitScope waits for a turn at scope. It returns 0 if the turn was granted,
// and otherwise how long to wait before the next attempt.
func (l *loginLimiter) awaitScope(ctx context.Context, scope uint64, k attemptKeys) time.Duration {
	l.mu.Lock()
	q := l.queues[scope]
	if q == nil && l.turns.wait(scope, l.now()) == 0 {
		l.turns.spend(scope, 1, l.now())
		l.mu.Unlock()
		return 0
	}
	w := l.enqueueTurnLocked(scope, k)
	l.mu.Unlock()
	if w != nil {
		select {
		case <-w.done:
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w != nil && w.granted {
		return 0
	}
	if w != nil {
		l.dequeueTurnLocked(scope, w)
	}
	return max(time.Second, l.turns.wait(scope, l.now()))
}

// enqueueTurnLocked lets an attempt wait. It returns nil if its source
// already has one waiting, or if there is no room; room goes to the networks
// that have least of it.
func (l *loginLimiter) enqueueTurnLocked(scope uint64, k attemptKeys) *turnWaiter {
	q := l.queues[scope]
	if q == nil {
		q = &turnQueue{waiting: make(map[uint64][]*turnWaiter)}
		q.timer = time.AfterFunc(l.turns.wait(scope, l.now()), func() { l.grantTurn(scope) })
		l.queues[scope] = q
	}
	for _, w := range q.waiting[k.network] {
		if w.source == k.source && !k.exempt {
			return nil
		}
	}
	if q.count >= maxTurnWaiters {
		biggest := q.largestNetwork()
		if len(q.waiting[biggest]) <= len(q.waiting[k.network])+1 {
			return nil
		}
		all := q.waiting[biggest]
		l.dequeueTurnLocked(scope, all[rand.IntN(len(all))])
	}
	w := &turnWaiter{source: k.source, network: k.network, done: make(chan struct{})}
	q.waiting[k.network] = append(q.waiting[k.network], w)
	q.count++
	return w
}

// largestNetwork returns the network with the most waiting attempts.
func (q *turnQueue) largestNetwork() (network uint64) {
	most := 0
	for n, all := range q.waiting {
		if len(all) > most {
			network, most = n, len(all)
		}
	}
	return network
}

// grantTurn gives one waiting attempt its turn, and schedules the next.
func (l *loginLimiter) grantTurn(scope uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[scope]
	if q == nil {
		return
	}
	if l.turns.wait(scope, l.now()) == 0 {
		l.turns.spend(scope, 1, l.now())
		w := q.pickWaiter()
		w.granted = true
		l.dequeueTurnLocked(scope, w)
	}
	if l.queues[scope] == q {
		q.timer.Reset(max(time.Millisecond, l.turns.wait(scope, l.now())))
	}
}

// pickWaiter returns a random attempt of a random network.
func (q *turnQueue) pickWaiter() *turnWaiter {
	i := rand.IntN(len(q.waiting))
	for _, all := range q.waiting {
		if i == 0 {
			return all[rand.IntN(len(all))]
		}
		i--
	}
	return nil // not reached: a queue without attempts is removed
}

// dequeueTurnLocked ends the waiting of w, if it waits.
func (l *loginLimiter) dequeueTurnLocked(scope uint64, w *turnWaiter) {
	q := l.queues[scope]
	if q == nil {
		return
	}
	all := q.waiting[w.network]
	for i := range all {
		if all[i] != w {
			continue
		}
		all[i] = all[len(all)-1]
		all[len(all)-1] = nil
		if q.waiting[w.network] = all[:len(all)-1]; len(all) == 1 {
			delete(q.waiting, w.network)
		}
		q.count--
		close(w.done)
		break
	}
	if q.count == 0 {
		q.timer.Stop()
		delete(l.queues, scope)
	}
}
