package server

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// What a change counts for, in 64ths of a token of Limits.Changes: contacts and
// rules for messages are told to nobody, and their lists are long.
const (
	tokenParts     = 64
	presenceChange = tokenParts
	listChange     = 1
)

// maxChangeWait is how long a change waits for its token. Requests are answered
// within 10 s (SIMP.md, section 3).
const maxChangeWait = 5 * time.Second

// domainWatches is how many watches of a remote domain count as one: it speaks
// for many users.
const domainWatches = 10

// awaitChange returns once the user may make a change that counts for parts, and
// whether that took a wait; 429 if it would take too long. It must not be called
// by the event loop.
func (s *session) awaitChange(ctx context.Context, parts int) (waited bool, err error) {
	wait := s.reserve(s.server.parties.limits.Load().Changes.Divide(tokenParts), parts, maxChangeWait, (*party).changeBucket)
	switch {
	case wait > maxChangeWait:
		return false, tooFrequent("changes", wait)
	case wait > 0:
		return true, sleep(ctx, wait)
	}
	return false, nil
}

// chargeChange counts a change that is made whatever the limit, as what it ends
// can't wait.
func (s *session) chargeChange(parts int) {
	p := s.server.parties.acquire(s)
	defer s.server.parties.drop(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes.Spend(s.server.parties.limits.Load().Changes.Divide(tokenParts), parts, time.Since(s.server.parties.start))
}

// takeWatches counts addresses that are asked about, and what the answer to r
// will take; 429 if that is too much.
func (s *session) takeWatches(r *request, w *protocol.WatchRequest) error {
	n := pairsOf(w)
	if w.Contacts {
		n += len(s.user.Contacts())
	}
	limit := s.server.parties.limits.Load().Watches
	if s.client.Domain != "" {
		limit = limit.Divide(domainWatches)
	}
	if wait := s.reserve(limit, n, 0, (*party).watchBucket); wait > 0 {
		return tooFrequent("watches", wait)
	}
	if !s.ledger.extend(r, n*pairCost) {
		return tooMany
	}
	return nil
}

// pairCost is about how many octets presence of one pair of watcher and watched
// takes until it is answered, and the line that answers it.
const pairCost = 384

func (p *party) changeBucket() *rate.Bucket { return &p.changes }
func (p *party) watchBucket() *rate.Bucket  { return &p.watches }

// reserve takes n tokens of one of the user's buckets if they are there within
// most, and returns how long that takes. If it takes longer none is taken. More
// than a burst is taken when the bucket is full.
func (s *session) reserve(l rate.Limit, n int, most time.Duration, bucket func(*party) *rate.Bucket) time.Duration {
	if l.IsUnlimited() {
		return 0
	}
	p := s.server.parties.acquire(s)
	defer s.server.parties.drop(p)
	now := time.Since(s.server.parties.start)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bucket(p)
	wait := b.Wait(l, n, now)
	if wait <= most {
		b.Spend(l, n, now)
	}
	return wait
}

func tooFrequent(what string, wait time.Duration) error {
	e := protocol.Errorf(protocol.StatusSlowDown, "too many %s in a short time", what)
	e.Retry = int(wait/time.Second) + 1
	return e
}

// sleep waits for d, or returns why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return protocol.Errorf(protocol.StatusUnavailable, "the change was not made in time")
	}
}
