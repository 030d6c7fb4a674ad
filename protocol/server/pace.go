package server

import (
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// readPace limits how fast one connection is read, in octets, requests and
// errors a second. Above a limit reading pauses, so that TCP slows the client
// down. It belongs to the reader, except pendingErrors.
type readPace struct {
	octets, requests, errors rate.Bucket

	idn           int32         // octets of addresses that need IDNA, not yet charged to the owner
	pendingErrors atomic.Int32  // errors answered and not yet charged
	pausedUntil   time.Duration // since the session began; 0: not paused
}

// paceLimits are the limits for one kind of connections.
type paceLimits struct{ octets, requests, errors rate.Limit }

// Little is needed before AUTH. After it the limits exceed what an honest
// client does at full speed; SENDs have limits of their own.
var (
	earlyPace = paceLimits{rate.NewLimit(32<<10, 96<<10), rate.NewLimit(20, 60), rate.NewLimit(2, 10)}
	fullPace  = paceLimits{rate.NewLimit(256<<20, 256<<20), rate.NewLimit(5000, 20_000), rate.NewLimit(5, 20)}
)

func (s *session) paceLimits() *paceLimits {
	if s.state.isAuthenticated() {
		return &fullPace
	}
	return &earlyPace
}

// spendRead charges what was read, and the errors answered. It reports
// whether reading may continue; otherwise pace.pausedUntil says when.
func (s *session) spendRead(octets, requests int) bool {
	p, l := &s.pace, s.paceLimits()
	now := s.decoder.now.Sub(s.activity.start)
	p.octets.Spend(l.octets, octets, now)
	p.requests.Spend(l.requests, requests, now)
	p.errors.Spend(l.errors, min(int(p.pendingErrors.Swap(0)), maxErrorsOwed), now)
	wait := max(p.octets.Wait(l.octets, 1, now), p.requests.Wait(l.requests, 1, now), p.errors.Wait(l.errors, 1, now), s.spendIDN())
	if p.pausedUntil = 0; wait > 0 {
		p.pausedUntil = now + min(wait, maxPause)
		s.server.metrics.Throttled.Add(1)
	}
	return wait == 0
}

// pauseLeft returns how long reading still pauses; not positive: no longer.
func (s *session) pauseLeft() time.Duration { return s.pace.pausedUntil - time.Since(s.activity.start) }

// recheckPace checks the limits again after a pause, and reports whether
// reading continues; otherwise pausedUntil says when to check next.
func (s *session) recheckPace() bool {
	s.decoder.now = time.Now()
	return s.spendRead(0, 0)
}

// maxPause limits a pause, after which the limits are checked again, so that
// a connection that has ended meanwhile is noticed.
const maxPause = time.Second

// maxErrorsOwed limits the errors charged at a time.
const maxErrorsOwed = 300

// countError counts the response to an invalid request.
func (s *session) countError(status protocol.Status) {
	switch status {
	case protocol.StatusBadRequest, protocol.StatusUnauthorized, protocol.StatusForbidden, protocol.StatusUnknownVerb,
		protocol.StatusWrongState, protocol.StatusTooLarge, protocol.StatusTLSNeeded, protocol.StatusVersion:
		s.pace.pendingErrors.Add(1)
	}
}

// readTurn limits what is done for one connection before others have their
// turn.
type readTurn struct {
	lines int
	began time.Time
}

const (
	linesPerTurn = 128
	timePerTurn  = 200 * time.Microsecond
	linesPerLook = 8 // between looks at the clock
)

// isOver counts a line, and reports whether the turn has ended.
func (t *readTurn) isOver() bool {
	if t.lines++; t.lines >= linesPerTurn {
		return true
	}
	return t.lines%linesPerLook == 0 && time.Since(t.began) > timePerTurn
}

// Errors, and requests before AUTH, end a turn early.
const (
	errorsPerTurn        = 4
	earlyRequestsPerTurn = 8
)

// endsTurnEarly reports whether a turn ends after so many requests.
func (s *session) endsTurnEarly(requests int) bool {
	return s.pace.pendingErrors.Load() >= errorsPerTurn || s.pace.idn >= idnPerTurn || requests >= earlyRequestsPerTurn && !s.state.isAuthenticated()
}

// countRequest returns how many requests r counts for. After AUTH, requests
// with a limit of their own and responses are free.
func (s *session) countRequest(r *request) int {
	if r.line.Status == 0 && r.err == nil {
		r.countIDN() // also before AUTH has ended: it may have when r is executed
		if s.state.isAuthenticated() {
			s.pace.idn += int32(r.idn)
		}
	}
	if s.state.isAuthenticated() && (r.line.Status != 0 || r.line.Verb == "SEND" && r.err == nil) {
		return 0
	}
	return 1
}

// spendUser takes n tokens of a limit of the user, over all their
// connections. The error is 429 if the limit is used up. Other sites have
// other limits.
func (s *session) spendUser(l rate.Limit, of func(*tenant) *rate.Bucket, n int) error {
	if l.IsUnlimited() || s.client.User.IsZero() {
		return nil
	}
	now := time.Since(s.server.tenants.start)
	var wait time.Duration
	s.usage.withTenant(func(p *tenant) {
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
		Retry: retrySeconds(wait),
	}
}

func (s *session) spendCommand() error {
	return s.spendUser(s.server.tenants.limits.Load().Commands, func(p *tenant) *rate.Bucket { return &p.commands }, 1)
}

// linesPerCommand is the number of lines of a list that cost as much as a
// command: a thousand contacts with long names are 300 KB.
const linesPerCommand = 50

// chargeLines counts the lines of a list that is answered as commands, even
// if the limit is used up then: later requests wait for it.
func (s *session) chargeLines(lines int) {
	l := s.server.tenants.limits.Load().Commands
	if l.IsUnlimited() || lines < linesPerCommand {
		return
	}
	now := time.Since(s.server.tenants.start)
	s.usage.withTenant(func(p *tenant) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.commands.Spend(l, lines/linesPerCommand, now)
	})
}
