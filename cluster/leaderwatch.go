package cluster

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// monitor establishes and revokes this node's leadership as Raft reports,
// until ctx ends.
func (l *leadership) monitor(ctx context.Context) {
	var t *leaderTerm
	for {
		t = l.follow(ctx, t)
		l.changed.Notify()
		select {
		case <-l.notified:
		case <-ctx.Done():
			l.end(t)
			return
		}
	}
}

// follow revokes a leadership that has ended, and establishes one that has
// begun.
func (l *leadership) follow(ctx context.Context, t *leaderTerm) *leaderTerm {
	term, leads := l.raft.Load().CurrentTerm(), l.isElected()
	if t != nil && (!leads || t.term != term) {
		l.end(t)
		t = nil
	}
	if t == nil && leads {
		t = l.establish(ctx, term)
	}
	return t
}

func (l *leadership) end(t *leaderTerm) {
	if t != nil {
		l.revoke(t)
	}
}

// watch reports when another node leads, or none, until ctx ends.
func (l *leadership) watch(ctx context.Context) {
	told := make(chan raft.Observation, 16) // one that finds it full has rung already
	o := raft.NewObserver(told, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r := l.raft.Load()
	r.RegisterObserver(o)
	defer r.DeregisterObserver(o)
	for {
		select {
		case <-told:
			l.changed.Notify()
			l.onChange()
		case <-ctx.Done():
			return
		}
	}
}

// leadershipChecks tracks the checks that Raft has not answered yet. It
// answers each within the leader's lease while it runs, and none after it was
// shut down.
type leadershipChecks struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// run calls ask in a goroutine, unless closed.
func (v *leadershipChecks) run(ask func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.wg.Go(ask)
	}
	return !v.closed
}

// close allows no more checks, and waits for the answers.
func (v *leadershipChecks) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.wg.Wait()
}
