package server

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// wheel rings alarms, to the tick, with one goroutine for all of them, which
// runs only while some alarm is set. A set alarm costs its own few words and
// nothing until it rings.
type wheel struct {
	start   time.Time
	mu      sync.Mutex
	slots   [slots]*alarm
	turned  int64 // the last tick that was rung
	set     int
	running bool
	done    sync.WaitGroup
}

const (
	tick    = 100 * time.Millisecond
	slots   = 4096
	never   = math.MaxInt64
	stopped = math.MinInt64 // earlier than any tick
)

// alarm is what one owner waits for. It is set for one moment at a time, and
// unset before it rings.
type alarm struct {
	owner      ringer
	tick       atomic.Int64 // never while it is not set, stopped at the end
	next, prev *alarm
}

// ringer is called by the wheel's goroutine and must not wait.
type ringer interface{ ring(now time.Time) }

func newWheel() *wheel { return &wheel{start: time.Now()} }

func (a *alarm) init(owner ringer) {
	a.owner = owner
	a.tick.Store(never)
}

// wake sets a for at, unless it is set for an earlier moment already.
func (w *wheel) wake(a *alarm, at time.Time) {
	t := int64(at.Sub(w.start)/tick) + 1
	if a.tick.Load() <= t {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.tick.Load() <= t {
		return
	}
	w.unlink(a)
	if !w.running {
		w.running = true
		w.turned = int64(time.Since(w.start) / tick)
		w.done.Go(w.run)
	}
	w.link(a, max(t, w.turned+1))
}

// stop unsets a for good. It may ring once more if it is just about to; whoever
// sets it then, or later, does nothing: else the wheel would turn, and its owner
// be kept, until it rings.
func (w *wheel) stop(a *alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(a)
	a.tick.Store(stopped)
}

func (w *wheel) link(a *alarm, t int64) {
	head := &w.slots[t%slots]
	a.next, a.prev = *head, nil
	if a.next != nil {
		a.next.prev = a
	}
	*head = a
	a.tick.Store(t)
	w.set++
}

func (w *wheel) unlink(a *alarm) {
	t := a.tick.Load()
	if t == never || t == stopped {
		return
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		w.slots[t%slots] = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.next, a.prev = nil, nil
	a.tick.Store(never)
	w.set--
}

func (w *wheel) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for range t.C {
		due, more := w.turn()
		now := time.Now()
		for _, a := range due {
			a.owner.ring(now)
		}
		if !more {
			return
		}
	}
}

// turn takes the alarms that are due; more is false once none was left.
func (w *wheel) turn() (due []*alarm, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == 0 {
		w.running = false
		return nil, false
	}
	now := int64(time.Since(w.start) / tick)
	for t := max(w.turned, now-slots) + 1; t <= now; t++ {
		for a := w.slots[t%slots]; a != nil; {
			next := a.next
			if a.tick.Load() <= now {
				w.unlink(a)
				due = append(due, a)
			}
			a = next
		}
	}
	w.turned = max(w.turned, now)
	return due, true
}
