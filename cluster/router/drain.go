package router

import (
	"context"
	"errors"
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
	drainTick = 50 * time.Millisecond
	drainPace = 1500 * time.Microsecond // between two clients, on average
)

// Drain refuses new clients, asks all others to move, spread over time, and
// returns when none is left. At ctx's deadline it says BYE to the rest.
// Undrain, called meanwhile, ends it early, as another Drain does, and the
// cancellation of ctx.
func (r *Router) Drain(ctx context.Context, d Drain) error {
	r.moves.drain.Store(&d)
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	w := wave{d: &d, asked: map[*User]bool{}, end: time.Now().Add(d.Within)}
	w.share = shareOf(r.Connections(), d.Within)
	for {
		all := r.users.all()
		d.report(len(all))
		if len(all) == 0 || r.moves.drain.Load() != &d {
			return nil
		}
		if ctx.Err() == nil {
			w.ask(all)
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

// shareOf is how many clients are asked in a tick, so that they do not all
// come to the other nodes at once, and yet are all asked in two thirds of
// their time.
func shareOf(clients int, within time.Duration) int {
	byPace := int(drainTick / drainPace)
	byTime := clients * int(drainTick) / max(1, int(within*2/3))
	return max(byPace, byTime+1)
}

func (d *Drain) report(left int) {
	if d.Progress != nil {
		d.Progress(left)
	}
}

// wave is a drain under way.
type wave struct {
	d     *Drain
	asked map[*User]bool
	share int // clients a tick
	end   time.Time
}

// ask asks some of those who were not asked yet to move.
func (w *wave) ask(all []*User) {
	share := w.share
	for _, u := range all {
		if share == 0 {
			return
		}
		if w.asked[u] {
			continue
		}
		to, ok := w.d.Target(u.client.Transport)
		if !ok {
			return
		}
		w.asked[u] = true
		share--
		u.session.Move(to, max(time.Second, time.Until(w.end)), goingAway)
	}
}

// Undrain takes clients again. Those who were asked to move may still go.
func (r *Router) Undrain() { r.moves.drain.Store(nil) }

// Draining tells whether clients are being moved away.
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
