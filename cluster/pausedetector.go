package cluster

import (
	"context"
	"sync"
	"time"
)

// pauseDetector detects that the process was paused. A leader that resumes
// may read responses of its followers that are older than the pause, and Raft
// would take them for current ones.
type pauseDetector struct {
	allowed time.Duration // a shorter pause is harmless: the followers have not given up this leader

	mu     sync.Mutex
	looked time.Time // when it last ran
	woke   time.Time // when it last ran after a pause
}

func newPauseDetector(allowed time.Duration) *pauseDetector {
	return &pauseDetector{allowed: allowed, looked: time.Now()}
}

// run observes the clock until ctx ends.
func (p *pauseDetector) run(ctx context.Context) {
	tick := time.NewTicker(p.allowed / 5)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.observe(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (p *pauseDetector) observe(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) > p.allowed {
		p.woke = now
	}
	p.looked = now
}

// isAwake reports whether the process is running and has been for long enough
// to have read everything that arrived during a pause.
func (p *pauseDetector) isAwake(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.looked) <= p.allowed && now.Sub(p.woke) > 2*p.allowed
}
