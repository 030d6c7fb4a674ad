package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestGarbagePercent(t *testing.T) {
	for _, c := range []struct {
		inUse uint64
		want  int
	}{
		{0, 800}, {4 << 20, 800}, {16 << 20, 200}, {32 << 20, 100}, {4 << 30, 100},
	} {
		if got := garbagePercent(c.inUse); got != c.want {
			t.Errorf("with %d octets in use: %d %%, want %d", c.inUse, got, c.want)
		}
	}
}

// The percentage is set anew with each collection, until stop.
func TestCollectorIsEased(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	c := easeCollector()
	checkGarbage(t)
	if now := debug.SetGCPercent(50); now < usualPercent {
		t.Errorf("at the start it is %d %%", now)
	}
	for debug.SetGCPercent(50) == 50 {
		runtime.GC() // the cleanup runs some time after it
	}
	c.stop()
	if now := debug.SetGCPercent(50); now != usualPercent {
		t.Errorf("it is %d %% after stop", now)
	}
	for range 2 {
		awaitCleanup()
	}
	if now := debug.SetGCPercent(usualPercent); now != 50 {
		t.Errorf("it is set to %d %% after stop", now)
	}
}

// checkGarbage looks at what the runtime makes of the percentage.
func checkGarbage(t *testing.T) {
	t.Helper()
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(s)
	used := inUse()
	if goal := s[0].Value.Uint64(); goal > max(2*used, used+allowedGarbage+leastInUse) {
		t.Errorf("with %d octets in use the heap may grow to %d", used, goal)
	}
}

// awaitCleanup returns once what a collection found has been cleaned up.
func awaitCleanup() {
	done := make(chan struct{})
	runtime.AddCleanup(new(cycle), func(done chan struct{}) { close(done) }, done)
	for {
		runtime.GC()
		select {
		case <-done:
			return
		default:
			runtime.Gosched()
		}
	}
}

func TestCollectorLeavesGOGCAlone(t *testing.T) {
	t.Setenv("GOGC", "70")
	defer debug.SetGCPercent(debug.SetGCPercent(70))
	easeCollector().stop()
	if now := debug.SetGCPercent(70); now != 70 {
		t.Errorf("it is set to %d %%", now)
	}
}
