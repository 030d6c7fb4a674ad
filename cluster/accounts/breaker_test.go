package accounts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A failing server is left alone for longer and longer, and tried by one query
// at a time.
func TestBreaker(t *testing.T) {
	var b Breaker
	now := time.Now()
	for _, pause := range []time.Duration{minBackoff, 2 * minBackoff, 4 * minBackoff, 8 * minBackoff, 16 * minBackoff, maxBackoff, maxBackoff} {
		if ok, _ := b.Allow(now); !ok {
			t.Fatal("it is not tried")
		}
		b.Done(true, now)
		if ok, retry := b.Allow(now); ok || retry != pause || !b.IsOpen() {
			t.Errorf("it may be asked (%v) in %v, want %v", ok, retry, pause)
		}
		b.Done(true, now) // of a query that began before
		now = now.Add(pause)
	}
	first, _ := b.Allow(now)
	second, _ := b.Allow(now)
	b.Done(false, now)
	if third, _ := b.Allow(now); !first || second || !third || b.IsOpen() {
		t.Errorf("tried %v, beside that %v; after a success %v", first, second, third)
	}
}

func TestBreakerTolerance(t *testing.T) {
	b := Breaker{Tolerance: 2}
	now := time.Now()
	for i := range 3 {
		if ok, _ := b.Allow(now); !ok {
			t.Errorf("after %d failures it may not be asked", i)
		}
		b.Done(true, now)
	}
	if ok, retry := b.Allow(now); ok || retry != minBackoff {
		t.Errorf("after 3 failures: %v, in %v", ok, retry)
	}
}

// A query that was given up, or had too little time, says nothing about the
// server: it neither counts as a failure nor ends one.
func TestBreakerAbandonsQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, failing := range []bool{false, true} {
			var b Breaker
			if failing {
				b.Done(true, time.Now())
				time.Sleep(minBackoff)
			}
			hasty, end := context.WithTimeout(t.Context(), FairTime/2)
			defer end()
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			for what, ctx := range map[string]context.Context{"a hasty query": hasty, "one that was cancelled": cancelled} {
				ok, _ := b.Allow(time.Now())
				began := time.Now()
				<-ctx.Done()
				if b.Record(ctx, began, FairTime, true) || !ok || b.IsOpen() != failing {
					t.Errorf("%s: allowed %v, failing %v, want %v", what, ok, b.IsOpen(), failing)
				}
			}
			b.Done(false, time.Now())
			patient, end := context.WithTimeout(t.Context(), FairTime)
			defer end()
			began := time.Now()
			<-patient.Done()
			if !b.Record(patient, began, FairTime, true) || !b.IsOpen() {
				t.Error("silence for a fair time is no failure")
			}
		}
	})
}
