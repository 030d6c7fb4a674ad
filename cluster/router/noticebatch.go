package router

import "simpd/protocol"

// noticeBatch is the key for watchers on one routing connection who receive
// the same presence: they share one notice, as far as a line can name them.
type noticeBatch struct {
	u *Connection
	protocol.Presence
}

// noticeBatchOctets is the part of a line that may name watchers. The rest is
// reserved for the address, the note and the other parameters.
const noticeBatchOctets = protocol.MaxLine - 1536

// addToBatchLocked adds w to the batch that flushBatchesLocked sends.
func (h *hub) addToBatchLocked(w *watch, n *protocol.Notice) {
	c := noticeBatch{w.u, n.Presence}
	h.batches[c] = append(h.batches[c], w.by)
}

// flushBatchesLocked sends the batches and empties them.
func (h *hub) flushBatchesLocked() {
	for c, by := range h.batches {
		for len(by) > 0 {
			some := splitToFit(by)
			c.u.session.Notify(&protocol.Notice{Presence: c.Presence, By: some})
			by = by[len(some):]
		}
		delete(h.batches, c)
	}
}

// splitToFit returns as many watchers from the beginning of by as fit into a
// line, at least one.
func splitToFit(by []protocol.Address) []protocol.Address {
	room := noticeBatchOctets
	for i, a := range by {
		if room -= len(` by=""`) + 2*len(a.String()); room < 0 && i > 0 {
			return by[:i:i]
		}
	}
	return by
}
