package client

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// partner is what there is with one other site for one own domain: what waits
// for it, the routing connection, and for how long it is left alone after a
// failure.
type partner struct {
	way
	relay   *Relay
	account *account
	by      protocol.Address // for whom it was made
	place   share            // of by, in the table; relay.mu guards it
	evicted bool             // its place is another's; relay.mu guards it
	tried   bool             // no connection has come about yet, as counts for by; relay.mu guards it
	idle    atomic.Int64     // since when it has had nothing to do, in Unix nanoseconds; 0: it has
	waiting shares           // of what waits for the other site, or is not answered
	watches shares           // of upstreams

	mu    sync.Mutex
	after []func() // to be called once mu is released
	gone  bool     // forgotten: nothing may be put in

	queue      []*errand // that wait for a connection, or for room on it
	soonest    time.Time // when the first of them is too late; zero: none is
	route      *route    // nil: there is none
	old        *route    // being left, after a MOVE
	connecting bool
	failures   int              // in a row
	retry      time.Time        // no connection is tried before
	why        protocol.Outcome // what the last failure means to a message
	used       time.Time        // when there was last something to do
	alarm      *time.Timer
	due        time.Time // of the alarm; zero: it is not set

	upstreams map[pair]*upstream
	again     time.Time // when the first of those that were refused is asked for again; zero: none was
	telling   bool
	tellings  []telling
	merged    int // of them, were left when they were merged
}

// Bounds on what one other site may cost.
const (
	maxWaiting    = 4096 // messages and questions that wait or are not answered, or places of 16 KiB
	maxUpstreams  = 10_000
	keptIdle      = 5 * time.Minute // a connection that is not used, and the memory of failures
	shortestRetry = 500 * time.Millisecond
	longestRest   = time.Minute
)

func newPartner(r *Relay, w way, a *account, by protocol.Address) *partner {
	return &partner{
		relay: r, way: w, account: a, by: by, waiting: newShares(maxWaiting), watches: newShares(maxUpstreams),
		upstreams: make(map[pair]*upstream), used: time.Now(),
	}
}

