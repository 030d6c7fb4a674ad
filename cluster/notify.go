package cluster

import (
	"context"
	"sync"
)

// watermark is a number that only grows, with waiting.
type watermark struct {
	mu      sync.Mutex
	at      uint64
	changed chan struct{} // closed at the next growth; nil while nobody waits
}

// advance moves to at, if that is further, and wakes those who wait.
func (p *watermark) advance(at uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at <= p.at {
		return
	}
	p.at = at
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *watermark) value() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// wait returns when at is reached, or when ctx ends.
func (p *watermark) wait(ctx context.Context, at uint64) error {
	for {
		changed := p.changedAfter(at)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changedAfter returns a channel that is closed at the next growth; nil if at
// is reached.
func (p *watermark) changedAfter(at uint64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at >= at {
		return nil
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// broadcast wakes everybody who waits for a change. Notifications that nobody
// waits for are lost.
type broadcast struct {
	mu   sync.Mutex
	next chan struct{}
}

// changed returns a channel that the next notification closes. Call it before
// looking at what may have changed.
func (b *broadcast) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// signal wakes one goroutine; several notifications before it runs count as
// one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (p signal) notify() {
	select {
	case p <- struct{}{}:
	default:
	}
}
