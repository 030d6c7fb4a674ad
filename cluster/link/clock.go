package link

import (
	"sync/atomic"
	"time"
)

// clock counts microseconds since the link was opened, including pauses of
// the process.
type clock struct{ start time.Time }

func (c clock) toMicros(t time.Time) int64 { return t.Sub(c.start).Microseconds() }

func (c clock) now() int64 { return c.toMicros(time.Now()) }

// toTime returns the time at which the clock shows us.
func (c clock) toTime(us int64) time.Time { return c.start.Add(time.Duration(us) * time.Microsecond) }

// clockOffset is a lower bound of how far another node's clock is ahead of
// this node's. A pong carries the other clock's reading at the time when it
// was sent; when the pong is read, the other clock shows more. The best of
// the last few pongs counts, so that neither a slow pong nor unequal clock
// rates matter.
//
// A deadline converted with it is too early by the time that the fastest of
// these pongs took, and never too late, even if a node, a socket or the
// network was stalled.
type clockOffset struct {
	bounds [8]int64
	count  int
	offset atomic.Int64
}

// observe records the reading of a pong that was read when this clock showed
// now. One goroutine calls it.
func (f *clockOffset) observe(far, now int64) {
	f.bounds[f.count%len(f.bounds)] = far - now
	f.count++
	best := f.bounds[0]
	for _, b := range f.bounds[1:min(f.count, len(f.bounds))] {
		best = max(best, b)
	}
	f.offset.Store(best)
}

// toRemote converts a time of this clock to the other's: it shows that or
// more.
func (f *clockOffset) toRemote(us int64) int64 { return us + f.offset.Load() }
