package federation

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/wait"
)

// remoteDomain is the state of one remote domain for one local domain: queued
// requests, the routing connection, the watches, and the backoff after
// failures.
type remoteDomain struct {
	domainPair
	relay          *Relay
	registrant     *registrant
	owner          protocol.Address // the user for whom it was created
	placeShare     userShare        // owner's, of the table; relay.mu guards it
	evicted        bool             // its place was given to another; relay.mu guards it
	attemptCounted bool             // counts as an attempt of owner, since no connection has been established; relay.mu guards it
	idleSince      atomic.Int64     // nanoseconds since relay.started; 0 while it is busy
	requestShares  userShares       // of queued and unanswered requests
	watchShares    userShares       // of watches

	mu            sync.Mutex
	deferredCalls []func() // called when mu is released
	closed        bool     // removed: accepts nothing

	queue        []*s2sRequest // waiting for a connection, or for room on it
	nextDeadline time.Time     // of the queued requests; zero: none
	conn         *s2sConn      // nil without a connection
	oldConn      *s2sConn      // being left after a MOVE
	connecting   bool
	failures     int              // in a row
	retryAt      time.Time        // no connection is attempted before
	failure      protocol.Outcome // outcome of messages because of the last failure
	lastUsed     time.Time        // when there was last something to do
	timer        *time.Timer
	timerAt      time.Time // zero: the timer is not set

	watches        map[pair]*remoteWatch
	retryWatchesAt time.Time // when the next refused watch is retried; zero: none
	delivering     bool
	updates        []presenceUpdate
	mergedUpdates  int // left of updates after the last merge
}

// Limits on the cost of one remote domain.
const (
	maxRequestPlaces = 4096 // messages and questions that wait or are not answered, or places of 16 KiB
	maxWatches       = 10_000
	maxIdle          = 5 * time.Minute // a connection that is not used, and the memory of failures
	minRetry         = 500 * time.Millisecond
	maxRetry         = time.Minute
	shareRetry       = 5                // seconds until a user may have room for more again
	stableConnection = 30 * time.Second // a connection that lasted so long resets the backoff
)

func newRemoteDomain(r *Relay, w domainPair, a *registrant, by protocol.Address) *remoteDomain {
	return &remoteDomain{
		relay: r, domainPair: w, registrant: a, owner: by, requestShares: newUserShares(maxRequestPlaces), watchShares: newUserShares(maxWatches),
		watches: make(map[pair]*remoteWatch), lastUsed: time.Now(),
	}
}

