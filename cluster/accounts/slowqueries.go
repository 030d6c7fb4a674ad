package accounts

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// maxQueryTime limits the time of a query. It is longer than logins wait,
	// because some directories answer a wrong password late on purpose: what is
	// learned then answers the next login.
	maxQueryTime = 15 * time.Second
	// slowAfter is when a query counts as slow.
	slowAfter = time.Second
	// maxSlow limits the slow queries to a source, so that they leave room for
	// others.
	maxSlow = maxInFlight / 2
)

// slowQueries limits how many of a source's queries are slow: of more, the
// oldest ends. Any goroutine may use it.
type slowQueries struct {
	mu      sync.Mutex
	queries []*timedQuery // the oldest first
}

// timedQuery is a query that may be slow.
type timedQuery struct {
	end   context.CancelCauseFunc
	ended bool // with the query, or because others need the room
}

// errTooManySlow is the cause of the end of a slow query.
var errTooManySlow = errors.New("it took long, and so did too many others")

// limit returns the context of a query that begins now. done is called when the
// query has ended.
func (s *slowQueries) limit(ctx context.Context) (limited context.Context, done func()) {
	ctx, cancel := context.WithTimeout(ctx, maxQueryTime)
	q := &timedQuery{}
	ctx, q.end = context.WithCancelCause(ctx)
	slow := time.AfterFunc(slowAfter, func() { s.add(q) })
	return ctx, func() {
		slow.Stop()
		s.remove(q)
		q.end(nil)
		cancel()
	}
}

func (s *slowQueries) add(q *timedQuery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.ended {
		return
	}
	if len(s.queries) >= maxSlow {
		oldest := s.queries[0]
		s.queries, oldest.ended = s.queries[1:], true
		oldest.end(errTooManySlow)
	}
	s.queries = append(s.queries, q)
}

func (s *slowQueries) remove(q *timedQuery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.ended = true
	if i := slices.Index(s.queries, q); i >= 0 {
		s.queries = slices.Delete(s.queries, i, i+1)
	}
}
