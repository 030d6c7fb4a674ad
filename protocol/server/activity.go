package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// activity tracks the timeouts of a session, except those of messages: a
// client that does not authenticate, is silent, or does not finish its line.
// The session's reader reports events, the timer wheel checks.
type activity struct {
	start     time.Time
	last      atomic.Int64 // when octets last arrived, in ns since start
	isWatched atomic.Bool  // a PING or a line is unfinished

	mu      sync.Mutex
	pings   uint64
	pinged  time.Duration // since start: when the unanswered PING was sent; 0: none
	partial *partialInput // nil: no line or literal is incomplete
}

// partialInput is an incomplete line or literal.
type partialInput struct {
	since   time.Time
	before  int  // octets received until then
	came    int  // octets received until now
	literal bool // it is a literal
}

// onData is called after octets were received and processed. It returns when
// to check again, if not zero.
func (v *activity) onData(in *decoder) (look time.Time) {
	now := in.now
	v.last.Store(int64(now.Sub(v.start)))
	partial := in.isPartial()
	if !partial && !v.isWatched.Load() {
		return look
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !partial:
		v.partial = nil
	case v.partial == nil:
		v.partial = &partialInput{since: now, before: in.consumed}
		look = now.Add(lineTimeout)
	}
	if v.partial != nil {
		v.partial.came, v.partial.literal = in.consumed, in.pending != nil
	}
	v.isWatched.Store(partial || v.pinged != 0)
	return look
}

// lineTimedOut reports whether a line takes too long, and otherwise when to
// check again.
func (v *activity) lineTimedOut(now time.Time) (slow bool, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.partial == nil {
		return false, next
	}
	if next = v.partial.since.Add(lineTimeout); now.Before(next) {
		return false, next
	}
	if !v.partial.literal || v.partial.came-v.partial.before < minLiteralOctets {
		return true, time.Time{}
	}
	v.partial.since, v.partial.before = now, v.partial.came
	return false, now.Add(lineTimeout)
}

// pingTimedOut reports whether a PING was not answered in time, and otherwise
// when to check again.
func (v *activity) pingTimedOut(now time.Time) (dead bool, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pinged == 0 {
		return false, next
	}
	next = v.start.Add(v.pinged + pingTimeout)
	return !now.Before(next), next
}

// pingDue returns the number of a PING to send after a period of silence, or
// 0 and when to check again.
func (v *activity) pingDue(now time.Time, idle time.Duration) (ping uint64, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pinged != 0 {
		return 0, next
	}
	if next = v.start.Add(time.Duration(v.last.Load()) + idle); now.Before(next) {
		return 0, next
	}
	v.pings++
	v.pinged = max(now.Sub(v.start), 1)
	v.isWatched.Store(true)
	return v.pings, now.Add(pingTimeout)
}

// onPong handles the response to a PING.
func (v *activity) onPong(number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if number == v.pings {
		v.pinged = 0
	}
}
