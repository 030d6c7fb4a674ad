package link

import (
	"context"
	"sync"

	"simpd/protocol/wait"
)

// eventDispatcher delivers events to Membership one at a time and in order,
// for callers that must not wait: memberlist calls under its lock.
type eventDispatcher struct {
	target Membership
	wake   wait.Signal

	mu    sync.Mutex
	queue []func(Membership)
}

func newEventDispatcher(to Membership) *eventDispatcher {
	return &eventDispatcher{target: to, wake: wait.NewSignal()}
}

func (h *eventDispatcher) enqueue(what func(Membership)) {
	h.mu.Lock()
	h.queue = append(h.queue, what)
	h.mu.Unlock()
	h.wake.Notify()
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
