package router

import (
	"errors"
	"sync/atomic"

	"simpd/protocol"
	"simpd/protocol/histogram"
)

// Metrics counts what a Router does, except the outcomes of messages
// (Router.Outcomes). Any goroutine may read it at any time.
type Metrics struct {
	Send    histogram.Durations // of a message to one recipient, until its outcome
	Listen  histogram.Durations // until the response, whatever it is
	Lookup  histogram.Durations // of look-ups with a read barrier
	Listens Results
	Lookups Results
}

// Results counts successes and failures of one operation.
type Results struct {
	Good, Refused, Unavailable atomic.Uint64
}

func (r *Results) add(err error) {
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

// Watches returns the number of watches on this node.
func (r *Router) Watches() int {
	h := &r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watchCount
}
