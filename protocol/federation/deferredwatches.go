package federation

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// deferredWatches holds watches that can't be started now, because the
// federation policy does not allow them or because of limits. They are
// started later if they are still needed.
type deferredWatches struct {
	// watchMu serializes the beginning and the end of watches. It is locked
	// before a remoteDomain and before the Relay.
	watchMu sync.Mutex
	watches map[pair]*deferredWatch
	timer   *time.Timer // nil if nothing waits
}

// deferredWatch is one watch.
type deferredWatch struct {
	tell     func(protocol.Presence)
	notified atomic.Bool // tell was called with Unknown
}

// deferInterval is about how long a watch waits for its next attempt.
const deferInterval = 20 * time.Second

// startWatch starts a watch, now or later. The caller holds
// r.deferred.watchMu.
func (r *Relay) startWatch(p pair, w *deferredWatch) {
	for {
		to, err := r.remoteDomain(domainPair{p.by.Domain(), p.of.Domain()}, p.by)
		if err == nil {
			err = to.watch(p.by, p.of, w.tell)
		}
		switch {
		case err == nil:
			delete(r.deferred.watches, p)
			return
		case !errors.Is(err, errDomainClosed):
			r.deferWatch(p, w)
			return
		}
	}
}

// deferWatch defers a watch; its state is unknown until then. The caller
// holds r.deferred.watchMu.
func (r *Relay) deferWatch(p pair, w *deferredWatch) {
	q := &r.deferred
	if q.watches[p] != w {
		q.watches[p] = w
		r.spawn(func() {
			w.tell(unknownPresence(p.of))
			w.notified.Store(true)
		})
	}
	if q.timer == nil && r.ctx.Err() == nil {
		q.timer = time.AfterFunc(deferInterval/2+rand.N(deferInterval), r.retryDeferred)
	}
}

// spawn calls f in a goroutine, unless the relay is closed.
func (r *Relay) spawn(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Go(f)
	}
}

// retryDeferred tries again to start the deferred watches.
func (r *Relay) retryDeferred() {
	q := &r.deferred
	q.watchMu.Lock()
	defer q.watchMu.Unlock()
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	for p, w := range q.watches {
		if w.notified.Load() && r.ctx.Err() == nil {
			r.startWatch(p, w)
		} else {
			r.deferWatch(p, w)
		}
	}
}
