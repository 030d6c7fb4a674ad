package router

import (
	"maps"
	"slices"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
	"simpd/store"
)

// groupPause is how long the hub waits after it has compared the contact groups
// of all who watch their contacts. So it does so once for many changes.
const groupPause = time.Second

// followContactGroups has the watches of those who watch their contacts follow the
// changes of contact groups, until shutdown.
func (r *Router) followContactGroups() {
	for r.ctx.Err() == nil {
		select {
		case <-r.hub.groupsChanged:
		case <-r.ctx.Done():
			return
		}
		if r.quorum.awaitFresh(r.ctx) != nil {
			return
		}
		r.hub.updateGroupWatches()
		wait.Sleep(r.ctx, groupPause)
	}
}

// updateGroupWatches compares the groups of each user who watches contacts with
// those that the watches are of.
func (h *hub) updateGroupWatches() {
	for _, u := range h.r.users.all() {
		h.updateGroups(u)
	}
}

// updateGroups compares the groups of one user. A large change concerns many users,
// so the lock is released after each.
func (h *hub) updateGroups(u *Connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case u.changesWatches:
		u.missedGroups = true
	case u.followsGroups:
		h.updateGroupsLocked(u)
	}
}

// beginChangeLocked begins a change of u's watches that releases the hub's lock in
// between. Until endChangeLocked nobody else changes them: memory is reserved for
// watches that are still to come.
func (u *Connection) beginChangeLocked() { u.changesWatches = true }

// endChangeLocked ends the change. The groups that u did not follow meanwhile are
// compared again.
func (u *Connection) endChangeLocked() {
	if u.changesWatches = false; u.missedGroups {
		u.missedGroups = false
		u.r.hub.groupsChanged.Notify()
	}
}

// followGroupsLocked has u's watches follow its groups, which were these when it
// began to watch.
func (u *Connection) followGroupsLocked(groups []*store.ContactGroup) {
	u.groups, u.followsGroups = groups, true
	if !slices.Equal(groups, u.r.config.Table.ContactGroupsOf(u.client.User)) {
		u.r.hub.groupsChanged.Notify() // they have changed meanwhile
	}
}

// unfollowGroupsLocked ends that.
func (u *Connection) unfollowGroupsLocked() { u.groups, u.followsGroups = nil, false }

// updateGroupsLocked adds and removes watches of contacts that u has gained and
// lost through groups.
func (h *hub) updateGroupsLocked(u *Connection) {
	table, user := h.r.config.Table, u.client.User
	groups := table.ContactGroupsOf(user)
	if slices.Equal(groups, u.groups) {
		return
	}
	own := table.Contacts(user)
	before, after := contactMap(user, own, u.groups), contactMap(user, own, groups)
	u.groups = groups
	l := h.r.newPresenceReader(h.r.quorum.isStale())
	for _, a := range slices.SortedFunc(maps.Keys(after), protocol.Address.Compare) {
		old, known := before[a]
		if c := after[a]; old != c && c.Group != "" {
			u.session.NotifyContact(&protocol.ContactNotice{Contact: c})
		}
		if !known {
			h.addGroupWatchLocked(u, l, a)
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(before), protocol.Address.Compare) {
		if _, known := after[a]; !known {
			h.removeGroupWatchLocked(u, a)
		}
	}
	u.shrinkWatchedLocked()
}

// addGroupWatchLocked watches a new contact, and shows its presence. It does
// nothing if u watches it already, or as many as it may.
func (h *hub) addGroupWatchLocked(u *Connection, l *presenceReader, of protocol.Address) {
	p := pair{by: u.client.User, of: of}
	if u.watched[p] != nil || len(u.watched) >= u.maxWatches() || u.reserveWatchesLocked(u.watchCost(p)) != nil {
		return
	}
	isLocal := h.r.Local(p.by)
	w := newWatch(u, p, viewer{p.by, u.ruleKey(p.by, isLocal), isLocal, u.blocks(p.by)})
	w.viaContacts = true
	h.addLocked(w)
	u.peakWatches = max(u.peakWatches, len(u.watched))
	l.load(w.of)
	now := l.presenceFor(w.pair, w.viewer())
	if l.isUnknown && l.isLocal {
		h.shownUnknown[w.of] = struct{}{}
	}
	w.allowed, w.skipThrough = l.acl.allowsViewer(w.viewer()), l.view.Index()
	index := now.Index
	if index == 0 && l.isLocal && !l.isUnknown {
		index = l.view.Index() // as that of any change
	}
	w.notifyLocked(newNotice(now, index), now.Index)
}

// removeGroupWatchLocked ends the watch of somebody who is no contact any more, unless
// WATCH has named them. A client that can't be told keeps it.
func (h *hub) removeGroupWatchLocked(u *Connection, of protocol.Address) {
	w := u.watched[pair{by: u.client.User, of: of}]
	told := u.session.NotifyContact(&protocol.ContactNotice{Contact: protocol.Contact{Address: of}})
	if told && w != nil && w.viaContacts {
		h.removeLocked(w)
	}
}
