// Package histogram counts durations in buckets, for metrics. Any number of
// goroutines may add to one without a lock; each observation costs two atomic
// additions. It keeps no single observation and knows no metric by name.
package histogram

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

// Durations is a histogram of durations. The zero Durations is empty and ready
// for use. All methods may be called from any goroutine.
type Durations struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// ObserveSince observes the time since begun.
func (d *Durations) ObserveSince(begun time.Time) { d.Observe(time.Since(begun)) }

// Observe adds one duration to the histogram.
func (d *Durations) Observe(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.buckets[i].Add(1)
	d.sum.Add(int64(took))
}

// Snapshot returns the number of observations, their sum in seconds, and for
// each bound, in seconds, the number of observations that were no longer. A
// duration that is observed meanwhile may be in some of these numbers and not
// in others.
func (d *Durations) Snapshot() (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds))
	for i := range d.buckets {
		count += d.buckets[i].Load()
		if i < len(bounds) {
			upTo[bounds[i].Seconds()] = count
		}
	}
	return count, time.Duration(d.sum.Load()).Seconds(), upTo
}
