// Package policy asks a program of the operator's what is to become of
// messages. It bounds what that costs: the time of each question, how many are
// open at once, and how often a program is asked that does not answer; and it
// remembers the answers for as long as the program says.
package policy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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
}

// Asker asks the program once. It returns when ctx ends.
type Asker interface {
	Ask(ctx context.Context, q *Question) (Answer, error)
	Close() error
}

// Limits of what a program costs.
const (
	DefaultBudget = 200 * time.Millisecond
	maxOpen       = 64        // questions at once
	maxTTL        = time.Hour // of an answer
	maxAnswers    = 1 << 16   // remembered in each of two generations
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
	open    chan struct{}
	breaker breaker
	answers answers
	recent  recentAnswers
	metrics Metrics
}

// Metrics counts what a Hook does.
type Metrics struct {
	Duration histogram.Durations // of questions, whatever came of them
	Verdicts [Unavailable + 1]atomic.Uint64
	Failed   atomic.Uint64 // questions without a valid answer
	Skipped  atomic.Uint64 // questions not asked, because the program fails
	Cached   atomic.Uint64
}

// New returns a Hook.
func New(c Config) *Hook {
	if c.Budget == 0 {
		c.Budget = DefaultBudget
	}
	h := &Hook{config: c, open: make(chan struct{}, maxOpen)}
	h.answers.began = time.Now()
	h.breaker.logger = c.Logger
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

// Decide returns what is to become of a message, within the budget and before
// ctx ends. It asks the program unless an answer for the pair still holds.
// Without an answer the configuration decides.
func (h *Hook) Decide(ctx context.Context, q *Question) Answer {
	key := pairKey{q.From.String(), q.To.String()}
	if a, ok := h.answers.get(key); ok && a.Verdict != imitated {
		h.metrics.Cached.Add(1)
		h.metrics.Verdicts[a.Verdict].Add(1)
		return a
	}
	a, err := h.ask(ctx, q)
	if err != nil {
		a = Answer{Verdict: Pass}
		if h.config.FailClosed {
			a.Verdict = Unavailable
		}
	} else if a.TTL > 0 {
		h.answers.put(key, a)
	}
	h.metrics.Verdicts[a.Verdict].Add(1)
	return a
}

// ask asks the program, if it is not known to fail.
func (h *Hook) ask(ctx context.Context, q *Question) (a Answer, err error) {
	if !h.breaker.allow() {
		h.metrics.Skipped.Add(1)
		return a, errSkipped
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, h.config.Budget)
	defer cancel()
	began := time.Now()
	select {
	case h.open <- struct{}{}:
		a, err = h.askWithin(ctx, q)
		<-h.open
	case <-ctx.Done():
		err = errBusy
	}
	took := time.Since(began)
	h.metrics.Duration.Observe(took)
	switch {
	case err == nil:
		h.recent.add(took, a.TTL)
		h.breaker.succeeded()
	default:
		h.recent.add(took, 0)
		h.metrics.Failed.Add(1)
		h.breaker.failed(err, outer.Err() == nil)
	}
	return a, err
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

// Imitate takes as long as Decide would for a message that the program need
// not be asked about, because it is refused anyway. Nobody learns from the time
// that they are blocked.
func (h *Hook) Imitate(ctx context.Context, from, to protocol.Address) {
	key := pairKey{from.String(), to.String()}
	if _, ok := h.answers.get(key); ok || !h.breaker.wouldAllow() {
		return
	}
	took, ttl := h.recent.sample()
	if took > 0 {
		t := time.NewTimer(took)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ttl > 0 {
		h.answers.put(key, Answer{Verdict: imitated, TTL: ttl})
	}
}

// imitated marks a pair that was not asked about.
const imitated Verdict = 0

// pairKey is a sender and a recipient.
type pairKey struct{ from, to string }

// answers remembers answers in two generations.
type answers struct {
	began    time.Time
	mu       sync.Mutex
	new, old map[pairKey]remembered
}

type remembered struct {
	Answer
	until time.Duration
}

// get returns the answer that holds for a pair.
func (s *answers) get(k pairKey) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.new[k]
	if !ok {
		r, ok = s.old[k]
	}
	return r.Answer, ok && time.Since(s.began) < r.until
}

func (s *answers) put(k pairKey, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.new) >= maxAnswers {
		s.old, s.new = s.new, nil
	}
	if s.new == nil {
		s.new = make(map[pairKey]remembered)
	}
	delete(s.old, k)
	s.new[k] = remembered{a, time.Since(s.began) + a.TTL}
}
