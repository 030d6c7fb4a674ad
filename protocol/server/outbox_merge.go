package server

import (
	"slices"

	"simpd/protocol"
)

// Where so many frames wait, ready lines share one, up to so many octets: a
// frame costs more than a short line has octets.
const (
	packFrom  = 8
	maxPacked = 4 << 10
)

// append puts f behind what waits.
func (o *outbox) append(f frame) {
	if o.pack(f) {
		return
	}
	o.grow(f.size())
	if o.queue == nil {
		o.queue = queues.Get().(*queue)[:0]
	}
	o.queue = append(o.queue, f)
}

func (o *outbox) pack(f frame) bool {
	n := len(o.queue)
	if n < o.taken+packFrom || f.octets == nil {
		return false
	}
	last := &o.queue[n-1]
	if last.octets == nil || last.last || len(last.octets)+len(f.octets) > maxPacked {
		return false
	}
	before := last.size()
	last.octets = append(last.octets, f.octets...)
	last.last = f.last
	o.grow(last.size() - before)
	return true
}

// putShown puts n in the place of an unwritten notice of the same address for
// the same watchers, or behind what waits. In the latter case no later notice
// may come before it: those that wait can be replaced no more, but for the
// parts of the same change, which are for other watchers.
func (o *outbox) putShown(n *shown) {
	all := o.merge[n.Address]
	for _, old := range all {
		if slices.Equal(old.By, n.By) {
			before := frame{shown: old}
			*old = shown{n.Notice, n.line, true}
			after := frame{shown: old}
			o.grow(after.size() - before.size())
			return
		}
	}
	n = &shown{n.Notice, n.line, true} // its own: another will be put in its place
	if o.merge == nil {
		o.merge = make(map[protocol.Address][]*shown)
	}
	all = slices.DeleteFunc(all, func(old *shown) bool { return old.Presence != n.Presence })
	o.merge[n.Address] = append(all, n)
	o.append(frame{shown: n})
}

// unmerge: s is about to be written.
func (o *outbox) unmerge(s *shown) {
	all := slices.DeleteFunc(o.merge[s.Address], func(other *shown) bool { return other == s })
	if o.merge[s.Address] = all; len(all) == 0 {
		delete(o.merge, s.Address)
	}
}
