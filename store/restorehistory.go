package store

import (
	"slices"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
)

// historyReader fills a ring from the events of a snapshot.
type historyReader struct {
	format    uint32
	floor     uint64                    // of the snapshot
	nextIndex uint64                    // index of the next event: the oldest comes first in format 1, the newest in format 2
	isFull    bool                      // the ring keeps no more; older events are skipped
	last      map[string]packed         // format 1: long listeners after the events read so far
	newer     map[string]*newerListener // format 2: likewise
}

// newerListener is a long listener after the next newer event of its address.
type newerListener struct {
	v        *version
	keyframe *version // the oldest version read so far that is stored whole
	bindings int
}

// start empties the ring, to be filled with the events in (floor, index].
func (h *historyReader) start(format uint32, floor, index uint64, r *ring) {
	*h = historyReader{format: format, floor: floor, last: map[string]packed{}, newer: map[string]*newerListener{}}
	if format == formatUndo {
		h.nextIndex = index
		r.reset(index)
		return
	}
	h.nextIndex = floor + 1
	r.reset(floor)
}

// isComplete reports whether all events up to index have been read.
func (h *historyReader) isComplete(index uint64) bool {
	if h.format == formatUndo {
		return h.nextIndex == h.floor
	}
	return h.nextIndex == index+1
}

func (b *restorer) addEvent(e *storev1.Event) error {
	h := &b.history
	if b.part < partHeader || e.GetIndex() != h.nextIndex || h.format == formatUndo && h.nextIndex == h.floor {
		return corrupt("event %d comes where %d should be", e.GetIndex(), h.nextIndex)
	}
	if len(e.GetAddress()) > maxAddress || len(e.GetNode()) > maxName {
		return corrupt("the address or the node of event %d", e.GetIndex())
	}
	b.part = partEvents
	if h.format == formatUndo {
		return b.prependUndoEvent(e)
	}
	return b.addWholeEvent(e)
}

// addWholeEvent adds an event of format 1.
func (b *restorer) addWholeEvent(e *storev1.Event) error {
	address := e.GetAddress()
	after, _, err := b.listenerAfter(e)
	if err != nil {
		return err
	}
	b.ring.add(entry{
		kind: EventKind(e.GetKind()), visible: e.GetVisible(), address: address, node: e.GetNode(),
		before: b.history.last[address], after: after,
	})
	b.history.nextIndex++
	if delete(b.history.last, address); after.isLong() {
		b.history.last[address] = after
	}
	return nil
}

// listenerAfter returns the listener after an event, sharing the table's own
// if it is equal, and the number of its bindings.
func (b *restorer) listenerAfter(e *storev1.Event) (p packed, bindings int, err error) {
	if e.GetAfter() == nil {
		return packed{}, 0, nil
	}
	l, ok := listenerFromProto(e.GetAfter())
	if !ok || l.Address.String() != e.GetAddress() {
		return packed{}, 0, corrupt("the listener of event %d", e.GetIndex())
	}
	b.buf = appendListener(b.buf[:0], l)
	for _, p := range []packed{b.view.listeners.get(e.GetAddress()), b.history.last[e.GetAddress()]} {
		if p.fields() == string(b.buf) {
			return p, len(l.Bindings), nil
		}
	}
	return newPacked(b.buf), len(l.Bindings), nil
}

// prependUndoEvent puts an event of format 2 before those in the ring.
func (b *restorer) prependUndoEvent(e *storev1.Event) error {
	h := &b.history
	h.nextIndex--
	if h.isFull = h.isFull || b.ring.isFull(); h.isFull {
		return nil
	}
	k := ringEntry{kind: EventKind(e.GetKind()), node: b.ring.nameNumber(e.GetNode())}
	if e.GetVisible() {
		k.flags = flagVisible
	}
	v, err := b.versionAfter(e)
	if err != nil {
		return err
	}
	if v == nil {
		after, _, err := b.listenerAfter(e)
		if err != nil {
			return err
		}
		k.setListener(e.GetAddress(), after, false)
		delete(h.newer, e.GetAddress())
	} else {
		k.ref, k.flags = unsafe.Pointer(v), k.flags|flagVersion
	}
	b.ring.prepend(e.GetIndex(), k)
	return nil
}

