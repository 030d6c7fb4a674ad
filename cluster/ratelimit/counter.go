package ratelimit

import (
	"sync"
	"time"

	"simpd/protocol/rate"
)

// counter counts the events of one key of one limit. Times are those since
// the Limiter began.
type counter struct {
	kind Kind
	key  Key

	mu      sync.Mutex
	evicted bool
	dirty   bool // it is on the list of those that are to be reported

	// bucket is the site's bucket as this node knows it: all that it has taken
	// itself, all that others have reported, and for each token of its own one
	// more for each node that may be taking as much at the same time. The last
	// are given back once that node has reported what it did take.
	bucket  rate.Bucket
	taken   uint64 // by this node, ever
	pending uint32 // of them, those that were not reported
	// share is this node's part of the limit that need not be reported. Its
	// bucket is that of the whole limit, from which each event takes as many
	// tokens as there are parts.
	share  rate.Bucket
	others []usage // nodes that have lately reported the key
}

// usage is what another node's reports of a key say.
type usage struct {
	node  string
	last  time.Duration // when it last reported the key
	since uint64        // what this node had taken by then
}

// activeTime is how long a node counts as using a key after a report. It is
// more than two intervals of reports.
const activeTime = 600 * time.Millisecond

// settings is what a counter must know of its limit and of the site.
type settings struct {
	limit       rate.Limit
	nodes       int // of the site that are up, this one among them
	unreachable int // of them, those that this node has no stream to
}

// take takes n tokens, if the bucket has them, or as many as it can hold where
// that is less. Otherwise it takes none and returns how long that takes.
// report says that the other nodes should be told.
func (c *counter) take(s settings, n int, now time.Duration) (wait time.Duration, report bool) {
	c.expireLocked(s, now)
	if wait = c.bucket.Wait(s.limit, n*c.weight(s), now); wait > 0 {
		return wait, false
	}
	return 0, c.spend(s, n, now)
}

// weight returns how many tokens one event costs until the other nodes have
// reported: one for this node, and one for each that may count an event at the
// same time. A node that can't report always does.
func (c *counter) weight(s settings) int { return 1 + len(c.others) + s.unreachable }

// spend takes n tokens even if there are fewer.
func (c *counter) spend(s settings, n int, now time.Duration) (report bool) {
	c.bucket.Spend(s.limit, n*c.weight(s), now)
	c.taken += uint64(n)
	c.pending = addSaturating(c.pending, n)
	if s.nodes <= 1 {
		c.pending = 0
		return false
	}
	parts := shareDivisor * s.nodes
	near := c.share.Wait(s.limit, 1, now) > 0
	if !near {
		c.share.Spend(s.limit, n*parts, now)
		near = c.share.Wait(s.limit, 1, now) > 0
	}
	if !near && len(c.others) == 0 {
		// What the share has replaced is not reported later.
		c.pending = min(c.pending, uint32(c.share.Used(s.limit, now)/parts)+1)
		return false
	}
	report = !c.dirty
	c.dirty = true
	return report
}

// shareDivisor is the part of its equal share of a limit that a node does not
// report: half.
const shareDivisor = 2

func addSaturating(a uint32, n int) uint32 { return uint32(min(uint64(a)+uint64(n), 1<<31)) }

// giveBack undoes a take of n, because another limit has refused the event.
func (c *counter) giveBack(s settings, n int) {
	c.bucket.Return(s.limit, n*c.weight(s))
	c.taken -= min(c.taken, uint64(n))
	c.pending -= min(c.pending, uint32(n))
}

// receive counts what another node has taken.
func (c *counter) receive(s settings, node string, taken int, now time.Duration) {
	c.expireLocked(s, now)
	for i := range c.others {
		if u := &c.others[i]; u.node == node {
			c.settle(s, u)
			u.last, u.since = now, c.taken
			c.bucket.Spend(s.limit, taken, now)
			return
		}
	}
	c.others = append(c.others, usage{node, now, c.taken})
	c.bucket.Spend(s.limit, taken, now)
}

// settle gives back what was taken in case that node took as much as this one.
func (c *counter) settle(s settings, u *usage) {
	if c.taken > u.since {
		c.bucket.Return(s.limit, int(c.taken-u.since))
	}
}

// expireLocked forgets nodes that no longer report the key.
func (c *counter) expireLocked(s settings, now time.Duration) {
	kept := c.others[:0]
	for i := range c.others {
		if u := &c.others[i]; now-u.last < activeTime {
			kept = append(kept, *u)
		} else {
			c.settle(s, u)
		}
	}
	clear(c.others[len(kept):])
	if c.others = kept; len(kept) == 0 {
		c.others = nil
	}
}

// isIdle reports whether a new counter would behave the same.
func (c *counter) isIdle(now time.Duration) bool {
	return !c.dirty && c.bucket.IsFull(now) && c.share.IsFull(now) && (len(c.others) == 0 || c.others[0].last+activeTime < now)
}
