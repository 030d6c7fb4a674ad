package router

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// Drain says how a node's clients are moved to other nodes.
type Drain struct {
	// Target names where a client of that transport may go, or "": to the
	// site by its usual name. It is asked for each client; not ok: nobody
	// can take one at present, and it is asked again.
	Target func(protocol.Transport) (to string, ok bool)
	// Within is how long clients are given.
	Within time.Duration
	// Progress, if not nil, hears how many clients are still here.
	Progress func(left int)
}

// moves is what a draining node keeps in mind.
type moves struct{ drain atomic.Pointer[Drain] }

const (
	drainTick = 20 * time.Millisecond
	drainPace = 450 // clients a second; more only if there is no time
	moveShare = 0.8 // of the time: the rest is for those who were asked last
)

// Drain refuses new clients, asks all others to move, spread evenly over time,
// and returns when none is left. At ctx's deadline it says BYE to the rest.
// Undrain, called meanwhile, ends it early, as another Drain does, and the
// cancellation of ctx.
func (r *Router) Drain(ctx context.Context, d Drain) error {
	r.moves.drain.Store(&d)
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	w := newWave(&d, r.users.all)
	for {
		left := r.Connections()
		d.report(left)
		if left == 0 || r.moves.drain.Load() != &d {
			return nil
		}
		if ctx.Err() == nil {
			w.ask()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r.endDrain(ctx, &d)
		}
	}
}

// endDrain says BYE to who did not move in time, unless the drain was called off.
func (r *Router) endDrain(ctx context.Context, d *Drain) error {
	if r.moves.drain.Load() != d {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.byeAll(goingAway)
	}
	return ctx.Err()
}

const goingAway = "this node is going away"

func (d *Drain) report(left int) {
	if d.Progress != nil {
		d.Progress(left)
	}
}

// wave is a drain under way.
type wave struct {
	d     *Drain
	all   func() []*User
	asked map[*User]bool
	next  []*User   // not asked yet, as of the last look
	due   float64   // how many are to be asked now
	last  time.Time // by when all are to be asked
	end   time.Time
}

func newWave(d *Drain, all func() []*User) *wave {
	now := time.Now()
	asking := time.Duration(moveShare * float64(d.Within))
	return &wave{d: d, all: all, asked: map[*User]bool{}, last: now.Add(asking), end: now.Add(d.Within)}
}

// ask asks as many to move as are due in a tick.
func (w *wave) ask() {
	if len(w.next) == 0 {
		w.look()
	}
	for w.due += w.share(); w.due >= 1 && len(w.next) > 0; w.due-- {
		if !w.askOne(w.next[0]) {
			break
		}
		w.next = w.next[1:]
	}
	w.due = min(w.due, 1) // what could not be done is no reason to hurry later
}

// look finds those who were not asked yet: all, and then who came in the last moment.
func (w *wave) look() {
	for _, u := range w.all() {
		if !w.asked[u] {
			w.next = append(w.next, u)
		}
	}
	// A user's sessions go at different times: each is twice there for a moment.
	rand.Shuffle(len(w.next), func(i, j int) { w.next[i], w.next[j] = w.next[j], w.next[i] })
}

// share is how many are to be asked in a tick so that all are in time, but at
// the least what harms nobody.
func (w *wave) share() float64 {
	ticks := max(1, float64(time.Until(w.last))/float64(drainTick))
	return max(drainPace*drainTick.Seconds(), float64(len(w.next))/ticks)
}

// askOne is false if nobody can take a client at present.
func (w *wave) askOne(u *User) bool {
	to, ok := w.d.Target(u.client.Transport)
	if !ok {
		return false
	}
	w.asked[u] = true
	u.session.Move(to, max(time.Second, time.Until(w.end)), goingAway)
	return true
}

// Undrain takes clients again. Those who were asked to move may still go.
func (r *Router) Undrain() { r.moves.drain.Store(nil) }

// Draining reports whether clients are being moved away.
func (r *Router) Draining() bool { return r.moves.drain.Load() != nil }

// Connections returns how many authenticated connections this node holds.
func (r *Router) Connections() int {
	r.users.mu.RLock()
	defer r.users.mu.RUnlock()
	return r.users.count
}

// Listening returns how many sessions this node holds.
func (r *Router) Listening() int {
	r.users.mu.RLock()
	defer r.users.mu.RUnlock()
	return len(r.users.bySession)
}

func (r *Router) byeAll(why string) {
	for _, u := range r.users.all() {
		u.session.Bye(protocol.StatusUnavailable, why)
	}
}
