package router

import (
	"context"
	"sync"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// releaser ends bindings, many with one proposal, and does not give up before
// the table says that they are gone.
type releaser struct {
	mu      sync.Mutex
	waiting []release
	wake    chan struct{}
}

type release struct {
	user protocol.Address
	id   store.Session
	done func(index uint64, err error) // may be nil; is called once
}

func (q *releaser) init() { q.wake = make(chan struct{}, 1) }

// add ends the binding of id in the background.
func (q *releaser) add(user protocol.Address, id store.Session) {
	q.put(release{user: user, id: id})
}

// wait ends the binding of id and returns the index of that change. Where the
// site does not confirm it, it goes on in the background.
func (q *releaser) wait(ctx context.Context, user protocol.Address, id store.Session) (uint64, error) {
	type outcome struct {
		index uint64
		err   error
	}
	done := make(chan outcome, 1)
	q.put(release{user, id, func(index uint64, err error) { done <- outcome{index, err} }})
	select {
	case o := <-done:
		return o.index, o.err
	case <-ctx.Done():
		return 0, unavailable(ctx.Err())
	}
}

func (q *releaser) put(r release) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *releaser) take() []release {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), rebindBatch)
	taken := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return taken
}

// releaseAll works until the router shuts down.
func (r *Router) releaseAll() {
	for {
		batch := r.release.take()
		if len(batch) == 0 {
			select {
			case <-r.release.wake:
				continue
			case <-r.ctx.Done():
				return
			}
		}
		if again := r.releaseBatch(batch); len(again) > 0 {
			for _, x := range again {
				r.release.put(x)
			}
			select {
			case <-time.After(releaseRetry):
			case <-r.ctx.Done():
				return
			}
		}
	}
}

// releaseRetry is the pause after a proposal that came to nothing.
const releaseRetry = 200 * time.Millisecond

// releaseBatch proposes the ends of some bindings, and returns those that have
// to be proposed again. A change that the table refuses because this
// node's epoch has ended needs no second try: the epoch's reap ends the
// binding, unless it was bound again, and then it is released once more.
func (r *Router) releaseBatch(batch []release) (again []release) {
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	epoch := r.tableEpoch()
	changes := make([]*storev1.Change, len(batch))
	for i, x := range batch {
		changes[i] = &storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{
			Address: x.user.String(), Session: sessionProto(x.id), Epoch: epoch,
		}}}
	}
	results, err := r.Directory.Propose(ctx, changes...)
	if err != nil {
		return notConfirmed(batch, err)
	}
	for i, x := range batch {
		if results[i].Refusal == store.EndedEpoch && r.bound(x) {
			again = append(again, x)
		} else if x.done != nil {
			x.done(results[i].Index, nil)
		}
	}
	return again
}

// notConfirmed tells those who wait that the site did not confirm it, and returns the batch for
// another try, for which nobody waits.
func notConfirmed(batch []release, err error) []release {
	for i := range batch {
		if batch[i].done != nil {
			batch[i].done(0, unavailable(err))
			batch[i].done = nil
		}
	}
	return batch
}

// tableEpoch is this node's epoch as its table knows it.
func (r *Router) tableEpoch() uint64 {
	n, _ := r.Table.Node(r.Node)
	return n.Epoch
}

func (r *Router) bound(x release) bool {
	l := r.Table.Listener(x.user)
	return has(l, x.id)
}
