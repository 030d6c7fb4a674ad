package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// vigil is what a session watches the clock for, besides messages: a client
// that does not prove who it is, says nothing, does not end its line, or does
// not read. The session's reader tells it what happens, the wheel looks.
type vigil struct {
	began time.Time
	last  atomic.Int64 // when octets came last, in ns since began
	busy  atomic.Bool  // a PING or a line is open

	mu     sync.Mutex
	pings  uint64
	pinged time.Duration // after began: when the PING was sent that is not answered; 0: none
	open   *openLine     // nil: no line or literal is incomplete
}

// openLine is a line or a literal that is incomplete.
type openLine struct {
	since   time.Time
	before  int  // octets that had come then
	came    int  // octets that have come
	literal bool // it is a literal
}

// heard is called after octets came and were taken. It returns when to look
// again, if it is not zero.
func (v *vigil) heard(in *input) (look time.Time) {
	now := in.now
	v.last.Store(int64(now.Sub(v.began)))
	partial := in.partial()
	if !partial && !v.busy.Load() {
		return look
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !partial:
		v.open = nil
	case v.open == nil:
		v.open = &openLine{since: now, before: in.came}
		look = now.Add(openTime)
	}
	if v.open != nil {
		v.open.came, v.open.literal = in.came, in.open != nil
	}
	v.busy.Store(partial || v.pinged != 0)
	return look
}

// slow reports whether a line takes too long, and else when to look again.
func (v *vigil) slow(now time.Time) (slow bool, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open == nil {
		return false, next
	}
	if next = v.open.since.Add(openTime); now.Before(next) {
		return false, next
	}
	if !v.open.literal || v.open.came-v.open.before < slowest {
		return true, time.Time{}
	}
	v.open.since, v.open.before = now, v.open.came
	return false, now.Add(openTime)
}

// dead reports whether a PING was not answered in time, and else when to look
// again.
func (v *vigil) dead(now time.Time) (dead bool, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pinged == 0 {
		return false, next
	}
	next = v.began.Add(v.pinged + pingTime)
	return !now.Before(next), next
}

// silent returns the number of a PING to be sent after a time of silence, or 0
// and when to look again.
func (v *vigil) silent(now time.Time, idle time.Duration) (ping uint64, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pinged != 0 {
		return 0, next
	}
	if next = v.began.Add(time.Duration(v.last.Load()) + idle); now.Before(next) {
		return 0, next
	}
	v.pings++
	v.pinged = max(now.Sub(v.began), 1)
	v.busy.Store(true)
	return v.pings, now.Add(pingTime)
}

// answered takes the number of a PING that was answered.
func (v *vigil) answered(number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if number == v.pings {
		v.pinged = 0
	}
}
