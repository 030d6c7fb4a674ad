package server

import (
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// pace limits how fast one connection is read: how many octets, requests and
// errors a second. Where one of them is more than its limit nothing is taken
// from the connection until it is not. The client is slowed down by TCP then,
// whatever it waits for: no answer of its own is needed to go on. It is the
// reader's, but for wrong.
type pace struct {
	octets, requests, errors rate.Bucket

	idn   int32         // octets of addresses that need IDNA, read and not in their owner's bucket yet
	wrong atomic.Int32  // errors that were answered and are not in the bucket yet
	until time.Duration // after the session began: when reading goes on; 0: now
}

// limitsOfPace are the limits of connections of one kind.
type limitsOfPace struct{ octets, requests, errors rate.Limit }

// Before AUTH little is needed. After it the limits are above what an honest
// client does at full speed; SENDs have limits of their own.
var (
	earlyPace = limitsOfPace{rate.NewLimit(32<<10, 96<<10), rate.NewLimit(20, 60), rate.NewLimit(2, 10)}
	fullPace  = limitsOfPace{rate.NewLimit(256<<20, 256<<20), rate.NewLimit(5000, 20_000), rate.NewLimit(5, 20)}
)

func (s *session) paceLimits() *limitsOfPace {
	if s.proved.Load() {
		return &fullPace
	}
	return &earlyPace
}

// spend takes what was read, and what was answered with an error, off the
// limits. It reports whether reading may go on at once; else pace.until says when.
func (s *session) spend(octets, requests int) bool {
	p, l := &s.pace, s.paceLimits()
	now := s.input.now.Sub(s.vigil.began)
	p.octets.Spend(l.octets, octets, now)
	p.requests.Spend(l.requests, requests, now)
	p.errors.Spend(l.errors, min(int(p.wrong.Swap(0)), maxErrorsOwed), now)
	wait := max(p.octets.Wait(l.octets, 1, now), p.requests.Wait(l.requests, 1, now), p.errors.Wait(l.errors, 1, now), s.spendIDN())
	if p.until = 0; wait > 0 {
		p.until = now + min(wait, longestPace)
		s.server.metrics.Slowed.Add(1)
	}
	return wait == 0
}

// untilPaced returns how long reading still pauses; zero or less: not any more.
func (s *session) untilPaced() time.Duration { return s.pace.until - time.Since(s.vigil.began) }

// mayRead looks at the limits again after a pause, and reports whether reading
// goes on; else p.until is when to look next.
func (s *session) mayRead() bool {
	s.input.now = time.Now()
	return s.spend(0, 0)
}

// longestPace is how long reading pauses at most before the limits are looked
// at again: by then a connection that has ended meanwhile is found.
const longestPace = time.Second

// maxErrorsOwed is how many errors count that were answered aside since the
// last turn.
const maxErrorsOwed = 300

// erred counts an answer for what was asked wrongly.
func (s *session) erred(status protocol.Status) {
	switch status {
	case protocol.StatusBadRequest, protocol.StatusUnauthorized, protocol.StatusForbidden, protocol.StatusUnknownVerb,
		protocol.StatusWrongState, protocol.StatusTooLarge, protocol.StatusTLSNeeded, protocol.StatusVersion:
		s.pace.wrong.Add(1)
	}
}

// turn bounds what is done for one connection before others have their turn.
type turn struct {
	lines int
	began time.Time
}

const (
	linesPerTurn = 128
	timePerTurn  = 200 * time.Microsecond
	linesPerLook = 8 // at the clock
)

// isOver counts a line, and reports whether the others' turn has come.
func (t *turn) isOver() bool {
	if t.lines++; t.lines >= linesPerTurn {
		return true
	}
	return t.lines%linesPerLook == 0 && time.Since(t.began) > timePerTurn
}

// errorsPerTurn ends a turn early, so that an error is answered late rather
// than owed for long; so does a request before AUTH.
const (
	errorsPerTurn        = 4
	earlyRequestsPerTurn = 8
)

// isPressing reports whether a turn ends early after so many requests.
func (s *session) isPressing(requests int) bool {
	return s.pace.wrong.Load() >= errorsPerTurn || s.pace.idn >= idnPerTurn || requests >= earlyRequestsPerTurn && !s.proved.Load()
}

// paceCost counts r, and returns how many requests it counts for. After AUTH those that have a
// limit of their own, or answer one of ours, cost nothing.
func (s *session) paceCost(r *request) int {
	if s.proved.Load() && r.line.Status == 0 && r.wrong == nil {
		r.countIDN()
		s.pace.idn += int32(r.idn)
	}
	if s.proved.Load() && (r.line.Status != 0 || r.line.Verb == "SEND" && r.wrong == nil) {
		return 0
	}
	return 1
}

// spendUser takes n from a limit of the user's, all their connections together,
// unless it is used up: that is a 429. Other sites have other limits.
func (s *session) spendUser(l rate.Limit, of func(*party) *rate.Bucket, n int) error {
	if l.IsUnlimited() || s.client.User.IsZero() {
		return nil
	}
	now := time.Since(s.server.parties.start)
	var wait time.Duration
	s.usage.withParty(func(p *party) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if wait = of(p).Wait(l, 1, now); wait == 0 {
			of(p).Spend(l, n, now)
		}
	})
	if wait == 0 {
		return nil
	}
	return &protocol.Error{
		Status: protocol.StatusSlowDown, Text: "too many requests of this user",
		Retry: int((wait + time.Second - 1) / time.Second),
	}
}

func (s *session) spendCommand() error {
	return s.spendUser(s.server.parties.limits.Load().Commands, func(p *party) *rate.Bucket { return &p.commands }, 1)
}

func (s *session) spendMessages(n int) error {
	return s.spendUser(s.server.parties.limits.Load().Messages, func(p *party) *rate.Bucket { return &p.messages }, n)
}
