package client

import (
	"context"
	"sync"
	"time"

	"simpd/protocol/budget"
	"simpd/protocol/rate"
)

// account is what the domains below one registrable domain cost together. It
// lives while there is a partner among them.
type account struct {
	name     string
	partners int           // Relay.mu guards it
	places   *budget.Owner // in the table of partners
	memory   *budget.Owner // what they make this side keep
	pace     pace
}

// What is read of what other sites say unasked, of all connections to the
// domains of one account: presence that is watched, and anything else but the
// answers that are due. Beyond that they are read more slowly.
var (
	unaskedLines  = rate.NewLimit(500, 10_000)    // a second, and at once
	unaskedOctets = rate.NewLimit(256<<10, 4<<20) // a second, and at once
)

// pace limits how fast somebody is read. It may be used by any goroutine.
type pace struct {
	mu            sync.Mutex
	began         time.Time
	lines, octets rate.Bucket
}

// spend takes a line of n octets, and returns how long to wait before the next
// is read.
func (p *pace) spend(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = time.Now()
	}
	now := time.Since(p.began)
	p.lines.Spend(unaskedLines, 1, now)
	p.octets.Spend(unaskedOctets, n, now)
	return max(p.lines.Wait(unaskedLines, 1, now), p.octets.Wait(unaskedOctets, 1, now))
}

// sleep waits; false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
