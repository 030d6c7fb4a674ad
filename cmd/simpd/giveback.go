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
func giveBack(ctx context.Context) {
	t := time.NewTicker(quietTime)
	defer t.Stop()
	var r returner
	for {
		select {
		case <-t.C:
			if r.due(heapNow()) {
				debug.FreeOSMemory()
				r.returned(heapNow())
			}
		case <-ctx.Done():
			return
		}
	}
}

// quietTime is how long nothing much must have happened.
const quietTime = time.Second

// heap is what the runtime tells of its memory, in octets.
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
	before heap   // when it was asked last
	since  uint64 // allocated when memory was returned last
}

const (
	quietOctets = 1 << 20 // allocated between two looks, or a part of the live ones
	quietPart   = 64
	worthOctets = 1 << 20 // that can be returned, and a part of the live ones
	worthPart   = 4
)

// due tells whether it is quiet, and enough may be returned to be worth a
// collection: so much has been allocated since the last one, and so much is
// held that is not in use.
func (r *returner) due(now heap) bool {
	quiet := now.allocated-r.before.allocated < max(quietOctets, now.live/quietPart)
	r.before = now
	worth := max(worthOctets, now.live/worthPart)
	return quiet && now.allocated-r.since > worth && now.held > now.live+worth
}

func (r *returner) returned(now heap) { r.before, r.since = now, now.allocated }
