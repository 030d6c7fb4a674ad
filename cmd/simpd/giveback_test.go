package main

import "testing"

// Memory is returned once a burst is over, and not again before there is
// something to return.
func TestMemoryIsReturnedAfterABurst(t *testing.T) {
	const mib = 1 << 20
	var r returner
	for i, step := range []struct {
		now  heap
		want bool
	}{
		{heap{allocated: 200 * mib, live: 40 * mib, held: 80 * mib}, false}, // it is not quiet
		{heap{allocated: 300 * mib, live: 50 * mib, held: 90 * mib}, false},
		{heap{allocated: 300*mib + 1000, live: 50 * mib, held: 90 * mib}, true},
		{heap{allocated: 301 * mib, live: 50 * mib, held: 51 * mib}, false}, // it was just done
		{heap{allocated: 305 * mib, live: 50 * mib, held: 55 * mib}, false}, // a little garbage
		{heap{allocated: 316 * mib, live: 50 * mib, held: 66 * mib}, false}, // not quiet
		{heap{allocated: 316 * mib, live: 50 * mib, held: 66 * mib}, true},
	} {
		got := r.due(step.now)
		if got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
		if got {
			step.now.held = step.now.live
			r.returned(step.now)
		}
	}
}

func TestHeapNow(t *testing.T) {
	if h := heapNow(); h.allocated == 0 || h.held == 0 {
		t.Errorf("the runtime tells nothing: %+v", h)
	}
}
