// Package meter keeps how long things took, for metrics: in buckets that any
// number of goroutines add to without a lock, at the cost of two atomic
// additions. It keeps no single observation and knows no metric by name.
package meter

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the buckets; there is one more above them.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Durations counts how long something took. Its zero is ready for use; all
// methods may be called from any goroutine.
type Durations struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// Since adds the time since begun.
func (d *Durations) Since(begun time.Time) { d.Add(time.Since(begun)) }

// Add adds one duration.
func (d *Durations) Add(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.buckets[i].Add(1)
	d.sum.Add(int64(took))
}

// Read returns how many there were, their sum in seconds, and how many were no
// longer than each bound, in seconds. What is added meanwhile may be in some
// of these numbers and not in others.
func (d *Durations) Read() (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds))
	for i := range d.buckets {
		count += d.buckets[i].Load()
		if i < len(bounds) {
			upTo[bounds[i].Seconds()] = count
		}
	}
	return count, time.Duration(d.sum.Load()).Seconds(), upTo
}