// unlock releases p.mu and then calls whom p.after names.
func (p *partner) unlock() {
	after := p.after
	p.after = nil
	p.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// finish tells an errand its answer, once the lock is released. p.mu is held.
func (p *partner) finish(e *errand, a answer) {
	if e.done != nil && !e.told {
		e.told = true
		p.after = append(p.after, func() { e.done(a) })
	}
}

// run has an errand done; false: the partner was forgotten meanwhile.
func (p *partner) run(e *errand) bool {
	p.mu.Lock()
	defer p.unlock()
	if p.gone {
		return false
	}
	switch {
	case p.resting():
		p.finish(e, answer{failed: p.why})
		return true
	case !p.admit(e):
		p.finish(e, answer{failed: protocol.Outcome{Status: protocol.StatusSlowDown, Text: "too much of what you have sent to other sites is not answered yet"}})
		return true
	}
	p.put(e)
	p.proceed()
	return true
}

// admit holds what an errand costs for whom it is made, and reports whether
// their shares allow it: of what is under way with this site, and with all.
func (p *partner) admit(e *errand) bool {
	return e.share.add(p.waiting.owners, place+len(e.body)) && e.share.add(p.relay.senders, e.cost())
}

// release gives back what an errand holds.
func (p *partner) release(e *errand) {
	e.share.release()
	p.account.memory.Release(e.kept)
	e.kept = 0
}

// resting reports whether the other site is left alone after a failure.
func (p *partner) resting() bool { return p.route == nil && time.Now().Before(p.retry) }

func (p *partner) put(e *errand) {
	p.queue = append(p.queue, e)
	p.soonest = earlier(e.until, p.soonest)
}

// proceed does what can be done now, and sees to it that the rest is done in
// time. p.mu is held.
func (p *partner) proceed() {
	now := time.Now()
	p.expire(now)
	p.askAgain(now)
	p.handOver(now)
	p.idle.Store(now.UnixNano())
	if p.busy() {
		p.used = now
		p.idle.Store(0)
	}
	if p.wanted() && p.route == nil && !p.connecting && !now.Before(p.retry) {
		p.connect()
	}
	p.arm(now)
}

// handOver gives the connection what waits and it has room for. Each user's
// errands stay in their order; who has more than a fair share of what the
// other site takes at a time waits for those who have less. p.mu is held.
func (p *partner) handOver(now time.Time) {
	for p.route != nil && p.route.hasRoom() {
		i := slices.IndexFunc(p.queue, func(e *errand) bool { return p.route.hasShare(e.share.user) })
		if i < 0 || !p.route.hand(p.queue[i], now) {
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

// wanted reports whether a connection is.
func (p *partner) wanted() bool { return !p.gone && (len(p.queue) > 0 || len(p.upstreams) > 0) }

func (p *partner) busy() bool {
	return p.wanted() || p.connecting || p.route != nil && len(p.route.open) > 0
}

// expire answers what can't be handed over in time any more.
func (p *partner) expire(now time.Time) {
	if p.soonest.IsZero() || now.Before(p.soonest) {
		return
	}
	p.soonest = time.Time{}
	p.queue = slices.DeleteFunc(p.queue, func(e *errand) bool {
		if now.Before(e.until) {
			p.soonest = earlier(e.until, p.soonest)
			return false
		}
		p.release(e)
		if e.apply != nil {
			e.apply(answer{})
		}
		p.finish(e, answer{failed: protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection to " + p.other + " came about in time"}})
		return true
	})
}

// connect begins to make a connection. p.mu is held.
func (p *partner) connect() {
	p.connecting = true
	p.relay.wg.Go(func() { p.connected(p.relay.open(p.relay.ctx, p.way)) })
}

// connected takes a new connection, or learns why there is none.
func (p *partner) connected(o *opening, err error) {
	p.mu.Lock()
	defer p.unlock()
	p.connecting = false
	switch {
	case err != nil:
		p.relay.Logger.Info("another site can't be reached", "domain", p.other, "as", p.own, "error", err)
		p.fail(outcomeOf(err))
	case p.gone:
		_ = o.Close()
		return
	case !p.relay.holdConnection(p, o.cost()):
		_ = o.Close()
		p.fail(protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "the connections to domains of " + p.account.name + " take too much memory"})
	default:
		p.relay.Logger.Debug("connected to another site", "domain", p.other, "as", p.own, "at", o.target)
		if p.old != nil {
			p.old.quit()
		}
		p.old, p.route = p.route, newRoute(p, o)
		p.relay.reached(p)
		p.watchAgain()
	}
	p.proceed()
}

// fail leaves the other site alone for a while; what waits is told why. p.mu
// is held.
func (p *partner) fail(why protocol.Outcome) {
	p.failures++
	p.why = why
	pause := min(longestRest, shortestRetry<<min(p.failures-1, 10))
	p.retry = time.Now().Add(pause/2 + rand.N(pause/2))
	p.relay.names.forgetDomain(p.other)
	if p.route != nil {
		return // after a MOVE: the old one still serves
	}
	p.failAll(why)
	for _, u := range p.upstreams {
		p.blind(u)
	}
}

// failAll answers everything that waits, of which nothing was handed over.
func (p *partner) failAll(why protocol.Outcome) {
	for _, e := range p.queue {
		p.release(e)
		p.finish(e, answer{failed: why})
	}
	p.queue = nil
}

// lost takes it that a connection has ended. p.mu is held.
func (p *partner) lost(rt *route, why error) {
	var again []*errand
	for _, e := range rt.left() {
		switch {
		case rt.out.mayBeOut(e.end):
			p.release(e)
			p.finish(e, answer{})
		case !e.watch:
			again = append(again, e)
			p.soonest = earlier(e.until, p.soonest)
		default:
			p.release(e)
		}
	}
	if p.old == rt {
		p.old = nil
	}
	for _, u := range p.upstreams {
		if u.via == rt || u.asked == rt {
			u.via, u.asked = nil, nil
			p.blind(u)
		}
	}
	p.queue = slices.Concat(again, p.queue)
	if p.gone {
		p.failAll(p.why)
		return
	}
	if p.route != rt {
		return
	}
	p.route = nil
	p.queue = slices.DeleteFunc(p.queue, func(e *errand) bool { return e.watch })
	if rt.served && time.Since(rt.began) >= steady && !errors.Is(why, ErrProtocol) {
		p.failures = 0
		return
	}
	p.fail(outcomeOf(why))
}

// close ends everything with the other site, whatever waits or is under way. It
// returns what was watched.
func (p *partner) close(why protocol.Outcome) (watched map[pair]func(protocol.Presence)) {
	p.mu.Lock()
	p.gone, p.why = true, why
	watched = p.wishes()
	p.failAll(why)
	routes := []*route{p.route, p.old}
	for _, u := range p.upstreams {
		u.share.release()
		p.blind(u)
	}
	clear(p.upstreams)
	if p.alarm != nil {
		p.alarm.Stop()
	}
	p.unlock()
	for _, rt := range routes {
		if rt != nil {
			rt.end(ErrClosed)
		}
	}
	p.relay.drop(p)
	return watched
}

// wishes is who wants to know of whom, as they named them. p.mu is held.
func (p *partner) wishes() map[pair]func(protocol.Presence) {
	all := make(map[pair]func(protocol.Presence), len(p.upstreams))
	for _, u := range p.upstreams {
		for of, tell := range u.tell {
			all[pair{u.by, of}] = tell
		}
	}
	return all
}
