package client

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"simpd/protocol"
)

// partner is what there is with one other site for one own domain: what waits
// for it, the routing connection, and for how long it is left alone after a
// failure.
type partner struct {
	way
	relay *Relay
	tried protocol.Address // for whom it was made; zero once a connection came about; relay.mu guards it

	mu    sync.Mutex
	after []func() // to be called once mu is released
	gone  bool     // forgotten: nothing may be put in

	queue      []*errand // that wait for a connection, or for room on it
	held       int       // octets of those
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
	maxWaiting       = 1024
	maxWaitingOctets = 8 << 20
	maxUpstreams     = 10_000
	keptIdle         = 5 * time.Minute // a connection that is not used, and the memory of failures
	shortestRetry    = 500 * time.Millisecond
	longestRetry     = time.Minute
)

func newPartner(r *Relay, w way) *partner {
	return &partner{relay: r, way: w, upstreams: make(map[pair]*upstream), used: time.Now()}
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
	case len(p.queue) >= maxWaiting || p.held+len(e.body) > maxWaitingOctets:
		p.finish(e, answer{failed: protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "too much waits for " + p.other}})
		return true
	}
	p.put(e)
	p.proceed()
	return true
}

// resting tells whether the other site is left alone after a failure.
func (p *partner) resting() bool { return p.route == nil && time.Now().Before(p.retry) }

func (p *partner) put(e *errand) {
	p.queue = append(p.queue, e)
	p.held += len(e.body)
	p.soonest = earlier(e.until, p.soonest)
}

// proceed does what can be done now, and sees to it that the rest is done in
// time. p.mu is held.
func (p *partner) proceed() {
	now := time.Now()
	p.expire(now)
	p.askAgain(now)
	for p.route != nil && len(p.queue) > 0 && p.route.hasRoom() {
		e := p.queue[0]
		if !p.route.hand(e, now) {
			break
		}
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.held -= len(e.body)
	}
	if p.busy() {
		p.used = now
	}
	if p.wanted() && p.route == nil && !p.connecting && !now.Before(p.retry) {
		p.connect()
	}
	p.arm(now)
}

// wanted tells whether a connection is.
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
		p.held -= len(e.body)
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
	pause := min(longestRetry, shortestRetry<<min(p.failures-1, 10))
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
		p.finish(e, answer{failed: why})
	}
	p.queue, p.held = nil, 0
}

// lost takes it that a connection has ended. p.mu is held.
func (p *partner) lost(rt *route, why error) {
	var again []*errand
	for _, e := range rt.left() {
		switch {
		case rt.out.mayBeOut(e.end):
			p.finish(e, answer{})
		case !e.watch:
			again = append(again, e)
			p.held += len(e.body)
			p.soonest = earlier(e.until, p.soonest)
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
	if p.route != rt {
		return
	}
	p.route = nil
	p.queue = slices.DeleteFunc(p.queue, func(e *errand) bool { return e.watch })
	if rt.served && time.Since(rt.began) >= steady {
		p.failures = 0
		return
	}
	p.fail(outcomeOf(why))
}

// close ends everything with the other site, whatever waits or is under way. It
// returns what was watched.
func (p *partner) close(why protocol.Outcome) (watched map[pair]func(protocol.Presence)) {
	p.mu.Lock()
	p.gone = true
	watched = p.wishes()
	p.failAll(why)
	routes := []*route{p.route, p.old}
	for _, u := range p.upstreams {
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

// arm sets the alarm to when something has to be looked at. p.mu is held.
func (p *partner) arm(now time.Time) {
	if p.gone {
		return
	}
	at := earlier(p.used.Add(keptIdle), p.soonest)
	switch {
	case p.route != nil:
		at = earlier(at, p.again)
	case p.wanted() && !p.connecting:
		at = earlier(at, p.retry)
	}
	for _, rt := range []*route{p.route, p.old} {
		if rt != nil {
			at = earlier(at, rt.soonest)
		}
	}
	if !p.due.IsZero() && !at.Before(p.due) {
		return // it rings before that, and is set anew
	}
	p.due = at
	if p.alarm == nil {
		p.alarm = time.AfterFunc(at.Sub(now), p.ring)
		return
	}
	p.alarm.Reset(at.Sub(now))
}

// earlier returns the earlier of two times, of which b may be zero: none.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// ring looks at what is due.
func (p *partner) ring() {
	p.mu.Lock()
	defer p.unlock()
	if p.gone {
		return
	}
	p.due = time.Time{}
	now := time.Now()
	for _, rt := range []*route{p.route, p.old} {
		if rt != nil {
			rt.overdue(now)
		}
	}
	if !p.busy() && now.Sub(p.used) >= keptIdle {
		p.leave()
		return
	}
	p.proceed()
}

// leave forgets a partner that was not used for long.
func (p *partner) leave() {
	p.gone = true
	if p.route != nil {
		p.route.quit()
	}
	p.relay.drop(p)
}
