package link

import (
	"context"
	"sync"
)

// herald tells Membership, one thing at a time and in order, for those that
// must not wait: memberlist calls under its lock.
type herald struct {
	to   Membership
	wake chan struct{}

	mu      sync.Mutex
	waiting []func(Membership)
}

func newHerald(to Membership) *herald {
	return &herald{to: to, wake: make(chan struct{}, 1)}
}

func (h *herald) tell(what func(Membership)) {
	h.mu.Lock()
	h.waiting = append(h.waiting, what)
	h.mu.Unlock()
	poke(h.wake)
}

func (h *herald) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		for _, what := range h.take() {
			if ctx.Err() == nil {
				what(h.to)
			}
		}
	}
}

func (h *herald) take() []func(Membership) {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.waiting
	h.waiting = nil
	return taken
}
