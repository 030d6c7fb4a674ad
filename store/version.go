package store

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// longListenerOctets is the size above which the ring stores a listener as
// versions. It stores shorter ones whole; the newest of these costs nothing,
// as the table holds it.
const longListenerOctets = 256

// maxUndoRun limits the octets of consecutive undos, in multiples of the
// listener's size, before a version is stored whole. It bounds the time to
// decode an event in the middle of the history.
const maxUndoRun = 8

// version is a long listener after one change. While it is the table's
// current listener, it shares it. The next change turns it into an undo: the
// difference from the next version. So many changes of a listener with many
// sessions take only as much memory as what they change. Its meaning does not
// depend on its form.
type version struct {
	form  atomic.Pointer[versionForm]
	first uint64 // index of the oldest entry that refers to it
	last  uint64 // and of the newest; guarded by the table's lock, as undoRun and octets
	// undoRun is the octets of consecutive undos from this version back.
	undoRun int
	octets  int // memory that only the ring holds for it
}

// versionForm is how a version is stored. It is immutable.
type versionForm struct {
	octets *byte    // a packed listener, or an undo (see undo.go) after its length
	newer  *version // the version that the undo applies to; nil if octets is a listener
}

// versionOctets is the memory of a version and its form without octets.
const versionOctets = int(unsafe.Sizeof(version{}) + unsafe.Sizeof(versionForm{}))

// isLong reports whether the ring stores p as versions.
func (p packed) isLong() bool { return len(p.fields()) > longListenerOctets }

// size returns an upper limit of p's memory in octets.
func (p packed) size() int { return len(p.fields()) * 9 / 8 }

// newVersion returns a version for the entry with that index.
func newVersion(index uint64, f versionForm) *version {
	v := &version{first: index, last: index, octets: versionOctets}
	v.form.Store(&f)
	return v
}

// keepVersion returns the version of a long listener for the entry that is
// being added. before is the listener before the change.
func (r *ring) keepVersion(before, after packed) *version {
	v := r.current[after.first]
	if v != nil {
		v.last = r.index // the change was of something else
		return v
	}
	v = r.addCurrent(r.index, after)
	if before.first != after.first {
		r.convertToUndo(before, v, after)
	}
	return v
}

// convertToUndo turns before, the newest version so far, into an undo of v.
func (r *ring) convertToUndo(before packed, v *version, after packed) {
	old := r.current[before.first]
	if old == nil {
		return
	}
	undo := r.makeUndo(before, after)
	run := old.undoRun + versionOctets + undo.size()
	if run > maxUndoRun*len(after.fields()) || 2*undo.size() > before.size() {
		r.retain(before)
		return
	}
	delete(r.current, before.first)
	old.form.Store(&versionForm{octets: undo.first, newer: v})
	v.undoRun = run
	r.addOctets(old, undo.size())
}

// makeUndo returns the undo that leads from after back to before.
func (r *ring) makeUndo(before, after packed) packed {
	before.unpackInto(&r.older)
	after.unpackInto(&r.newer)
	r.buf = appendUndo(r.buf[:0], &r.newer, &r.older)
	return newPacked(r.buf)
}

// retain records that the table no longer holds p, so that the memory counts
// as the ring's if p is a version.
func (r *ring) retain(p packed) {
	if v := r.current[p.first]; v != nil {
		delete(r.current, p.first)
		r.addOctets(v, p.size())
	}
}

// retainAll calls retain for all listeners.
func (r *ring) retainAll() {
	for p := range r.current {
		r.retain(packed{p})
	}
}

// addOctets counts memory that only the ring holds for v.
func (r *ring) addOctets(v *version, octets int) {
	v.octets += octets
	r.octets += octets
}

// release forgets v, which no entry refers to any more.
func (r *ring) release(v *version) {
	r.octets -= v.octets
	if f := v.form.Load(); f.newer == nil && r.current[f.octets] == v {
		delete(r.current, f.octets)
	}
}

// versionReader decodes versions, the newest first. It caches what it has
// decoded, since the next older version is derived from it.
type versionReader struct {
	read map[*version]*Listener
}

// listener returns the listener that v represents.
func (r *versionReader) listener(v *version) *Listener {
	if l := r.read[v]; l != nil {
		return l
	}
	var undos []string
	var l *Listener
	for at := v; l == nil; {
		f := at.form.Load()
		if f.newer == nil {
			l = packed{f.octets}.unpack()
			break
		}
		undos = append(undos, packed{f.octets}.fields())
		at = f.newer
		l = r.read[at]
	}
	l = applyUndos(l, undos)
	if r.read == nil {
		r.read = map[*version]*Listener{}
	}
	r.read[v] = l
	return l
}

// applyUndos returns the listener before all undos, the newest of which is
// the last.
func applyUndos(l *Listener, undos []string) *Listener {
	var scratch [2]Listener
	for i, u := range slices.Backward(undos) {
		older := &scratch[i%2]
		if i == 0 {
			older = &Listener{Bindings: make([]Binding, 0, len(l.Bindings)+1)}
		}
		applyUndo(older, l, u)
		l = older
	}
	return l
}
