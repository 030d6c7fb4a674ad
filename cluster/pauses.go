package cluster

import (
	"context"
	"sync"
	"time"
)

// pauses finds out that the process has stood still. A leader that wakes may
// find answers of its followers that are older than its sleep, and Raft would
// take them for their word of now.
type pauses struct {
	allowed time.Duration // a shorter one does no harm: the followers still waited for this leader

	mu     sync.Mutex
	looked time.Time // when it last ran
	woke   time.Time // when it last ran after a pause
}

func newPauses(allowed time.Duration) *pauses {
	return &pauses{allowed: allowed, looked: time.Now()}
}

// run looks at the clock until ctx ends.
func (p *pauses) run(ctx context.Context) {
	tick := time.NewTicker(p.allowed / 5)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.look(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (p *pauses) look(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) > p.allowed {
		p.woke = now
	}
	p.looked = now
}

// awake reports whether the process runs and has run for a while: long enough
// for all that came during its sleep to have been read.
func (p *pauses) awake(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.looked) <= p.allowed && now.Sub(p.woke) > 2*p.allowed
}