// unlockAndCall releases p.mu and then makes the deferred calls.
func (p *remoteDomain) unlockAndCall() {
	after := p.deferredCalls
	p.deferredCalls = nil
	p.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// complete schedules e.done for when the lock is released. The caller holds
// p.mu.
func (p *remoteDomain) complete(e *s2sRequest, a s2sResponse) {
	if e.done != nil && !e.answered {
		e.answered = true
		p.deferredCalls = append(p.deferredCalls, func() { e.done(a) })
	}
}

// submit queues a request. It returns false if the remoteDomain has been
// closed.
func (p *remoteDomain) submit(e *s2sRequest) bool {
	p.mu.Lock()
	defer p.unlockAndCall()
	if p.closed {
		return false
	}
	switch {
	case p.isBackingOff():
		p.complete(e, s2sResponse{failed: p.failure})
		return true
	case !p.reserve(e):
		p.complete(e, s2sResponse{failed: protocol.Outcome{Status: protocol.StatusSlowDown, Retry: shareRetry, Text: "too much of what you have sent to other sites is not answered yet"}})
		return true
	}
	p.enqueue(e)
	p.advance()
	return true
}

// reserve reserves what a request costs from its user's shares, and reports
// whether they allow it: of the requests to this domain, and of those to all
// domains.
func (p *remoteDomain) reserve(e *s2sRequest) bool {
	return e.share.reserve(p.requestShares.owners, placeOctets+len(e.body)) && e.share.reserve(p.relay.senderShares, e.memory())
}

// release returns what a request has reserved.
func (p *remoteDomain) release(e *s2sRequest) {
	e.share.release()
	p.registrant.memoryShare.Release(e.reserved)
	e.reserved = 0
}

// isBackingOff reports whether no connection is attempted because of a
// failure.
func (p *remoteDomain) isBackingOff() bool { return p.conn == nil && time.Now().Before(p.retryAt) }

func (p *remoteDomain) enqueue(e *s2sRequest) {
	p.queue = append(p.queue, e)
	p.nextDeadline = wait.Earlier(e.deadline, p.nextDeadline)
}

// setIdleSince records that nothing is to be done since now, or that something
// is. It counts by the monotonic clock, so that a step of the wall clock does
// not change which remote domain has been idle longest. The caller holds p.mu.
func (p *remoteDomain) setIdleSince(now time.Time) {
	p.idleSince.Store(max(1, now.Sub(p.relay.started).Nanoseconds()))
	if p.isBusy() {
		p.lastUsed = now
		p.idleSince.Store(0)
	}
}

// advance does what can be done now, and sets the timer for the rest. The
// caller holds p.mu.
func (p *remoteDomain) advance() {
	now := time.Now()
	p.expireQueue(now)
	p.retryRefused(now)
	p.sendQueued(now)
	p.setIdleSince(now)
	if p.needsConn() && p.conn == nil && !p.connecting && !now.Before(p.retryAt) {
		p.startConnect()
	}
	p.armTimer(now)
}

// sendQueued sends queued requests as far as the connection has room. The
// requests of one user stay in order; a user above their fair share of the
// requests in flight waits for others. The caller holds p.mu.
func (p *remoteDomain) sendQueued(now time.Time) {
	for p.conn != nil && p.conn.hasRoom() {
		i := slices.IndexFunc(p.queue, func(e *s2sRequest) bool { return p.conn.hasShare(e.share.user) })
		if i < 0 || !p.conn.sendRequest(p.queue[i], now) {
			return
		}
		if i > 0 {
			p.queue = slices.Delete(p.queue, i, i+1)
			continue
		}
		p.queue[0] = nil
		p.queue = p.queue[1:]
	}
}

// needsConn reports whether a connection is needed.
func (p *remoteDomain) needsConn() bool { return !p.closed && (len(p.queue) > 0 || len(p.watches) > 0) }

func (p *remoteDomain) isBusy() bool {
	return p.needsConn() || p.connecting || p.conn != nil && len(p.conn.inflight) > 0
}

// expireQueue ends queued requests whose deadline has passed.
func (p *remoteDomain) expireQueue(now time.Time) {
	if p.nextDeadline.IsZero() || now.Before(p.nextDeadline) {
		return
	}
	p.nextDeadline = time.Time{}
	p.queue = slices.DeleteFunc(p.queue, func(e *s2sRequest) bool {
		if now.Before(e.deadline) {
			p.nextDeadline = wait.Earlier(e.deadline, p.nextDeadline)
			return false
		}
		p.release(e)
		if e.apply != nil {
			e.apply(s2sResponse{})
		}
		p.complete(e, s2sResponse{failed: protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection to " + p.remote + " came about in time"}})
		return true
	})
}

// startConnect starts to make a connection. The caller holds p.mu.
func (p *remoteDomain) startConnect() {
	p.connecting = true
	p.relay.wg.Go(func() { p.onConnectResult(p.relay.dialS2S(p.relay.ctx, p.domainPair)) })
}

// onConnectResult handles a new connection, or the error.
func (p *remoteDomain) onConnectResult(o *outbound.Conn, err error) {
	p.mu.Lock()
	defer p.unlockAndCall()
	p.connecting = false
	switch {
	case err != nil:
		p.relay.config.Logger.Info("another site can't be reached", "domain", p.remote, "as", p.local, "error", err)
		p.onFailure(failureOutcome(err))
	case p.closed:
		_ = o.Close()
		return
	case !p.relay.reserveConnection(p, connMemory(o)):
		_ = o.Close()
		p.onFailure(protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "the connections to domains of " + p.registrant.name + " take too much memory"})
	default:
		p.relay.config.Logger.Debug("connected to another site", "domain", p.remote, "as", p.local, "at", o.Target)
		if p.oldConn != nil {
			p.oldConn.quitLocked()
		}
		p.oldConn, p.conn = p.conn, newS2SConn(p, o)
		p.relay.onConnected(p)
		p.restoreWatches()
	}
	p.advance()
}

// backOff starts a backoff after a failure. The caller holds p.mu.
func (p *remoteDomain) backOff(why protocol.Outcome) {
	p.failures++
	p.failure = why
	pause := min(maxRetry, minRetry<<min(p.failures-1, 10))
	p.retryAt = time.Now().Add(pause/2 + rand.N(pause/2))
	p.relay.dns.removeDomain(p.remote)
}

// onFailure handles that no connection came about: it starts a backoff, and
// ends what is queued. The caller holds p.mu.
func (p *remoteDomain) onFailure(why protocol.Outcome) {
	p.backOff(why)
	if p.conn != nil {
		return // after a MOVE: the old one still serves
	}
	p.failQueue(why, isAny)
	p.markAllUnknown()
}

func (p *remoteDomain) markAllUnknown() {
	for _, u := range p.watches {
		p.markUnknown(u)
	}
}

// isAny is for failQueue, to end all requests.
func isAny(*s2sRequest) bool { return true }

// failQueue ends the queued requests for which fails returns true. None of them
// was sent, except some that only ask.
func (p *remoteDomain) failQueue(why protocol.Outcome, fails func(*s2sRequest) bool) {
	p.queue = slices.DeleteFunc(p.queue, func(e *s2sRequest) bool {
		if !fails(e) {
			return false
		}
		p.release(e)
		p.complete(e, s2sResponse{failed: why})
		return true
	})
}

// takeUnanswered ends the requests in flight on a connection that has ended,
// and returns those that may be sent on the next one: those that were certainly
// not sent, and those that only ask.
func (p *remoteDomain) takeUnanswered(rt *s2sConn, why error) (again []*s2sRequest) {
	for _, e := range rt.takeInflight() {
		sent := rt.out.MayBeSent(e.endOffset)
		switch {
		case !sent && !e.isWatch, sent && e.mayRepeat(why):
			p.registrant.memoryShare.Release(e.reserved)
			e.reserved = 0
			again = append(again, e)
			p.nextDeadline = wait.Earlier(e.deadline, p.nextDeadline)
		default:
			p.release(e)
			if sent {
				p.complete(e, s2sResponse{})
			}
		}
	}
	return again
}

// onConnLost handles the end of a connection. The caller holds p.mu.
func (p *remoteDomain) onConnLost(rt *s2sConn, why error) {
	again := p.takeUnanswered(rt, why)
	if p.oldConn == rt {
		p.oldConn = nil
	}
	for _, u := range p.watches {
		if u.conn == rt || u.pendingConn == rt {
			u.conn, u.pendingConn = nil, nil
			p.markUnknown(u)
		}
	}
	p.queue = slices.Concat(again, p.queue)
	if p.closed {
		p.failQueue(p.failure, isAny)
		return
	}
	if p.conn != rt {
		return
	}
	p.conn = nil
	p.queue = slices.DeleteFunc(p.queue, func(e *s2sRequest) bool { return e.isWatch })
	if rt.hasAnswered && time.Since(rt.connectedAt) >= stableConnection && !errors.Is(why, outbound.ErrProtocol) {
		p.failures = 0
		return
	}
	p.backOff(failureOutcome(why))
	p.failQueue(p.failure, func(e *s2sRequest) bool { return !e.mayRepeat(why) })
	p.markAllUnknown()
}

// close ends everything with the remote domain. It returns what was watched.
func (p *remoteDomain) close(why protocol.Outcome) (watched map[pair]func(protocol.Presence)) {
	p.mu.Lock()
	p.closed, p.failure = true, why
	watched = p.watchers()
	p.failQueue(why, isAny)
	routes := []*s2sConn{p.conn, p.oldConn}
	for _, u := range p.watches {
		u.share.release()
		p.markUnknown(u)
	}
	clear(p.watches)
	if p.timer != nil {
		p.timer.Stop()
	}
	p.unlockAndCall()
	for _, rt := range routes {
		if rt != nil {
			rt.endWith(errClosed)
		}
	}
	p.relay.remove(p)
	return watched
}

// watchers returns the functions that receive presences, by the pair as it
// was requested. The caller holds p.mu.
func (p *remoteDomain) watchers() map[pair]func(protocol.Presence) {
	all := make(map[pair]func(protocol.Presence), len(p.watches))
	for _, u := range p.watches {
		for of, tell := range u.tell {
			all[pair{u.by, of}] = tell
		}
	}
	return all
}
