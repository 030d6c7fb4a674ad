package client

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// postponed are the watches that can't be begun now, as the federation does
// not admit them or too much is tried already. They are begun later, if
// somebody still wants to know.
type postponed struct {
	// watching guards the beginning and the end of each watch as a whole; it is
	// locked before a partner, and before the relay.
	watching sync.Mutex
	wishes   map[pair]*wish
	alarm    *time.Timer // nil: nothing waits
}

// wish is one watch that is wanted.
type wish struct {
	tell func(protocol.Presence)
	told atomic.Bool // that nothing is known
}

// postponeTime is about how long a watch waits for its next try.
const postponeTime = 20 * time.Second

// begin watches, now or later. r.postponed.watching is held.
func (r *Relay) begin(p pair, w *wish) {
	for {
		to, err := r.partner(way{p.by.Domain(), p.of.Domain()}, p.by)
		if err == nil {
			err = to.watch(p.by, p.of, w.tell)
		}
		switch {
		case err == nil:
			delete(r.postponed.wishes, p)
			return
		case !errors.Is(err, errGone):
			r.postpone(p, w)
			return
		}
	}
}

// postpone has a watch begun later; nothing is known until then.
// r.postponed.watching is held.
func (r *Relay) postpone(p pair, w *wish) {
	q := &r.postponed
	if q.wishes[p] != w {
		q.wishes[p] = w
		r.aside(func() {
			w.tell(unknown(p.of))
			w.told.Store(true)
		})
	}
	if q.alarm == nil && r.ctx.Err() == nil {
		q.alarm = time.AfterFunc(postponeTime/2+rand.N(postponeTime), r.beginAll)
	}
}

// aside calls f from a goroutine of its own, unless the relay is closed.
func (r *Relay) aside(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Go(f)
	}
}

// beginAll tries once more what was postponed.
func (r *Relay) beginAll() {
	q := &r.postponed
	q.watching.Lock()
	defer q.watching.Unlock()
	if q.alarm != nil {
		q.alarm.Stop()
		q.alarm = nil
	}
	for p, w := range q.wishes {
		if w.told.Load() && r.ctx.Err() == nil {
			r.begin(p, w)
		} else {
			r.postpone(p, w)
		}
	}
}
