package cluster

import (
	"context"
	"sync"
	"time"
)

const (
	stallAllowed  = 2500 * time.Millisecond // a shorter stall is no cut from the majority (SIMP.md, section 4: 3 s)
	stallInterval = 200 * time.Millisecond  // between two observations
	stallConfirm  = 2 * time.Second         // for the leader to confirm what the table holds

	// stallReported bounds what a stall counts for as time without contact:
	// enough for STALE, too little for sending the clients away, which the
	// majority's silence alone decides.
	stallReported = 5 * time.Second
)

// stallDetector detects that the process has been paused (SIGSTOP, a paused
// machine). The first heartbeats that are read after a stall were sent before
// or during it, so they do not prove that the table is up to date: the leader
// has to confirm it first. Any goroutine may call its methods.
type stallDetector struct {
	mu    sync.Mutex
	seen  time.Time // when the process was last seen running
	since time.Time // start of an unconfirmed stall; zero: none
}

// observe records that the process runs, and returns the start of an
// unconfirmed stall; zero if there is none.
func (d *stallDetector) observe(now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.seen.IsZero() && now.Sub(d.seen) > stallAllowed && d.since.IsZero() {
		d.since = d.seen
	}
	d.seen = now
	return d.since
}

// confirmed ends the stall that began at since.
func (d *stallDetector) confirmed(since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.Equal(since) {
		d.since = time.Time{}
	}
}

// watchStalls makes the leader confirm the table after each stall, until ctx
// ends.
func (n *Node) watchStalls(ctx context.Context) {
	tick := time.NewTicker(stallInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		since := n.stalls.observe(time.Now())
		if since.IsZero() {
			continue
		}
		confirm, cancel := context.WithTimeout(ctx, stallConfirm)
		if n.ReadBarrier(confirm) == nil {
			n.stalls.confirmed(since)
		}
		cancel()
	}
}

// stalledFor returns how long ago an unconfirmed stall began, at most
// stallReported; 0 if there was none.
func (n *Node) stalledFor() time.Duration {
	now := time.Now()
	since := n.stalls.observe(now)
	if since.IsZero() {
		return 0
	}
	return min(now.Sub(since), stallReported)
}
