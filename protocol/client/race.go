package client

import (
	"context"
	"io"
	"sync"
	"time"
)

// result is what became of one runner of a race.
type result[T any] struct {
	of  T
	err error
}

// race runs an attempt for each of the runners, of which there is at least
// one: each a head start after the one before it, or at once when that has
// failed (RFC 8305, section 5). It returns the first success, and closes those
// that come later; or the last failure. Its goroutines are counted in running.
func race[R any, T io.Closer](ctx context.Context, running *sync.WaitGroup, headStart time.Duration, runners []R, attempt func(R, context.Context) (T, error)) (won T, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result[T], len(runners))
	begun, ended := 0, 0
	begin := func() {
		if begun < len(runners) {
			runner := runners[begun]
			begun++
			running.Go(func() {
				of, err := attempt(runner, ctx)
				results <- result[T]{of, err}
			})
		}
	}
	next := time.NewTicker(headStart)
	defer next.Stop()
	for begin(); ended < len(runners); {
		select {
		case <-next.C:
			begin()
		case r := <-results:
			if ended++; r.err == nil {
				running.Go(func() { closeLate(results, begun-ended) })
				return r.of, nil
			}
			if err = r.err; ctx.Err() == nil {
				begin()
			}
		case <-ctx.Done():
			running.Go(func() { closeLate(results, begun-ended) })
			return won, ctx.Err()
		}
	}
	return won, err
}

// closeLate closes what comes too late.
func closeLate[T io.Closer](results <-chan result[T], left int) {
	for range left {
		if r := <-results; r.err == nil {
			_ = r.of.Close()
		}
	}
}
