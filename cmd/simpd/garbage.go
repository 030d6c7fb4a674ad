package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// garbageRoom has the garbage collector wait until there is garbage worth a
// collection. By itself it starts whenever there is as much garbage as there is
// in use, which is every other moment on a node that holds little: there it
// took 9 % of what logins cost. What it waits for is bounded, and
// given back when the burst is over. A node that holds more than that bound
// collects as ever.
type garbageRoom struct{ stopped atomic.Bool }

const (
	allowedGarbage = 32 << 20 // octets
	usualPercent   = 100      // the runtime's own, of what is in use
	leastInUse     = 4 << 20  // octets: what the runtime reckons with at least
)

// easeCollector eases the garbage collector until stop, where GOGC does not say
// how often it is to collect.
func easeCollector() *garbageRoom {
	c := new(garbageRoom)
	if os.Getenv("GOGC") != "" {
		c.stopped.Store(true)
		return c
	}
	c.adjustPercent()
	c.adjustAfterGC()
	return c
}

func (c *garbageRoom) stop() {
	if c.stopped.CompareAndSwap(false, true) {
		debug.SetGCPercent(usualPercent)
	}
}

// cycle becomes garbage, which the next collection finds. (Its size keeps it
// from sharing its memory with others.)
type cycle [64]byte

// adjustAfterGC sets the percentage anew after each collection.
func (c *garbageRoom) adjustAfterGC() {
	runtime.AddCleanup(new(cycle), func(c *garbageRoom) {
		if !c.stopped.Load() {
			c.adjustPercent()
			c.adjustAfterGC()
		}
	}, c)
}

func (c *garbageRoom) adjustPercent() { debug.SetGCPercent(garbagePercent(inUse())) }

// inUse returns the octets that the percentage is taken of: those that the last
// collection found in use, and what it had to look through beside the heap.
func inUse() (octets uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(s)
	for i := range s {
		octets += s[i].Value.Uint64()
	}
	return octets
}

// garbagePercent returns how much garbage there may be, as a part of the octets
// in use.
func garbagePercent(inUse uint64) int {
	return max(usualPercent, int(100*allowedGarbage/max(inUse, leastInUse)))
}
