package store

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// longListener is above how many octets the ring keeps a listener as versions.
// What is shorter it keeps whole: the newest costs nothing, as the table has it.
const longListener = 256

// maxRun is how many octets of undos, in multiples of the listener that they
// lead back from, may follow each other until a version is kept whole: a bound
// for the time that a look into the middle of the history takes.
const maxRun = 8

// version is a long listener as a change left it. While it is the table's
// present one it is whole, and shared with the table. When the next change
// comes it becomes an undo: what has to be done to the next version to get
// this one. So what many changes of a listener with many sessions take is what
// the changes change. Whichever form a version has, it says the same.
type version struct {
	form  atomic.Pointer[form]
	first uint64 // index of the oldest entry that refers to it
	last  uint64 // and of the newest; guarded by the table's lock, as are run and octets
	// run is how many octets of undos follow each other from this version back.
	run    int
	octets int // that the ring alone keeps for it
}

// form is how a version is kept. It is immutable.
type form struct {
	octets *byte    // a packed listener, or an undo (see undo.go) with its length before it
	newer  *version // to which the undo is done; nil: octets is a listener
}

// versionOctets is the memory of a version and its form without octets.
const versionOctets = int(unsafe.Sizeof(version{}) + unsafe.Sizeof(form{}))

// isLong reports whether the ring keeps p as versions.
func (p packed) isLong() bool { return len(p.fields()) > longListener }

// size is how many octets p takes in memory, at most.
func (p packed) size() int { return len(p.fields()) * 9 / 8 }

// newVersion returns a version for the entry of that index.
func newVersion(index uint64, f form) *version {
	v := &version{first: index, last: index, octets: versionOctets}
	v.form.Store(&f)
	return v
}

// keepVersion returns the version of a long listener for the entry that is
// being added. before is the listener that the change found.
func (r *ring) keepVersion(before, after packed) *version {
	v := r.newest[after.first]
	if v != nil {
		v.last = r.index // the change was of something else
		return v
	}
	v = r.keepPresent(r.index, after)
	if before.first != after.first {
		r.replace(before, v, after)
	}
	return v
}

// replace makes before, which was the newest version, an undo of v.
func (r *ring) replace(before packed, v *version, after packed) {
	old := r.newest[before.first]
	if old == nil {
		return
	}
	undo := r.makeUndo(before, after)
	run := old.run + versionOctets + undo.size()
	if run > maxRun*len(after.fields()) || 2*undo.size() > before.size() {
		r.leaveWhole(before)
		return
	}
	delete(r.newest, before.first)
	old.form.Store(&form{octets: undo.first, newer: v})
	v.run = run
	r.charge(old, undo.size())
}

// makeUndo returns what leads from after back to before.
func (r *ring) makeUndo(before, after packed) packed {
	before.unpackInto(&r.older)
	after.unpackInto(&r.newer)
	r.buf = appendUndo(r.buf[:0], &r.newer, &r.older)
	return keepPacked(r.buf)
}

// leaveWhole says that the table keeps p no longer. The ring does, if p is a
// version.
func (r *ring) leaveWhole(p packed) {
	if v := r.newest[p.first]; v != nil {
		delete(r.newest, p.first)
		r.charge(v, p.size())
	}
}

// leaveAllWhole is leaveWhole of all listeners.
func (r *ring) leaveAllWhole() {
	for p := range r.newest {
		r.leaveWhole(packed{p})
	}
}

// charge counts what the ring alone keeps for v.
func (r *ring) charge(v *version, octets int) {
	v.octets += octets
	r.octets += octets
}

// forget says that no entry refers to v any more.
func (r *ring) forget(v *version) {
	r.octets -= v.octets
	if f := v.form.Load(); f.newer == nil && r.newest[f.octets] == v {
		delete(r.newest, f.octets)
	}
}

// versionReader reads versions, the newest first. It keeps what it has read,
// as the version before is made of it.
type versionReader struct {
	read map[*version]*Listener
}

// listener returns the listener that v is.
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
	l = undone(l, undos)
	if r.read == nil {
		r.read = map[*version]*Listener{}
	}
	r.read[v] = l
	return l
}

// undone returns what l was before the undos, the newest of which is the last.
func undone(l *Listener, undos []string) *Listener {
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
