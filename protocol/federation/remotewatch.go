package federation

import (
	"errors"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// pair is a watcher, by, and the user whom they watch, of.
type pair struct{ by, of protocol.Address }

// remoteWatch is one pair that is watched at the other site, once for all who
// need it here. Its key has the remote address in folded case. The
// remoteDomain's lock guards it.
type remoteWatch struct {
	pair                                                      // as it is requested
	tell         map[protocol.Address]func(protocol.Presence) // by the address as the caller spelled it
	conn         *s2sConn                                     // the connection that reports it; nil: unknown
	pendingConn  *s2sConn                                     // the connection on which WATCH is pending
	presence     protocol.Presence                            // as last reported
	history      string                                       // of its index
	shownUnknown bool                                         // the callers were told Unknown

	share    userShare // what is held for it, of by
	refusals int       // in a row
	retryAt  time.Time // it was refused and is retried then; else zero
}

// presenceUpdate is one call of tell.
type presenceUpdate struct {
	by   protocol.Address
	tell func(protocol.Presence)
	protocol.Presence
	keys *protocol.KeyNotice // if not nil, it is told in place of the presence
}

// maxUpdates is the number of queued updates above which newer ones replace
// older ones.
const maxUpdates = 1024

// watchTimeout is how long a WATCH may wait in the queue.
const watchTimeout = 10 * time.Second

func pairKey(by, of protocol.Address) pair { return pair{by, of.CaseFold()} }

// errDomainClosed means that a remoteDomain was removed, errNoShare that a
// user watches more than their share allows.
var (
	errDomainClosed = errors.New("the remote domain was closed")
	errNoShare      = errors.New("too much is watched for this user")
)

// watch starts a watch. The error is errDomainClosed or errNoShare.
func (p *remoteDomain) watch(by, of protocol.Address, tell func(protocol.Presence)) error {
	p.mu.Lock()
	defer p.unlockAndCall()
	if p.closed {
		return errDomainClosed
	}
	key := pairKey(by, of)
	u := p.watches[key]
	if u == nil {
		u = &remoteWatch{pair: pair{by, of}, tell: make(map[protocol.Address]func(protocol.Presence)), presence: unknownPresence(of), share: userShare{user: by}}
		if !u.share.reserve(p.watchShares.owners, placeOctets) || !u.share.reserve(p.relay.senderShares, watchOctets) {
			return errNoShare
		}
		p.watches[key] = u
	}
	u.tell[of] = tell
	switch {
	case u.conn != nil:
		p.queueUpdateFor(u, of, u.presence)
	case p.isBackingOff(), !u.retryAt.IsZero():
		p.queueUpdateFor(u, of, unknownPresence(of))
	case p.conn != nil && u.pendingConn == nil:
		p.sendWatch(p.conn, u.by, []*remoteWatch{u})
	}
	p.advance()
	return nil
}

// watchOctets is the memory of a remoteWatch with its queued updates.
const watchOctets = 2 << 10

// unwatch undoes watch.
func (p *remoteDomain) unwatch(by, of protocol.Address) {
	p.mu.Lock()
	defer p.unlockAndCall()
	key := pairKey(by, of)
	u := p.watches[key]
	if u == nil {
		return
	}
	if delete(u.tell, of); len(u.tell) > 0 {
		return
	}
	delete(p.watches, key)
	u.share.release()
	if p.conn != nil && (u.conn == p.conn || u.pendingConn == p.conn) {
		p.enqueue(newUnwatch(u.pair))
	}
	p.advance()
}

func newUnwatch(w pair) *s2sRequest {
	return &s2sRequest{
		verb: "UNWATCH", isWatch: true, deadline: time.Now().Add(watchTimeout),
		params: func(b []byte, _ time.Duration) []byte {
			return protocol.AppendParam(outbound.AppendAddresses([]protocol.Address{w.of})(b), "by", w.by.String())
		},
	}
}

// restoreWatches requests all watches on a new connection. The caller holds
// p.mu.
func (p *remoteDomain) restoreWatches() {
	byWatcher := make(map[protocol.Address][]*remoteWatch)
	for _, u := range p.watches {
		byWatcher[u.by] = append(byWatcher[u.by], u)
	}
	p.sendWatches(byWatcher)
	p.quitOldConn()
}

// sendWatches requests the watches of each watcher. The caller holds p.mu.
func (p *remoteDomain) sendWatches(byWatcher map[protocol.Address][]*remoteWatch) {
	for by, all := range byWatcher {
		for _, some := range outbound.SplitToLines(all, 512, func(u *remoteWatch) protocol.Address { return u.of }) {
			p.sendWatch(p.conn, by, some)
		}
	}
}

// sendWatch requests watches of one user. The caller holds p.mu.
func (p *remoteDomain) sendWatch(rt *s2sConn, by protocol.Address, all []*remoteWatch) {
	var of []protocol.Address
	for _, u := range all {
		u.pendingConn, u.retryAt = rt, time.Time{}
		of = append(of, u.of)
	}
	p.enqueue(&s2sRequest{
		verb: "WATCH", isWatch: true, deadline: time.Now().Add(watchTimeout), addresses: of,
		params: func(b []byte, _ time.Duration) []byte {
			return protocol.AppendParam(outbound.AppendAddresses(of)(b), "by", by.String())
		},
		apply: func(a s2sResponse) { p.onWatchResponse(rt, all, a) },
		done:  func(s2sResponse) {},
	})
}

// onWatchResponse handles the response to a WATCH. The caller holds p.mu.
func (p *remoteDomain) onWatchResponse(rt *s2sConn, all []*remoteWatch, a s2sResponse) {
	ok := a.final != nil && a.final.Status == protocol.StatusOK
	var refused []*remoteWatch
	for i, u := range all {
		if p.watches[pairKey(u.by, u.of)] != u || u.pendingConn != rt {
			continue
		}
		u.pendingConn = nil
		if !ok {
			refused = append(refused, u)
			continue
		}
		p.onWatchedLocked(u, rt, a.presenceAt(i, u.of))
	}
	if len(refused) > 0 {
		p.onWatchRefused(rt, refused, a.final)
	}
	p.quitOldConn()
}

// onWatchedLocked records a watch's presence in the response to WATCH. rt
// reports it from now on.
func (p *remoteDomain) onWatchedLocked(u *remoteWatch, rt *s2sConn, now protocol.Presence) {
	if now.State.Listening() && u.history == rt.Hello.History && now.Index < u.presence.Index {
		now = u.presence // that node lags behind the one before
	}
	u.conn, u.history, u.refusals = rt, rt.Hello.History, 0
	p.update(u, now)
}

// quitOldConn leaves the connection on which a MOVE arrived once everything
// is watched on the new one. The caller holds p.mu.
func (p *remoteDomain) quitOldConn() {
	if p.oldConn == nil || len(p.oldConn.inflight) > 0 {
		return
	}
	for _, u := range p.watches {
		if u.conn == p.oldConn {
			return
		}
	}
	p.oldConn.quitLocked()
}

// onPresence handles a change. Only what was requested on this connection,
// and only of that site's users, is accepted.
func (rt *s2sConn) onPresence(l *protocol.Line) {
	now, ok := outbound.ParsePresence(l)
	p := rt.domain
	p.mu.Lock()
	defer p.unlockAndCall()
	var named []*remoteWatch
	if ok {
		named = rt.requestedWatches(l, now.Address)
	}
	for _, u := range named {
		p.applyChange(u, now)
	}
	rt.countUnsolicited(len(named) == 0)
}

// requestedWatches returns the watches of a user that l names and that were
// requested on this connection. The caller holds the domain's lock.
func (rt *s2sConn) requestedWatches(l *protocol.Line, of protocol.Address) (named []*remoteWatch) {
	for _, param := range l.Params {
		by, err := protocol.ParseAddress(param.Value)
		if param.Key != "by" || err != nil {
			continue
		}
		if u := rt.domain.watches[pairKey(by, of)]; u != nil && u.conn == rt {
			named = append(named, u)
		}
	}
	return named
}

// applyChange records a presence if it is newer. The caller holds p.mu.
func (p *remoteDomain) applyChange(u *remoteWatch, now protocol.Presence) {
	if now.Index != 0 && now.Index < u.presence.Index {
		return
	}
	now.Address = u.of
	p.update(u, sanitizePresence(now))
}

// update records a presence and queues it for the callers.
func (p *remoteDomain) update(u *remoteWatch, now protocol.Presence) {
	u.presence, u.shownUnknown = now, now.State == protocol.Unknown
	for of := range u.tell {
		p.queueUpdateFor(u, of, now)
	}
}

// markUnknown tells the callers Unknown without forgetting the presence. The
// caller holds p.mu.
func (p *remoteDomain) markUnknown(u *remoteWatch) {
	if u.shownUnknown {
		return
	}
	u.shownUnknown = true
	for of := range u.tell {
		p.queueUpdateFor(u, of, unknownPresence(of))
	}
}

// onStale handles STALE and FRESH, between which the other site itself does
// not know.
func (rt *s2sConn) onStale(stale bool) {
	p := rt.domain
	p.mu.Lock()
	defer p.unlockAndCall()
	for _, u := range p.watches {
		switch {
		case u.conn != rt:
		case stale:
			p.markUnknown(u)
		default:
			p.update(u, u.presence)
		}
	}
}

func (p *remoteDomain) queueUpdateFor(u *remoteWatch, of protocol.Address, now protocol.Presence) {
	now.Address = of
	p.queueUpdate(presenceUpdate{by: u.by, tell: u.tell[of], Presence: now})
}

// onKeys handles a change of a list of keys. Only what was requested on this
// connection, and only of that site's users, is accepted.
func (rt *s2sConn) onKeys(l *protocol.Line) {
	n, ok := outbound.ParseKeyNotice(l)
	p := rt.domain
	p.mu.Lock()
	defer p.unlockAndCall()
	var named []*remoteWatch
	if ok {
		named = rt.requestedWatches(l, n.Address)
	}
	for _, u := range named {
		for of := range u.tell {
			p.queueUpdate(presenceUpdate{by: u.by, Presence: protocol.Presence{Address: of}, keys: &n})
		}
	}
	rt.countUnsolicited(len(named) == 0)
}

// queueUpdate queues a call of tell for a goroutine that exists while there
// are any. The caller holds p.mu.
func (p *remoteDomain) queueUpdate(t presenceUpdate) {
	p.updates = append(p.updates, t)
	if len(p.updates) > maxUpdates+2*p.mergedUpdates {
		p.mergeUpdates()
	}
	if !p.delivering {
		p.delivering = true
		p.relay.wg.Go(p.tellWatchers)
	}
}

// mergeUpdates keeps only the newest queued update of each pair and kind.
func (p *remoteDomain) mergeUpdates() {
	type subject struct {
		pair
		keys bool
	}
	subjectOf := func(t *presenceUpdate) subject { return subject{pair{t.by, t.Address}, t.keys != nil} }
	newest := make(map[subject]int, len(p.updates))
	for i := range p.updates {
		newest[subjectOf(&p.updates[i])] = i
	}
	kept := make([]presenceUpdate, 0, len(newest))
	for i, t := range p.updates {
		if newest[subjectOf(&t)] == i {
			kept = append(kept, t)
		}
	}
	p.updates, p.mergedUpdates = kept, len(kept)
}

func (p *remoteDomain) tellWatchers() {
	p.mu.Lock()
	defer p.unlockAndCall()
	for len(p.updates) > 0 {
		t := p.updates[0]
		p.updates = p.updates[1:]
		p.mu.Unlock()
		if t.keys == nil {
			t.tell(t.Presence)
		} else if tell := p.relay.onKeys.Load(); tell != nil {
			(*tell)(t.by, t.Address, *t.keys)
		}
		p.mu.Lock()
	}
	p.updates, p.mergedUpdates, p.delivering = nil, 0, false
}