// versionAfter returns the version after an event of format 2; nil if the
// listener is short or deaf.
func (b *restorer) versionAfter(e *storev1.Event) (*version, error) {
	next := b.history.newer[e.GetAddress()]
	switch {
	case e.GetPresent():
		return b.presentVersion(e, next)
	case e.GetSame() && next != nil:
		next.v.first = e.GetIndex()
		return next.v, nil
	case e.GetSame(), e.Undo != nil && next == nil:
		return nil, corrupt("event %d is told from one that is not there", e.GetIndex())
	case e.Undo != nil:
		return b.undoVersion(e, next)
	case e.GetAfter() == nil:
		return nil, nil
	}
	after, bindings, err := b.listenerAfter(e)
	if err != nil || !after.isLong() {
		return nil, err
	}
	v := b.ring.addRetained(e.GetIndex(), after)
	b.history.newer[e.GetAddress()] = &newerListener{v, v, bindings}
	return v, nil
}

// presentVersion returns a version that shares the snapshot's listener.
func (b *restorer) presentVersion(e *storev1.Event, next *newerListener) (*version, error) {
	p := b.view.listeners.get(e.GetAddress())
	if !p.isLong() || next != nil {
		return nil, corrupt("the listener of event %d", e.GetIndex())
	}
	var l Listener
	_, bindings := p.decodeHead(&l)
	v := b.ring.addCurrent(e.GetIndex(), p)
	b.history.newer[e.GetAddress()] = &newerListener{v, v, bindings}
	return v, nil
}

// undoVersion returns the version that an undo restores from the next one.
func (b *restorer) undoVersion(e *storev1.Event, next *newerListener) (*version, error) {
	bindings, ok := checkUndo(e.GetUndo(), next.bindings)
	if !ok {
		return nil, corrupt("the undo of event %d", e.GetIndex())
	}
	undo := newPacked(e.GetUndo())
	v := newVersion(e.GetIndex(), versionForm{octets: undo.first, newer: next.v})
	b.ring.octets += v.octets
	b.ring.addOctets(v, undo.size())
	next.keyframe.undoRun += versionOctets + undo.size()
	next.v, next.bindings = v, bindings
	return v, nil
}

// finishHistory stops sharing the versions whose listeners the table does not
// hold.
func (b *restorer) finishHistory() {
	for first := range b.ring.current {
		p := packed{first}
		if b.view.listeners.get(p.address()).first != first {
			b.ring.retain(p)
		}
	}
}

// isFull reports whether the ring has as much as it keeps.
func (r *ring) isFull() bool {
	return len(r.chunks) > 1 && r.floor%chunkSize == 0 && (r.index-r.floor >= r.minEntries || r.octets > r.maxOctets)
}

// prepend puts the entry with the index floor before all others.
func (r *ring) prepend(index uint64, k ringEntry) {
	if n := (index - 1) / chunkSize; len(r.chunks) == 0 || n < r.first {
		r.first = n
		r.chunks = slices.Insert(r.chunks, 0, new(chunk))
	}
	r.store(index, k)
	r.floor = index - 1
}

// addCurrent returns a version that shares the table's listener p.
func (r *ring) addCurrent(index uint64, p packed) *version {
	v := newVersion(index, versionForm{octets: p.first})
	r.octets += v.octets
	r.current[p.first] = v
	return v
}

// addRetained returns a version that only the ring holds.
func (r *ring) addRetained(index uint64, p packed) *version {
	v := newVersion(index, versionForm{octets: p.first})
	r.octets += v.octets
	r.addOctets(v, p.size())
	return v
}
