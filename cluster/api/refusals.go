package api

import (
	"log/slog"
	"sync"
	"time"
)

// Limits of the log: one line for each cause and source at once, and one with
// the count of the others at the end of each minute.
const (
	refusalPeriod = time.Minute
	maxCauses     = 256 // counted apart; all others count as one
)

// cause is the key by which refusals are counted.
type cause struct{ why, who string }

// refusals bounds what refused calls write to the log. Methods may be called
// from any goroutine.
type refusals struct {
	logger *slog.Logger
	mu     sync.Mutex
	of     map[cause]*suppressed
	closed bool
}

// suppressed counts the refusals of one cause that were not logged.
type suppressed struct {
	count int
	timer *time.Timer
}

func newRefusals(l *slog.Logger) *refusals {
	return &refusals{logger: l, of: map[cause]*suppressed{}}
}

// countRefusal counts a refusal, and reports whether it should be logged.
func (r *refusals) countRefusal(c cause) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[c] == nil && len(r.of) >= maxCauses {
		c = cause{"several", "several"}
	}
	if s := r.of[c]; s != nil {
		s.count++
		return false
	}
	if r.closed {
		return false
	}
	r.of[c] = &suppressed{timer: time.AfterFunc(refusalPeriod, func() { r.logSuppressed(c) })}
	return true
}

// logSuppressed logs how many refusals of a cause were not logged one by one.
func (r *refusals) logSuppressed(c cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.of[c]
	delete(r.of, c)
	if s != nil && s.count > 0 {
		r.logger.Info("more calls were refused", "cause", c.why, "from", c.who, "count", s.count, "within", refusalPeriod)
	}
}

// close reports what is left.
func (r *refusals) close() {
	r.mu.Lock()
	r.closed = true
	var left []cause
	for c, s := range r.of {
		if s.timer.Stop() {
			left = append(left, c)
		}
	}
	r.mu.Unlock()
	for _, c := range left {
		r.logSuppressed(c)
	}
}
