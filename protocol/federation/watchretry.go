package federation

import (
	"math/rand/v2"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// onWatchRefused handles a refusal of watches by the other site. If a list
// was refused with a status that may concern only one item, its halves are
// requested; otherwise the watches are retried after a growing pause. Until
// then their state is unknown. The caller holds p.mu.
func (p *remoteDomain) onWatchRefused(rt *s2sConn, all []*remoteWatch, final *protocol.Line) {
	if len(all) > 1 && final != nil && mayBeOneItem(final.Status) && rt == p.conn {
		p.sendWatch(rt, all[0].by, all[:len(all)/2])
		p.sendWatch(rt, all[0].by, all[len(all)/2:])
		return
	}
	least := minRetry
	if final != nil && final.Status/100 == 4 && final.Status != protocol.StatusSlowDown {
		least = permanentRefusalRetry
	}
	pause := min(maxRetry, least<<min(all[0].refusals, 10))
	at := time.Now().Add(pause/2 + rand.N(pause/2))
	for _, u := range all {
		u.refusals++
		u.retryAt = at
		p.markUnknown(u)
	}
	p.retryWatchesAt = wait.Earlier(at, p.retryWatchesAt)
}

// permanentRefusalRetry is the first pause after a refusal that is probably
// permanent.
const permanentRefusalRetry = 15 * time.Second

// mayBeOneItem reports whether a refusal of a list may concern only one item
// in it.
func mayBeOneItem(s protocol.Status) bool {
	switch s {
	case protocol.StatusBadRequest, protocol.StatusForbidden, protocol.StatusUnknownAddress, protocol.StatusTooLarge:
		return true
	}
	return false
}

// retryRefused requests refused watches whose pause has ended. The caller
// holds p.mu.
func (p *remoteDomain) retryRefused(now time.Time) {
	if p.conn == nil || p.retryWatchesAt.IsZero() || now.Before(p.retryWatchesAt) {
		return
	}
	p.retryWatchesAt = time.Time{}
	due := make(map[protocol.Address][]*remoteWatch)
	for _, u := range p.watches {
		switch {
		case u.retryAt.IsZero():
		case now.Before(u.retryAt):
			p.retryWatchesAt = wait.Earlier(u.retryAt, p.retryWatchesAt)
		default:
			due[u.by] = append(due[u.by], u)
		}
	}
	p.sendWatches(due)
}
