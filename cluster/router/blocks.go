package router

import (
	"context"
	"net/netip"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// blockVerdict records whether a sender was blocked at a version of the blocks.
type blockVerdict struct {
	version uint64
	from    protocol.Address // zero: only the source was looked up
	blocked bool
}

// blocks reports whether operators block who, or the source of the connection.
// Blocks have no meaning between a user and themselves. On a user's connection
// it costs two loads while no block changes.
func (s *sender) blocks(who protocol.Address) bool {
	version := s.r.config.Table.BlocksVersion()
	if version == 0 {
		return false // there has never been a block
	}
	if s.isRemote {
		return s.verdictFor(version, protocol.Address{}).blocked || s.r.blocksUser(who)
	}
	return s.verdictFor(version, who).blocked
}

// verdictFor returns whether the source is blocked, or who, unless who is zero.
func (s *sender) verdictFor(version uint64, who protocol.Address) *blockVerdict {
	if v := s.verdict.Load(); v != nil && v.version == version && v.from == who {
		return v
	}
	v := &blockVerdict{version: version, from: who, blocked: s.r.config.Table.BlocksSource(s.source)}
	if !who.IsZero() && s.r.blocksUser(who) {
		v.blocked = true
	}
	s.verdict.Store(v)
	return v
}

// blocksUser reports whether operators block an address or its domain.
func (r *Router) blocksUser(a protocol.Address) bool {
	if r.config.Table.BlocksVersion() == 0 {
		return false
	}
	isLocal := r.Local(a)
	return r.config.Table.BlocksUser(a.RuleKey(isLocal), isLocal)
}

// sourceOf returns the address that blocks of sources are compared with.
func sourceOf(remote netip.AddrPort) netip.Addr { return remote.Addr().Unmap().WithZone("") }

// maySend reports whether from, who sends over s, may send to to: neither an
// operators' block nor a rule of the recipient forbids it. It reads both in every
// case.
func (s *sender) maySend(to, from protocol.Address) bool {
	blocked, allowed := s.blocks(from) && to != from, s.r.canMessage(to, from)
	return allowed && !blocked
}

// mayReach reports the same of a message that came from another node, which knows
// the source of the sender's connection.
func (r *Router) mayReach(to, from protocol.Address) bool {
	blocked, allowed := r.blocksUser(from) && to != from, r.canMessage(to, from)
	return allowed && !blocked
}

// maxBlockPause is the longest time between two looks at the ends of blocks: the
// wall clock may be set.
const maxBlockPause = time.Minute

// runBlocks tells watchers what a change of blocks changes for them, and removes
// blocks that have ended while this node leads, until the router shuts down.
func (r *Router) runBlocks() {
	timer := time.NewTimer(r.untilBlockEnd())
	defer timer.Stop()
	for {
		select {
		case <-r.blocksChanged:
			if r.quorum.awaitFresh(r.ctx) != nil {
				return
			}
			r.hub.reviewBlocks()
		case <-timer.C:
			r.endBlocks()
		case <-r.ctx.Done():
			return
		}
		timer.Reset(r.untilBlockEnd())
	}
}

// untilBlockEnd returns how long to wait for the end of the next block.
func (r *Router) untilBlockEnd() time.Duration {
	first := r.config.Table.View().NextBlockEnd()
	if first.IsZero() {
		return maxBlockPause
	}
	return min(max(time.Until(first), minBlockPause), maxBlockPause)
}

// minBlockPause is how long a node waits before it looks again for blocks that have
// ended and that the leader has not removed.
const minBlockPause = 100 * time.Millisecond

// endBlocks removes the blocks that have ended, if this node leads.
func (r *Router) endBlocks() {
	now := time.Now()
	first := r.config.Table.View().NextBlockEnd()
	if first.IsZero() || now.Before(first) || r.config.Leads == nil || !r.config.Leads() {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	_, err := r.directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_EndBlocks{EndBlocks: &storev1.EndBlocks{UntilMs: now.UnixMilli()}}})
	if err != nil && r.ctx.Err() == nil {
		r.config.Logger.Warn("blocks that have ended could not be removed", "error", err)
	}
}

// reviewBlocks shows the watchers who are blocked now, or not any more, what they
// may see.
func (h *hub) reviewBlocks() {
	for _, u := range h.watchingUsers() {
		h.reviewConnection(u)
	}
}

func (h *hub) reviewConnection(u *Connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastPass++
	n, pass := 0, h.lastPass
	h.currentPass = pass
	for _, w := range u.watched {
		if blocked := u.blocks(w.by); blocked != w.blocked {
			w.blocked = blocked
			h.refreshBlockedLocked(w)
		}
		if n++; n%fanoutTurnSize == 0 {
			h.flushBatchesLocked() // which are empty while the lock is not held
			h.mu.Unlock()
			h.mu.Lock()
			h.currentPass = pass
		}
	}
	h.flushBatchesLocked()
}

// refreshBlockedLocked shows the watcher what a change of w.blocked changes.
func (h *hub) refreshBlockedLocked(w *watch) {
	if !h.r.Local(w.of) {
		if f := h.remote[w.pair]; f != nil && f.hasAnswered() {
			w.showRemoteLocked(f.presence)
		}
		return
	}
	view := h.r.config.Table.View()
	t := fanoutTurn{fanout: &fanout{of: w.of, index: view.Index()}, h: h, acl: h.r.aclOf(w.of, store.ActionPresence), view: &view}
	t.notifyWatch(w)
}

// showRemoteLocked shows the presence of a remote user to a watcher, unless they
// have been shown it.
func (w *watch) showRemoteLocked(p protocol.Presence) {
	if w.blocked {
		p = hiddenPresence(p)
	}
	if w.sentState == p.State && w.listenerIndex == p.Index {
		return
	}
	last, index := w.sentIndex, p.Index
	w.wasHidden = w.wasHidden || w.blocked && w.sentState.Listening()
	if w.wasHidden && (!w.blocked || w.sentState.Listening()) {
		index = max(index, last+1) // their site does not count what is shown because of blocks
	}
	w.notifyLocked(newNotice(p, index), p.Index)
	if w.wasHidden { // unknown has no index, nor has deaf after it; what is shown once the block is gone has
		w.sentIndex = max(w.sentIndex, last)
	}
}

// hiddenPresence returns what a blocked watcher sees of a remote user: that they
// do not listen, once anything is known of them.
func hiddenPresence(p protocol.Presence) protocol.Presence {
	if p.State == protocol.Unknown {
		return p
	}
	return protocol.Presence{Address: p.Address}
}
