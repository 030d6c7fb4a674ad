package client

import (
	"slices"

	"simpd/protocol"
)

// shownPresence is the presence last delivered for an address.
type shownPresence struct {
	protocol.Presence
	knownIndex uint64 // index at which it is known; 0: none
}

// bufferedPresences holds what a connection reported before it became the
// current one: the newest presence of each address watched there.
type bufferedPresences struct {
	byAddress map[protocol.Address]shownPresence
	order     []protocol.Address
}

// add stores a presence unless the stored one is newer.
func (h *bufferedPresences) add(s shownPresence) {
	before, known := h.byAddress[s.Address]
	switch {
	case known && s.knownIndex != 0 && s.knownIndex < before.knownIndex:
		return
	case h.byAddress == nil:
		h.byAddress = make(map[protocol.Address]shownPresence)
	}
	if !known {
		h.order = append(h.order, s.Address)
	}
	h.byAddress[s.Address] = s
}

// onWatchAnswer handles the answer to a WATCH at an index. Answers on an old
// connection are ignored, since the new one repeats them.
func (c *Client) onWatchAnswer(conn *conn, list []protocol.Presence, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range list {
		switch now := (shownPresence{p, c.knownIndex(p, index)}); conn {
		case c.current:
			c.showLocked(now)
		case c.candidate:
			conn.buffered.add(now)
		}
	}
}

// onPresence handles a change. It ignores addresses that are not watched, so
// that a server can't fill this side's memory.
func (c *Client) onPresence(conn *conn, p protocol.Presence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch now := (shownPresence{p, c.knownIndex(p, 0)}); conn {
	case c.current:
		if _, watched := c.lastShown[p.Address]; watched {
			c.showLocked(now)
		}
	case c.candidate:
		if _, watched := conn.buffered.byAddress[p.Address]; watched {
			conn.buffered.add(now)
		}
	}
}

// onKeys handles a change of a list of keys. It ignores users who are neither
// watched nor the own one, so that a server can't fill this side's memory.
func (c *Client) onKeys(conn *conn, n protocol.KeyNotice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, watched := c.lastShown[n.Address]
	if conn == c.current && (watched || n.Address == c.CanonicalUser()) {
		c.notifications.push(notification{keys: &n}, mergeNotifications)
	}
}

// onContact handles a change of the contacts through groups. Whoever is added is
// watched from now on.
func (c *Client) onContact(conn *conn, n protocol.ContactNotice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.desired.contacts {
		return
	}
	added := n.Group != ""
	switch conn {
	case c.current:
		_, watched := c.lastShown[n.Address]
		switch {
		case added && !watched && len(c.lastShown) >= len(c.desired.watch)+protocol.MaxContacts:
			return // more than a server tells of
		case added && !watched:
			c.lastShown[n.Address] = shownPresence{Presence: protocol.Presence{Address: n.Address, State: protocol.Unknown}}
		case !added && !slices.Contains(c.desired.watch, n.Address):
			delete(c.lastShown, n.Address)
		}
		c.notifications.push(notification{contact: &n}, mergeNotifications)
	case c.candidate:
		_, watched := conn.buffered.byAddress[n.Address]
		if added && !watched && len(conn.buffered.byAddress) < len(c.desired.watch)+protocol.MaxContacts {
			conn.buffered.add(shownPresence{Presence: protocol.Presence{Address: n.Address, State: protocol.Unknown}})
		}
	}
}

// showLocked delivers a presence if it is news.
func (c *Client) showLocked(now shownPresence) {
	last, known := c.lastShown[now.Address]
	if known && now.knownIndex != 0 && now.knownIndex < last.knownIndex {
		return // from a node that is behind the one left
	}
	c.lastShown[now.Address] = now
	if !known || !looksSame(last.Presence, now.Presence) {
		c.notifications.push(notification{presence: &now.Presence}, mergeNotifications)
	}
}

