package federation

import (
	"sync"
	"time"

	"simpd/protocol/budget"
	"simpd/protocol/rate"
)

// registrant accounts for what all remote domains below one registrable
// domain cost together. It exists while there is a remoteDomain among them.
type registrant struct {
	name        string
	domains     int           // number of remoteDomains; Relay.mu guards it
	placeShare  *budget.Owner // of the table of remote domains
	memoryShare *budget.Owner // of what they make this side store
	reads       readLimiter
}

// What is read of what other sites say unasked, of all connections to the
// domains below one registrable domain: presence that is watched, and anything else but the
// answers that are due. Beyond that they are read more slowly.
var (
	unaskedLines  = rate.NewLimit(500, 10_000)    // a second, and at once
	unaskedOctets = rate.NewLimit(256<<10, 4<<20) // a second, and at once
)

// readLimiter limits how fast the connections of a registrant are read. Any
// goroutine may use it.
type readLimiter struct {
	mu            sync.Mutex
	began         time.Time
	lines, octets rate.Bucket
}

// spend counts a line of n octets, and returns how long to wait before
// reading the next.
func (p *readLimiter) spend(n int) time.Duration {
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
