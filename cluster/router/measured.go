package router

import (
	"errors"
	"sync/atomic"

	"simpd/protocol"
	"simpd/protocol/meter"
)

// Measures is what a router counts, beside the outcomes of messages. Any
// goroutine may read it at any time.
type Measures struct {
	Send    meter.Durations // of a message to one recipient, to its outcome
	Listen  meter.Durations // to the answer, whatever it is
	Look    meter.Durations // of look-ups that the majority confirms
	Listens Results
	Looks   Results
}

// Results counts how something ended.
type Results struct {
	Good, Refused, Unavailable atomic.Uint64
}

func (r *Results) count(err error) {
	var refused *protocol.Error
	switch {
	case err == nil:
		r.Good.Add(1)
	case errors.As(err, &refused) && refused.Status < 500:
		r.Refused.Add(1)
	default:
		r.Unavailable.Add(1)
	}
}

// Watches returns how many pairs of watcher and watched this node keeps.
func (r *Router) Watches() int {
	h := &r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}
