package router

import (
	"maps"
	"time"

	"simpd/protocol/rate"
)

// Limits of what is remembered of failed logins.
const (
	maxBuckets    = 1 << 16 // of each kind; some 40 octets each
	evictSample   = 16
	failureMemory = time.Minute // how long a failure is remembered at least
	purgeInterval = time.Minute
)

// buckets holds token buckets by the hash of the key that they limit. When it
// is full, it evicts the bucket with the most tokens of a small sample, so a
// key above its limit stays limited. The owner's lock guards it.
type buckets struct {
	limit  rate.Limit
	byKey  map[uint64]bucket
	purged time.Duration
}

// bucket is a token bucket with the time of the last withdrawal.
type bucket struct {
	rate.Bucket
	last time.Duration
}

// wait returns how long it takes until key has a token, 0 if it has one now.
func (b *buckets) wait(key uint64, now time.Duration) time.Duration {
	one := b.byKey[key]
	return one.Wait(b.limit, 1, now)
}

// sinceLast returns the time since the last withdrawal from key, and false if
// that was failureMemory ago or longer.
func (b *buckets) sinceLast(key uint64, now time.Duration) (time.Duration, bool) {
	one, ok := b.byKey[key]
	ago := now - one.last
	return ago, ok && ago < failureMemory
}

// spend withdraws tokens from key. The debt is at most what failureMemory
// brings in.
func (b *buckets) spend(key uint64, times int, now time.Duration) {
	b.purge(now)
	one, ok := b.byKey[key]
	if !ok && len(b.byKey) >= maxBuckets {
		b.evict(now)
	}
	if b.byKey == nil {
		b.byKey = make(map[uint64]bucket)
	}
	for range min(times, maxFailuresAtOnce) {
		if one.Wait(b.limit, 1, now) < failureMemory {
			one.Spend(b.limit, 1, now)
		}
	}
	one.last = now
	b.byKey[key] = one
}

// maxFailuresAtOnce limits how many failures one report of another node
// counts.
const maxFailuresAtOnce = 1000

// evict removes a bucket of a sample: one that has settled, or else the one
// with the most tokens.
func (b *buckets) evict(now time.Duration) {
	var fullest uint64
	least, seen := time.Duration(-1), 0
	for key, one := range b.byKey {
		owes := one.Wait(b.limit, maxFailuresAtOnce, now)
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
	delete(b.byKey, fullest)
}

// purge removes the settled buckets, at most once per purgeInterval.
func (b *buckets) purge(now time.Duration) {
	if now-b.purged < purgeInterval {
		return
	}
	b.purged = now
	maps.DeleteFunc(b.byKey, func(_ uint64, one bucket) bool { return b.hasSettled(one, now) })
	if len(b.byKey) == 0 {
		b.byKey = nil // which gives its memory back
	}
}

// hasSettled reports whether one is full and has not been used lately, so
// that a new bucket would behave the same.
func (b *buckets) hasSettled(one bucket, now time.Duration) bool {
	return one.IsFull(now) && now-one.last >= failureMemory
}
