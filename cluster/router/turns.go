package router

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxWaiting is how many attempts wait for a turn at one account or network.
const maxWaiting = 256

// turnQueue holds the attempts that wait for a turn at an account, or in a
// network, that is over its limit. Turns go to networks in equal shares,
// whatever their number of sources. The loginLimiter's lock guards it.
type turnQueue struct {
	waiting map[uint64][]*turnWaiter // by network
	count   int
	timer   *time.Timer
}

// turnWaiter is one attempt that waits.
type turnWaiter struct {
	source, network uint64
	done            chan struct{} // closed when it waits no more
	granted         bool          // valid after done
}

// awaitScope waits for a turn at scope. It returns 0 when it is granted.
func (l *loginLimiter) awaitScope(ctx context.Context, scope uint64, k attemptKeys) time.Duration {
	l.mu.Lock()
	q := l.queues[scope]
	if q == nil && l.turns.wait(scope, l.now()) == 0 {
		l.turns.spend(scope, 1, l.now())
		l.mu.Unlock()
		return 0
	}
	w := l.enqueue(scope, k)
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
		l.dequeue(scope, w)
	}
	return max(time.Second, l.turns.wait(scope, l.now()))
}

// enqueue has an attempt wait; nil: its source has one waiting, or there is no
// room, which goes to the networks that have least of it. l.mu is held.
func (l *loginLimiter) enqueue(scope uint64, k attemptKeys) *turnWaiter {
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
	if q.count >= maxWaiting {
		biggest := q.biggest()
		if len(q.waiting[biggest]) <= len(q.waiting[k.network])+1 {
			return nil
		}
		all := q.waiting[biggest]
		l.dequeue(scope, all[rand.IntN(len(all))])
	}
	w := &turnWaiter{source: k.source, network: k.network, done: make(chan struct{})}
	q.waiting[k.network] = append(q.waiting[k.network], w)
	q.count++
	return w
}

// biggest returns the network of which most attempts wait.
func (q *turnQueue) biggest() (network uint64) {
	most := 0
	for n, all := range q.waiting {
		if len(all) > most {
			network, most = n, len(all)
		}
	}
	return network
}

// grantTurn gives one attempt its turn, if there is one, and sees to the next.
func (l *loginLimiter) grantTurn(scope uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[scope]
	if q == nil {
		return
	}
	if l.turns.wait(scope, l.now()) == 0 {
		l.turns.spend(scope, 1, l.now())
		w := q.pick()
		w.granted = true
		l.dequeue(scope, w)
	}
	if l.queues[scope] == q {
		q.timer.Reset(max(time.Millisecond, l.turns.wait(scope, l.now())))
	}
}

// pick returns any attempt of any network.
func (q *turnQueue) pick() *turnWaiter {
	i := rand.IntN(len(q.waiting))
	for _, all := range q.waiting {
		if i == 0 {
			return all[rand.IntN(len(all))]
		}
		i--
	}
	return nil // not reached: a queue without attempts is removed
}

// dequeue ends w's waiting, if it waits. l.mu is held.
func (l *loginLimiter) dequeue(scope uint64, w *turnWaiter) {
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
