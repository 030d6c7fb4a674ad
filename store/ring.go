package store

import (
	"slices"
	"strings"
	"unsafe"

	"simpd/protocol"
)

// chunkSize is how many events a chunk of the ring holds. Chunk n holds the
// events of the indexes n*chunkSize+1 to (n+1)*chunkSize.
const chunkSize = 1024

// entry is an event, but for its index.
type entry struct {
	kind    EventKind
	visible bool
	address string // after's, unless that is deaf
	node    string
	before  packed // the listener that the change found, as the table held it
	after   packed // and as the change left it
	list    int    // octets of the list that the change replaced
}

// kept is an entry as the ring keeps it; its place tells its index.
type kept struct {
	of      unsafe.Pointer // by form: a *version, or the first octet of a packed listener or of an address
	address uint16         // the length of the address, if of points to one
	kind    EventKind
	flags   keptFlags
	node    uint32 // its place among the ring's names
}

type keptFlags uint8

const (
	keptVisible keptFlags = 1 << iota
	keptVersion           // of is a *version
)

// version returns the version that k refers to; nil if it refers to none.
func (k *kept) version() *version {
	if k.flags&keptVersion == 0 {
		return nil
	}
	return (*version)(k.of)
}

// whole returns the listener that k holds itself; deaf if it holds none.
func (k *kept) whole() packed {
	if k.flags&keptVersion != 0 || k.address > 0 {
		return packed{}
	}
	return packed{(*byte)(k.of)}
}

type chunk [chunkSize]kept

// span is a part of the ring: one entry for each index in (floor, index]. An
// entry, once written, is never written again, and what it refers to always
// says the same: a span that was copied under the table's lock is read without
// it.
type span struct {
	floor  uint64 // the first entry is of the index floor+1
	index  uint64 // the last is of this one
	first  uint64 // number of chunks[0]
	chunks []*chunk
	names  []string // of nodes; each stays where it is
}

// ring holds the newest changes. It grows by chunks, and drops whole chunks at
// its other end: while it has more changes than keep, or more octets than most.
// Of a long listener it keeps how each change differed from the next (see
// version). All methods need the table's lock.
type ring struct {
	span
	keep   uint64 // at least this many are kept, as far as most allows
	most   int    // octets
	octets int    // of all that the ring alone keeps in memory
	// newest has the versions that are the table's present listeners, by the
	// first octet of the listener.
	newest map[*byte]*version

	older, newer Listener // what makeUndo works with
	buf          []byte
}

func newRing(keep uint64, most int) ring {
	return ring{keep: keep, most: most, newest: map[*byte]*version{}}
}

// reset empties the ring; the next entry's index is index+1.
func (r *ring) reset(index uint64) {
	*r = newRing(r.keep, r.most)
	r.floor, r.index, r.first = index, index, index/chunkSize
}

// add appends the entry of the next index.
func (r *ring) add(e entry) {
	if n := r.index/chunkSize - r.first; n == uint64(len(r.chunks)) {
		r.grow()
	}
	r.index++
	r.put(r.index, r.makeKept(e))
}

// put writes the entry of an index. There is room.
func (r *ring) put(index uint64, k kept) {
	*r.place(index) = k
	r.octets += k.octets()
}

// makeKept returns e as it is kept.
func (r *ring) makeKept(e entry) kept {
	k := kept{kind: e.kind, node: r.number(e.node)}
	if e.visible {
		k.flags |= keptVisible
	}
	if !e.after.deaf() && e.after.isLong() {
		k.flags |= keptVersion
		k.of = unsafe.Pointer(r.keepVersion(e.before, e.after))
		return k
	}
	r.leaveWhole(e.before)
	k.setShort(e.address, e.after, e.before.isLong())
	return k
}

// setShort refers to a short listener, or if it is deaf to its address.
// isShared reports that the address may be a part of something long.
func (k *kept) setShort(address string, after packed, isShared bool) {
	if k.of = unsafe.Pointer(after.first); !after.deaf() || address == "" {
		return
	}
	if isShared {
		address = strings.Clone(address)
	}
	k.of, k.address = unsafe.Pointer(unsafe.StringData(address)), uint16(len(address))
}

// number returns the place of a node's name.
func (r *ring) number(name string) uint32 {
	i := slices.Index(r.names, name)
	if i < 0 {
		i = len(r.names)
		r.names = append(r.names, strings.Clone(name))
	}
	return uint32(i)
}

// grow adds a chunk, and drops what is no longer kept. The list is made anew,
// as readers may hold the old one.
func (r *ring) grow() {
	for len(r.chunks) > 1 && r.isExcess() {
		r.drop()
	}
	chunks := make([]*chunk, 0, len(r.chunks)+1)
	r.chunks = append(append(chunks, r.chunks...), new(chunk))
}

// isExcess reports whether the oldest chunk need not or may not be kept.
func (r *ring) isExcess() bool {
	return r.index-(r.first+1)*chunkSize >= r.keep || r.octets > r.most
}

// drop forgets the oldest chunk.
func (r *ring) drop() {
	end := (r.first + 1) * chunkSize
	for i := r.floor + 1; i <= end; i++ {
		k := r.place(i)
		r.octets -= k.octets()
		if v := k.version(); v != nil && v.last == i {
			r.forget(v)
		}
	}
	r.first++
	r.floor = end
	r.chunks = r.chunks[1:]
}

func (s *span) place(index uint64) *kept {
	i := index - 1
	return &s.chunks[i/chunkSize-s.first][i%chunkSize]
}

// octets is what k keeps in memory, without a version, which others may share.
func (k *kept) octets() int {
	size := int(unsafe.Sizeof(*k)) + int(k.address)
	if p := k.whole(); !p.deaf() {
		size += p.size()
	}
	return size
}

// after returns the part of the span with up to max entries after index.
func (s *span) after(index uint64, max uint) (part span, ok bool) {
	if index < s.floor || index > s.index {
		return span{}, false
	}
	part = *s
	part.floor = index
	part.index = min(s.index, index+uint64(max))
	return part, true
}

// events returns all of the span. It goes from the newest to the oldest, as a
// version tells how it differs from the next.
func (s *span) events() []Event {
	events := make([]Event, s.index-s.floor)
	var r versionReader
	for i := s.index; i > s.floor; i-- {
		events[i-s.floor-1] = s.event(i, &r)
	}
	return events
}

func (s *span) event(index uint64, r *versionReader) Event {
	k := s.place(index)
	e := Event{Index: index, Kind: k.kind, Node: s.names[k.node], Visible: k.flags&keptVisible != 0}
	switch v := k.version(); {
	case v != nil:
		e.After = r.listener(v)
		e.Address = e.After.Address
	case k.address > 0:
		e.Address = protocol.CanonicalAddress(unsafe.String((*byte)(k.of), int(k.address)))
	case k.of != nil:
		e.After = k.whole().unpack()
		e.Address = e.After.Address
	}
	return e
}