// showBufferedLocked delivers what a connection has buffered, and forgets
// addresses that it does not watch.
func (c *Client) showBufferedLocked(h bufferedPresences) {
	for a := range c.lastShown {
		if _, watched := h.byAddress[a]; !watched {
			delete(c.lastShown, a)
		}
	}
	for _, a := range h.order {
		c.showLocked(h.byAddress[a])
	}
}

// knownIndex returns the index at which p is known. The index does not apply
// to remote users, who are counted at their own site.
func (c *Client) knownIndex(p protocol.Presence, index uint64) uint64 {
	if p.Index == 0 && p.Address.Domain() == c.config.User.Domain() {
		return index
	}
	return p.Index
}

func looksSame(a, b protocol.Presence) bool {
	return a.State == b.State && a.Note == b.Note && a.Since.Equal(b.Since)
}

// resetIndexesLocked drops the indexes of another history than the new
// connection's, since they can't be compared.
func (c *Client) resetIndexesLocked(history string) {
	if c.history == history {
		return
	}
	c.history = history
	for a, s := range c.lastShown {
		s.knownIndex = 0
		c.lastShown[a] = s
	}
}

// notification is a presence, a change of keys or of contacts, or an event for
// Config's functions.
type notification struct {
	presence *protocol.Presence
	keys     *protocol.KeyNotice
	contact  *protocol.ContactNotice
	event    Event
}

func (n *notification) isEvent() bool { return n.presence == nil && n.keys == nil && n.contact == nil }

// mergeNotifications adds t to the queue. A presence replaces an older one of
// the same address, and a change of keys or of a contact likewise. If many events
// are queued, one replaces the oldest of its kind, so that the application learns
// the latest state.
func mergeNotifications(waiting []notification, t notification) []notification {
	if t.presence != nil {
		waiting = slices.DeleteFunc(waiting, func(w notification) bool {
			return w.presence != nil && w.presence.Address == t.presence.Address
		})
		return append(waiting, t)
	}
	if t.keys != nil {
		waiting = slices.DeleteFunc(waiting, func(w notification) bool {
			return w.keys != nil && w.keys.Address == t.keys.Address
		})
		return append(waiting, t)
	}
	if t.contact != nil {
		waiting = slices.DeleteFunc(waiting, func(w notification) bool {
			return w.contact != nil && w.contact.Address == t.contact.Address
		})
		return append(waiting, t)
	}
	events := 0
	for _, w := range waiting {
		if w.isEvent() {
			events++
		}
	}
	if events >= maxQueuedEvents {
		i := slices.IndexFunc(waiting, func(w notification) bool { return w.isEvent() && w.event.Kind == t.event.Kind })
		if i >= 0 {
			waiting = slices.Delete(waiting, i, i+1)
		}
	}
	return append(waiting, t)
}

// maxQueuedEvents is the number of queued events above which newer ones
// replace older ones.
const maxQueuedEvents = 64

func (c *Client) notify(t notification) {
	switch {
	case t.presence != nil:
		c.config.OnPresence(*t.presence)
	case t.keys != nil:
		c.config.OnKeys(*t.keys)
	case t.contact != nil:
		c.config.OnContact(*t.contact)
	default:
		c.config.OnEvent(t.event)
	}
}

func (c *Client) notifyEvent(e Event) {
	c.config.Logger.Debug("simp connection", "event", e.Kind.String(), "text", e.Text)
	c.notifications.push(notification{event: e}, mergeNotifications)
}

// onEvent handles an event of a connection. Events of old connections are
// ignored.
func (c *Client) onEvent(conn *conn, e Event) {
	c.mu.Lock()
	present := conn == c.current || conn == c.candidate
	if present && e.Kind == Unlistened {
		c.desired.listen = nil
	}
	c.mu.Unlock()
	if present {
		c.notifyEvent(e)
	}
}

// onMove handles a MOVE. One is followed at a time.
func (c *Client) onMove(conn *conn, to string, within int) {
	select {
	case c.moves <- moveRequest{from: conn, to: to, within: clampWithin(within)}:
	default:
	}
}
