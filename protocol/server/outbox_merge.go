package server

import (
	"slices"

	"simpd/protocol"
)

// When that many frames are queued, complete lines share a frame up to that
// many octets, because a frame costs more than a short line.
const (
	packFrom  = 8
	maxPacked = 4 << 10
)

// appendLocked appends f to the queue.
func (o *outbox) appendLocked(f frame) {
	if o.packLocked(f) {
		return
	}
	o.addSize(f.size())
	if o.queue == nil {
		o.queue = frameBuffers.Get().(*frameBuffer)[:0]
	}
	o.queue = append(o.queue, f)
}

func (o *outbox) packLocked(f frame) bool {
	n := len(o.queue)
	if n < o.inWrite+packFrom || f.octets == nil {
		return false
	}
	last := &o.queue[n-1]
	if last.octets == nil || last.last || len(last.octets)+len(f.octets) > maxPacked {
		return false
	}
	before := last.size()
	last.octets = append(last.octets, f.octets...)
	last.last = f.last
	o.addSize(last.size() - before)
	return true
}

// mergeNoticeLocked replaces an unwritten notice of the same address for the
// same watchers by n, or appends n. In the latter case no later notice may
// come before it, so those queued earlier can't be replaced any more, except
// the parts of the same change for other watchers.
func (o *outbox) mergeNoticeLocked(n *renderedNotice) {
	all := o.merge[n.Address]
	for _, old := range all {
		if slices.Equal(old.By, n.By) {
			before := frame{notice: old}
			*old = renderedNotice{n.Notice, n.line, true}
			after := frame{notice: old}
			o.addSize(after.size() - before.size())
			return
		}
	}
	n = &renderedNotice{n.Notice, n.line, true} // its own: another will be put in its place
	if o.merge == nil {
		o.merge = make(map[protocol.Address][]*renderedNotice)
	}
	all = slices.DeleteFunc(all, func(old *renderedNotice) bool { return old.Presence != n.Presence })
	o.merge[n.Address] = append(all, n)
	o.appendLocked(frame{notice: n})
}

// unmergeLocked is called when s is about to be written.
func (o *outbox) unmergeLocked(s *renderedNotice) {
	all := slices.DeleteFunc(o.merge[s.Address], func(other *renderedNotice) bool { return other == s })
	if o.merge[s.Address] = all; len(all) == 0 {
		delete(o.merge, s.Address)
	}
}
