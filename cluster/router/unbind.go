package router

import (
	"context"
	"sync"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/wait"
	"simpd/store"
)

// unbinder ends bindings, many with one proposal, and retries until the table
// has removed them.
type unbinder struct {
	mu      sync.Mutex
	waiting []unbindRequest
	wake    wait.Signal
}

type unbindRequest struct {
	user protocol.Address
	id   store.Session
	done func(index uint64, err error) // may be nil; called once
}

func (q *unbinder) init() { q.wake = wait.NewSignal() }

// enqueue ends the binding of id in the background.
func (q *unbinder) enqueue(user protocol.Address, id store.Session) {
	q.push(unbindRequest{user: user, id: id})
}

// unbind ends the binding of id and returns the index of the change. If the
// site does not confirm it before ctx ends, unbind returns an error and the
// work continues in the background.
func (q *unbinder) unbind(ctx context.Context, user protocol.Address, id store.Session) (uint64, error) {
	type outcome struct {
		index uint64
		err   error
	}
	done := make(chan outcome, 1)
	q.push(unbindRequest{user, id, func(index uint64, err error) { done <- outcome{index, err} }})
	select {
	case o := <-done:
		return o.index, o.err
	case <-ctx.Done():
		return 0, unavailableError(ctx.Err())
	}
}

func (q *unbinder) push(r unbindRequest) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
	q.wake.Notify()
}

func (q *unbinder) takeBatch() []unbindRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), rebindBatch)
	taken := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return taken
}

// runUnbinder ends bindings until the router shuts down.
func (r *Router) runUnbinder() {
	for {
		batch := r.unbinder.takeBatch()
		if len(batch) == 0 {
			select {
			case <-r.unbinder.wake:
				continue
			case <-r.ctx.Done():
				return
			}
		}
		if again := r.unbindBatch(batch); len(again) > 0 {
			for _, x := range again {
				r.unbinder.push(x)
			}
			if !wait.Sleep(r.ctx, unbindRetry) {
				return
			}
		}
	}
}

// unbindRetry is the pause after a failed proposal.
const unbindRetry = 200 * time.Millisecond

// unbindBatch proposes the end of some bindings, and returns those that must
// be proposed again. A change that is refused because this node's epoch has
// ended needs no retry, as the epoch's reap ends the binding, unless the
// session was bound again meanwhile.
func (r *Router) unbindBatch(batch []unbindRequest) (again []unbindRequest) {
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	epoch := r.tableEpoch()
	changes := make([]*storev1.Change, len(batch))
	for i, x := range batch {
		changes[i] = &storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{
			Address: x.user.String(), Session: store.SessionProto(x.id), Epoch: epoch,
		}}}
	}
	results, err := r.directory.Propose(ctx, changes...)
	if err != nil {
		return failWaiters(batch, err)
	}
	for i, x := range batch {
		if results[i].Refusal == store.EndedEpoch && r.isBound(x) {
			again = append(again, x)
		} else if x.done != nil {
			x.done(results[i].Index, nil)
		}
	}
	return again
}

// failWaiters reports the error to those who wait, and returns the batch for
// another attempt, which nobody waits for.
func failWaiters(batch []unbindRequest, err error) []unbindRequest {
	for i := range batch {
		if batch[i].done != nil {
			batch[i].done(0, unavailableError(err))
			batch[i].done = nil
		}
	}
	return batch
}

// tableEpoch returns this node's epoch according to the table.
func (r *Router) tableEpoch() uint64 {
	n, _ := r.config.Table.Node(r.config.Node)
	return n.Epoch
}

func (r *Router) isBound(x unbindRequest) bool {
	l := r.config.Table.Listener(x.user)
	return hasBinding(l, x.id)
}
