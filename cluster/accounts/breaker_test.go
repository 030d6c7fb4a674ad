package accounts

import (
	"testing"
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
