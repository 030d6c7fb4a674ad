package cluster

import (
	"context"
	"sync"
)

// progress is a number that only grows, and can be waited for.
type progress struct {
	mu      sync.Mutex
	at      uint64
	changed chan struct{} // closed at the next growth; nil while nobody waits
}

// reach moves to at, if that is further, and wakes who waits.
func (p *progress) reach(at uint64) {
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

func (p *progress) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// wait returns once at is reached, or ctx ends.
func (p *progress) wait(ctx context.Context, at uint64) error {
	for {
		changed := p.next(at)
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

// next is closed when the number grows; nil if at is reached.
func (p *progress) next(at uint64) <-chan struct{} {
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

// bell wakes everyone who waits for something to have changed, and forgets
// rings that nobody waited for.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// wait returns what the next ring closes. Take it before looking at what may
// have changed.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

// poke is a wake-up for one goroutine: any number of them before it looks count once.
type poke chan struct{}

func newPoke() poke { return make(poke, 1) }

func (p poke) now() {
	select {
	case p <- struct{}{}:
	default:
	}
}
