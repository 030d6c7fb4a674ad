package client

import (
	"slices"

	"simpd/protocol"
)

// shown is what was told last of an address.
type shown struct {
	protocol.Presence
	moment uint64 // the index it was known at; 0: no telling
}

// heldPresences is what a connection told before it was the present one: the
// newest of each address that is watched there.
type heldPresences struct {
	by    map[protocol.Address]shown
	order []protocol.Address
}

// hold keeps what is told of an address, unless what is kept is newer.
func (h *heldPresences) hold(s shown) {
	before, known := h.by[s.Address]
	switch {
	case known && s.moment != 0 && s.moment < before.moment:
		return
	case h.by == nil:
		h.by = make(map[protocol.Address]shown)
	}
	if !known {
		h.order = append(h.order, s.Address)
	}
	h.by[s.Address] = s
}

// answer takes what a connection answers to WATCH, known at an index. What an
// old connection still says, the new one says as well.
func (c *Client) answer(conn *conn, list []protocol.Presence, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range list {
		switch now := (shown{p, c.moment(p, index)}); conn {
		case c.cur:
			c.show(now)
		case c.candidate:
			conn.held.hold(now)
		}
	}
}

// change takes a change of an address that is watched: of others it is ignored,
// so that a server can't have this side remember whom it likes.
func (c *Client) change(conn *conn, p protocol.Presence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch now := (shown{p, c.moment(p, 0)}); conn {
	case c.cur:
		if _, watched := c.shown[p.Address]; watched {
			c.show(now)
		}
	case c.candidate:
		if _, watched := conn.held.by[p.Address]; watched {
			conn.held.hold(now)
		}
	}
}

// show tells what is news; c.mu is held.
func (c *Client) show(now shown) {
	last, known := c.shown[now.Address]
	if known && now.moment != 0 && now.moment < last.moment {
		return // from a node that is behind the one left
	}
	c.shown[now.Address] = now
	if !known || !sameToSee(last.Presence, now.Presence) {
		c.told.push(told{presence: &now.Presence}, merge)
	}
}

// showHeld tells what a connection held back, and forgets whom it does not
// watch. c.mu is held.
func (c *Client) showHeld(h heldPresences) {
	for a := range c.shown {
		if _, watched := h.by[a]; !watched {
			delete(c.shown, a)
		}
	}
	for _, a := range h.order {
		c.show(h.by[a])
	}
}

// moment returns the index at which p is known to be so. What another site's
// user is not, no index tells: they count in their own site's.
func (c *Client) moment(p protocol.Presence, index uint64) uint64 {
	if p.Index == 0 && p.Address.Domain() == c.Config.User.Domain() {
		return index
	}
	return p.Index
}

func sameToSee(a, b protocol.Presence) bool {
	return a.State == b.State && a.Note == b.Note && a.Since.Equal(b.Since)
}

// forgetOtherHistory drops the moments of another history than the new
// connection's, with which they can't be compared; c.mu is held.
func (c *Client) forgetOtherHistory(history string) {
	if c.history == history {
		return
	}
	c.history = history
	for a, s := range c.shown {
		s.moment = 0
		c.shown[a] = s
	}
}

// told is what Config's functions are told: a presence or an event.
type told struct {
	presence *protocol.Presence
	event    Event
}

// merge adds t to what waits to be told. A presence takes the place of an
// older one of the same address. Where many events wait, one takes the place of
// the oldest of its kind, so that the application learns how it ended.
func merge(waiting []told, t told) []told {
	if t.presence != nil {
		waiting = slices.DeleteFunc(waiting, func(w told) bool {
			return w.presence != nil && w.presence.Address == t.presence.Address
		})
		return append(waiting, t)
	}
	events := 0
	for _, w := range waiting {
		if w.presence == nil {
			events++
		}
	}
	if events >= maxEvents {
		i := slices.IndexFunc(waiting, func(w told) bool { return w.presence == nil && w.event.Kind == t.event.Kind })
		if i >= 0 {
			waiting = slices.Delete(waiting, i, i+1)
		}
	}
	return append(waiting, t)
}

// maxEvents is how many events wait for an application that does not take them,
// before newer ones take the place of older.
const maxEvents = 64

func (c *Client) tell(t told) {
	if t.presence != nil {
		c.OnPresence(*t.presence)
	} else {
		c.OnEvent(t.event)
	}
}

func (c *Client) tellEvent(e Event) {
	c.Logger.Debug("simp connection", "event", e.Kind.String(), "text", e.Text)
	c.told.push(told{event: e}, merge)
}

// notice takes what a connection says of itself. What an old one says is past.
func (c *Client) notice(conn *conn, e Event) {
	c.mu.Lock()
	present := conn == c.cur || conn == c.candidate
	if present && e.Kind == Unlistened {
		c.want.listen = nil
	}
	c.mu.Unlock()
	if present {
		c.tellEvent(e)
	}
}

// move takes a MOVE. One is followed at a time.
func (c *Client) move(conn *conn, to string, within int) {
	select {
	case c.moves <- moving{from: conn, to: to, within: clampWithin(within)}:
	default:
	}
}
