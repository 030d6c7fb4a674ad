package store

import (
	"slices"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
)

// historyReader fills a ring from the events of a snapshot.
type historyReader struct {
	format uint32
	floor  uint64            // of the snapshot
	next   uint64            // index of the next event: of format 1 the oldest first, of format 2 the newest
	isFull bool              // the ring keeps no more; older events are passed over
	last   map[string]packed // format 1: the long listeners that the events read so far have left
	newer  map[string]*newer // format 2: likewise
}

// newer is the long listener that the next newer event of an address left.
type newer struct {
	v        *version
	whole    *version // the oldest read so far that is kept whole
	bindings int
}

// start empties the ring for the events in (floor, index].
func (h *historyReader) start(format uint32, floor, index uint64, r *ring) {
	*h = historyReader{format: format, floor: floor, last: map[string]packed{}, newer: map[string]*newer{}}
	if format == formatUndo {
		h.next = index
		r.reset(index)
		return
	}
	h.next = floor + 1
	r.reset(floor)
}

// isComplete reports whether all events up to index were read.
func (h *historyReader) isComplete(index uint64) bool {
	if h.format == formatUndo {
		return h.next == h.floor
	}
	return h.next == index+1
}

func (b *restorer) event(e *storev1.Event) error {
	h := &b.history
	if b.part < partHeader || e.GetIndex() != h.next || h.format == formatUndo && h.next == h.floor {
		return corrupt("event %d comes where %d should be", e.GetIndex(), h.next)
	}
	if len(e.GetAddress()) > maxAddress || len(e.GetNode()) > maxName {
		return corrupt("the address or the node of event %d", e.GetIndex())
	}
	b.part = partEvents
	if h.format == formatUndo {
		return b.undoEvent(e)
	}
	return b.wholeEvent(e)
}

// wholeEvent adds an event of format 1.
func (b *restorer) wholeEvent(e *storev1.Event) error {
	address := e.GetAddress()
	after, _, err := b.after(e)
	if err != nil {
		return err
	}
	b.ring.add(entry{
		kind: EventKind(e.GetKind()), visible: e.GetVisible(), address: address, node: e.GetNode(),
		before: b.history.last[address], after: after,
	})
	b.history.next++
	if delete(b.history.last, address); after.isLong() {
		b.history.last[address] = after
	}
	return nil
}

// after returns the listener that an event bears, the table's own if it is the
// same, and how many bindings it has.
func (b *restorer) after(e *storev1.Event) (p packed, bindings int, err error) {
	if e.GetAfter() == nil {
		return packed{}, 0, nil
	}
	l, ok := listenerOf(e.GetAfter())
	if !ok || l.Address.String() != e.GetAddress() {
		return packed{}, 0, corrupt("the listener of event %d", e.GetIndex())
	}
	b.buf = pack(b.buf[:0], l)
	for _, p := range []packed{b.view.listeners.get(e.GetAddress()), b.history.last[e.GetAddress()]} {
		if p.fields() == string(b.buf) {
			return p, len(l.Bindings), nil
		}
	}
	return keepPacked(b.buf), len(l.Bindings), nil
}

// undoEvent puts an event of format 2 before those that the ring has.
func (b *restorer) undoEvent(e *storev1.Event) error {
	h := &b.history
	h.next--
	if h.isFull = h.isFull || b.ring.isFull(); h.isFull {
		return nil
	}
	k := kept{kind: EventKind(e.GetKind()), node: b.ring.number(e.GetNode())}
	if e.GetVisible() {
		k.flags = keptVisible
	}
	v, err := b.version(e)
	if err != nil {
		return err
	}
	if v == nil {
		after, _, err := b.after(e)
		if err != nil {
			return err
		}
		k.setShort(e.GetAddress(), after, false)
		delete(h.newer, e.GetAddress())
	} else {
		k.of, k.flags = unsafe.Pointer(v), k.flags|keptVersion
	}
	b.ring.prepend(e.GetIndex(), k)
	return nil
}

// version returns the version that an event of format 2 left; nil if that is
// short or deaf.
func (b *restorer) version(e *storev1.Event) (*version, error) {
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
	after, bindings, err := b.after(e)
	if err != nil || !after.isLong() {
		return nil, err
	}
	v := b.ring.keepWhole(e.GetIndex(), after)
	b.history.newer[e.GetAddress()] = &newer{v, v, bindings}
	return v, nil
}

// presentVersion returns the version that is the snapshot's listener.
func (b *restorer) presentVersion(e *storev1.Event, next *newer) (*version, error) {
	p := b.view.listeners.get(e.GetAddress())
	if !p.isLong() || next != nil {
		return nil, corrupt("the listener of event %d", e.GetIndex())
	}
	var l Listener
	_, bindings := p.open(&l)
	v := b.ring.keepPresent(e.GetIndex(), p)
	b.history.newer[e.GetAddress()] = &newer{v, v, bindings}
	return v, nil
}

// undoVersion returns the version that an undo leads to from the next one.
func (b *restorer) undoVersion(e *storev1.Event, next *newer) (*version, error) {
	bindings, ok := checkUndo(e.GetUndo(), next.bindings)
	if !ok {
		return nil, corrupt("the undo of event %d", e.GetIndex())
	}
	undo := keepPacked(e.GetUndo())
	v := newVersion(e.GetIndex(), form{octets: undo.first, newer: next.v})
	b.ring.octets += v.octets
	b.ring.charge(v, undo.size())
	next.whole.run += versionOctets + undo.size()
	next.v, next.bindings = v, bindings
	return v, nil
}

// finishHistory leaves in the ring's newest versions only what the table has.
func (b *restorer) finishHistory() {
	for first := range b.ring.newest {
		p := packed{first}
		if b.view.listeners.get(p.address()).first != first {
			b.ring.leaveWhole(p)
		}
	}
}

// isFull reports whether the ring has as much as it keeps.
func (r *ring) isFull() bool {
	return len(r.chunks) > 1 && r.floor%chunkSize == 0 && (r.index-r.floor >= r.keep || r.octets > r.most)
}

// prepend puts the entry of the index floor before all others.
func (r *ring) prepend(index uint64, k kept) {
	if n := (index - 1) / chunkSize; len(r.chunks) == 0 || n < r.first {
		r.first = n
		r.chunks = slices.Insert(r.chunks, 0, new(chunk))
	}
	r.put(index, k)
	r.floor = index - 1
}

// keepPresent returns a version that is the table's listener p.
func (r *ring) keepPresent(index uint64, p packed) *version {
	v := newVersion(index, form{octets: p.first})
	r.octets += v.octets
	r.newest[p.first] = v
	return v
}

// keepWhole returns a version that the ring alone keeps.
func (r *ring) keepWhole(index uint64, p packed) *version {
	v := newVersion(index, form{octets: p.first})
	r.octets += v.octets
	r.charge(v, p.size())
	return v
}
