package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// garbageRoom has the garbage collector wait until there is garbage worth a
// collection. By itself it starts whenever there is as much garbage as there is
// in use, which is every other moment on a node that holds little: there it
// would take an eighth of what logins cost. What it waits for is bounded, and
// given back when the burst is over. A node that holds more than that bound
// collects as ever.
type garbageRoom struct{ stopped atomic.Bool }

const (
	allowedGarbage = 64 << 20 // octets
	usualPercent   = 100       // the runtime's own, of what is in use
	leastInUse     = 1 << 20   // octets: below that nothing is gained
)

// easeCollector eases the garbage collector until stop, where GOGC does not say how
// often it is to collect.
func easeCollector() *garbageRoom {
	c := new(garbageRoom)
	if os.Getenv("GOGC") != "" {
		return c
	}
	c.ease()
	c.follow()
	return c
}

func (c *garbageRoom) stop() { c.stopped.Store(true) }

// cycle is what the next collection finds to be garbage. (Its size keeps it
// from sharing its memory with others.)
type cycle [64]byte

// follow sets the percentage anew after each collection.
func (c *garbageRoom) follow() {
	runtime.AddCleanup(new(cycle), func(c *garbageRoom) {
		if !c.stopped.Load() {
			c.ease()
			c.follow()
		}
	}, c)
}

func (c *garbageRoom) ease() { debug.SetGCPercent(garbagePercent(heapNow().live)) }

// garbagePercent returns how much garbage there may be, as a part of the octets
// in use.
func garbagePercent(inUse uint64) int {
	return max(usualPercent, int(100*allowedGarbage/max(inUse, leastInUse)))
}
