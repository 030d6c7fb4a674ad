// Package wait lets goroutines wait for one another: for a number to grow, for
// something to change, for work, and for time to pass.
package wait

import (
	"context"
	"sync"
	"time"
)

// Sleep sleeps for d. It returns false, early, if ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Earlier returns the earlier of two times. A zero time means none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Watermark is a number that others wait for. Its zero value is ready to use.
type Watermark struct {
	mu      sync.Mutex
	at      uint64
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// Advance moves the mark to at, unless it is there or beyond.
func (w *Watermark) Advance(at uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at > w.at {
		w.setLocked(at)
	}
}

// Set moves the mark to at, which may be lower.
func (w *Watermark) Set(at uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setLocked(at)
}

func (w *Watermark) setLocked(at uint64) {
	w.at = at
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// Value returns the mark.
func (w *Watermark) Value() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// Await returns nil once the mark is at or beyond at, or the error of ctx.
func (w *Watermark) Await(ctx context.Context, at uint64) error {
	for {
		changed := w.changedBefore(at)
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

// changedBefore returns a channel that is closed when the mark next changes;
// nil if it is at or beyond at.
func (w *Watermark) changedBefore(at uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at >= at {
		return nil
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// Broadcast wakes everybody who waits for a change. Notifications that nobody
// waits for are lost. Its zero value is ready to use.
type Broadcast struct {
	mu   sync.Mutex
	next chan struct{}
}

// Changed returns a channel that the next notification closes. Call it before
// looking at what may have changed.
func (b *Broadcast) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// Notify wakes those who wait.
func (b *Broadcast) Notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Await returns nil once isReady returns true, which it checks again after
// each notification, or the error of ctx.
func (b *Broadcast) Await(ctx context.Context, isReady func() bool) error {
	if isReady() {
		return nil
	}
	for {
		changed := b.Changed()
		if isReady() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Signal wakes one goroutine, which receives from it; several notifications
// before it does count as one.
type Signal chan struct{}

// NewSignal returns a Signal.
func NewSignal() Signal { return make(Signal, 1) }

// Notify wakes the goroutine, at once or when it next receives.
func (s Signal) Notify() {
	select {
	case s <- struct{}{}:
	default:
	}
}
