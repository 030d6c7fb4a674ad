package router

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// Drain configures how clients are moved to other nodes.
type Drain struct {
	// Target returns where a client of that transport should go; "" means the
	// site's usual name. It is called for each client. ok is false if no node
	// can take a client at present; it is then asked again later.
	Target func(protocol.Transport) (to string, ok bool)
	// Within is the time that clients are given to move.
	Within time.Duration
	// Progress, if not nil, is called with the number of clients left.
	Progress func(left int)
}

// drainState holds the drain in progress; nil means none.
type drainState struct{ current atomic.Pointer[Drain] }

const (
	drainTick   = 20 * time.Millisecond
	drainRate   = 450 // clients a second; more only if there is no time
	askingShare = 0.8 // of the time: the rest is for those who were asked last
)

// Drain refuses new clients, sends MOVE to all others, spread evenly over
// time, and returns when none is left. At ctx's deadline it closes the
// remaining connections with BYE. It ends early if ctx is canceled, or if
// Undrain or another Drain is called.
func (r *Router) Drain(ctx context.Context, d Drain) error {
	r.drainState.current.Store(&d)
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	w := newDrainRun(&d, r.users.all)
	for {
		left := r.Connections()
		d.reportProgress(left)
		if left == 0 || r.drainState.current.Load() != &d {
			return nil
		}
		if ctx.Err() == nil {
			w.askDue()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r.endDrain(ctx, &d)
		}
	}
}

// endDrain sends BYE to clients that did not move in time, unless the drain
// was canceled.
func (r *Router) endDrain(ctx context.Context, d *Drain) error {
	if r.drainState.current.Load() != d {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.disconnectAll(drainText)
	}
	return ctx.Err()
}

const drainText = "this node is going away"

func (d *Drain) reportProgress(left int) {
	if d.Progress != nil {
		d.Progress(left)
	}
}

// drainRun is one run of Drain.
type drainRun struct {
	d         *Drain
	listUsers func() []*Connection
	asked     map[*Connection]bool
	pending   []*Connection // not asked yet, as of the last call of findClients
	due       float64       // how many to ask now; may have a fraction
	last      time.Time     // when the last client should have been asked
	end       time.Time
}

func newDrainRun(d *Drain, all func() []*Connection) *drainRun {
	now := time.Now()
	asking := time.Duration(askingShare * float64(d.Within))
	return &drainRun{d: d, listUsers: all, asked: map[*Connection]bool{}, last: now.Add(asking), end: now.Add(d.Within)}
}

// askDue asks as many clients to move as this tick allows.
func (w *drainRun) askDue() {
	if len(w.pending) == 0 {
		w.findClients()
	}
	for w.due += w.perTick(); w.due >= 1 && len(w.pending) > 0; w.due-- {
		if !w.moveOne(w.pending[0]) {
			break
		}
		w.pending = w.pending[1:]
	}
	w.due = min(w.due, 1) // do not hurry later because of what failed now
}

// findClients lists the clients that have not been asked: at first all, later
// those that have just arrived.
func (w *drainRun) findClients() {
	for _, u := range w.listUsers() {
		if !w.asked[u] {
			w.pending = append(w.pending, u)
		}
	}
	// A user's sessions go at different times: each is twice there for a moment.
	rand.Shuffle(len(w.pending), func(i, j int) { w.pending[i], w.pending[j] = w.pending[j], w.pending[i] })
}

// perTick returns how many clients to ask in a tick so that all are asked in
// time, but at least drainRate, which harms nobody.
func (w *drainRun) perTick() float64 {
	ticks := max(1, float64(time.Until(w.last))/float64(drainTick))
	return max(drainRate*drainTick.Seconds(), float64(len(w.pending))/ticks)
}

// moveOne asks a client to move. It reports false if no node can take a
// client at present.
func (w *drainRun) moveOne(u *Connection) bool {
	to, ok := w.d.Target(u.client.Transport)
	if !ok {
		return false
	}
	w.asked[u] = true
	u.session.Move(to, max(time.Second, time.Until(w.end)), drainText)
	return true
}

// Undrain accepts clients again. Clients that were asked to move may still
// leave.
func (r *Router) Undrain() { r.drainState.current.Store(nil) }

// Draining reports whether clients are being moved away.
func (r *Router) Draining() bool { return r.drainState.current.Load() != nil }

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

func (r *Router) disconnectAll(why string) {
	for _, u := range r.users.all() {
		u.session.Bye(protocol.StatusUnavailable, why)
	}
}
