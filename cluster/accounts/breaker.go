package accounts

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The time for which a failing server is left alone grows from the first to
// the second.
const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Breaker keeps queries away from a server that fails: after a failure for a
// while, which doubles with each further one. Then one query at a time tries
// it, until one succeeds. The zero Breaker lets all pass. Any goroutine may use
// it.
type Breaker struct {
	// Tolerance limits the failures in a row that are tolerated.
	Tolerance int

	mu       sync.Mutex
	failures int
	until    time.Time
	trying   bool
}

// Allow reports whether the server may be asked now; otherwise it returns when
// to come back. Every Allow that returns true is followed by Done or Abandon.
func (b *Breaker) Allow(now time.Time) (ok bool, retry time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures <= b.Tolerance:
		return true, 0
	case now.Before(b.until):
		return false, b.until.Sub(now)
	case b.trying:
		return false, minBackoff
	}
	b.trying = true
	return true, 0
}

// Done records what became of a query.
func (b *Breaker) Done(failed bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
	switch {
	case !failed:
		b.failures = 0
		return
	case b.failures > b.Tolerance && now.Before(b.until):
		return // it was asked before the failure that is known already
	}
	if b.failures++; b.failures > b.Tolerance {
		b.until = now.Add(min(minBackoff<<min(b.failures-b.Tolerance-1, 10), maxBackoff))
	}
}

// Abandon records that a query has ended that says nothing about the server.
func (b *Breaker) Abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// FairTime is how long a server that answers alone must have had before its
// silence counts as a failure.
const FairTime = time.Second

// Record records the end of a query that began then. If its context ended before
// the server had had a fair time, or because nobody wants the answer any more,
// the query says nothing about the server. Record reports whether it has failed.
func (b *Breaker) Record(ctx context.Context, began time.Time, fair time.Duration, failed bool) bool {
	now := time.Now()
	if failed && (errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil && now.Sub(began) < fair) {
		b.Abandon()
		return false
	}
	b.Done(failed, now)
	return failed
}

// IsOpen reports whether the server is left alone, or only tried.
func (b *Breaker) IsOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures > b.Tolerance
}
