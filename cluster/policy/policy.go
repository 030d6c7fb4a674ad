// Package policy asks a program of the operator's what is to become of
// messages. It bounds what that costs: the time of each question, how many are
// open at once, of one party and of all, and how often a program is asked that
// does not answer; and it remembers the answers for as long as the program says.
package policy

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/histogram"
)

// Verdict is what is to become of a message.
type Verdict uint8

// The verdicts. The zero Verdict is none.
const (
	Pass Verdict = iota + 1
	NotListening
	SlowDown
	Refused
	Unavailable // the program did not answer, and the site fails closed
)

// SignatureState is what is known of a message's signature.
type SignatureState uint8

// The states of a signature, with the numbers that programs see.
const (
	Unsigned SignatureState = iota + 1
	Signed
	Bad
	Unchecked
)

// Counts says how much of the site's limits a sender has used up.
type Counts struct {
	Messages, FirstContacts             int
	OriginMessages, OriginFirstContacts int
}

// Question describes a message.
type Question struct {
	From, To     protocol.Address
	Sender       protocol.Address // From, in the form in which senders are compared
	Party        string           // whose open questions are counted together
	FirstContact bool
	Signature    SignatureState
	Counts       Counts
	Entity       []byte // nil: the program is not shown it
}

// Answer is what the program says of a message.
type Answer struct {
	Verdict Verdict
	TTL     time.Duration // how long it holds for this pair
	Retry   time.Duration // with SlowDown; 0: not said
	Assumed bool          // the program has not said it: the configuration has
}

// Asker asks the program once. It returns when ctx ends.
type Asker interface {
	Ask(ctx context.Context, q *Question) (Answer, error)
	Close() error
}

// Limits of what a program costs.
const (
	DefaultBudget = 200 * time.Millisecond
	maxOpen       = 64          // questions at once
	maxOpenOfOne  = 16          // of them, those of one party
	maxWait       = time.Second // for other questions to end
	maxTTL        = time.Hour   // of an answer
	maxAnswers    = 1 << 16     // remembered in each of two generations
)

// Config configures a Hook.
type Config struct {
	Asker      Asker
	Budget     time.Duration // for each question; 0: DefaultBudget
	FailClosed bool          // without an answer a message is not passed
	All        bool          // ask about every message, not only about first contacts
	Entity     bool          // show the program messages
	Logger     *slog.Logger
}

// Hook asks the program. Any goroutine may use it.
type Hook struct {
	config  Config
	slots   slots
	breaker breaker
	answers answers
	metrics Metrics
}

// Metrics counts what a Hook does.
type Metrics struct {
	Duration histogram.Durations // of questions, whatever came of them
	Verdicts [Unavailable + 1]atomic.Uint64
	Failed   atomic.Uint64 // questions without a valid answer
	Skipped  atomic.Uint64 // questions not asked, because the program fails
	Busy     atomic.Uint64 // questions not asked, because others were open
	Cached   atomic.Uint64
}

// New returns a Hook.
func New(c Config) *Hook {
	if c.Budget == 0 {
		c.Budget = DefaultBudget
	}
	h := &Hook{config: c}
	h.slots.init()
	h.answers.began = time.Now()
	h.breaker.logger, h.breaker.failClosed = c.Logger, c.FailClosed
	return h
}

// Close ends the connection to the program.
func (h *Hook) Close() error { return h.config.Asker.Close() }

// AsksAll reports whether the program is asked about every message.
func (h *Hook) AsksAll() bool { return h.config.All }

// WantsEntity reports whether the program is shown messages.
func (h *Hook) WantsEntity() bool { return h.config.Entity }

// Metrics returns the counters.
func (h *Hook) Metrics() *Metrics { return &h.metrics }

// Failing returns why the program is not asked at present, or "".
func (h *Hook) Failing() string { return h.breaker.failing() }

var (
	errBusy      = errors.New("too many questions are open")
	errNoVerdict = errors.New("the answer has no valid verdict")
)

// Decide returns what is to become of a message, before ctx ends: within
// maxWait, which is for other questions to end, and the budget. It asks the
// program unless an answer for the pair still holds. Without an answer the
// configuration decides.
func (h *Hook) Decide(ctx context.Context, q *Question) Answer {
	key := pairKey{q.Sender.String(), q.To.String()}
	if a, ok := h.answers.get(key); ok {
		h.metrics.Cached.Add(1)
		h.metrics.Verdicts[a.Verdict].Add(1)
		return a
	}
	a, err := h.ask(ctx, q)
	if err != nil {
		a = Answer{Verdict: Pass, Assumed: true}
		if h.config.FailClosed {
			a.Verdict = Unavailable
		}
	} else if a.TTL > 0 {
		h.answers.put(key, a)
	}
	h.metrics.Verdicts[a.Verdict].Add(1)
	return a
}

// ask asks the program once there is a slot, if it is not known to fail. That a
// question had to wait says nothing of the program.
func (h *Hook) ask(ctx context.Context, q *Question) (a Answer, err error) {
	if !h.slots.take(ctx, q.Party) {
		h.metrics.Busy.Add(1)
		return a, errBusy
	}
	defer h.slots.release(q.Party)
	if !h.breaker.allow() {
		h.metrics.Skipped.Add(1)
		return a, errSkipped
	}
	within, cancel := context.WithTimeout(ctx, h.config.Budget)
	defer cancel()
	began := time.Now()
	a, err = h.askWithin(within, q)
	h.metrics.Duration.ObserveSince(began)
	if err != nil {
		h.metrics.Failed.Add(1)
		h.breaker.failed(err, ctx.Err() == nil)
		return a, err
	}
	h.breaker.succeeded()
	return a, nil
}

// askWithin asks once, and checks the answer.
func (h *Hook) askWithin(ctx context.Context, q *Question) (Answer, error) {
	a, err := h.config.Asker.Ask(ctx, q)
	switch {
	case err != nil:
		return Answer{}, err
	case a.Verdict < Pass || a.Verdict > Refused:
		return Answer{}, errNoVerdict
	}
	a.TTL, a.Retry = min(max(a.TTL, 0), maxTTL), min(max(a.Retry, 0), maxTTL)
	return a, nil
}
