package main

import (
	"context"
	"strings"
	"sync"
	"time"
)

// crew has so many attackers each do one thing, and do it again when it is
// over, until ctx ends; begun anew once in pause at the most. An error of
// theirs, as when they are sent away, is an outcome like others.
func crew(ctx context.Context, t *tally, n int, pause time.Duration, do func(ctx context.Context, i int) error) error {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				if err := do(ctx, i); err != nil && ctx.Err() == nil {
					t.tell(outcomeOfAttack(err))
				}
				rest(ctx, pause-time.Since(begun))
			}
		})
	}
	all.Wait()
	return nil
}

// outcomeOfAttack is an error in few words.
func outcomeOfAttack(err error) string {
	text := err.Error()
	for _, words := range []string{"connection refused", "reset by peer", "broken pipe", "EOF", "timeout", "use of closed", "i/o timeout", "deadline"} {
		if strings.Contains(text, words) {
			return words
		}
	}
	return text[:min(len(text), 60)]
}

// every does something so many times a second until ctx ends or it fails.
func every(ctx context.Context, perSecond int, do func() error) error {
	ticks := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
		if err := do(); err != nil {
			return err
		}
	}
}
