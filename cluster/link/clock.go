package link

import (
	"sync/atomic"
	"time"
)

// clock counts microseconds since the link was opened, paused or not.
type clock struct{ born time.Time }

func (c clock) at(t time.Time) int64 { return t.Sub(c.born).Microseconds() }

func (c clock) now() int64 { return c.at(time.Now()) }

// when is the time at which the clock shows us.
func (c clock) when(us int64) time.Time { return c.born.Add(time.Duration(us) * time.Microsecond) }

// farClock is what is known of another node's clock: how far it is ahead of
// this node's, at least. A pong shows it as it was some time ago; by the time
// the pong is read it shows more. The best of the last few pongs counts, so
// that neither a slow one nor clocks that run unevenly do harm.
//
// Deadlines that are said in the other's clock with it come too early by the
// time that the quickest of these pongs took to come back, and never too late:
// also where a node, a socket or the network stood still.
type farClock struct {
	bounds [8]int64
	count  int
	ahead  atomic.Int64
}

// heard takes the reading of a pong that was read when this clock showed now.
// It is called by one goroutine.
func (f *farClock) heard(far, now int64) {
	f.bounds[f.count%len(f.bounds)] = far - now
	f.count++
	best := f.bounds[0]
	for _, b := range f.bounds[1:min(f.count, len(f.bounds))] {
		best = max(best, b)
	}
	f.ahead.Store(best)
}

// there is what the other clock shows when this one shows us: that or more.
func (f *farClock) there(us int64) int64 { return us + f.ahead.Load() }
