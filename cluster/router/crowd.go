package router

import "simpd/protocol"

// crowd is those watchers on one routing connection who are told the same: one
// notice for as many as a line can name.
type crowd struct {
	u *User
	protocol.Presence
}

// crowdRoom is how many octets of a line may name watchers; the rest is for
// the address, the note and all else.
const crowdRoom = protocol.MaxLine - 1536

// gather has w told n by tellCrowds. h.mu is held.
func (h *hub) gather(w *watch, n *protocol.Notice) {
	c := crowd{w.u, n.Presence}
	h.crowds[c] = append(h.crowds[c], w.by)
}

// tellCrowds tells those who were gathered. h.mu is held.
func (h *hub) tellCrowds() {
	for c, by := range h.crowds {
		for len(by) > 0 {
			some := fitting(by)
			c.u.session.Notify(&protocol.Notice{Presence: c.Presence, By: some})
			by = by[len(some):]
		}
		delete(h.crowds, c)
	}
}

// fitting returns the first of the watchers, as many as a line can name.
func fitting(by []protocol.Address) []protocol.Address {
	room := crowdRoom
	for i, a := range by {
		if room -= len(` by=""`) + 2*len(a.String()); room < 0 && i > 0 {
			return by[:i:i]
		}
	}
	return by
}
