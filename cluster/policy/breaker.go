package policy

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	maxFailures = 5 // in a row, before the program is left alone
	minPause    = time.Second
	maxPause    = 30 * time.Second
)

var errSkipped = errors.New("the program fails, and is asked again later")

// breaker stops asking a program that fails: for a second, and for longer each
// time that one more question fails. It logs the first failure and the end.
type breaker struct {
	logger     *slog.Logger
	failClosed bool // what is logged of messages that are not asked about

	mu       sync.Mutex
	failures int
	pause    time.Duration
	until    time.Time // when it is asked again; zero: it is asked
	trying   bool      // one question is open after a pause
	last     error
}

// allow reports whether the program may be asked now.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return true
	}
	if b.trying || time.Now().Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	wasFailing := !b.until.IsZero()
	b.failures, b.pause, b.until, b.trying, b.last = 0, 0, time.Time{}, false, nil
	b.mu.Unlock()
	if wasFailing && b.logger != nil {
		b.logger.Info("the policy program answers again")
	}
}

// failed counts a failure, unless the message had no time left. Questions that
// were open when the pause began do not make it longer.
func (b *breaker) failed(err error, counts bool) {
	b.mu.Lock()
	mayCount := b.until.IsZero() || b.trying
	b.trying = false
	if !counts || !mayCount {
		b.mu.Unlock()
		return
	}
	b.failures++
	b.last = err
	opened := false
	if b.failures >= maxFailures {
		opened = b.until.IsZero()
		b.pause = min(max(minPause, 2*b.pause), maxPause)
		b.until = time.Now().Add(b.pause)
	}
	b.mu.Unlock()
	if opened && b.logger != nil {
		what := "the policy program fails; messages are passed without it"
		if b.failClosed {
			what = "the policy program fails; messages that it would decide about are answered 503"
		}
		b.logger.Warn(what, "error", err)
	}
}

// failing returns why the program is not asked, or "".
func (b *breaker) failing() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() || b.last == nil {
		return ""
	}
	return b.last.Error()
}
