package netio

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// TimerWheel runs timers with the precision of a tick, with one goroutine for
// all, which runs only while a timer is set. A set timer costs a few words
// and nothing until it fires.
type TimerWheel struct {
	start    time.Time
	mu       sync.Mutex
	slots    [wheelSlots]*Timer
	lastTick int64 // the last tick that was processed
	count    int   // timers that are set
	running  bool
	done     sync.WaitGroup
}

// Tick is the precision of a TimerWheel.
const Tick = 100 * time.Millisecond

const (
	wheelSlots = 4096
	never      = math.MaxInt64
	stopped    = math.MinInt64 // earlier than any tick
)

// Timer is a timer of one owner. It is set for one time at a time, and unset
// before it fires.
type Timer struct {
	owner      TimerOwner
	tick       atomic.Int64 // never while it is not set, stopped at the end
	next, prev *Timer
}

// TimerOwner is called by the wheel's goroutine and must not block.
type TimerOwner interface{ OnTimer(now time.Time) }

// NewTimerWheel returns a wheel on which no timer is set.
func NewTimerWheel() *TimerWheel { return &TimerWheel{start: time.Now()} }

// Init makes a the timer of owner, not set.
func (a *Timer) Init(owner TimerOwner) {
	a.owner = owner
	a.tick.Store(never)
}

// Schedule sets a for at, unless it is set for an earlier time already.
func (w *TimerWheel) Schedule(a *Timer, at time.Time) {
	t := int64(at.Sub(w.start)/Tick) + 1
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
		w.lastTick = int64(time.Since(w.start) / Tick)
		w.done.Go(w.run)
	}
	w.link(a, max(t, w.lastTick+1))
}

// Cancel unsets a for good. It may fire once more if it is just about to.
// Setting it later does nothing; otherwise the wheel would keep running, and
// keep its owner, until it fires.
func (w *TimerWheel) Cancel(a *Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(a)
	a.tick.Store(stopped)
}

func (w *TimerWheel) link(a *Timer, t int64) {
	head := &w.slots[t%wheelSlots]
	a.next, a.prev = *head, nil
	if a.next != nil {
		a.next.prev = a
	}
	*head = a
	a.tick.Store(t)
	w.count++
}

func (w *TimerWheel) unlink(a *Timer) {
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

func (w *TimerWheel) run() {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for range t.C {
		due, more := w.takeDue()
		now := time.Now()
		for _, a := range due {
			a.owner.OnTimer(now)
		}
		if !more {
			return
		}
	}
}

// takeDue returns the timers that are due. more is false when none was left.
func (w *TimerWheel) takeDue() (due []*Timer, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		w.running = false
		return nil, false
	}
	now := int64(time.Since(w.start) / Tick)
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

// Wait waits until no timer is set.
func (w *TimerWheel) Wait() { w.done.Wait() }
