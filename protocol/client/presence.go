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

// heldPresence is what a connection told before it was the present one.
type heldPresence struct {
	list  []protocol.Presence
	index uint64
}

// maxHeld bounds it.
const maxHeld = 20_000

// presence takes what a connection tells of the watched; index is that of the
// answer it came in, 0 for a change. What an old connection still says, the
// new one says as well.
func (c *Client) presence(conn *conn, list []protocol.Presence, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case conn == c.cur:
		c.show(list, index)
	case conn == c.candidate && len(conn.held) < maxHeld:
		conn.held = append(conn.held, heldPresence{list, index})
	}
}

// show tells what is news; c.mu is held.
func (c *Client) show(list []protocol.Presence, index uint64) {
	for _, p := range list {
		moment := c.moment(p, index)
		last, known := c.shown[p.Address]
		if known && moment != 0 && moment < last.moment {
			continue // from a node that is behind the one left
		}
		c.shown[p.Address] = shown{p, moment}
		if !known || !sameToSee(last.Presence, p) {
			c.told.push(told{presence: &p}, merge)
		}
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
// older one of the same address, and of events the oldest go if they are many.
func merge(waiting []told, t told) []told {
	const many = 1000
	if t.presence != nil {
		waiting = slices.DeleteFunc(waiting, func(w told) bool {
			return w.presence != nil && w.presence.Address == t.presence.Address
		})
	} else if events := slices.IndexFunc(waiting, isEvent); len(waiting) > 4*many && events >= 0 {
		waiting = slices.Delete(waiting, events, events+1)
	}
	return append(waiting, t)
}

func isEvent(t told) bool { return t.presence == nil }

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
