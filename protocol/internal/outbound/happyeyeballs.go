package outbound

import (
	"context"
	"io"
	"sync"
	"time"
)

// raceResult is the result of one attempt.
type raceResult[T any] struct {
	of  T
	err error
}

// dialHappyEyeballs makes an attempt for each of the runners, of which there
// is at least one: each headStart after the previous one, or when that has
// failed (RFC 8305, section 5). It returns the first success and closes later
// ones, or returns the last error. It counts its goroutines in running.
func dialHappyEyeballs[R any, T io.Closer](ctx context.Context, running *sync.WaitGroup, headStart time.Duration, runners []R, attempt func(R, context.Context) (T, error)) (won T, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan raceResult[T], len(runners))
	begun, ended := 0, 0
	begin := func() {
		if begun < len(runners) {
			runner := runners[begun]
			begun++
			running.Go(func() {
				of, err := attempt(runner, ctx)
				results <- raceResult[T]{of, err}
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

// closeLate closes connections that were established after the first.
func closeLate[T io.Closer](results <-chan raceResult[T], left int) {
	for range left {
		if r := <-results; r.err == nil {
			_ = r.of.Close()
		}
	}
}
