package link

import (
	"context"
	"sync"
)

// eventDispatcher delivers events to Membership one at a time and in order,
// for callers that must not wait: memberlist calls under its lock.
type eventDispatcher struct {
	target Membership
	wake   chan struct{}

	mu    sync.Mutex
	queue []func(Membership)
}

func newEventDispatcher(to Membership) *eventDispatcher {
	return &eventDispatcher{target: to, wake: make(chan struct{}, 1)}
}

func (h *eventDispatcher) enqueue(what func(Membership)) {
	h.mu.Lock()
	h.queue = append(h.queue, what)
	h.mu.Unlock()
	signal(h.wake)
}

func (h *eventDispatcher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		for _, what := range h.drain() {
			if ctx.Err() == nil {
				what(h.target)
			}
		}
	}
}

func (h *eventDispatcher) drain() []func(Membership) {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.queue
	h.queue = nil
	return taken
}
