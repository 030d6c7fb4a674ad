package store

import (
	"strings"
	"unsafe"

	"simpd/protocol"
)

// chunkSize is the number of events in a chunk of the ring. Chunk n holds the
// events with the indexes n*chunkSize+1 to (n+1)*chunkSize.
const chunkSize = 1024

// entry is an event without its index.
type entry struct {
	kind    EventKind
	visible bool
	address string // after's, unless after is empty
	node    string
	before  packed // the listener before the change
	after   packed // and after it
	list    int    // octets of the list that the change replaced
}

// ringEntry is an entry as the ring stores it. Its position implies its
// index.
type ringEntry struct {
	ref        unsafe.Pointer // a *version, or the first octet of a packed listener or of an address
	addressLen uint16         // if ref points to an address
	kind       EventKind
	flags      entryFlags
	node       uint32 // position in the ring's names
}

type entryFlags uint8

const (
	flagVisible entryFlags = 1 << iota
	flagVersion            // ref is a *version
)

// version returns the version that the entry refers to; nil if there is none.
func (k *ringEntry) version() *version {
	if k.flags&flagVersion == 0 {
		return nil
	}
	return (*version)(k.ref)
}

// listener returns the listener that the entry holds itself; empty if there
// is none.
func (k *ringEntry) listener() packed {
	if k.flags&flagVersion != 0 || k.addressLen > 0 {
		return packed{}
	}
	return packed{(*byte)(k.ref)}
}

type chunk [chunkSize]ringEntry

// ringSpan is a part of the ring: one entry for each index in (floor, index].
// An entry never changes after it was written, and what it refers to keeps
// its meaning, so a span copied under the table's lock can be read without
// it.
type ringSpan struct {
	floor  uint64 // the first entry has the index floor+1
	index  uint64 // of the last entry
	first  uint64 // number of chunks[0]
	chunks []*chunk
	names  []string // of nodes; append-only
}

// ring holds the newest changes. It grows by chunks, and drops its oldest
// chunk while it has more than minEntries changes or more than maxOctets
// octets. For a long listener it stores how each change differs from the next
// (see version). All methods need the table's lock.
type ring struct {
	ringSpan
	minEntries uint64 // kept at least, as far as maxOctets allows
	maxOctets  int    // octets
	octets     int    // of everything that only the ring holds
	// current maps the first octet of a listener in the table to the version
	// that shares it.
	current   map[*byte]*version
	positions map[string]uint32 // of names

	older, newer Listener // scratch space of makeUndo
	buf          []byte
}

func newRing(keep uint64, most int) ring {
	return ring{minEntries: keep, maxOctets: most, current: map[*byte]*version{}, positions: map[string]uint32{}}
}

// reset empties the ring; the next entry's index is index+1.
func (r *ring) reset(index uint64) {
	*r = newRing(r.minEntries, r.maxOctets)
	r.floor, r.index, r.first = index, index, index/chunkSize
}

// add appends the entry of the next index.
func (r *ring) add(e entry) {
	if n := r.index/chunkSize - r.first; n == uint64(len(r.chunks)) {
		r.addChunk()
	}
	r.index++
	r.store(r.index, r.encodeEntry(e))
}

// store writes the entry of an index. There is room.
func (r *ring) store(index uint64, k ringEntry) {
	*r.at(index) = k
	r.octets += k.memory()
}

// encodeEntry converts e to the form in which it is stored.
func (r *ring) encodeEntry(e entry) ringEntry {
	k := ringEntry{kind: e.kind, node: r.nameNumber(e.node)}
	if e.visible {
		k.flags |= flagVisible
	}
	if !e.after.isEmpty() && e.after.isLong() {
		k.flags |= flagVersion
		k.ref = unsafe.Pointer(r.keepVersion(e.before, e.after))
		return k
	}
	r.retain(e.before)
	k.setListener(e.address, e.after, e.before.isLong())
	return k
}

// setListener refers to a short listener, or to its address if it is empty.
// isShared reports that the address may be part of a longer string, which
// must not be kept.
func (k *ringEntry) setListener(address string, after packed, isShared bool) {
	if k.ref = unsafe.Pointer(after.first); !after.isEmpty() || address == "" {
		return
	}
	if isShared {
		address = strings.Clone(address)
	}
	k.ref, k.addressLen = unsafe.Pointer(unsafe.StringData(address)), uint16(len(address))
}

// nameNumber returns the position of a node's name in names, adding it if
// necessary.
func (r *ring) nameNumber(name string) uint32 {
	i, known := r.positions[name]
	if !known {
		name = strings.Clone(name)
		i = uint32(len(r.names))
		r.names = append(r.names, name)
		r.positions[name] = i
	}
	return i
}

// addChunk adds a chunk, and drops chunks that are no longer kept. It copies
// the list, because readers may hold the old one.
func (r *ring) addChunk() {
	for len(r.chunks) > 1 && r.isExcess() {
		r.dropChunk()
	}
	chunks := make([]*chunk, 0, len(r.chunks)+1)
	r.chunks = append(append(chunks, r.chunks...), new(chunk))
}

// isExcess reports whether the oldest chunk need not or may not be kept.
func (r *ring) isExcess() bool {
	return r.index-(r.first+1)*chunkSize >= r.minEntries || r.octets > r.maxOctets
}

// dropChunk drops the oldest chunk.
func (r *ring) dropChunk() {
	end := (r.first + 1) * chunkSize
	for i := r.floor + 1; i <= end; i++ {
		k := r.at(i)
		r.octets -= k.memory()
		if v := k.version(); v != nil && v.last == i {
			r.release(v)
		}
	}
	r.first++
	r.floor = end
	r.chunks = r.chunks[1:]
}

func (s *ringSpan) at(index uint64) *ringEntry {
	i := index - 1
	return &s.chunks[i/chunkSize-s.first][i%chunkSize]
}

// memory returns the octets that the entry holds in memory, without a
// version, which others may share.
func (k *ringEntry) memory() int {
	size := int(unsafe.Sizeof(*k)) + int(k.addressLen)
	if p := k.listener(); !p.isEmpty() {
		size += p.size()
	}
	return size
}

// sliceAfter returns the part of the span with up to max entries after index.
func (s *ringSpan) sliceAfter(index uint64, max uint) (part ringSpan, ok bool) {
	if index < s.floor || index > s.index {
		return ringSpan{}, false
	}
	part = *s
	part.floor = index
	part.index = min(s.index, index+uint64(max))
	return part, true
}

// decodeEvents returns all events of the span. It decodes from the newest to
// the oldest, because a version is stored as a difference from the next.
func (s *ringSpan) decodeEvents() []Event {
	events := make([]Event, s.index-s.floor)
	var r versionReader
	for i := s.index; i > s.floor; i-- {
		events[i-s.floor-1] = s.eventAt(i, &r)
	}
	return events
}

func (s *ringSpan) eventAt(index uint64, r *versionReader) Event {
	k := s.at(index)
	e := Event{Index: index, Kind: k.kind, Node: s.names[k.node], Visible: k.flags&flagVisible != 0}
	switch v := k.version(); {
	case v != nil:
		e.After = r.listener(v)
		e.Address = e.After.Address
	case k.addressLen > 0:
		e.Address = protocol.CanonicalAddress(unsafe.String((*byte)(k.ref), int(k.addressLen)))
	case k.ref != nil:
		e.After = k.listener().unpack()
		e.Address = e.After.Address
	}
	return e
}
