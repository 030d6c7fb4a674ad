package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// giveBack returns to the system, until ctx ends, the memory that a burst of
// work has left behind: when thousands of clients have logged in, what is left
// of their handshakes and requests is as much again as what their sessions
// hold, and nothing that sessions do while they idle would have it collected.
// What a little steady work leaves behind is returned now and then: without
// that, a node that has been flooded would keep the room for its garbage, and
// the holes between what it still uses, until nobody works on it.
func giveBack(ctx context.Context) {
	t := time.NewTicker(quietTime)
	defer t.Stop()
	var r returner
	for {
		select {
		case now := <-t.C:
			if r.isDue(heapNow(), now) {
				debug.FreeOSMemory()
				r.noteReturned(heapNow(), now, time.Since(now))
			}
		case <-ctx.Done():
			return
		}
	}
}

// quietTime is the time without much activity that has to have passed.
const quietTime = time.Second

// heap holds the runtime's memory figures, in octets.
type heap struct {
	allocated uint64 // since the start, freed or not
	live      uint64 // found in use by the last collection
	held      uint64 // live, garbage, or free and not returned
}

func heapNow() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64() + s[3].Value.Uint64()}
}

// returner decides when memory is returned.
type returner struct {
	before heap      // when it was asked last
	burst  bool      // there was one since memory was returned
	next   time.Time // not before
}

const (
	quietOctets = 1 << 20 // allocated between two looks, or a part of the live ones
	calmOctets  = 4 << 20 // likewise, at which a collection now and then costs little
	quietPart   = 64
	worthOctets = 1 << 20 // that are held and not in use, and a part of the live ones
	worthPart   = 4
	muchOctets  = 16 << 20 // likewise where there was no burst, and as much as the live ones
	restPart    = 20       // one in so many moments may be spent on it
)

// isDue reports whether a burst is over that has left enough behind to be worth a
// collection, or whether much has come together without one. Work that goes on
// and on is its own collector's affair.
func (r *returner) isDue(h heap, now time.Time) bool {
	allocated := h.allocated - r.before.allocated
	quiet := allocated < max(quietOctets, h.live/quietPart)
	calm := allocated < max(calmOctets, h.live/quietPart)
	r.before = h
	r.burst = r.burst || !quiet
	worth := h.held > h.live+max(worthOctets, h.live/worthPart)
	much := h.held > h.live+max(muchOctets, h.live)
	return !now.Before(r.next) && (quiet && r.burst && worth || calm && much)
}

// noteReturned notes that memory was returned, which took so long.
func (r *returner) noteReturned(h heap, now time.Time, took time.Duration) {
	*r = returner{before: h, next: now.Add(restPart * took)}
}
