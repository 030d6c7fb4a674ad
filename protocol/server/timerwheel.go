package server

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// timerWheel runs timers with the precision of a tick, with one goroutine for
// all, which runs only while a timer is set. A set timer costs a few words
// and nothing until it fires.
type timerWheel struct {
	start    time.Time
	mu       sync.Mutex
	slots    [wheelSlots]*timer
	lastTick int64 // the last tick that was processed
	count    int   // timers that are set
	running  bool
	done     sync.WaitGroup
}

const (
	tick       = 100 * time.Millisecond
	wheelSlots = 4096
	never      = math.MaxInt64
	stopped    = math.MinInt64 // earlier than any tick
)

// timer is a timer of one owner. It is set for one time at a time, and unset
// before it fires.
type timer struct {
	owner      timerOwner
	tick       atomic.Int64 // never while it is not set, stopped at the end
	next, prev *timer
}

// timerOwner is called by the wheel's goroutine and must not block.
type timerOwner interface{ onTimer(now time.Time) }

func newTimerWheel() *timerWheel { return &timerWheel{start: time.Now()} }

func (a *timer) init(owner timerOwner) {
	a.owner = owner
	a.tick.Store(never)
}

// schedule sets a for at, unless it is set for an earlier time already.
func (w *timerWheel) schedule(a *timer, at time.Time) {
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
		w.lastTick = int64(time.Since(w.start) / tick)
		w.done.Go(w.run)
	}
	w.link(a, max(t, w.lastTick+1))
}

// cancel unsets a for good. It may fire once more if it is just about to.
// Setting it later does nothing; otherwise the wheel would keep running, and
// keep its owner, until it fires.
func (w *timerWheel) cancel(a *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(a)
	a.tick.Store(stopped)
}

func (w *timerWheel) link(a *timer, t int64) {
	head := &w.slots[t%wheelSlots]
	a.next, a.prev = *head, nil
	if a.next != nil {
		a.next.prev = a
	}
	*head = a
	a.tick.Store(t)
	w.count++
}

func (w *timerWheel) unlink(a *timer) {
	t := a.tick.Load()
	if t == never || t == stopped {
		return
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		w.slots[t%wheelSlots] = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.next, a.prev = nil, nil
	a.tick.Store(never)
	w.count--
}

func (w *timerWheel) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for range t.C {
		due, more := w.takeDue()
		now := time.Now()
		for _, a := range due {
			a.owner.onTimer(now)
		}
		if !more {
			return
		}
	}
}

// takeDue returns the timers that are due. more is false when none was left.
func (w *timerWheel) takeDue() (due []*timer, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		w.running = false
		return nil, false
	}
	now := int64(time.Since(w.start) / tick)
	for t := max(w.lastTick, now-wheelSlots) + 1; t <= now; t++ {
		for a := w.slots[t%wheelSlots]; a != nil; {
			next := a.next
			if a.tick.Load() <= now {
				w.unlink(a)
				due = append(due, a)
			}
			a = next
		}
	}
	w.lastTick = max(w.lastTick, now)
	return due, true
}
