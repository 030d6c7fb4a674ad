package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGarbagePercent(t *testing.T) {
	for _, c := range []struct {
		inUse uint64
		want  int
	}{
		{0, 6400}, {1 << 20, 6400}, {32 << 20, 200}, {64 << 20, 100}, {4 << 30, 100},
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
	if now := debug.SetGCPercent(50); now < usualPercent {
		t.Errorf("at the start it is %d %%", now)
	}
	for debug.SetGCPercent(50) == 50 {
		runtime.GC() // the cleanup runs some time after it
	}
	c.stop()
	runtime.GC()
	for range 100 { // one may have begun
		runtime.Gosched()
	}
	debug.SetGCPercent(50)
	runtime.GC()
	if now := debug.SetGCPercent(usualPercent); now != 50 {
		t.Errorf("it is set to %d %% after stop", now)
	}
}

func TestCollectorLeavesGOGCAlone(t *testing.T) {
	t.Setenv("GOGC", "70")
	defer debug.SetGCPercent(debug.SetGCPercent(70))
	defer easeCollector().stop()
	if now := debug.SetGCPercent(70); now != 70 {
		t.Errorf("it is set to %d %%", now)
	}
}
