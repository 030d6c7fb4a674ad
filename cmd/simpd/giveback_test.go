package main

import (
	"testing"
	"time"
)

// Memory is returned once a burst is over, and not again before there is
// something to return.
func TestMemoryIsReturnedAfterABurst(t *testing.T) {
	const mib = 1 << 20
	var r returner
	now := time.Now()
	for i, step := range []struct {
		now  heap
		want bool
	}{
		{heap{allocated: 200 * mib, live: 40 * mib, held: 80 * mib}, false}, // it is not quiet
		{heap{allocated: 300 * mib, live: 50 * mib, held: 90 * mib}, false},
		{heap{allocated: 300*mib + 1000, live: 50 * mib, held: 90 * mib}, true},
		{heap{allocated: 301 * mib, live: 50 * mib, held: 90 * mib}, false}, // there was no burst since
		{heap{allocated: 340 * mib, live: 50 * mib, held: 90 * mib}, false},
		{heap{allocated: 340 * mib, live: 50 * mib, held: 55 * mib}, false}, // a little garbage
		{heap{allocated: 340 * mib, live: 50 * mib, held: 66 * mib}, true},
		{heap{allocated: 340 * mib, live: 50 * mib, held: 99 * mib}, false}, // what came together without a burst
		{heap{allocated: 340 * mib, live: 50 * mib, held: 101 * mib}, true},
		{heap{allocated: 340 * mib, live: 5 * mib, held: 20 * mib}, false},
		{heap{allocated: 340 * mib, live: 5 * mib, held: 22 * mib}, true},
		{heap{allocated: 343 * mib, live: 12 * mib, held: 28 * mib}, false}, // a little steady work
		{heap{allocated: 346 * mib, live: 12 * mib, held: 31 * mib}, true},
		{heap{allocated: 350 * mib, live: 12 * mib, held: 31 * mib}, false}, // more work than that
		{heap{allocated: 353 * mib, live: 12 * mib, held: 20 * mib}, false}, // it is not quiet after the burst
	} {
		now = now.Add(time.Second)
		got := r.isDue(step.now, now)
		if got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
		if got {
			r.noteReturned(step.now, now, time.Millisecond)
		}
	}
}

// However often there are bursts, little time is spent on them.
func TestMemoryIsReturnedNowAndThen(t *testing.T) {
	var r returner
	now, count := time.Now(), 0
	h := heap{live: 50 << 20, held: 100 << 20}
	for i := range 1000 {
		now = now.Add(time.Second)
		h.allocated += uint64(i%2) << 30
		if r.isDue(h, now) {
			r.noteReturned(h, now, time.Second)
			count++
		}
	}
	if count < 2 || count > 50 {
		t.Errorf("%d times in 1000 s, at a second each", count)
	}
}

func TestHeapNow(t *testing.T) {
	if h := heapNow(); h.allocated == 0 || h.held == 0 {
		t.Errorf("the runtime tells nothing: %+v", h)
	}
}
