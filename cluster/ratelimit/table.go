package ratelimit

import (
	"maps"
	"sync"
	"time"
)

// What is remembered, for each kind of limit: some 200 octets for a key.
const (
	shards        = 8
	maxCounters   = 1 << 16 / shards // of a shard
	evictSample   = 16
	purgeInterval = time.Minute
)

// table holds the counters of one kind. When a part of it is full, it evicts
// the counter with the most tokens of a small sample, so a key above its limit
// stays limited, and a new one always finds room.
type table [shards]shard

type shard struct {
	mu     sync.Mutex
	byKey  map[Key]*counter
	purged time.Duration
}

func (t *table) shardOf(k Key) *shard { return &t[k[0]%shards] }

// get returns the counter of a key.
func (t *table) get(kind Kind, k Key, now time.Duration) *counter {
	s := t.shardOf(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byKey[k]
	if c != nil {
		return c
	}
	s.purgeLocked(now)
	if len(s.byKey) >= maxCounters {
		s.evictLocked(now)
	}
	if s.byKey == nil {
		s.byKey = make(map[Key]*counter)
	}
	c = &counter{kind: kind, key: k}
	s.byKey[k] = c
	return c
}

// purgeLocked removes the idle counters, at most once per purgeInterval.
func (s *shard) purgeLocked(now time.Duration) {
	if now-s.purged < purgeInterval {
		return
	}
	s.purged = now
	maps.DeleteFunc(s.byKey, func(_ Key, c *counter) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.evicted = c.isIdle(now)
		return c.evicted
	})
	if len(s.byKey) == 0 {
		s.byKey = nil // which gives its memory back
	}
}

// evictLocked removes an idle counter of a sample, or else the one that has
// the most tokens.
func (s *shard) evictLocked(now time.Duration) {
	var fullest *counter
	least, seen := time.Duration(0), 0
	for _, c := range s.byKey {
		owes := c.owes(now)
		if fullest == nil || owes < least {
			fullest, least = c, owes
		}
		if seen++; seen == evictSample {
			break
		}
	}
	fullest.mu.Lock()
	fullest.evicted = true
	fullest.mu.Unlock()
	delete(s.byKey, fullest.key)
}

// owes returns how long the counter's bucket takes until it is full.
func (c *counter) owes(now time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bucket.FullIn(now)
}

func (t *table) len() (n int) {
	for i := range t {
		s := &t[i]
		s.mu.Lock()
		n += len(s.byKey)
		s.mu.Unlock()
	}
	return n
}

// each calls f for each counter.
func (t *table) each(f func(*counter)) {
	for i := range t {
		s := &t[i]
		s.mu.Lock()
		for _, c := range s.byKey {
			c.mu.Lock()
			f(c)
			c.mu.Unlock()
		}
		s.mu.Unlock()
	}
}
