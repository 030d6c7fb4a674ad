package client

import (
	"math/rand/v2"
	"time"

	"simpd/protocol"
)

// refused takes it that the other site does not let some upstreams of one
// watcher be watched: 400 and its like for a list speak of one of it, perhaps,
// so its halves are asked for; else they are asked for again after a pause that
// grows. Until then nothing is known of them. p.mu is held.
func (p *partner) refused(rt *route, all []*upstream, final *protocol.Line) {
	if len(all) > 1 && final != nil && ofOneItem(final.Status) && rt == p.route {
		p.ask(rt, all[0].by, all[:len(all)/2])
		p.ask(rt, all[0].by, all[len(all)/2:])
		return
	}
	least := shortestRetry
	if final != nil && final.Status/100 == 4 && final.Status != protocol.StatusSlowDown {
		least = hardRetry
	}
	pause := min(longestRest, least<<min(all[0].refusals, 10))
	at := time.Now().Add(pause/2 + rand.N(pause/2))
	for _, u := range all {
		u.refusals++
		u.again = at
		p.blind(u)
	}
	p.again = earlier(at, p.again)
}

// hardRetry is the first pause after a refusal that will probably stay.
const hardRetry = 15 * time.Second

// ofOneItem reports whether a refusal of a list may be for one thing in it.
func ofOneItem(s protocol.Status) bool {
	switch s {
	case protocol.StatusBadRequest, protocol.StatusForbidden, protocol.StatusUnknownAddress, protocol.StatusTooLarge:
		return true
	}
	return false
}

// askAgain asks for what was refused and has waited long enough. p.mu is held.
func (p *partner) askAgain(now time.Time) {
	if p.route == nil || p.again.IsZero() || now.Before(p.again) {
		return
	}
	p.again = time.Time{}
	due := make(map[protocol.Address][]*upstream)
	for _, u := range p.upstreams {
		switch {
		case u.again.IsZero():
		case now.Before(u.again):
			p.again = earlier(u.again, p.again)
		default:
			due[u.by] = append(due[u.by], u)
		}
	}
	p.askAll(due)
}
