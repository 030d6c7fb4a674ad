package router

import (
	"maps"
	"time"

	"simpd/protocol/rate"
)

// Limits of what is remembered of failed logins.
const (
	maxBuckets   = 1 << 16 // of each kind; some 40 octets each
	evictSample  = 16
	failureTime  = time.Minute // how long a failure is remembered at least
	purgeBuckets = time.Minute
)

// buckets are token buckets by a hash of what they stand for. Where there is
// no room for another one, the fullest of a sample makes room for it: what is
// above its limit stays. The owner's lock guards them.
type buckets struct {
	limit  rate.Limit
	of     map[uint64]bucket
	purged time.Duration
}

// bucket is a token bucket and when something was last taken from it.
type bucket struct {
	rate.Bucket
	last time.Duration
}

// wait returns how long it takes until key has a token; 0: it has one.
func (b *buckets) wait(key uint64, now time.Duration) time.Duration {
	one := b.of[key]
	return one.Wait(b.limit, 1, now)
}

// sinceLast returns how long ago something was taken from key, and false if
// that was failureTime ago or more.
func (b *buckets) sinceLast(key uint64, now time.Duration) (time.Duration, bool) {
	one, ok := b.of[key]
	ago := now - one.last
	return ago, ok && ago < failureTime
}

// spend takes tokens from key. It comes to owe at most what failureTime brings.
func (b *buckets) spend(key uint64, times int, now time.Duration) {
	b.purge(now)
	one, ok := b.of[key]
	if !ok && len(b.of) >= maxBuckets {
		b.evict(now)
	}
	if b.of == nil {
		b.of = make(map[uint64]bucket)
	}
	for range min(times, maxTimes) {
		if one.Wait(b.limit, 1, now) < failureTime {
			one.Spend(b.limit, 1, now)
		}
	}
	one.last = now
	b.of[key] = one
}

// maxTimes bounds how many failures another node can tell of at once.
const maxTimes = 1000

// evict removes one that has nothing to tell any more, or else the fullest.
func (b *buckets) evict(now time.Duration) {
	var fullest uint64
	least, seen := time.Duration(-1), 0
	for key, one := range b.of {
		owes := one.Wait(b.limit, maxTimes, now)
		if b.hasSettled(one, now) {
			owes = 0
		}
		if least < 0 || owes < least {
			fullest, least = key, owes
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(b.of, fullest)
}

// purge removes, once in a while, all that have nothing to tell any more.
func (b *buckets) purge(now time.Duration) {
	if now-b.purged < purgeBuckets {
		return
	}
	b.purged = now
	maps.DeleteFunc(b.of, func(_ uint64, one bucket) bool { return b.hasSettled(one, now) })
	if len(b.of) == 0 {
		b.of = nil // which gives its memory back
	}
}

// hasSettled reports whether one has nothing to tell any more.
func (b *buckets) hasSettled(one bucket, now time.Duration) bool {
	return one.IsFull(now) && now-one.last >= failureTime
}
