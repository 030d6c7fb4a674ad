package router

import (
	"context"
	"sync"
	"time"
)

// How long a node may be without the majority before it says so (section 4).
const (
	staleAfter  = 3 * time.Second
	byeAfter    = 10 * time.Second
	contactTick = 100 * time.Millisecond
)

// contact is whether this node may still say how things stand.
type contact struct {
	mu    sync.Mutex
	lost  bool          // those who watch were told STALE
	fresh chan struct{} // closed when lost ends
	cut   bool          // clients are sent away
}

func (c *contact) init() {
	c.fresh = make(chan struct{})
	close(c.fresh)
}

func (c *contact) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// noticeStaleness does at once what the ticker would do later when the contact
// is lost: whoever is shown unknown from then on is told when it is fresh again.
func (r *Router) noticeStaleness() {
	if r.Directory.Contact() >= staleAfter {
		r.goStale()
	}
}

// isStale reports whether presence can't be known now, asking anew: the
// ticker may not have run yet since the contact was lost.
func (r *Router) isStale() bool {
	return r.contact.stale() || r.Directory.Contact() >= staleAfter
}

func (c *contact) cutOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// awaitFresh returns once changes may be told.
func (c *contact) awaitFresh(ctx context.Context) error {
	c.mu.Lock()
	fresh := c.fresh
	c.mu.Unlock()
	select {
	case <-fresh:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watchContact looks after the contact with the majority until shutdown.
func (r *Router) watchContact() {
	tick := time.NewTicker(contactTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.lookAtContact(r.Directory.Contact())
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Router) lookAtContact(lost time.Duration) {
	c := &r.contact
	switch {
	case lost >= byeAfter:
		r.setCut(true)
	case lost == 0:
		r.setCut(false)
	}
	switch stale := c.stale(); {
	case lost >= staleAfter && !stale:
		r.goStale()
	case lost == 0 && stale:
		r.goFresh()
	}
}

// setCut sends all clients away once the node is cut off for good.
func (r *Router) setCut(cut bool) {
	r.contact.mu.Lock()
	was := r.contact.cut
	r.contact.cut = cut
	r.contact.mu.Unlock()
	if cut && !was {
		r.byeAll(cutOff)
	}
}

// goStale tells those who watch that what they know may be old, once. No change
// is told after it until goFresh. Any goroutine may call it.
func (r *Router) goStale() {
	r.hub.mu.Lock()
	r.contact.mu.Lock()
	was := r.contact.lost
	if !was {
		r.contact.lost, r.contact.fresh = true, make(chan struct{})
	}
	r.contact.mu.Unlock()
	r.hub.mu.Unlock()
	if was {
		return
	}
	for _, u := range r.hub.connections() {
		u.session.Stale()
	}
}

// goFresh says from which index on what is told is all, and lets the missed
// changes follow.
func (r *Router) goFresh() {
	ctx, cancel := context.WithTimeout(r.ctx, staleAfter)
	defer cancel()
	if r.Directory.Confirm(ctx) != nil {
		return // the next tick tries again
	}
	index := r.Table.Index()
	for _, u := range r.hub.connections() {
		u.session.Fresh(index)
	}
	r.hub.mu.Lock()
	r.contact.mu.Lock()
	r.contact.lost = false
	close(r.contact.fresh)
	r.contact.mu.Unlock()
	r.hub.mu.Unlock()
	r.hub.unveil()
}
