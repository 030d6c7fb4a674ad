// Package rate limits how often something may happen, with token buckets that
// take 8 octets each. It implements the generic cell rate algorithm (GCRA,
// ITU-T I.371): instead of a number of tokens a bucket holds the time at which
// it will be full again.
package rate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limit is a sustained rate and a burst. The zero Limit is no limit.
type Limit struct {
	interval time.Duration // in which one token comes
	depth    time.Duration // in which an empty bucket fills
}

// Unlimited is the Limit that allows everything.
var Unlimited Limit

// NewLimit returns the limit of perSecond tokens a second, and burst at once. A
// burst below one is one. It panics if perSecond is not positive.
func NewLimit(perSecond, burst float64) Limit {
	if !(perSecond > 0) {
		panic(fmt.Sprintf("rate: %v tokens a second", perSecond))
	}
	interval := clampDuration(float64(time.Second) / perSecond)
	return Limit{interval, clampDuration(math.Max(burst, 1) * float64(interval))}
}

func clampDuration(ns float64) time.Duration {
	return time.Duration(math.Min(math.Max(ns, 1), math.MaxInt64/8))
}

// Divide returns the limit for events of which n count as one event of l.
func (l Limit) Divide(n int) Limit {
	if l.IsUnlimited() {
		return l
	}
	return Limit{max(l.interval/time.Duration(n), 1), l.depth}
}

// ScaleBurst returns the limit with n times the burst of l.
func (l Limit) ScaleBurst(n int) Limit {
	return Limit{l.interval, clampDuration(float64(l.depth) * float64(n))}
}

// Parse reads RATE[:BURST], both positive decimal numbers, or "off". Without
// BURST it is the rate, but at least 1.
func Parse(s string) (Limit, error) {
	if s == "off" {
		return Unlimited, nil
	}
	r, b, hasBurst := strings.Cut(s, ":")
	perSecond, err := parsePositive(r)
	if err != nil {
		return Limit{}, fmt.Errorf("invalid limit %q: must be RATE[:BURST] in events a second, or off", s)
	}
	burst := math.Max(perSecond, 1)
	if hasBurst {
		if burst, err = parsePositive(b); err != nil || burst < 1 {
			return Limit{}, fmt.Errorf("invalid limit %q: the burst must be a number of at least 1", s)
		}
	}
	return NewLimit(perSecond, burst), nil
}

func parsePositive(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0) || v > 1e9 {
		return 0, errors.New("not a positive number")
	}
	return v, nil
}

// IsUnlimited reports whether l allows everything.
func (l Limit) IsUnlimited() bool { return l.interval == 0 }

// FillTime returns how long an empty bucket takes until it is full.
func (l Limit) FillTime() time.Duration { return l.depth }

// String returns the limit as Parse reads it.
func (l Limit) String() string {
	if l.IsUnlimited() {
		return "off"
	}
	format := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	return format(float64(time.Second)/float64(l.interval)) + ":" + format(float64(l.depth)/float64(l.interval))
}

// Bucket is a token bucket. The zero Bucket is full. Its times are the time
// that has passed on a clock of the caller's, such as time.Since the start of a
// connection: they begin at zero or later and never go back. A Bucket may be
// used by one goroutine at a time.
type Bucket struct {
	full time.Duration // when it is full again
}

// Take takes n tokens at the time now, and reports whether there were as many.
// If there were not, none is taken. More tokens than the burst are never there.
func (b *Bucket) Take(l Limit, n int, now time.Duration) bool {
	if l.IsUnlimited() {
		return true
	}
	full := max(b.full, now) + l.cost(n)
	if full-now > l.depth {
		return false
	}
	b.full = full
	return true
}

// Spend takes n tokens at the time now even if there are fewer: the bucket then
// owes them, for at most an hour.
func (b *Bucket) Spend(l Limit, n int, now time.Duration) {
	if !l.IsUnlimited() {
		b.full = min(max(b.full, now)+l.cost(n), now+max(time.Hour, l.depth))
	}
}

// Wait returns how long after now the bucket will hold n tokens, or as many as
// the burst where that is less; zero if it does already.
func (b *Bucket) Wait(l Limit, n int, now time.Duration) time.Duration {
	if l.IsUnlimited() {
		return 0
	}
	return max(0, max(b.full, now)+min(l.cost(n), l.depth)-l.depth-now)
}

// LimitDebt has an emptied bucket hold what an empty one holds under l, which
// replaces another limit: it is full after l's burst has come, at the latest.
func (b *Bucket) LimitDebt(l Limit, now time.Duration) {
	if !l.IsUnlimited() {
		b.full = min(b.full, now+l.depth)
	}
}

// IsFull reports whether nothing was taken lately: the bucket may be forgotten.
func (b *Bucket) IsFull(now time.Duration) bool { return b.full <= now }

// cost returns how long n tokens take to come.
func (l Limit) cost(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	if time.Duration(n) > math.MaxInt64/8/l.interval {
		return math.MaxInt64 / 8
	}
	return time.Duration(n) * l.interval
}

// Return puts n tokens back that were taken by mistake or in advance.
func (b *Bucket) Return(l Limit, n int) {
	if !l.IsUnlimited() {
		b.full -= l.cost(n)
	}
}

// FullIn returns how long after now the bucket will be full.
func (b *Bucket) FullIn(now time.Duration) time.Duration { return max(0, b.full-now) }

// Used returns how many tokens the bucket lacks at the time now.
func (b *Bucket) Used(l Limit, now time.Duration) int {
	if l.IsUnlimited() {
		return 0
	}
	return int((b.FullIn(now) + l.interval - 1) / l.interval)
}
