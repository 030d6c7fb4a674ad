package netio

import "slices"

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

// mergeUpdateLocked puts u in the place of an unwritten update that it
// replaces, or appends it. In the latter case no later update of the subject
// may come before it, so those queued earlier can't be replaced any more,
// except the parts of the same change.
func (o *outbox) mergeUpdateLocked(u Update) {
	subject := u.Subject()
	all := o.merge[subject]
	for _, old := range all {
		if u.Replaces(old.Update) {
			before := old.Size()
			old.Update = u
			o.addSize(old.Size() - before)
			return
		}
	}
	own := &ownUpdate{u}
	if o.merge == nil {
		o.merge = make(map[any][]*ownUpdate)
	}
	all = slices.DeleteFunc(all, func(old *ownUpdate) bool { return !u.IsSameChange(old.Update) })
	o.merge[subject] = append(all, own)
	o.appendLocked(frame{item: own})
}

// unmergeLocked is called when u is about to be written.
func (o *outbox) unmergeLocked(u *ownUpdate) {
	subject := u.Subject()
	all := slices.DeleteFunc(o.merge[subject], func(other *ownUpdate) bool { return other == u })
	if o.merge[subject] = all; len(all) == 0 {
		delete(o.merge, subject)
	}
}
