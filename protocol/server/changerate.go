package server

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
	"simpd/protocol/wait"
)

// changeKind is a kind of changes, with a bucket of its own.
type changeKind int

const (
	presenceChange changeKind = iota
	// listChange is a change of contacts, keys, or rules for messages. Nobody is
	// notified, and the lists are long: 64 of them may be made at once for each
	// presence change. But each costs every node an entry of the log, and whoever
	// writes a list does so once: only 16 come in the time of a presence change.
	listChange
)

const (
	listBurst = 64
	listRate  = 16
)

// limit returns the limit of changes of this kind, given that of all changes.
func (k changeKind) limit(all rate.Limit) rate.Limit {
	if k == listChange {
		return all.Divide(listRate).ScaleBurst(listBurst / listRate)
	}
	return all
}

func (k changeKind) bucket(p *tenant) *rate.Bucket {
	if k == listChange {
		return &p.lists
	}
	return &p.changes
}

// maxChangeWait is how long a change waits for its token. Requests are
// answered within 10 s (SIMP.md, section 3).
const maxChangeWait = 5 * time.Second

// awaitChange waits until the user may make a change of this kind, and reports
// whether it waited. The error is 429 if that would take too long.
// The event loop must not call it.
func (s *session) awaitChange(ctx context.Context, kind changeKind) (waited bool, err error) {
	delay := s.reserveTokens(kind.limit(s.server.tenants.limits.Load().Changes), 1, maxChangeWait, kind.bucket)
	switch {
	case delay > maxChangeWait:
		return false, rateError("changes", delay)
	case delay > 0 && !wait.Sleep(ctx, delay):
		return true, protocol.Errorf(protocol.StatusUnavailable, "the change was not made in time")
	}
	return delay > 0, nil
}

// chargeChange counts a change that is made whatever the limit, because
// ending something can't wait.
func (s *session) chargeChange(kind changeKind) {
	p := s.server.tenants.acquire(s)
	defer s.server.tenants.release(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	kind.bucket(p).Spend(kind.limit(s.server.tenants.limits.Load().Changes), 1, time.Since(s.server.tenants.start))
}

// chargeWatches counts the requested addresses and the memory of the
// response; the error is 429 if that is too much.
func (s *session) chargeWatches(r *request, w *protocol.WatchRequest) error {
	n := pairCount(w)
	if w.Contacts {
		contacts, _ := s.user.Contacts()
		n += len(contacts)
	}
	if wait := s.user.TakeWatches(w.By, n); wait > 0 {
		return rateError("watches", wait)
	}
	if !s.inflight.extend(r, n*pairCost) {
		return errTooMuchUnanswered
	}
	return nil
}

// pairCost estimates the octets that one pair of watcher and watched takes
// until it is answered, with its line of the response.
const pairCost = 384

// reserveTokens takes n tokens of one of the tenant's buckets if they are
// available within most, and returns how long that takes. If it takes longer,
// none is taken. More than a burst is taken when the bucket is full.
func (s *session) reserveTokens(l rate.Limit, n int, most time.Duration, bucket func(*tenant) *rate.Bucket) time.Duration {
	if l.IsUnlimited() {
		return 0
	}
	p := s.server.tenants.acquire(s)
	defer s.server.tenants.release(p)
	now := time.Since(s.server.tenants.start)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bucket(p)
	wait := b.Wait(l, n, now)
	if wait <= most {
		b.Spend(l, n, now)
	}
	return wait
}

// retrySeconds returns a time to wait in whole seconds, at least one.
func retrySeconds(wait time.Duration) int { return max(1, int((wait+time.Second-1)/time.Second)) }

func rateError(what string, wait time.Duration) error {
	e := protocol.Errorf(protocol.StatusSlowDown, "too many %s in a short time", what)
	e.Retry = retrySeconds(wait)
	return e
}
